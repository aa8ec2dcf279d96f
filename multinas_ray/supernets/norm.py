"""Batch normalisation whose statistics do not depend on how many images share a device."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from multinas_ray.errors import ConfigError


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Normalises each `group_size` consecutive images by their own statistics, in training and evaluation.

    Ghost batch normalisation (Hoffer et al., Train longer, generalize better, NeurIPS 2017) without running
    statistics: in a supernet they would mix those of all architectures (Guo et al., Single Path One-Shot,
    ECCV 2020). A batch spread over workers in whole groups gives the results of one worker.

    Args:
        channels: channels of the input.
        group_size: images of one group.

    Raises:
        ConfigError: `group_size` is below 2, or a batch is not made of whole groups.
    """

    def __init__(self, channels: int, group_size: int) -> None:
        if group_size < 2:
            raise ConfigError(f"A group of batch normalisation has 2 images or more; got {group_size}.")
        super().__init__(channels, track_running_stats=False)
        self.group_size = group_size

    def forward(self, input: Tensor) -> Tensor:
        """Normalised images, (B, channels, H, W) as the input and in its memory format."""
        num_images = input.shape[0]
        if num_images == self.group_size:
            return self._normalise(input)
        if num_images == 0 or num_images % self.group_size:
            raise ConfigError(
                f"A batch holds whole groups of norm_batch_size={self.group_size} images; got {num_images} "
                "images. Use a multiple of it on every worker."
            )
        return torch.cat([self._normalise(group) for group in torch.split(input, self.group_size)])

    def _normalise(self, input: Tensor) -> Tensor:
        return functional.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)

    def extra_repr(self) -> str:
        """What print shows of the layer."""
        return f"{self.num_features}, eps={self.eps}, group_size={self.group_size}"
