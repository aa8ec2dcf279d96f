"""A model of timm opened up: each block of a ResNet may be thin, or left out where it keeps its shape.

The weights of a checkpoint stay where one is given: download it once, by timm's `pretrained=True`, and save its
`state_dict()`. The search then starts from them, and networks with smaller blocks keep the others'.

python experiments/custom.py --data DIR --space experiments/own_resnet.py:resnet_space
"""

from copy import deepcopy
from typing import Any

import timm
import torch
from timm.models.resnet import BasicBlock
from torch import nn

from multinas_ray.choices import Option, model_space, open_model
from multinas_ray.spaces import ModelSpace, register_model

CHECKPOINT: str | None = None
"""A file of weights for the model, such as "resnet18.pt"."""
SMALL = 64
"""Images of at most so many pixels a side keep their size up to the second stage."""
FOR_SMALL: dict[str, Any] = {"channels": (8, 16, 32, 64), "stem_type": "deep", "stem_width": 4}
"""Of the model for them: an eighth of the channels, and three small convolutions in place of one of 7x7 pixels."""


def smaller_blocks(path: str, module: nn.Module) -> dict[str, Option] | None:
    """In the place of a block: one with a quarter of the channels between its convolutions, or its input alone."""
    if not isinstance(module, BasicBlock):
        return None
    shortcut, stride = deepcopy(module.downsample), module.conv1.stride[0]
    thin = BasicBlock(module.conv1.in_channels, module.conv2.out_channels, stride, shortcut, reduce_first=4)
    options: dict[str, Option] = {"keep": module, "thin": thin}
    return options if shortcut is not None else {**options, "skip": nn.Identity()}


@register_model
def resnet(image_channels: int, classes: int, checkpoint: str | None = None, is_small: bool = False) -> nn.Module:
    """ResNet-18; images (B, image_channels, H, W) to logits (B, classes)."""
    model: Any = timm.create_model(
        "resnet18",
        in_chans=image_channels,
        num_classes=classes,
        zero_init_last=False,  # else blocks that are kept would begin as their inputs alone, and thin ones not
        **(FOR_SMALL if is_small else {}),
    )
    if is_small:
        model.conv1[0].stride, model.maxpool = (1, 1), nn.Identity()
    if checkpoint is not None:
        weights = torch.load(checkpoint, weights_only=True)
        fitting = {key: value for key, value in weights.items() if value.shape == model.state_dict()[key].shape}
        model.load_state_dict(fitting, strict=False)  # all but the classifier, where there are other classes
    return open_model(model, smaller_blocks)


def resnet_space(image_shape: tuple[int, int, int], num_classes: int) -> ModelSpace:
    """The networks for images of a size."""
    arguments = {
        "image_channels": image_shape[0],
        "classes": num_classes,
        "checkpoint": CHECKPOINT,
        "is_small": max(image_shape[1:]) <= SMALL,
    }
    return model_space(resnet, image_shape, arguments=arguments)
