"""A model of timm opened up: each block of a MobileNetV3 that keeps its shape may be left out.

The weights of a checkpoint stay where one is given: download it once, by timm's `pretrained=True`, and save its
`state_dict()`. The search then starts from them, and networks that leave blocks out keep the others'.

python experiments/custom.py --data DIR --space experiments/own_mobilenet.py:mobilenet_space
"""

from typing import Any

import timm
import torch
from torch import nn

from multinas_ray.choices import Option, model_space, open_model
from multinas_ray.spaces import ModelSpace, register_model

CHECKPOINT: str | None = None
"""A file of weights for the model, such as "mobilenetv3_small_050.pt"."""
SMALL = 64
"""Images of at most so many pixels a side keep their size in the first two layers, which otherwise halve it."""


def may_be_left_out(path: str, module: nn.Module) -> dict[str, Option] | None:
    """Blocks whose output is added to their input."""
    return {"keep": module, "skip": nn.Identity()} if getattr(module, "has_skip", False) else None


@register_model
def mobilenet(image_channels: int, classes: int, checkpoint: str | None = None, is_small: bool = False) -> nn.Module:
    """MobileNetV3 small at half its width; images (B, image_channels, H, W) to logits (B, classes)."""
    model: Any = timm.create_model("mobilenetv3_small_050", in_chans=image_channels, num_classes=classes)
    if is_small:  # a 32nd of the size of such images is a single pixel, in which depth is of no use
        model.conv_stem.stride = model.blocks[0][0].conv_dw.stride = (1, 1)
    if checkpoint is not None:
        weights = torch.load(checkpoint, weights_only=True)
        fitting = {key: value for key, value in weights.items() if value.shape == model.state_dict()[key].shape}
        model.load_state_dict(fitting, strict=False)  # all but the classifier, where there are other classes
    return open_model(model, may_be_left_out)


def mobilenet_space(image_shape: tuple[int, int, int], num_classes: int) -> ModelSpace:
    """The networks for images of a size."""
    is_small = max(image_shape[1:]) <= SMALL
    arguments = {
        "image_channels": image_shape[0],
        "classes": num_classes,
        "checkpoint": CHECKPOINT,
        "is_small": is_small,
    }
    return model_space(mobilenet, image_shape, arguments=arguments)
