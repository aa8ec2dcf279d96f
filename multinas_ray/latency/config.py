"""How latencies are measured. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from multinas_ray.errors import ConfigError
from multinas_ray.settings import NonNegativeFloat, NonNegativeInt, PositiveInt, checked

_FINE_CLOCK_SECONDS = 1e-6


@checked
@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """How to measure.

    Raises:
        ConfigError: a setting breaks a rule; the message says which.
    """

    batch_size: PositiveInt = 1
    """Images that pass at once."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the blocks run."""
    threads: PositiveInt = 1
    """Threads of the CPU. With 1, the thread's own CPU time is read, so that waiting for other processes does not
    count; with more, wall time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Format of weights and activations."""
    least_passes: Annotated[int, Ge(2)] = 10
    """Passes over all blocks (over all networks, when validating) at least; more follow until the medians are
    steady."""
    most_passes: Annotated[int, Ge(2)] = 400
    """Passes at most."""
    tolerance: NonNegativeFloat = 0.003
    """Passes end when the standard errors of all medians are together below this share of the medians."""
    max_seconds: NonNegativeFloat = 180.0
    """Passes beyond `least_passes` begin only before this time, in each of the two stages."""
    seed: NonNegativeInt = 0
    """Decides which networks are measured, and in what order."""

    def __post_init__(self) -> None:
        if self.least_passes > self.most_passes:
            raise ConfigError(
                f"least_passes must be at most most_passes={self.most_passes}, got {self.least_passes}; raise "
                "most_passes too"
            )

    @property
    def clock(self) -> str:
        """What is read: "cuda" events, "cpu" time of the one computing thread, or "wall" time."""
        if self.device == "cuda":
            return "cuda"
        is_fine = time.get_clock_info("thread_time").resolution <= _FINE_CLOCK_SECONDS
        return "cpu" if self.threads == 1 and is_fine else "wall"
