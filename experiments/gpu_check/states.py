"""How values lie in memory, and whether a saved state goes on as the worker does."""

from __future__ import annotations

import io
import time
from typing import Any

import torch

from experiments.gpu_check.bench import SMALL_GROUP, Bench, round_of
from experiments.gpu_check.findings import Finding
from multinas_ray.supernets import accumulate_gradients

LARGEST_DIFFERENCE = 1e-4
"""Between the results of a worker that goes on and of one that read its state, in float32. [ours]"""


def layout(bench: Bench) -> Finding:
    """Which modules give feature maps that are not in channels_last, in the forward pass of a weight step."""
    space, found, seen, wrong = bench.space, Finding(), 0, []
    net = bench.supernet(space, bench.sizes.group)
    names = {module: name for name, module in net.named_modules() if not list(module.children())}

    def look(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        nonlocal seen
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[1:]) > 1:
            seen += 1
            if not output.is_contiguous(memory_format=torch.channels_last):
                wrong.append(names[module])

    for module in names:
        module.register_forward_hook(look)
    batch = bench.batch(space, 2 * bench.sizes.group)
    accumulate_gradients(net, *batch, bench.architectures(space, 1), autocast_dtype=torch.bfloat16)
    found.figures = {"feature maps": seen, "not in channels_last": wrong[:5]}
    found.check(seen > 0, "no feature map was seen")
    found.check(not wrong, f"{len(wrong)} of {seen} feature maps are not in channels_last")
    return found


def checkpoint(bench: Bench) -> Finding:
    """A state saved on the device and read on the CPU: the round after it, and the time that saving takes."""
    space, found = bench.small_space(), Finding()
    worker, rows_ND = bench.worker(space, 4 * SMALL_GROUP), bench.architectures(space, 4)
    for number in range(2):
        worker.run(round_of(number, rows_ND))
    saved = io.BytesIO()
    torch.save(worker.state_dict(), saved)
    expected = worker.run(round_of(2, rows_ND, rows_ND)).cpu()
    saved.seek(0)
    restored = bench.worker(space, 4 * SMALL_GROUP)
    restored.load_state_dict(torch.load(saved, map_location="cpu", weights_only=True))
    result = restored.run(round_of(2, rows_ND, rows_ND)).cpu()
    difference = float((result - expected).abs().max())
    momenta = [each for state in restored.sgd.state.values() for each in state.values() if torch.is_tensor(each)]
    devices = sorted({each.device.type for each in momenta})
    found.figures = {"difference": difference, "momentum on": devices, **_saving(bench)}
    found.check(difference <= LARGEST_DIFFERENCE, "a round after reading the state differs from one that goes on")
    found.check(devices == [bench.device.type], "the momentum was read to another device")
    return found


def _saving(bench: Bench) -> dict[str, float]:
    """Bytes and seconds of a checkpoint of the large space: weights and as much momentum."""
    weights, file = bench.supernet(bench.space, bench.sizes.group).state_dict(), io.BytesIO()
    bench.wait()
    started_seconds = time.perf_counter()
    torch.save({"weights": weights, "momentum": {name: value.clone() for name, value in weights.items()}}, file)
    return {"large space's bytes": file.tell(), "large space's seconds": time.perf_counter() - started_seconds}
