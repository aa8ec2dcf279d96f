"""Networks as one module, each computed by itself.

Notation: N networks, B samples.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


class Separate(nn.Module):
    """Several networks for the same samples; also a single one, with the outputs that several have.

    Args:
        networks: ordinary networks.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs of all networks for the same arguments, (N, B, ...)."""
        return stacked([network(*args, **kwargs) for network in self.networks])


def stacked(outputs: Sequence[Any]) -> Any:
    """Outputs of N networks, (B, ...) each, as one structure of tensors (N, B, ...)."""
    if isinstance(outputs[0], Tensor):
        return torch.stack(list(outputs))
    return tree_map(lambda *each: torch.stack(each), *outputs)
