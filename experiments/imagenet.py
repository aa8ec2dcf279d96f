"""K = 8 networks for ImageNet from one search, by default for 150 to 600 million multiply-adds.

DIR holds train/<class>/* and val/<class>/* on a disk that all nodes share, or is a folder of image shards
(multinas_ray.data.write_image_shards), also in a bucket, s3://BUCKET/imagenet. Any other tree of photos will do.
--dry-run prints what the search will take and checks the cluster, before anything is spent.

The defaults are those of the published searches nearest to this one, see imagenet_config; this one has not been run at
full length.
"""

import argparse

import numpy as np
from rich.console import Console

from multinas_ray.commands.experiment import EXIT_ERROR, add_run_arguments, run_experiment, with_run_arguments
from multinas_ray.data import DataConfig, inspect_data
from multinas_ray.errors import MultiNASError
from multinas_ray.oneshot import OneShotSearchConfig, dry_run
from multinas_ray.spaces import imagenet_mobile_space
from multinas_ray.storage import resolve
from multinas_ray.supernets import WeightTraining

IMAGENET_TRAIN_IMAGES, IMAGENET_CLASSES = 1_281_167, 1000
HELD_OUT_IMAGES = 50_000
DEFAULT_TARGETS = (1e6 * np.linspace(150, 600, 8).round()).tolist()


def imagenet_config(arguments: argparse.Namespace) -> OneShotSearchConfig:
    """The search with the command line's flags.

    From ProxylessNAS's published search on this space (Cai et al., ICLR 2019, imagenet_arch_search.py): 40 epochs to
    warm up and 120 to search, SGD with Nesterov momentum 0.9, weight decay 4e-5, label smoothing 0.1, a cosine from
    0.025 at 256 images, crops of random size, and 50,000 training images set apart to judge architectures. The rate is
    scaled to the batch linearly (Goyal et al., 2017) and rises over the first 2 % of the steps. One subnet a weight
    step, as in ProxylessNAS and in Guo et al. (Single Path One-Shot, ECCV 2020). K, the targets, two samples of each
    distribution an update, batches of 1,024 and 256 images, and normalisation over 32 images are ours.
    """
    num_train, num_classes, fraction = _images(arguments)
    is_told = arguments.targets is not None or arguments.coefficients is not None
    epoch = num_train // arguments.batch_size
    config = OneShotSearchConfig(
        space=imagenet_mobile_space(
            num_classes=num_classes,
            image_size=arguments.image_size,
            width_multiplier=arguments.width,
            squeeze_excitation=arguments.squeeze_excitation,
        ),
        data=_data(arguments, fraction),
        name=arguments.name,
        targets=None if is_told else DEFAULT_TARGETS,
        coefficients=(0.0,) if is_told else None,  # the flags' take their place
        complexity="flops",
        warmup_rounds=arguments.warmup_epochs * epoch,
        search_rounds=arguments.epochs * epoch,
        num_train_architectures=arguments.train_subnets,
        samples_per_update=arguments.samples_per_update,
        training=WeightTraining(
            batch_size=arguments.batch_size,
            validation_batch_size=arguments.validation_batch_size,
            norm_batch_size=arguments.norm_batch_size,
            learning_rate=arguments.learning_rate * arguments.batch_size / 256,
            weight_decay=4e-5,
            label_smoothing=0.1,
            precision="bfloat16" if arguments.use_gpu else "float32",
        ),
        checkpoint_interval_seconds=300,
        max_worker_failures=20,  # a day on spot nodes loses several; one that fails again and again still ends
    )
    return with_run_arguments(config, arguments)


def _data(arguments: argparse.Namespace, validation_fraction: float) -> DataConfig:
    path = arguments.data or "imagenet"
    return DataConfig(
        source="folder",
        path=str(resolve(path)),  # workers have folders of their own
        image_size=arguments.image_size,
        validation_fraction=validation_fraction,
        in_memory=False,
        decode_processes=arguments.decode_processes,
        strict=arguments.strict,
    )


