"""The number format of forward passes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

AUTOCAST_DTYPES: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}
"""Precision of a training -> type of its forward passes under autocast; None: that of the weights."""


def autocast_to(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[Any]:
    """Within it, a forward pass on a device computes in a type as far as autocast allows; None changes nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def at_least_float32(values: Tensor) -> Tensor:
    """Numbers of 32 bits or more; whole numbers stay as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32)) if values.is_floating_point() else values
