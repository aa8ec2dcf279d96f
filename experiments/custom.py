"""K networks for your own images, from one search.

DIR has train/<class>/* and val/<class>/* (or test/<class>/*), or just <class>/*. Sizes, channels and classes are
detected; validation images, and test images if there are none, are set apart by class. Without further flags, a space
of MBConv blocks is made for the size of the images, and four networks are sought between the cheapest and the largest
of it. --width makes the space wider or narrower, down to microcontrollers. With one flag each, you give a space and a
cost of your own: see experiments/own_blocks.py. --dry-run tells what all this comes to, before anything starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import log2
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar

from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError, raised_by
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.settings import Flag, PositiveFloat, PositiveInt, checked
from multinas_ray.spaces import Block, ConvLayer, Cost, Head, NetworkSpace, Position, Space, mbconv, skip
from multinas_ray.storage import GivenCode
from multinas_ray.supernets import WeightTraining

if TYPE_CHECKING:
    from multinas_ray.data import DataFacts

# All numbers here are ours: they are small enough for a first run on a laptop, and flags can raise them.
NUM_TARGETS = 4
WARMUP_EPOCHS, SEARCH_EPOCHS = 30, 30
LEAST_WARMUP_ROUNDS, LEAST_SEARCH_ROUNDS = 300, 150
MOST_BATCH_SIZE, MOST_NORM_BATCH_SIZE = 128, 32
STEM_WIDTH, LAST_WIDTH, STAGES = 16, 320, ((24, 2), (40, 3), (80, 3), (160, 2))
LAST_MAP_SIZE, NARROW = 4, 0.5

Made = TypeVar("Made")


def mobile_space(image_shape: tuple[int, int, int], num_classes: int, width_multiplier: float = 1.0) -> NetworkSpace:
    """Ten MBConv blocks, kernel 3/5 x expansion 3/6 and skips, for images of any size.

    The feature map is halved until it is about 4x4: at the stem for images above 32 pixels and in narrow spaces, then
    at the first blocks of the last stages.

    Args:
        image_shape: (channels, height, width) of the images.
        num_classes: Number of classes.
        width_multiplier: Factor on all numbers of channels; at least 2 channels stay.
    """
    size = image_shape[1]
    halvings = max(0, min(5, round(log2(size / LAST_MAP_SIZE))))
    stem_stride = 2 if size > 32 or (width_multiplier < NARROW and halvings) else 1
    channels = _scaled(STEM_WIDTH, width_multiplier)
    stem = Block("stem", (ConvLayer(image_shape[0], channels, 3, stem_stride, activation="relu6"),))
    positions = []
    for stage, (full_width, depth) in enumerate(STAGES):
        width = _scaled(full_width, width_multiplier)
        for index in range(depth):
            is_halved = index == 0 and stage >= len(STAGES) - (halvings - (stem_stride - 1))
            blocks = [
                mbconv(channels, width, kernel_size, expansion, stride=2 if is_halved else 1)
                for expansion in (3, 6)
                for kernel_size in (3, 5)
            ]
            positions.append(Position(f"stage{stage + 1}_{index + 1}", (*blocks, *([skip()] if index else []))))
            channels = width
    last = _scaled(LAST_WIDTH, width_multiplier)
    features = Block("features", (ConvLayer(channels, last, activation="relu6"),))
    return NetworkSpace("mobile", image_shape, stem, tuple(positions), Head(last, num_classes, features))


def _scaled(width: int, multiplier: float) -> int:
    return max(2, round(width * multiplier))


def default_targets(cost: Cost) -> tuple[float, ...]:
    """Targets in equal ratios (in equal steps if a network may cost nothing), the last that of the largest network.

    They are rounded to two digits, so that they can be read.
    """
    least, most = cost.minimum, cost.maximum
    places = [k / NUM_TARGETS for k in range(1, NUM_TARGETS)]
    inner = [least * (most / least) ** each if least > 0 else least + (most - least) * each for each in places]
    rounded = [float(f"{each:.1e}") for each in inner]
    targets = rounded if all(least <= each < most for each in rounded) else inner
    return (*sorted(set(targets)), most)


class BatchSettings(TypedDict):
    """The batch sizes of WeightTraining, in images."""

    batch_size: int
    validation_batch_size: int
    norm_batch_size: int


def batch_settings(
    facts: DataFacts, num_workers: int, batch_size: int | None = None, norm_batch_size: int | None = None
) -> BatchSettings:
    """Batches that the splits can fill, with whole normalisation groups for each worker.

    Args:
        facts: The numbers of images.
        num_workers: Number of workers that share a batch.
        batch_size: Images of a weight step; None: at most 128.
        norm_batch_size: Images of a normalisation group; None: at most 32, and a divisor of the batch of a worker.
    """
    most = min(facts.num_train, facts.num_validation, MOST_BATCH_SIZE if batch_size is None else batch_size)
    group = norm_batch_size or min(MOST_NORM_BATCH_SIZE, max(1, most // num_workers))
    if batch_size is not None and norm_batch_size is None:
        share = max(1, batch_size // num_workers)
        group = next(each for each in range(min(group, share), 0, -1) if share % each == 0)
    unit = group * num_workers
    return {
        "batch_size": max(1, most // unit) * unit if batch_size is None else batch_size,
        "validation_batch_size": max(1, min(facts.num_validation, MOST_BATCH_SIZE) // unit) * unit,
        "norm_batch_size": group,
    }


@checked
@dataclass(frozen=True, kw_only=True)
class CustomOptions(ExperimentOptions):
    """The images, and functions that make a space and costs for them."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="folder", path="images"))
    """The images; in the folder images, unless another path is given."""
    num_workers: PositiveInt = 1
    """Number of workers of the search. Each needs whole normalisation groups."""
    batch_size: PositiveInt | None = None
    """Images of one weight step; None: 128, or fewer if there are fewer images."""
    norm_batch_size: PositiveInt | None = None
    """Images that share normalisation statistics; None: 32, or fewer that fit the batches."""
    width: PositiveFloat = 1.0
    """Factor on all numbers of channels of the MBConv blocks. At 32 pixels, 0.05 reaches below 0.1 million
    multiply-adds, for microcontrollers."""
    space_function: Annotated[GivenCode | None, Flag("space", metavar="FILE.py:FUNCTION")] = None
    """A space of your own: a function of (image_shape, num_classes); None: MBConv blocks for the images' size."""
    cost_functions: Annotated[tuple[GivenCode, ...], Flag("cost", metavar="FILE.py:FUNCTION")] = ()
    """Costs of your own: functions of the space that return a Cost. The first is the complexity."""


