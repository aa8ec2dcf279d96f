"""Times, kernels and host waits of an action, and the settings of TensorFloat-32."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.gpu_check.bench import Bench

WARM_UP = 3
DEAREST = 8
"""Kernels that are told by name, those that take the most time."""

VALUE_NEEDED = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero")
"""Operations whose result the host must know, so that it would wait for a GPU."""


def milliseconds(bench: Bench, action: Callable[[], object]) -> dict[str, float]:
    """Time of a call until the device is done, and until everything is handed to the device, in ms."""
    for _ in range(min(WARM_UP, bench.sizes.repeats)):
        action()
    bench.wait()
    started_seconds, repeats = time.perf_counter(), bench.sizes.repeats
    for _ in range(repeats):
        action()
    host_seconds = time.perf_counter() - started_seconds
    bench.wait()
    whole_seconds = time.perf_counter() - started_seconds
    return {"ms": 1000 * whole_seconds / repeats, "host_ms": 1000 * host_seconds / repeats}


def kernels(bench: Bench, action: Callable[[], object]) -> dict[str, Any]:
    """Number of kernels of a call, their summed time and the dearest; on a CPU only the number of operations."""
    action()
    bench.wait()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.has_gpu else [])]
    operations = _Operations()
    with profile(activities=activities) as profiler, nullcontext() if bench.has_gpu else operations:
        action()
        bench.wait()
    if not bench.has_gpu:
        return {"operations": operations.number}  # its events take the profiler 7 s for a tiny step
    sums: Counter[str] = Counter()
    number = 0
    for event in profiler.events():
        if event.device_type.name == "CUDA" and not event.is_user_annotation:
            sums[event.name[:80]] += event.device_time_total / 1000
            number += 1
    return {"kernels": number, "busy_ms": sums.total(), "dearest_ms": dict(sums.most_common(DEAREST))}


@contextmanager
def host_waits(device: torch.device) -> Iterator[list[str]]:
    """Within it, list the places at which the host waits for the device; the list is complete at its end.

    On a GPU they are those of which torch.cuda.set_sync_debug_mode warns. On a CPU they are the operations that would
    wait for a GPU since their result is a value that the host needs; copies to and from a GPU are not seen there.
    """
    places: list[str] = []
    if device.type != "cuda":
        with _ValuesNeeded(places):
            yield places
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places += [f"{each.filename}:{each.lineno}" for each in caught if "synchronizing CUDA" in str(each.message)]


class _Operations(TorchDispatchMode):
    """Counts the operations that are called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


class _ValuesNeeded(TorchDispatchMode):
    """Lists where operations are called whose result the host must know."""

    def __init__(self, places: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in VALUE_NEEDED:
            frames = [each for each in traceback.extract_stack()[:-1] if "/torch/" not in each.filename]
            if "/torchvision/" not in frames[-1].filename:  # which draws its random numbers on the CPU in any case
                self._places.append(f"{frames[-1].filename}:{frames[-1].lineno}: {name}")
        return func(*args, **(kwargs or {}))


@contextmanager
def tensor_float(is_on: bool) -> Iterator[None]:
    """Within it, convolutions and matrix products of float32 on a GPU use TensorFloat-32 or not."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = is_on
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
