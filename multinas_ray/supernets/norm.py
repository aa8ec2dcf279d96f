"""Batch normalisation whose statistics do not depend on the number of images on a device."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

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
        num_images = input.shape[0]
        if num_images == self.group_size:
            return self._normalise(input)
        if num_images == 0 or num_images % self.group_size:
            raise ConfigError(
                f"a batch must have whole groups of norm_batch_size={self.group_size} images, got {num_images} "
                "images: use a multiple of it on every worker"
            )
        return torch.cat([self._normalise(group) for group in torch.split(input, self.group_size)])

    def _normalise(self, input: Tensor) -> Tensor:
        return functional.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)

    def extra_repr(self) -> str:
        """The text that print shows for the layer."""
        return f"{self.num_features}, eps={self.eps}, group_size={self.group_size}"
