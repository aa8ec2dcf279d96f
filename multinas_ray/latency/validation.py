"""Validation of a latency table on whole networks: the predictions, the measurements and the verdict."""

# N networks, D positions

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces import FloatArray, IntArray
from multinas_ray.storage import (
    TABLE_KEY,
    VERSION_KEY,
    AnyPath,
    Location,
    check_form,
    read_parquet,
    resolve,
    write_parquet,
)

LEAST_TAU = 0.9
"""A table is good if Kendall's tau of predicted and measured latencies is at least this."""
LEAST_REPEAT_TAU = 0.95
"""A machine is too noisy to judge a table if Kendall's tau of two measurements of the same networks is below this."""

TIES = 4.0
"""Networks tie if the range of their latencies is below so many spreads of a repeat. [ours]"""

Verdict = Literal["good", "noisy", "poor"]

_KIND, _VERSION = "latency_validation", 1
_SUMMARY_KEY = b"multinas_ray.summary"
_TIMES = ("predicted_ms", "measured_ms", "spread", "first_half_ms", "second_half_ms")
_SCHEMA = pa.schema(
    [
        pa.field("architecture", pa.list_(pa.int16()), nullable=False),
        pa.field("architecture_readable", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in _TIMES),
    ]
)


@checked
@dataclass(frozen=True, eq=False)
class LatencyValidation:
    """Predicted and measured latencies of N whole networks, in milliseconds for a batch.

    Raises:
        ConfigError: There are fewer than two networks, the lengths differ, or a time is not a positive number.
    """

    architectures: IntArray
    """(N, D) indices."""
    readable: tuple[str, ...]
    """(N,) the architectures as text."""
    predicted_ms: FloatArray
    """(N,) the sum of the table's rows."""
    measured_ms: FloatArray
    """(N,) median of all repeats."""
    spread_ms: FloatArray
    """(N,) median absolute deviation of the repeats, times 1.4826."""
    first_half_ms: FloatArray
    """(N,) median of the first half of the repeats."""
    second_half_ms: FloatArray
    """(N,) median of the second half: a second measurement of the same networks."""

    def __post_init__(self) -> None:
        times = (self.predicted_ms, self.measured_ms, self.first_half_ms, self.second_half_ms)
        lengths = {len(self.architectures), len(self.readable), len(self.spread_ms), *map(len, times)}
        if len(lengths) > 1 or len(self.architectures) < 2:
            raise ConfigError(
                f"a validation must have at least 2 networks and a time for each, got lengths {lengths}: measure more"
            )
        if not all(np.isfinite(each).all() and (each > 0).all() for each in times):
            raise ConfigError(
                "measured and predicted latencies must be positive and finite, some are not: measure again"
            )

    @cached_property
    def kendall_tau(self) -> float:
        """Kendall's tau-b of predicted and measured, in [-1, 1]; NaN if all values on one side are equal."""
        return _kendall_tau(self.predicted_ms, self.measured_ms)

    @cached_property
    def repeat_tau(self) -> float:
        """Kendall's tau-b of the two halves, that is, between two measurements of the same networks."""
        return _kendall_tau(self.first_half_ms, self.second_half_ms)

    @property
    def mean_relative_error(self) -> float:
        """Mean of |predicted - measured| / measured."""
        return float(np.abs(self.predicted_ms / self.measured_ms - 1).mean())

    @property
    def bias(self) -> float:
        """Mean of (predicted - measured) / measured; below 0 if the table predicts too little time."""
        return float((self.predicted_ms / self.measured_ms - 1).mean())

    @property
    def verdict(self) -> Verdict:
        """Whether the table predicts the order of networks on this machine.

        "good": `kendall_tau` is at least 0.9. Otherwise "noisy" if `repeat_tau` is below 0.95: then not even a
        measurement predicts the next one, and the table is not to blame. Otherwise "poor". [ours]
        """
        if self.kendall_tau >= LEAST_TAU:
            return "good"
        return "poor" if self.repeat_tau >= LEAST_REPEAT_TAU else "noisy"

    def summary(self) -> str:
        """The verdict, its figures and the advice, in a few sentences."""
        figures = (
            f"Kendall's tau {self.kendall_tau:.3f} between predicted and measured latency of "
            f"{len(self.readable)} networks, mean error {self.mean_relative_error:.1%}, bias {self.bias:+.1%}; "
            f"two measurements of the same networks agree with tau {self.repeat_tau:.3f}."
        )
        is_tied = self.verdict != "good" and self.range_share < TIES * self.noise_share
        return f"{_WORDS[self.verdict]} {figures}{_TIES if is_tied else _ADVICE[self.verdict]}"

    @property
    def range_share(self) -> float:
        """Range of the measured latencies as a share of their median."""
        return float(np.ptp(self.measured_ms) / np.median(self.measured_ms))

    @property
    def noise_share(self) -> float:
        """Median over the networks of the spread of their repeats, as a share of their latency."""
        return float(np.median(self.spread_ms / self.measured_ms))

    def to_arrow(self) -> pa.Table:
        """The validation as Arrow data: one row for each network, and the verdict in the metadata."""
        summary = {
            "verdict": self.verdict,
            "kendall_tau": self.kendall_tau,
            "repeat_tau": self.repeat_tau,
            "mean_relative_error": self.mean_relative_error,
            "bias": self.bias,
        }
        metadata = {VERSION_KEY: str(_VERSION), TABLE_KEY: _KIND, _SUMMARY_KEY: json.dumps(summary)}
        times = (self.predicted_ms, self.measured_ms, self.spread_ms, self.first_half_ms, self.second_half_ms)
        columns = [self.architectures.tolist(), list(self.readable), *times]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=_SCHEMA.with_metadata(metadata))

    def write(self, path: AnyPath) -> None:
        """Write a Parquet file to a local path or a URI, completely or not at all."""
        write_parquet(path, self.to_arrow())

    @classmethod
    def read(cls, path: AnyPath) -> "LatencyValidation":
        """Read what `write` wrote.

        Raises:
            StateError: There is no such file, or it has another form or version.
        """
        table, where = read_parquet(path), str(path)
        check_form(table, _KIND, _VERSION, _SCHEMA, where, "make one by multinas-ray profile")
        columns = table.to_pydict()
        try:
            times = [np.array(columns[name]) for name in _TIMES]
            return cls(np.array(columns["architecture"]), tuple(columns["architecture_readable"]), *times)
        except ValueError as error:
            raise StateError(f"{where} is damaged ({error}): restore a copy") from error


@checked_arguments
def validation_file(table_file: AnyPath) -> Location:
    """Place of the validation of a table: beside the table, as <name>_validation.parquet."""
    place = resolve(table_file)
    return place.parent.join(f"{place.name.removesuffix('.parquet')}_validation.parquet")


def _kendall_tau(first: FloatArray, second: FloatArray) -> float:
    from scipy.stats import kendalltau  # slow to import, and seldom needed

    return float(kendalltau(first, second).statistic)


_WORDS: dict[Verdict, str] = {
    "good": "The table predicts networks well:",
    "noisy": "This machine is too noisy to judge the table.",
    "poor": "The table predicts networks poorly: on this machine, the latency of a network is not the sum over its "
    "blocks (see the picture).",
}
_ADVICE: dict[Verdict, str] = {
    "good": "",
    "noisy": " Stop other programs, or measure longer by --least-passes 50 --max-seconds 600, and profile again.",
    "poor": " Profile again as the networks will be used: with their --batch-size, --threads and --precision.",
}
_TIES = " The networks take almost the same time, so that their order cannot be told: give a larger --batch-size."
