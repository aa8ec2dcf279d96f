"""A U-Net for segmentation: its widths and the number of blocks at its bottom are chosen; the metric is the mean IoU.

The images are made, see `experiments/stripes.py`.

python -m experiments.own_unet
"""

from torch import Tensor, nn
from torch.nn import functional

from experiments.stripes import CLASSES, SIZE, stripes
from multinas_ray.choices import Channels, DepthChoice, ElasticBatchNorm2d, ElasticConv2d, WidthChoice, model_space
from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import register_model
from multinas_ray.supernets import WeightTraining
from multinas_ray.tasks import Metric, Task


def block(inputs: Channels, outputs: Channels) -> nn.Module:
    """A convolution with normalisation."""
    return nn.Sequential(
        ElasticConv2d(inputs, outputs, 3, padding=1, bias=False), ElasticBatchNorm2d(outputs), nn.ReLU()
    )


@register_model
class UNet(nn.Module):
    """Images (B, 1, size, size) to logits (B, classes, size, size), over three resolutions."""

    def __init__(self) -> None:
        super().__init__()
        high, middle, low = (
            WidthChoice(name, [n, 2 * n, 8 * n]) for name, n in (("high", 2), ("middle", 3), ("low", 4))
        )
        self.down = nn.ModuleList([block(1, high), block(high, middle), block(middle, low)])
        self.bottom = DepthChoice("bottom", [lambda: block(low, low) for _ in range(3)], [0, 1, 3])
        self.up = nn.ModuleList([block(low, middle), block(middle, high)])
        self.head = ElasticConv2d(high, CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """What is known at each resolution, added on the way up."""
        high = self.down[0](images)
        middle = self.down[1](functional.max_pool2d(high, 2))
        low = self.bottom(self.down[2](functional.max_pool2d(middle, 2)))
        middle = middle + functional.interpolate(self.up[0](low), scale_factor=2.0)
        logits: Tensor = self.head(high + functional.interpolate(self.up[1](middle), scale_factor=2.0))
        return logits


def unet_config(options: ExperimentOptions) -> OneShotSearchConfig:
    """The search for three networks."""
    space = model_space(UNet, (1, SIZE, SIZE))
    iou = Metric("torchmetrics.JaccardIndex", {"task": "multiclass", "num_classes": CLASSES})
    return OneShotSearchConfig(
        space=space,
        data=DataConfig(source=stripes.__name__),
        task=Task(metrics={"IoU": iou, "pixel accuracy": "accuracy"}),
        name="unet",
        complexity="flops",
        targets=[1e6, 3e6, space.costs["flops"].maximum],
        warmup_rounds=300,
        search_rounds=80,
        training=WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    )


main = Experiment(description=__doc__, config_of=unet_config, options=ExperimentOptions).run

if __name__ == "__main__":
    raise SystemExit(main())
