"""NAS-Bench-Macro as the truth: the error after full training and the FLOPs of every architecture, and the best K."""

# K networks; points are (n, 2): error in percent, then FLOPs as a share of the largest

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.parts.networks import networks_of
from experiments.parts.tables import SOURCES, Table, load_source
from multinas_ray.runs import best_subset
from multinas_ray.selection import SLICE_SHARE
from multinas_ray.spaces import FloatArray, IntArray, Space

SOURCE = replace(SOURCES["macro"], title="NAS-Bench-Macro (mean error of its trainings, FLOPs)", accuracy="test_acc")


def load_truth(folder: Path) -> Table:
    """Read the table.

    Raises:
        DataError: it is missing or is not the table.
    """
    return load_source("macro", SOURCE, folder)


def best_within(truth: Table, flops: FloatArray, targets: Sequence[float]) -> IntArray:
    """(K,) rows of the least error within each target; `flops` are those of the searched space, by row."""
    return np.array([np.where(flops <= target, truth.points[:, 0], np.inf).argmin() for target in targets])


def best_front(truth: Table, size: int) -> IntArray:
    """Rows of the `size` architectures that together have the largest hypervolume; exact."""
    return best_subset(truth.points[:, 0], truth.points[:, 1], size, (truth.reference[0], truth.reference[1]))


def slice_of(space: Space, target: float) -> IntArray:
    """(N, D) every network, once, whose FLOPs lie in the last part of a target."""
    networks_ND = networks_of(space)
    flops_N = space.costs["flops"](networks_ND)
    return networks_ND[(flops_N <= target) & (flops_N > (1 - SLICE_SHARE) * target)]
