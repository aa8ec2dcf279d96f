"""The number format of forward passes, and whether a process computes the same again."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

AUTOCAST_DTYPES: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}
"""Precision of a training -> type of its forward passes under autocast; None: that of the weights."""

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""What cuBLAS reads; PyTorch's notes on reproducibility ask for one of two values."""


def autocast_to(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[Any]:
    """Within it, a forward pass on a device computes in a type as far as autocast allows; None: see `whole_float32`."""
    return whole_float32() if dtype is None else torch.autocast(device.type, dtype)


@contextmanager
def whole_float32() -> Iterator[None]:
    """Within it, products and convolutions of float32 are computed in float32, whatever the process has set.

    On GPUs PyTorch computes convolutions in TensorFloat-32 by default, of which 10 bits of the mantissa remain, and
    matrix products too if a program asks for it (`torch.set_float32_matmul_precision`); on some CPUs in bfloat16.
    """
    flags = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32")]
    names = [each for each in _kinds() if hasattr(each, "fp32_precision")]  # of PyTorch 2.9 and newer
    before = [each.fp32_precision for each in names]
    flags_before = []
    for owner, name in flags:
        with suppress(RuntimeError):  # PyTorch refuses to tell a flag after the newer names have been used
            flags_before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, False)
    for each in names:
        each.fp32_precision = "ieee"
    try:
        yield
    finally:
        for owner, name, value in flags_before:
            setattr(owner, name, value)
        for each, value in zip(names, before, strict=True):
            each.fp32_precision = value


def _kinds() -> list[Any]:
    """What computes in float32, by the newer names of PyTorch."""
    backends: Any = torch.backends
    owners = {"cuda": ("matmul",), "cudnn": ("conv", "rnn"), "mkldnn": ("matmul", "conv", "rnn")}
    found = [getattr(getattr(backends, owner), name, None) for owner, names in owners.items() for name in names]
    return [each for each in found if each is not None]


def compute_deterministically() -> None:
    """Let this process compute the same from the same, also on a GPU. Call it before the GPU is used.

    Operations that cannot do so raise a RuntimeError that names them (PyTorch's notes on reproducibility).
    """
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def at_least_float32(values: Tensor) -> Tensor:
    """Numbers of 32 bits or more; whole numbers stay as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32)) if values.is_floating_point() else values
