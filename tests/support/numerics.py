"""How torch computes float32 within a computation, and the settings of a process that computes deterministically."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from multinas_ray.supernets.precision import CUBLAS_WORKSPACE


class Seen:
    """Notes how torch computes float32 in the convolutions of networks, in the forward and in the backward pass."""

    def __init__(self) -> None:
        self.forward_passes: list[tuple[str, ...]] = []
        self.backward_passes: list[tuple[str, ...]] = []

    def look_at(self, network: nn.Module) -> None:
        """Note all passes through a network."""
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(self._look)

    def _look(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        self.forward_passes.append(float32_kinds())
        if output.requires_grad:
            output.register_hook(lambda gradient: self.backward_passes.append(float32_kinds()))


def float32_kinds() -> tuple[str, ...]:
    """How products and convolutions of float32 are computed now."""
    backends: Any = torch.backends
    return (
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
        backends.mkldnn.matmul.fp32_precision,
    )


WHOLE = ("ieee", "ieee", "ieee")


@contextmanager
def tensor_float_asked_for() -> Iterator[None]:
    """Within it, the process asks for fast float32."""
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def settings_kept() -> Iterator[None]:
    """After it, the process computes as before, and its environment is as before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CUBLAS_WORKSPACE, "")
        del os.environ[CUBLAS_WORKSPACE]
        flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
