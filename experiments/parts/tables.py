"""Exhaustively trained spaces: every architecture with its error and its cost."""

# A architectures, D variables; points are (n, 2): error, then cost as a share of the largest

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import moocore
import numpy as np

from multinas_ray.errors import ConfigError, DataError, StateError
from multinas_ray.spaces import FloatArray, IntArray
from multinas_ray.storage import read_parquet

REFERENCE_QUANTILE = 0.9
"""The reference point's error is this quantile of the table's errors; its cost is the largest."""


@dataclass(frozen=True)
class Source:
    """Where a table comes from and what its columns mean."""

    file: str
    title: str
    num_categories: tuple[int, ...]
    accuracy: str
    """Column with an accuracy in percent; the error is 100 minus it."""
    cost: str
    cost_title: str


SOURCES = {
    "nasbench201": Source(
        file="nasbench201_cifar10.parquet",
        title="NAS-Bench-201 (CIFAR-10 validation error, parameters)",
        num_categories=(5,) * 6,
        accuracy="cifar10_valid",
        cost="cifar10_params",
        cost_title="parameters",
    ),
    "macro": Source(
        file="nasbench_macro.parquet",
        title="NAS-Bench-Macro (error of the first training, FLOPs)",
        num_categories=(3,) * 8,
        accuracy="test_acc_run0",
        cost="flops",
        cost_title="FLOPs",
    ),
}


class Table:
    """A table that answers what an architecture's error and cost are.

    Args:
        name: short name, in file names.
        title: what the report calls it.
        num_categories: C_d of each variable.
        architectures: (A, D), every architecture of the space once.
        errors: (A,) in percent, minimised.
        costs: (A,) positive, minimised.

    Raises:
        DataError: An architecture of the space is missing, comes twice or is not of the space.
    """

    def __init__(
        self,
        name: str,
        title: str,
        num_categories: Sequence[int],
        architectures: IntArray,
        errors: FloatArray,
        costs: FloatArray,
    ) -> None:
        self.name, self.title, self.num_categories = name, title, tuple(num_categories)
        order = np.argsort(_keys(architectures, self.num_categories))
        if len(order) != np.prod(self.num_categories) or (np.diff(np.sort(order)) != 1).any():
            raise DataError(f"table {name} must hold {np.prod(self.num_categories)} architectures, found {len(order)}")
        if (_keys(architectures[order], self.num_categories) != np.arange(len(order))).any():
            raise DataError(f"table {name} must hold every architecture of {self.num_categories} exactly once")
        self.architectures = architectures[order]
        self.points = np.stack([errors[order], costs[order] / costs.max()], axis=1)
        self.reference = np.array([np.quantile(errors, REFERENCE_QUANTILE), 1.0])

    def __len__(self) -> int:
        return len(self.points)

    def rows(self, architectures: IntArray) -> IntArray:
        """Returns (n,): where in the table these (n, D) architectures are."""
        return _keys(architectures, self.num_categories)

    @property
    def losses(self) -> FloatArray:
        """(A,) errors as shares of 1: what the methods minimise."""
        return self.points[:, 0] / 100.0

    @property
    def complexities(self) -> FloatArray:
        """(A,) costs as shares of the largest."""
        return self.points[:, 1]

    def hypervolume(self, rows: IntArray) -> float:
        """Hypervolume of these rows' points."""
        return float(moocore.hypervolume(self.points[rows], ref=self.reference)) if len(rows) else 0.0

    @property
    def front(self) -> FloatArray:
        """(n, 2): the non-dominated points."""
        front: FloatArray = self.points[moocore.is_nondominated(self.points)]
        return front


def load_table(name: str, folder: Path) -> Table:
    """Reads the table `name` of SOURCES from `folder`.

    Raises:
        ConfigError: There is no such table.
        DataError: The file is missing or does not hold the table.
    """
    if name not in SOURCES:
        raise ConfigError(f"unknown table {name!r}; choose from {', '.join(SOURCES)}")
    return load_source(name, SOURCES[name], folder)


def load_source(name: str, source: Source, folder: Path) -> Table:
    """Reads a table from `folder`.

    Raises:
        DataError: The file is missing or does not hold the table.
    """
    path = folder / source.file
    if not path.is_file():
        raise DataError(f"table {name} is not at {path}: point --data or MULTINAS_DATA to the folder that holds it")
    try:
        columns = read_parquet(path, ["arch", source.accuracy, source.cost]).to_pydict()
    except StateError as error:
        raise DataError(f"{path} is not the table {name}: {error}") from error
    return Table(
        name=name,
        title=source.title,
        num_categories=source.num_categories,
        architectures=np.array([[int(digit) for digit in text] for text in columns["arch"]], dtype=np.int64),
        errors=100.0 - np.array(columns[source.accuracy], dtype=np.float64),
        costs=np.array(columns[source.cost], dtype=np.float64),
    )


def _keys(architectures: IntArray, num_categories: Sequence[int]) -> IntArray:
    """Returns (n,): each architecture's number, its first variable the most significant digit."""
    inside = (architectures >= 0) & (architectures < np.array(num_categories))
    if architectures.shape[1] != len(num_categories) or not inside.all():
        raise DataError(f"architectures must be of the space {tuple(num_categories)}")
    keys: IntArray = np.ravel_multi_index(tuple(architectures.T), tuple(num_categories)).astype(np.int64)
    return keys
