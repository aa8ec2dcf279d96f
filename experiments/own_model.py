"""An example of a PyTorch model of your own with choices, for experiments/custom.py with --space.

python experiments/custom.py --data DIR --space experiments/own_model.py:residual_space
"""

from torch import Tensor, nn

from multinas_ray.choices import Choice, DepthChoice, ElasticBatchNorm2d, ElasticConv2d, WidthChoice, model_space
from multinas_ray.spaces import ModelSpace, register_model


class Bottleneck(nn.Module):
    """A depthwise convolution of chosen kernel within as many channels as are chosen, and the input added."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        hidden = WidthChoice(f"{name}_hidden", [channels, 2 * channels, 4 * channels])
        kernels = {
            f"conv{size}": ElasticConv2d(hidden, hidden, size, depthwise=True, padding=size // 2, bias=False)
            for size in (3, 5)
        }
        self.layers = nn.Sequential(
            ElasticConv2d(channels, hidden, 1, bias=False),
            ElasticBatchNorm2d(hidden),
            nn.ReLU(),
            Choice(f"{name}_kernel", kernels),
            ElasticBatchNorm2d(hidden),
            nn.ReLU(),
            ElasticConv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """The input and what the layers make of it, (B, channels, H, W)."""
        output: Tensor = features + self.layers(features)
        return output


@register_model
def residual_network(image_channels: int, classes: int) -> nn.Module:
    """Three stages of one to three bottlenecks; images (B, image_channels, H, W) to logits (B, classes)."""
    modules: list[nn.Module] = []
    inputs = image_channels
    for stage, channels in enumerate((16, 32, 64), start=1):
        first = nn.Conv2d(inputs, channels, 3, stride=1 if stage == 1 else 2, padding=1, bias=False)
        blocks = [Bottleneck(f"stage{stage}_block{number}", channels) for number in range(1, 4)]
        modules += [first, nn.BatchNorm2d(channels), nn.ReLU(), DepthChoice(f"stage{stage}_depth", blocks)]
        inputs = channels
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def residual_space(image_shape: tuple[int, int, int], num_classes: int) -> ModelSpace:
    """The networks of the model for images of a size."""
    arguments = {"image_channels": image_shape[0], "classes": num_classes}
    return model_space(residual_network, image_shape, arguments=arguments)
