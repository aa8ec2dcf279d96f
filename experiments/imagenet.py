"""K = 8 networks for ImageNet from one search, by default for 150 to 600 million multiply-adds.

DIR has train/<class>/* and val/<class>/* on a disk that all nodes share, or it is a folder of image shards
(multinas_ray.data.write_image_shards), which may be in a bucket, s3://BUCKET/imagenet. Any other tree of photos works
too. --dry-run prints the search's time and cost before anything is spent, also without images and without a cluster.

The defaults are those of the most similar published searches, see imagenet_config. Batches, learning rate and rounds
follow from the number of workers, from 1 to 64 and beyond, see default_batches; --dry-run tells them. This search has
not been run at full length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.settings import NonNegativeInt, PositiveFloat, PositiveInt, checked
from multinas_ray.spaces import imagenet_mobile_space
from multinas_ray.supernets import WeightTraining

IMAGENET_TRAIN_IMAGES, IMAGENET_CLASSES = 1_281_167, 1000
HELD_OUT_IMAGES = 50_000
IMAGENET_FOLDER = "imagenet"
NORM_BATCH_SIZE, IMAGES_PER_WORKER = 32, 128
LEAST_BATCH_SIZE, MOST_BATCH_SIZE, TRAINED_PER_VALIDATED = 1024, 8192, 4
RISE_EPOCHS = 5
DEFAULT_TARGETS = (150e6, 214e6, 279e6, 343e6, 407e6, 471e6, 536e6, 600e6)


@checked
@dataclass(frozen=True, kw_only=True)
class ImageNetOptions(ExperimentOptions):
    """The images, the space and the training of this search."""

    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            source="folder",
            path=IMAGENET_FOLDER,
            image_size=224,
            validation_fraction=HELD_OUT_IMAGES / IMAGENET_TRAIN_IMAGES,
            in_memory=False,
        )
    )
    """The images; only a dry run works without them."""
    width: PositiveFloat = 1.0
    """Factor on all numbers of channels."""
    squeeze_excitation: bool = False
    """Squeeze and excitation in every block, as in MobileNetV3."""
    warmup_epochs: NonNegativeInt = 40
    """Epochs before the search."""
    epochs: PositiveInt = 120
    """Epochs of the search."""
    learning_rate: PositiveFloat = 0.025
    """Peak learning rate for a batch of 256 images; it is scaled to the batch, up to 8,192 images."""
    num_workers: PositiveInt = 1
    """Number of workers of the search, from which the batches follow."""
    batch_size: PositiveInt | None = None
    """Images of one weight step; None: 1,024, or 128 for each worker, see `default_batches`."""
    validation_batch_size: PositiveInt | None = None
    """Images on which a round's subnets are compared; None: a quarter of the batch."""
    norm_batch_size: PositiveInt = NORM_BATCH_SIZE
    """Images that share batch-normalisation statistics."""
    use_gpu: bool = False
    """Use one GPU for each worker, in bfloat16."""
    targets: Sequence[float] | None = None
    """Targets in multiply-adds, or in the unit of --complexity; None: eight from 150 to 600 million multiply-adds."""
    coefficients: Sequence[float] | None = None
    """Weights of the complexity, in place of targets."""

    @property
    def has_images(self) -> bool:
        """Whether images are given, or are in the folder imagenet."""
        from multinas_ray.storage import exists, resolve

        return exists(str(self.data.path)) or resolve(str(self.data.path)) != resolve(IMAGENET_FOLDER)


