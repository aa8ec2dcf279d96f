"""Times and kernels of a weight step and of evaluations, beside plain PyTorch.

Notation: N architectures, D positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import mobilenet_v2

from experiments.gpu_check.bench import Bench, placed, round_after_round
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import kernels, milliseconds
from multinas_ray.spaces import IntArray
from multinas_ray.supernets import build_subnet, evaluate

TYPICAL_FLOPS = 300e6
"""Multiply-adds of MobileNetV2, to which the timed architecture is nearest."""
FORWARD, TRAINING = 1, 3
"""Passes in units of a forward pass: the backward pass has about two."""


class PlainTraining:
    """A training step of a network in plain PyTorch, in bfloat16.

    Args:
        bench: device and batch.
        network: trained in place.
        is_channels_last: whether weights and images are in channels_last.
    """

    def __init__(self, bench: Bench, network: nn.Module, *, is_channels_last: bool = True) -> None:
        form = torch.channels_last if is_channels_last else torch.contiguous_format
        self._network = placed(network, bench.device).to(memory_format=form).train()
        self._sgd = torch.optim.SGD(self._network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        images, self._labels = bench.batch(bench.space, bench.sizes.batch)
        self._images = images.contiguous(memory_format=form)

    def step(self) -> None:
        """One step."""
        self._sgd.zero_grad(set_to_none=True)
        with torch.autocast(self._images.device.type, torch.bfloat16):
            logits = self._network(self._images)
        torch.autograd.backward(functional.cross_entropy(logits.float(), self._labels))
        nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._sgd.step()

    def tuned_step(self) -> None:
        """One step, for which cuDNN tries its algorithms and takes the fastest."""
        torch.backends.cudnn.benchmark = True
        try:
            self.step()
        finally:
            torch.backends.cudnn.benchmark = False


def typical(bench: Bench) -> tuple[IntArray, float]:
    """The architecture (1, D) nearest to MobileNetV2's multiply-adds among 500 random ones, and its own."""
    rows_ND = bench.architectures(bench.space, 500)
    flops_N = bench.space.costs["flops"](rows_ND)
    nearest = int(np.abs(flops_N - TYPICAL_FLOPS).argmin())
    return rows_ND[nearest : nearest + 1], float(flops_N[nearest])


def training(bench: Bench) -> Finding:
    """A weight step of one subnet, the same network in plain PyTorch, and torchvision's MobileNetV2."""
    rows_ND, flops = typical(bench)
    space, size, found = bench.space, bench.sizes.batch, Finding()
    found.figures["multiply-adds"] = flops
    plain = PlainTraining(bench, build_subnet(space, rows_ND[0]))
    ways: dict[str, Callable[[], object]] = {"plain": plain.step}
    if not bench.tiny:
        reference = mobilenet_v2(num_classes=space.num_classes)
        ways["mobilenet_v2 of torchvision"] = PlainTraining(bench, reference).step
        contiguous = PlainTraining(bench, build_subnet(space, rows_ND[0]), is_channels_last=False)
        ways["plain, contiguous"] = contiguous.step
        ways["plain, with cudnn.benchmark"] = plain.tuned_step
    for group in (bench.sizes.group, size):
        worker = bench.worker(space, size, group=group, precision="bfloat16")
        ways[f"weight step, groups of {group}"] = round_after_round(worker, rows_ND)
    for name, step in ways.items():
        found.figures[name] = _figures(bench, step, size, flops, TRAINING)
    ratio = found.figures[f"weight step, groups of {bench.sizes.group}"]["ms"] / found.figures["plain"]["ms"]
    found.figures["weight step / plain"] = ratio
    return found


def evaluation(bench: Bench) -> Finding:
    """The losses of several subnets on one group, and on a batch."""
    space, found = bench.space, Finding()
    rows_ND, net = bench.architectures(space, bench.sizes.evaluated), bench.supernet(space, bench.sizes.group)
    flops = float(space.costs["flops"](rows_ND).mean())
    for size in (bench.sizes.group, bench.sizes.batch):
        images, labels = bench.batch(space, size)

        def losses(images: torch.Tensor = images, labels: torch.Tensor = labels) -> object:
            return evaluate(net, images, labels, rows_ND, autocast_dtype=torch.bfloat16)

        number = size * len(rows_ND)
        found.figures[f"{len(rows_ND)} subnets, {size} images"] = _figures(bench, losses, number, flops, FORWARD)
    return found


def _figures(bench: Bench, step: Callable[[], object], images: int, flops: float, passes: int) -> dict[str, Any]:
    """Times and kernels of a step, and what follows from them."""
    figures: dict[str, Any] = {**milliseconds(bench, step), **kernels(bench, step)}
    figures["images_per_second"] = 1000 * images / figures["ms"]
    figures["tflops"] = 2 * passes * flops * images / figures["ms"] / 1e9  # a multiply-add is two operations
    if "busy_ms" in figures:
        figures["busy_share"] = figures["busy_ms"] / figures["ms"]
    return figures
