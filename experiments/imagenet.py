"""K = 8 networks for ImageNet from one search, by default for 150 to 600 million multiply-adds.

DIR has train/<class>/* and val/<class>/* on a disk that all nodes share, or it is a folder of image shards
(multinas_ray.data.write_image_shards), which may be in a bucket, s3://BUCKET/imagenet. Any other tree of photos works
too. --dry-run prints the search's time and cost before anything is spent, also without images and without a cluster.

The defaults are those of the most similar published searches, see imagenet_config. This search has not been run at full
length.
"""

from __future__ import annotations

import dataclasses
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
    """Peak learning rate for a batch of 256 images; it is scaled to the batch."""
    training: WeightTraining = field(
        default_factory=lambda: WeightTraining(
            batch_size=1024, validation_batch_size=256, norm_batch_size=32, weight_decay=4e-5, label_smoothing=0.1
        )
    )
    """The training of the weights, except learning rate and precision."""
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


def imagenet_config(options: ImageNetOptions) -> OneShotSearchConfig:
    """The search of these options.

    These settings come from ProxylessNAS's published search on this space (Cai et al., ICLR 2019,
    imagenet_arch_search.py): 40 epochs of warm-up and 120 of search, SGD with Nesterov momentum 0.9, weight decay 4e-5,
    label smoothing 0.1, a cosine from 0.025 at 256 images, crops of random size, and 50,000 training images set apart
    to judge architectures. The rate is scaled linearly with the batch (Goyal et al., 2017) and rises over the first 2 %
    of the steps. A weight step trains one subnet, as in ProxylessNAS and in Guo et al. (Single Path One-Shot, ECCV
    2020). K, the targets, two samples of each distribution in an update, batches of 1,024 and 256 images, and
    normalisation over 32 images are ours.
    """
    num_train, num_classes = _images(options)
    batch_size = options.training.batch_size
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
        training=dataclasses.replace(
            options.training,
            learning_rate=options.learning_rate * batch_size / 256,
            precision="bfloat16" if options.use_gpu else "float32",
        ),
        checkpoint_interval_seconds=300,
        max_worker_failures=20,  # several are lost in a day on spot nodes; repeated failures still end the search
    )


def _images(options: ImageNetOptions) -> tuple[int, int]:
    """Numbers of training images without those held out, and of classes; ImageNet's if there are no images."""
    from multinas_ray.data import inspect_data

    if not options.has_images:
        return round(IMAGENET_TRAIN_IMAGES * (1 - options.data.validation_fraction)), IMAGENET_CLASSES
    facts = inspect_data(options.data)
    return facts.num_train, len(facts.class_names)


IMAGENET = Experiment(description=__doc__, config_of=imagenet_config, options=ImageNetOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    return IMAGENET.run(argv)


if __name__ == "__main__":
    raise SystemExit(main())
