"""The memory of a weight step against what the space says of its activations."""

from __future__ import annotations

import numpy as np
import torch

from experiments.gpu_check.bench import Bench, placed, round_of
from experiments.gpu_check.findings import Finding
from multinas_ray.spaces import IntArray
from multinas_ray.supernets import build_subnet

BFLOAT16_BYTES = 2
ACTIVATION_SHARE = 0.6
"""The share of the free memory that a worker gives to activations; the rest is for what is not counted."""
SUBNETS = 4
"""Subnets of a weight step whose limit holds two, so that it must work in groups."""

IMAGES_OF_PASS = 512
"""Images that the choice passes through the networks at a time, unless a user sets another number."""


def memory(bench: Bench) -> Finding:
    """Peaks of weight steps of the largest subnet, alone and several times with a limit for two, and of its choice."""
    found, space = Finding(), bench.space
    largest_ND = _largest(bench)
    sizes = (bench.sizes.batch,) if bench.tiny else (64, 128, 256)
    for size in sizes:
        activations = space.most_activations * size * BFLOAT16_BYTES
        cases = {
            f"{size} images, one subnet": (largest_ND, activations),
            f"{size} images, {SUBNETS} subnets in groups": (_different(bench, largest_ND), 2 * activations),
        }
        for name, (rows_ND, limit_bytes) in cases.items():
            peak = _peak(bench, rows_ND, size, limit_bytes)
            found.figures[name] = {"activations_bytes": limit_bytes}
            if peak is not None:
                found.figures[name] |= {"peak_bytes": peak, "peak / activations": peak / limit_bytes}
                fits = peak <= limit_bytes / ACTIVATION_SHARE
                found.check(fits, f"{name}: the peak is more than activations / {ACTIVATION_SHARE}")
    found.figures["a pass of the choice, bytes"] = _peak_of_pass(bench, largest_ND)
    return found


@torch.no_grad()
def _peak_of_pass(bench: Bench, largest_ND: IntArray) -> int | None:
    """Bytes that the largest network takes for the images of a pass of the choice; None without a GPU."""
    network = placed(build_subnet(bench.space, largest_ND[0]), bench.device).eval()
    images, _ = bench.batch(bench.space, bench.sizes.batch if bench.tiny else IMAGES_OF_PASS)
    if bench.has_gpu:
        torch.cuda.reset_peak_memory_stats()
    with torch.autocast(bench.device.type, torch.bfloat16):
        network(images)
    bench.wait()
    return torch.cuda.max_memory_allocated() if bench.has_gpu else None


def _largest(bench: Bench) -> IntArray:
    """The architecture (1, D) with the most activations."""
    counts, table_DC = bench.space.search_space.num_categories, bench.space.activations.table
    best = [costs_C[:count].argmax() for costs_C, count in zip(table_DC, counts, strict=True)]
    return np.array([best], dtype=np.int64)


def _different(bench: Bench, largest_ND: IntArray) -> IntArray:
    """The largest architecture with other first choices, so that nothing but the stem is shared."""
    rows_ND = np.repeat(largest_ND, SUBNETS, axis=0)
    rows_ND[:, 0] = np.arange(SUBNETS) % bench.space.search_space.num_categories[0]
    return rows_ND


def _peak(bench: Bench, rows_ND: IntArray, size: int, limit_bytes: int) -> int | None:
    """Bytes that a second weight step takes above what lies on the device before; None without a GPU."""
    worker = bench.worker(bench.space, size, group=bench.sizes.group, precision="bfloat16", limit_bytes=limit_bytes)
    worker.run(round_of(0, rows_ND))
    if not bench.has_gpu:
        return None
    bench.wait()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    worker.run(round_of(1, rows_ND))
    bench.wait()
    return torch.cuda.max_memory_allocated() - before
