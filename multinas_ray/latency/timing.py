"""Timing modules on this machine: the conditions, the clocks, and the number of repeats."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from multinas_ray.errors import ConfigError
from multinas_ray.latency.config import ProfileSettings
from multinas_ray.latency.onnx_blocks import GraphedModule, OnnxModule, providers_of
from multinas_ray.spaces import FloatArray, Shape

_HEAD_START_CYCLES = 5_000_000
"""Some 3 ms of a GPU's clock, in which some hundred graphs are launched."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NORMAL_SPREAD = 1.4826
"""Standard deviation of a normal distribution, divided by its median absolute deviation."""
MEDIAN_ERROR = 1.2533
"""Standard error of a median, divided by that of a mean, for normal errors: sqrt(pi / 2)."""

LapTimer = Callable[[Sequence[nn.Module], Tensor], list[float]]
"""Runs modules in a row on an input and returns the seconds that each took."""

OnPass = Callable[[int, float], None]
"""Called after each pass with the number of passes done and the relative error of the medians so far."""


def check_device(settings: ProfileSettings) -> None:
    """Make sure that torch can use the device.

    Raises:
        ConfigError: There is no GPU.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device='cuda' must have a GPU that this torch can use, found none: use device='cpu'")
    if settings.is_onnx:
        providers_of(settings)


def runtime_name(settings: ProfileSettings) -> str:
    """What runs the blocks, with its version."""
    if settings.is_onnx:
        return f"onnxruntime {version('onnxruntime')}, {providers_of(settings)[0]}"
    return f"torch {torch.__version__}{', CUDA graphs' if settings.backend == 'cuda_graphs' else ''}"


def timer_of(settings: ProfileSettings) -> LapTimer:
    """The timer for these settings."""
    if settings.clock == "cuda":
        return partial(_time_by_events, head_start=_HEAD_START_CYCLES if settings.backend == "cuda_graphs" else 0)
    return clock_timer(time.thread_time if settings.clock == "cpu" else time.perf_counter)


def place(module: nn.Module, settings: ProfileSettings, input_shape: Shape) -> nn.Module:
    """The module as it is measured: in eval mode, on the device, run by the backend; in torch channels_last."""
    if settings.is_onnx:
        return OnnxModule(module.eval(), input_shape, settings)
    dtype = PRECISIONS[settings.precision]
    placed = module.eval().to(settings.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone
    if settings.backend == "cuda_graphs":
        return GraphedModule(placed, random_images(settings, input_shape))
    return placed  # type: ignore[no-any-return]  # for the same reason


def random_images(settings: ProfileSettings, shape: Shape) -> Tensor:
    """A batch of random images."""
    generator = torch.Generator().manual_seed(settings.seed)
    images = torch.randn(settings.images, *shape, generator=generator)
    layout = torch.contiguous_format if settings.is_onnx else torch.channels_last
    return images.to(settings.device, PRECISIONS[settings.precision], memory_format=layout)


@contextmanager
def in_force(settings: ProfileSettings) -> Iterator[None]:
    """Inference with the settings' threads, while the garbage collector is off."""
    threads, collects = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(settings.threads)
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        if collects:
            gc.enable()


def device_name(settings: ProfileSettings) -> str:
    """The name of the processor, for the reader."""
    if settings.device == "cuda":
        return torch.cuda.get_device_name()
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def clock_timer(clock: Callable[[], float]) -> LapTimer:
    """A timer that reads a clock, in seconds, before, between and after the modules."""

    def time_laps(modules: Sequence[nn.Module], images: Tensor) -> list[float]:
        marks = [clock()]
        for module in modules:
            images = module(images)
            marks.append(clock())
        return [end - start for start, end in pairwise(marks)]

    return time_laps


def _time_by_events(modules: Sequence[nn.Module], images: Tensor, head_start: int = 0) -> list[float]:
    """Time on the GPU's stream.

    The stream is idle at the start, so that launch delays count as in a network. With a head start, in cycles, the GPU
    waits until all is launched, so that they do not count, as in one graph of a whole network.
    """
    torch.cuda.synchronize()
    if head_start:
        torch.cuda._sleep(head_start)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(len(modules) + 1)]
    events[0].record()
    for module, event in zip(modules, events[1:], strict=True):
        images = module(images)
        event.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1000 for start, end in pairwise(events)]


def without_drift(times_PN: FloatArray) -> FloatArray:
    """(P, N) times without the drift that all items of a pass have in common.

    A machine that is slower for a while is slower for all items of a pass. [ours]
    """
    medians_N = np.median(times_PN, axis=0)
    takes_time_N = medians_N > 0
    ratios_PN = times_PN[:, takes_time_N] / medians_N[takes_time_N]
    return times_PN / np.median(ratios_PN, axis=1, keepdims=True)


def robust_spread(times_PN: FloatArray) -> FloatArray:
    """(N,) standard deviations, estimated by median absolute deviations, which outliers hardly affect."""
    return NORMAL_SPREAD * np.median(np.abs(times_PN - np.median(times_PN, axis=0)), axis=0)


def relative_error(times_PN: FloatArray) -> float:
    """The sum of the medians' standard errors divided by the sum of the medians: a bound of the error of a sum."""
    errors_N = MEDIAN_ERROR * robust_spread(times_PN) / len(times_PN) ** 0.5
    return float(errors_N.sum() / np.median(times_PN, axis=0).sum())


def repeat_until_steady(measure: Callable[[], FloatArray], settings: ProfileSettings, on_pass: OnPass) -> FloatArray:
    """Make passes until the medians are steady or a limit is reached (see `ProfileSettings`).

    Args:
        measure: makes one pass; returns (N,), the seconds of the N items.
        settings: the limits and the tolerance.
        on_pass: called after each pass.

    Returns:
        (P, N) seconds, without the machine's drift.
    """
    start = time.monotonic()
    passes: list[FloatArray] = []
    while len(passes) < settings.most_passes:
        passes.append(measure())
        times_PN = without_drift(np.array(passes))
        reached = relative_error(times_PN)
        on_pass(len(passes), reached)
        is_late = time.monotonic() - start > settings.max_seconds
        if len(passes) >= settings.least_passes and (reached <= settings.tolerance or is_late):
            break
    return times_PN
