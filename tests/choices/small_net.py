"""Two small classifiers with choices, as users write them."""

from torch import Tensor, nn

from multinas_ray.choices import Choice, DepthChoice, ElasticBatchNorm2d, ElasticConv2d, ElasticLinear, WidthChoice
from multinas_ray.spaces import register_model


@register_model
class SmallNet(nn.Module):
    """Images (B, channels, H, W) to logits (B, classes). Its costs are no sums: widths and depth multiply."""

    def __init__(self, channels: int = 1, classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        width = WidthChoice("width", [4, 8, 16])

        def block(inputs: int | WidthChoice) -> nn.Module:
            convolution = ElasticConv2d(inputs, width, 3, padding=1, bias=False)
            return nn.Sequential(convolution, ElasticBatchNorm2d(width), nn.ReLU())

        self.stem = block(channels)
        self.deep = DepthChoice("depth", [lambda: block(width) for _ in range(3)], [0, 1, 3])
        self.pool = Choice("pool", {"average": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)})
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), ElasticLinear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.pool(self.deep(self.stem(images))))
        return logits


@register_model
def chosen_blocks(channels: int = 1, classes: int = 10) -> nn.Module:
    """A model whose costs are sums over its choices."""

    def block(kernel_size: int) -> nn.Module:
        padding = kernel_size // 2
        return nn.Sequential(nn.Conv2d(8, 8, kernel_size, padding=padding, bias=False), nn.BatchNorm2d(8), nn.ReLU())

    choices = [
        Choice(f"block{n}", {"conv3": lambda: block(3), "conv5": lambda: block(5), "skip": nn.Identity()})
        for n in range(3)
    ]
    stem = nn.Conv2d(channels, 8, 3, padding=1)
    return nn.Sequential(stem, *choices, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