def default_batches(options: ImageNetOptions) -> tuple[int, int]:
    """Images of a weight step and of a validation batch: the same whole normalisation groups for each worker.

    A weight step has 1,024 images, with more than 8 workers 128 for each, and at most 8,192, up to which Goyal et al.
    (Accurate, Large Minibatch SGD, arXiv 1706.02677) found that a learning rate in proportion to the batch gives the
    same accuracy. A validation batch has a quarter as many. So from 8 to 64 workers the work of each in a round stays
    the same, and the epochs stay the same with fewer rounds. All of this but the bound is ours.
    """
    workers, group = options.num_workers, options.norm_batch_size
    wanted = options.batch_size or max(LEAST_BATCH_SIZE, min(IMAGES_PER_WORKER * workers, MOST_BATCH_SIZE))
    groups = max(1, wanted // (group * workers))
    batch_size = options.batch_size or groups * group * workers
    return batch_size, options.validation_batch_size or max(1, groups // TRAINED_PER_VALIDATED) * group * workers


def imagenet_config(options: ImageNetOptions) -> OneShotSearchConfig:
    """The search of these options.

    These settings come from ProxylessNAS's published search on this space (Cai et al., ICLR 2019,
    imagenet_arch_search.py): 40 epochs of warm-up and 120 of search, SGD with Nesterov momentum 0.9, weight decay 4e-5,
    label smoothing 0.1, a cosine from 0.025 at 256 images, crops of random size, and 50,000 training images set apart
    to judge architectures. The rate is scaled linearly with the batch, up to 8,192 images, and rises over the first
    five epochs, both as in Goyal et al. (2017). A weight step trains one subnet, as in ProxylessNAS and in Guo et al.
    (Single Path One-Shot, ECCV 2020). K, the targets, two samples of each distribution in an update, the batches (see
    `default_batches`), and normalisation over 32 images are ours.
    """
    num_train, num_classes = _images(options)
    batch_size, validation_batch_size = default_batches(options)
    epoch = num_train // batch_size
    is_told = options.targets is not None or options.coefficients is not None
    return OneShotSearchConfig(
        space=imagenet_mobile_space(
            num_classes=num_classes,
            image_size=options.data.image_size or 224,
            width_multiplier=options.width,
            squeeze_excitation=options.squeeze_excitation,
        ),
        data=options.data,
        name="imagenet",
        targets=None if is_told else DEFAULT_TARGETS,
        coefficients=(0.0,) if is_told else None,  # the given targets take its place
        complexity="flops",
        warmup_rounds=options.warmup_epochs * epoch,
        search_rounds=options.epochs * epoch,
        num_train_architectures=1,
        training=WeightTraining(
            batch_size=batch_size,
            validation_batch_size=validation_batch_size,
            norm_batch_size=options.norm_batch_size,
            learning_rate=options.learning_rate * min(batch_size, MOST_BATCH_SIZE) / 256,
            learning_rate_rise=min(0.5, RISE_EPOCHS / (options.warmup_epochs + options.epochs)),
            weight_decay=4e-5,
            label_smoothing=0.1,
            precision="bfloat16" if options.use_gpu else "float32",
        ),
        num_workers=options.num_workers,
        checkpoint_interval_seconds=300,
        max_worker_failures=20,  # several are lost in a day on spot nodes; repeated failures still end the search
    )


def told_rules(config: OneShotSearchConfig) -> list[tuple[str, str]]:
    """The settings that follow from the number of workers, each with its value and its rule."""
    training, number = config.training, config.num_distributions
    updates = config.optimizer_settings.update_size
    return [
        ("batch_size", f"{training.batch_size:,}: 1,024 images, beyond 8 workers 128 for each, at most 8,192"),
        ("validation_batch_size", f"{training.validation_batch_size:,}: a quarter of the batch"),
        ("learning_rate", f"{training.learning_rate:g}: 0.025 for 256 images, in proportion to the batch up to 8,192"),
        ("learning_rate_rise", f"{training.learning_rate_rise:.3g} of the weight steps: five epochs"),
        (
            "rounds",
            f"{config.warmup_rounds:,} and {config.search_rounds:,}: 40 and 120 epochs, fewer in larger batches",
        ),
        ("samples_per_update", f"{updates}: two for each of {number} distributions, with any number of workers"),
        ("rounds_ahead", f"{config.rounds_ahead}, with any number of workers, since the work of each stays the same"),
    ]


def _images(options: ImageNetOptions) -> tuple[int, int]:
    """Numbers of training images without those held out, and of classes; ImageNet's if there are no images."""
    from multinas_ray.data import inspect_data

    if not options.has_images:
        return round(IMAGENET_TRAIN_IMAGES * (1 - options.data.validation_fraction)), IMAGENET_CLASSES
    facts = inspect_data(options.data)
    return facts.num_train, len(facts.class_names)


IMAGENET = Experiment(description=__doc__, config_of=imagenet_config, options=ImageNetOptions, rules_of=told_rules)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    return IMAGENET.run(argv)


if __name__ == "__main__":
    raise SystemExit(main())