def custom_config(options: CustomOptions) -> OneShotSearchConfig:
    """The search for the images at --data, with targets from small to the largest network of the space.

    The warm-up and the search have 30 epochs each, but at least 300 and 150 rounds.

    Raises:
        ConfigError: A function returns an object of the wrong type.
        DataError: There are no images.
    """
    from multinas_ray.cluster import load_object
    from multinas_ray.data import inspect_data

    facts = inspect_data(options.data)
    function = options.space_function
    make_space: Callable[..., Any] = partial(mobile_space, width_multiplier=options.width)
    if function is not None:
        make_space = load_object(function)
    with raised_by(f"the function {function}"):
        made = make_space(facts.image_shape, len(facts.class_names))
    space = _checked(made, Space, str(function))  # type: ignore[type-abstract]  # only asked of instances
    costs = [
        _checked(_cost_of(name, space), Cost, name)  # type: ignore[type-abstract]  # only asked of instances
        for name in options.cost_functions
    ]
    batches = batch_settings(facts, options.num_workers, options.batch_size, options.norm_batch_size)
    epoch = facts.num_train // batches["batch_size"]
    complexity = costs[0] if costs else space.costs["flops"]
    return OneShotSearchConfig(
        space=space,
        data=dataclasses.replace(options.data, image_size=facts.image_shape and facts.image_shape[1]),
        name="custom",
        targets=default_targets(complexity),
        complexity=complexity.name,
        extra_costs=costs,
        warmup_rounds=max(LEAST_WARMUP_ROUNDS, WARMUP_EPOCHS * epoch),
        search_rounds=max(LEAST_SEARCH_ROUNDS, SEARCH_EPOCHS * epoch),
        num_train_architectures=2,
        training=WeightTraining(weight_decay=3e-4, **batches),
        num_workers=options.num_workers,
    )


def _cost_of(name: str, space: Space) -> Any:
    """What a person's function gives for a space."""
    from multinas_ray.cluster import load_object

    function = load_object(name)
    with raised_by(f"the function {name}"):
        return function(space)


def _checked(made: Any, kind: type[Made], name: str) -> Made:
    if not isinstance(made, kind):
        raise ConfigError(f"{name} must return a {kind.__name__}, got {type(made).__name__}")
    return made


CUSTOM = Experiment(description=__doc__, config_of=custom_config, options=CustomOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    return CUSTOM.run(argv)


if __name__ == "__main__":
    raise SystemExit(main())
