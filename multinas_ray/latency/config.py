"""Settings of a latency measurement. Without torch."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from multinas_ray.errors import ConfigError
from multinas_ray.settings import NonNegativeFloat, NonNegativeInt, PositiveInt, checked

if TYPE_CHECKING:
    from multinas_ray.spaces import Space

_FINE_CLOCK_SECONDS = 1e-6
_LEAST_FLOPS, _MOST_IMAGES = 30e6, 256


@checked
@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """Settings of a latency measurement.

    Raises:
        ConfigError: A setting breaks a rule; the message says which.
    """

    batch_size: PositiveInt | None = None
    """Images in one forward pass. None: 1, or for small networks so many that the largest one has about 30 million
    multiply-adds: with fewer, the calls take longer than the computation, and networks of one depth tie. [ours]"""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device on which the blocks run."""
    backend: Literal["torch", "cuda_graphs", "onnxruntime", "tensorrt"] = "torch"
    """What runs the blocks: "torch"; "cuda_graphs", torch with each block replayed as a CUDA graph, so that calling
    kernels takes no time; "onnxruntime"; or "tensorrt", ONNX Runtime through TensorRT. Choose what will run the
    networks."""
    threads: PositiveInt = 1
    """CPU threads. With 1, the CPU time of that thread is measured, so that waiting for other processes does not
    count; with more, wall time is measured."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations."""
    least_passes: Annotated[int, Ge(2)] = 10
    """Least number of passes over all blocks (over all networks, when validating). More passes follow until the
    medians are steady."""
    most_passes: Annotated[int, Ge(2)] = 400
    """Largest number of passes."""
    tolerance: NonNegativeFloat = 0.003
    """The medians are steady when the sum of their standard errors is below this share of their sum."""
    max_seconds: NonNegativeFloat = 180.0
    """After `least_passes`, no pass begins later than this time, in each of the two stages."""
    seed: NonNegativeInt = 0
    """Decides which networks are measured and in what order."""

    def __post_init__(self) -> None:
        if self.least_passes > self.most_passes:
            raise ConfigError(
                f"least_passes must be at most most_passes={self.most_passes}, got {self.least_passes}; raise "
                "most_passes too"
            )
        if self.backend in ("cuda_graphs", "tensorrt") and self.device != "cuda":
            raise ConfigError(f"backend={self.backend!r} must have a GPU, got device={self.device!r}: use 'cuda'")
        if self.is_onnx and self.precision != "float32":
            raise ConfigError(
                f"backend={self.backend!r} must have precision='float32', got {self.precision!r}: ONNX files are "
                "written in float32"
            )

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX Runtime runs the blocks."""
        return self.backend in ("onnxruntime", "tensorrt")

    @property
    def images(self) -> int:
        """Images in one forward pass; 1 as long as the space is not known."""
        return self.batch_size or 1

    def sized_for(self, space: Space) -> ProfileSettings:
        """The settings with the batch size that they have for a space; 1 where multiply-adds are no cost of it."""
        if self.batch_size is not None:
            return self
        flops, size = space.costs.get("flops"), 1
        wanted = 1.0 if flops is None else _LEAST_FLOPS / max(1.0, flops.maximum)
        while size < min(wanted, _MOST_IMAGES):
            size *= 2
        return dataclasses.replace(self, batch_size=size)

    @property
    def clock(self) -> str:
        """The clock that is read: "cuda" events, "cpu" time of the one computing thread, or "wall" time."""
        if self.device == "cuda":
            return "wall" if self.is_onnx else "cuda"
        is_fine = time.get_clock_info("thread_time").resolution <= _FINE_CLOCK_SECONDS
        return "cpu" if self.threads == 1 and is_fine else "wall"
