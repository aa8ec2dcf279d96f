"""The environment, and values on the device against values that they must equal.

Notation: N architectures, D positions.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from experiments.gpu_check.bench import SMALL_GROUP, Bench, round_of
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import tensor_float
from multinas_ray.data import usable_cores
from multinas_ray.spaces import IntArray
from multinas_ray.supernets import Supernet, accumulate_gradients, evaluate

OPTIONAL_PACKAGES = ("ray", "timm", "torchvision", "pyarrow", "onnxruntime", "tensorrt")
LARGEST_LOSS_DIFFERENCE, LARGEST_GRADIENT_DIFFERENCE = 1e-4, 1e-3
"""Between devices in float32: absolute, and relative to the norm of all gradients. [ours]"""
LARGEST_SHARD_DIFFERENCE = 1e-3
LEAST_RANK_CORRELATION = 0.9
"""Spearman's coefficient of the losses in bfloat16 and in float32. [ours]"""


def environment(bench: Bench) -> Finding:
    """Versions and resources."""
    found = Finding(
        {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cores": os.cpu_count(),
            "usable_cores": usable_cores(),
            "packages": {name: importlib.util.find_spec(name) is not None for name in OPTIONAL_PACKAGES},
        }
    )
    shared_memory = Path("/dev/shm")
    if shared_memory.is_dir():
        found.figures["shared_memory_bytes"] = shutil.disk_usage(shared_memory).free
    if bench.has_gpu:
        gpu = torch.cuda.get_device_properties(bench.device)
        found.figures |= {"gpu": gpu.name, "processors": gpu.multi_processor_count, "memory_bytes": gpu.total_memory}
        found.figures |= {"cudnn": torch.backends.cudnn.version(), "nccl": torch.cuda.nccl.version()}
        found.check(torch.cuda.is_bf16_supported(), "the GPU does not compute in bfloat16")
    return found


def parity(bench: Bench) -> Finding:
    """Losses and gradients on the device against the CPU, in float32."""
    found, cpu = Finding(), torch.device("cpu")
    expected = _values(bench, cpu, None)
    for name, limit_bytes in {"device": None, "in groups": 1}.items():
        with tensor_float(False):
            loss, losses, gradient = _values(bench, bench.device, limit_bytes)
        differences = {
            "training loss": float((loss - expected[0]).abs()),
            "losses": float((losses - expected[1]).abs().max()),
            "gradient": float((gradient - expected[2]).norm() / expected[2].norm()),
        }
        found.figures[name] = differences
        limit = LARGEST_LOSS_DIFFERENCE
        found.check(
            max(differences["training loss"], differences["losses"]) <= limit,
            f"{name}: losses differ from the CPU's by more than {limit}",
        )
        found.check(
            differences["gradient"] <= LARGEST_GRADIENT_DIFFERENCE,
            f"{name}: gradients differ from the CPU's by more than a share of {LARGEST_GRADIENT_DIFFERENCE}",
        )
    found.faults += _gradient_faults(bench)
    return found


def _values(bench: Bench, device: torch.device, limit_bytes: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Training loss, losses (N,) and all gradients in a row, on the CPU."""
    space = bench.small_space()
    rows_ND, net = bench.architectures(space, 4), bench.supernet(space, SMALL_GROUP, device)
    images, labels = bench.batch(space, 4 * SMALL_GROUP, device)
    loss = accumulate_gradients(net, images, labels, rows_ND, limit_bytes=limit_bytes, label_smoothing=0.1)
    losses, _ = evaluate(net, images, labels, rows_ND)
    gradients = [_gradient(each).reshape(-1).cpu() for each in net.touched_parameters(rows_ND)]
    return loss.cpu(), losses.cpu(), torch.cat(gradients)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _gradient_faults(bench: Bench) -> list[str]:
    """What is wrong with where gradients are and how they lie."""
    space, found = bench.small_space(), Finding()
    rows_ND, net = bench.architectures(space, 2), bench.supernet(space, SMALL_GROUP)
    accumulate_gradients(net, *bench.batch(space, SMALL_GROUP), rows_ND)
    touched = net.touched_parameters(rows_ND)
    with_gradient = {id(each) for each in net.parameters() if each.grad is not None}
    found.check(with_gradient == {id(each) for each in touched}, "others than the touched parameters have gradients")
    strides = all(_gradient(each).stride() == each.stride() for each in touched)
    found.check(strides, "gradients do not lie in memory as their parameters do")
    return found.faults


def shards(bench: Bench) -> Finding:
    """Losses of whole groups of a batch, on which it rests that results do not depend on the number of workers."""
    space, found = bench.small_space(), Finding()
    net, rows_ND = bench.supernet(space, SMALL_GROUP), bench.architectures(space, 8)
    for name, dtype in (("float32", None), ("bfloat16", torch.bfloat16)):
        with tensor_float(False):
            whole, parts, again = (_losses(bench, net, rows_ND, dtype, number) for number in (1, 4, 1))
        found.figures[name] = float((whole - parts).abs().max())
        found.figures[f"{name}, repeated"] = float((whole - again).abs().max())
    found.check(
        found.figures["float32"] <= LARGEST_SHARD_DIFFERENCE,
        f"the losses of shards differ from those of the batch by more than {LARGEST_SHARD_DIFFERENCE}",
    )
    return found


def _losses(bench: Bench, net: Supernet, rows_ND: IntArray, dtype: torch.dtype | None, parts: int) -> Tensor:
    """Mean losses (N,) of a batch that is cut into equal parts."""
    images, labels = bench.batch(bench.small_space(), 8 * SMALL_GROUP)
    losses = [
        evaluate(net, some.contiguous(memory_format=torch.channels_last), own, rows_ND, autocast_dtype=dtype)[0]
        for some, own in zip(images.chunk(parts), labels.chunk(parts), strict=True)
    ]
    return torch.stack(losses).mean(0)


def bfloat16(bench: Bench) -> Finding:
    """Losses, their order and the types of values in bfloat16, on weights that are a little trained."""
    space, found = bench.small_space(), Finding()
    worker = bench.worker(space, 4 * SMALL_GROUP)
    for number in range(bench.sizes.warm_steps):
        worker.run(round_of(number, bench.architectures(space, 2, number)))
    net, rows_ND = worker.supernet, bench.architectures(space, 4 if bench.tiny else 32, seed=99)
    images, labels = bench.batch(space, (4 if bench.tiny else 64) * SMALL_GROUP)
    exact, _ = evaluate(net, images, labels, rows_ND)
    rounded, _ = evaluate(net, images, labels, rows_ND, autocast_dtype=torch.bfloat16)
    correlation = float(spearmanr(exact.cpu(), rounded.cpu()).statistic)
    net.zero_grad(set_to_none=True)
    loss = accumulate_gradients(net, images, labels, rows_ND[:2], autocast_dtype=torch.bfloat16)
    dtypes = sorted({str(_gradient(each).dtype) for each in net.touched_parameters(rows_ND[:2])})
    found.figures = {
        "largest difference": float((exact - rounded).abs().max()),
        "spread in float32": float(exact.std()),
        "spearman": correlation,
        "gradients": dtypes,
    }
    found.check(bool(loss.isfinite()), "the training loss in bfloat16 is not finite")
    found.check(dtypes == ["torch.float32"], "gradients are not in float32")
    enough = bench.tiny or correlation >= LEAST_RANK_CORRELATION
    found.check(enough, f"bfloat16 changes the order of subnets: Spearman is below {LEAST_RANK_CORRELATION}")
    return found