def _images(arguments: argparse.Namespace) -> tuple[int, int, float]:
    """Training images without those held out, classes, and the share held out; ImageNet's where there is no --data."""
    fraction = arguments.validation_fraction
    if arguments.data is None:
        return round(IMAGENET_TRAIN_IMAGES * (1 - fraction)), IMAGENET_CLASSES, fraction
    facts = inspect_data(_data(arguments, fraction))
    return facts.num_train, len(facts.class_names), fraction


def imagenet_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_argument_group("the images").add_argument
    group("--data", metavar="DIR", help="folder or bucket of the images; only a --dry-run can do without")
    group("--image-size", metavar="PIXELS", type=int, default=224, help="height and width (default: %(default)s)")
    text = "share of the training images that judge architectures (default: %(default).4f, 50,000 of ImageNet)"
    default = HELD_OUT_IMAGES / IMAGENET_TRAIN_IMAGES
    group("--validation-fraction", metavar="SHARE", type=float, default=default, help=text)
    text = "processes of a worker that decode images (default: the node's cores, shared by its workers)"
    group("--decode-processes", metavar="P", type=int, help=text)
    group("--strict", action="store_true", help="stop at the first damaged image instead of leaving it out")
    group = parser.add_argument_group("what is searched").add_argument
    group("--width", metavar="FACTOR", type=float, default=1.0, help="of all channels (default: %(default)s)")
    group("--squeeze-excitation", action="store_true", help="in every block, as MobileNetV3")
    text = "subnets evaluated a round, a multiple of their number (default: 2 for each target)"
    group("--samples-per-update", metavar="N", type=int, help=text)
    group = parser.add_argument_group("how it is trained").add_argument
    group("--warmup-epochs", metavar="E", type=int, default=40, help="before the search (default: %(default)s)")
    group("--epochs", metavar="E", type=int, default=120, help="of the search (default: %(default)s)")
    group("--batch-size", metavar="B", type=int, default=1024, help="over all workers (default: %(default)s)")
    text = "images that compare a round's subnets, over all workers (default: %(default)s)"
    group("--validation-batch-size", metavar="B", type=int, default=256, help=text)
    text = "images that are normalised together; every worker holds whole groups (default: %(default)s)"
    group("--norm-batch-size", metavar="B", type=int, default=32, help=text)
    text = "at 256 images; scaled to the batch (default: %(default)s)"
    group("--learning-rate", metavar="RATE", type=float, default=0.025, help=text)
    group("--train-subnets", metavar="T", type=int, default=1, help="subnets of a weight step (default: %(default)s)")
    group = parser.add_argument_group("before spending").add_argument
    group("--dry-run", action="store_true", help="print the plan and its cost, check the cluster, and stop")
    text = "images that a worker trains of an average subnet in a second (default: measured on a worker)"
    group("--images-per-second", metavar="R", type=float, help=text)
    group("--dollars-per-gpu-hour", metavar="PRICE", type=float, help="price of a worker, for the plan")
    add_run_arguments(parser, name="imagenet")
    return parser


def show_plan(arguments: argparse.Namespace) -> int:
    """The dry run; returns the exit status."""
    try:
        dry_run(
            imagenet_config(arguments),
            Console(),
            images_per_second=arguments.images_per_second,
            dollars_per_gpu_hour=arguments.dollars_per_gpu_hour,
            has_images=arguments.data is not None,
        )
    except MultiNASError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)
        return EXIT_ERROR
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    parser = imagenet_parser()
    arguments = parser.parse_args(argv)
    if arguments.dry_run:
        return show_plan(arguments)
    if arguments.data is None:
        parser.error("--data DIR is needed: the folder or bucket of the images")
    return run_experiment(parser, imagenet_config, argv)


if __name__ == "__main__":
    raise SystemExit(main())
