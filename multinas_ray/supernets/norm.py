"""Batch normalisation whose statistics do not depend on the number of images on a device."""

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments

MOST_CHANNELS = 2**24
"""More channels fit no memory."""


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Normalises each `group_size` consecutive images by their own statistics, in training and evaluation.

    It is ghost batch normalisation (Hoffer et al., Train longer, generalize better, NeurIPS 2017) without running
    statistics, which in a supernet would mix those of all architectures (Guo et al., Single Path One-Shot,
    ECCV 2020). A batch that is spread over workers in whole groups gives the results of one worker.

    Args:
        channels: channels of the input.
        group_size: images of one group.

    Raises:
        ConfigError: `group_size` is below 2, or a batch is not made of whole groups.
    """

    @checked_arguments
    def __init__(self, channels: Annotated[int, Ge(1), Le(MOST_CHANNELS)], group_size: int) -> None:
        if group_size < 2:
            raise ConfigError(f"a group of batch normalisation must have at least 2 images, got {group_size}")
        super().__init__(channels, track_running_stats=False)
        self.group_size = group_size

    def forward(self, input: Tensor) -> Tensor:
        """Normalised images, (B, channels, H, W), in the shape and memory format of the input."""
        return _by_groups(self._normalise, input, self.group_size)

    def _normalise(self, input: Tensor) -> Tensor:
        return functional.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)

    def extra_repr(self) -> str:
        """The text that print shows for the layer."""
        return f"{self.num_features}, eps={self.eps}, group_size={self.group_size}"


def use_ghost_statistics(model: nn.Module, group_size: int) -> None:
    """Let every batch normalisation of a model work as `GhostBatchNorm2d` does. The model is changed.

    Weights and their names stay; running statistics go.

    Args:
        model: any module.
        group_size: images of one group.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(module, name, None)
            module.__class__ = _by_groups_of(type(module), group_size)


def _by_groups_of(norm: type[_BatchNorm], group_size: int) -> type[_BatchNorm]:
    """The class of normalisation that works group by group, for a class that works on a batch."""

    class Ghost(norm):  # type: ignore[valid-type,misc]  # a class that is an argument
        def forward(self, input: Tensor) -> Tensor:
            return _by_groups(super().forward, input, group_size)

    Ghost.__name__ = f"Ghost{norm.__name__}"
    return Ghost


def _by_groups(normalise: Callable[[Tensor], Tensor], input: Tensor, group_size: int) -> Tensor:
    num_images = input.shape[0]
    if num_images == group_size:
        return normalise(input)
    if num_images == 0 or num_images % group_size:
        raise ConfigError(
            f"a batch must have whole groups of norm_batch_size={group_size} images, got {num_images} images: use a "
            "multiple of it on every worker"
        )
    return torch.cat([normalise(group) for group in torch.split(input, group_size)])
