"""K networks for CIFAR-10 from one search.

The images come from torchvision's own folder (--download fetches them) or from a folder with train.parquet and
test.parquet. Presets:

  small  NAS-Bench-Macro's 8 blocks, half as wide, 20,000 images of 16x16: minutes on a CPU, to see the whole path.
  full   the mobile space of 16 MBConv blocks (kernel 3/5/7 x expansion 3/6, skips), all images, K = 8, at the scale
         of its published relatives; for GPUs.
"""

import argparse

from multinas_ray.commands.experiment import add_run_arguments, run_experiment, with_run_arguments
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import cifar10_mobile_space, nas_bench_macro_space
from multinas_ray.supernets import WeightTraining

FULL_TRAIN_IMAGES = 25_000
FULL_BATCH_SIZE = 256
FULL_EPOCH = FULL_TRAIN_IMAGES // FULL_BATCH_SIZE


def small_config(path: str, download: bool) -> OneShotSearchConfig:
    """Minutes on two CPU cores: NAS-Bench-Macro's space of 8 blocks, half as wide, on 20,000 images of 16x16."""
    return OneShotSearchConfig(
        space=nas_bench_macro_space(width_multiplier=0.5, image_size=16),
        data=DataConfig(
            source="cifar10",
            path=path,
            download=download,
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


def full_config(path: str, download: bool) -> OneShotSearchConfig:
    """100 epochs on half of the training images, the other half judging architectures.

    The half-and-half split, momentum, weight decay 3e-4, clipping at norm 5 and a learning rate of 0.025 at 64 images
    are those of DARTS (Liu et al., ICLR 2019) and ASNG-NAS (Akimoto et al., ICML 2019); the rate is scaled to 256
    images linearly (Goyal et al., 2017). The warm-up of a fifth, K and the coefficients are ours.
    """
    return OneShotSearchConfig(
        space=cifar10_mobile_space(),
        data=DataConfig(source="cifar10", path=path, download=download, validation_fraction=0.5),
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


PRESETS = {"small": small_config, "full": full_config}


def cifar10_config(arguments: argparse.Namespace) -> OneShotSearchConfig:
    """The chosen preset, with the command line's flags."""
    return with_run_arguments(PRESETS[arguments.preset](arguments.data, arguments.download), arguments)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small", help="(default: %(default)s)")
    parser.add_argument("--data", metavar="DIR", default="data", help="folder of the images (default: %(default)s)")
    parser.add_argument(
        "--download", action="store_true", help="fetch the images (170 MB) into DIR if they are not there"
    )
    add_run_arguments(parser, name="cifar10")
    return run_experiment(parser, cifar10_config, argv)


if __name__ == "__main__":
    raise SystemExit(main())
