"""K networks for CIFAR-10 from one search.

The images come from torchvision's own folder (--download fetches them) or from a folder with train.parquet and
test.parquet. Presets:

  small   NAS-Bench-Macro's 8 blocks, half as wide, 20,000 images of 16x16: minutes on a CPU, to see the whole path.
  laptop  16 MBConv blocks (expansion 2/4/6 within each other, skips), half as wide and with half the resolution, all
          images of 32x32, four sizes from 1.6 to 6.3 million multiply-adds: hours on a CPU; --dry-run tells how many.
  full    the mobile space of 16 MBConv blocks (kernel 3/5/7 x expansion 3/6, skips), all images, K = 8, at the scale
          of its published relatives; for GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.settings import checked
from multinas_ray.spaces import cifar10_mobile_space, nas_bench_macro_space
from multinas_ray.supernets import WeightTraining

FULL_TRAIN_IMAGES = 25_000
FULL_BATCH_SIZE = 256
FULL_EPOCH = FULL_TRAIN_IMAGES // FULL_BATCH_SIZE


LAPTOP_STEM_STRIDE = 2


def small_config() -> OneShotSearchConfig:
    """Minutes on two CPU cores: NAS-Bench-Macro's space of 8 blocks, half as wide, on 20,000 images of 16x16."""
    return OneShotSearchConfig(
        space=nas_bench_macro_space(width_multiplier=0.5, image_size=16),
        data=DataConfig(
            source="cifar10",
            path="data",
            validation_fraction=0.2,
            max_train_images=20_000,
            image_size=16,
        ),
        name="cifar10",
        coefficients=(0.0, 0.1, 0.3, 1.0),
        complexity="flops",
        warmup_rounds=600,
        search_rounds=200,
        num_train_architectures=2,
        training=WeightTraining(batch_size=128, validation_batch_size=128, norm_batch_size=64, weight_decay=5e-4),
        checkpoint_interval_seconds=60,
    )


def laptop_config() -> OneShotSearchConfig:
    """Hours on two CPU cores: all images, four targets, a supernet that is trained before the distributions move.

    A stem of stride 2 and half of MobileNetV2's widths make the networks cheap enough to train on a CPU. All networks
    lie within the largest, which the sandwich rule trains in each step: where the blocks had weights of their own, the
    supernet was still at chance after as many images. The targets rise by a factor of 1.6 from a fifth above the
    cheapest network to nearly the most expensive one. [ours]
    """
    return OneShotSearchConfig(
        space=cifar10_mobile_space(
            0.5, stem_stride=LAPTOP_STEM_STRIDE, expansions=(2, 4, 6), kernel_sizes=(3,), elastic=True
        ),
        data=DataConfig(source="cifar10", path="data", validation_fraction=0.1),
        name="cifar10",
        targets=(1.6e6, 2.5e6, 4e6, 6.3e6),
        complexity="flops",
        warmup_rounds=4_000,
        search_rounds=250,
        num_train_architectures=1,
        train_during_search=False,
        optimizer="screened",
        start="prior",
        training=WeightTraining(
            batch_size=64, validation_batch_size=1_024, norm_batch_size=64, learning_rate=0.05, rule="sandwich"
        ),
        checkpoint_interval_seconds=120,
    )


def full_config() -> OneShotSearchConfig:
    """100 epochs on half of the training images, the other half judging architectures.

    The half-and-half split, momentum, weight decay 3e-4, clipping at norm 5 and a learning rate of 0.025 at 64 images
    are those of DARTS (Liu et al., ICLR 2019) and ASNG-NAS (Akimoto et al., ICML 2019); the rate is scaled to 256
    images linearly (Goyal et al., 2017). The warm-up of a fifth, K and the coefficients are ours.
    """
    return OneShotSearchConfig(
        space=cifar10_mobile_space(),
        data=DataConfig(source="cifar10", path="data", validation_fraction=0.5),
        name="cifar10",
        coefficients=(0.0, 0.01, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0),
        complexity="flops",
        warmup_rounds=20 * FULL_EPOCH,
        search_rounds=80 * FULL_EPOCH,
        training=WeightTraining(
            batch_size=FULL_BATCH_SIZE,
            validation_batch_size=FULL_BATCH_SIZE,
            norm_batch_size=64,
            learning_rate=0.1,
            weight_decay=3e-4,
            gradient_clip_norm=5.0,
        ),
        checkpoint_interval_seconds=300,
    )


PRESETS = {"small": small_config, "laptop": laptop_config, "full": full_config}


@checked
@dataclass(frozen=True, kw_only=True)
class Cifar10Options(ExperimentOptions):
    """Options of the experiment: one of three searches."""

    preset: Literal["small", "laptop", "full"] = "small"
    """Small, to see the whole path; a family that makes sense, in hours on a CPU; or at the scale of the published
    searches."""


def cifar10_config(options: Cifar10Options) -> OneShotSearchConfig:
    """The search of the chosen preset; its images are in the folder data, or in that of --data."""
    return PRESETS[options.preset]()


CIFAR10 = Experiment(description=__doc__, config_of=cifar10_config, options=Cifar10Options)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    return CIFAR10.run(argv)


if __name__ == "__main__":
    raise SystemExit(main())
