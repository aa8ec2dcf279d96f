"""K networks for one's own images, from one search.

DIR holds train/<class>/* and val/<class>/* (or test/<class>/*), or just <class>/*. Sizes, channels and classes are
found by themselves; validation images, and test images where there are none, are set apart by class. With nothing else
given, a space of MBConv blocks is made for the images' size. One flag each brings a space and a cost of one's own: see
experiments/own_blocks.py.
"""

import argparse
import dataclasses
from collections.abc import Callable
from math import log2
from typing import Any, TypedDict, TypeVar

from multinas_ray.cluster import load_module, load_object
from multinas_ray.commands.experiment import add_run_arguments, run_experiment, with_run_arguments
from multinas_ray.data import DataConfig, DataFacts, inspect_data
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import Block, ConvLayer, Cost, Head, NetworkSpace, Position, mbconv, skip
from multinas_ray.supernets import WeightTraining

# All numbers here are ours: small enough for a first run on a laptop, to be raised by flags.
DEFAULT_COEFFICIENTS = (0.0, 0.1, 0.3, 1.0)
WARMUP_EPOCHS, SEARCH_EPOCHS = 30, 30
LEAST_WARMUP_ROUNDS, LEAST_SEARCH_ROUNDS = 300, 150
MOST_BATCH_SIZE, MOST_NORM_BATCH_SIZE = 128, 32
LAST_MAP_SIZE, STAGES = 4, ((24, 2), (40, 3), (80, 3), (160, 2))

Made = TypeVar("Made")


def mobile_space(image_shape: tuple[int, int, int], num_classes: int) -> NetworkSpace:
    """Ten MBConv blocks, kernel 3/5 x expansion 3/6 and skips, for images of any size.

    The map is halved until it is about 4x4: at the stem for images above 32 pixels, then at the last stages' first
    blocks.
    """
    size = image_shape[1]
    halvings = max(0, min(5, round(log2(size / LAST_MAP_SIZE))))
    stem_stride = 2 if size > 32 else 1
    stem = Block("stem", (ConvLayer(image_shape[0], 16, 3, stem_stride, activation="relu6"),))
    positions, channels = [], 16
    for stage, (width, depth) in enumerate(STAGES):
        for index in range(depth):
            is_halved = index == 0 and stage >= len(STAGES) - (halvings - (stem_stride - 1))
            blocks = [
                mbconv(channels, width, kernel_size, expansion, stride=2 if is_halved else 1)
                for expansion in (3, 6)
                for kernel_size in (3, 5)
            ]
            positions.append(Position(f"stage{stage + 1}_{index + 1}", (*blocks, *([skip()] if index else []))))
            channels = width
    features = Block("features", (ConvLayer(channels, 320, activation="relu6"),))
    return NetworkSpace("mobile", image_shape, stem, tuple(positions), Head(320, num_classes, features))


class BatchSettings(TypedDict):
    """The settings of WeightTraining about batches, in images."""

    batch_size: int
    validation_batch_size: int
    norm_batch_size: int


def batch_settings(facts: DataFacts, num_workers: int, batch_size: int | None) -> BatchSettings:
    """Batches of at most 128 images that both splits can fill, of whole normalisation groups for each worker."""
    most = min(facts.num_train, facts.num_validation, MOST_BATCH_SIZE if batch_size is None else batch_size)
    norm_batch_size = min(MOST_NORM_BATCH_SIZE, max(1, most // num_workers))
    unit = norm_batch_size * num_workers
    fitting = max(1, most // unit) * unit
    return {
        "batch_size": fitting if batch_size is None else batch_size,
        "validation_batch_size": fitting,
        "norm_batch_size": norm_batch_size,
    }


def custom_config(arguments: argparse.Namespace) -> OneShotSearchConfig:
    """The configuration for the images at --data, with the command line's flags."""
    data = DataConfig(
        source="folder",
        path=arguments.data,
        image_size=arguments.image_size,
        validation_fraction=arguments.validation_fraction,
        horizontal_flip=not arguments.no_flip,
        strict=arguments.strict,
        in_memory=not arguments.stream,
    )
    facts = inspect_data(data)
    for name in arguments.imports:
        load_module(name)
    make_space: Callable[..., Any] = load_object(arguments.space) if arguments.space else mobile_space
    space = _checked(make_space(facts.image_shape, len(facts.class_names)), NetworkSpace, arguments.space)
    costs = [
        _checked(load_object(name)(space), Cost, name)  # type: ignore[type-abstract]
        for name in arguments.cost
    ]
    batches = batch_settings(facts, arguments.num_workers, arguments.batch_size)
    epoch = facts.num_train // batches["batch_size"]
    config = OneShotSearchConfig(
        space=space,
        data=dataclasses.replace(data, image_size=facts.image_shape[1]),
        name=arguments.name,
        coefficients=DEFAULT_COEFFICIENTS,
        complexity=costs[0].name if costs else "flops",
        extra_costs=costs,
        warmup_rounds=_default(arguments.warmup_rounds, max(LEAST_WARMUP_ROUNDS, WARMUP_EPOCHS * epoch)),
        search_rounds=_default(arguments.search_rounds, max(LEAST_SEARCH_ROUNDS, SEARCH_EPOCHS * epoch)),
        num_train_architectures=2,
        training=WeightTraining(weight_decay=3e-4, **batches),
    )
    return with_run_arguments(config, arguments)


def _checked(made: Any, kind: type[Made], name: str) -> Made:
    if not isinstance(made, kind):
        raise ConfigError(f"{name} must return {kind.__name__}, not {type(made).__name__}")
    return made


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def custom_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_argument_group("the images").add_argument
    group("--data", metavar="DIR", required=True, help="folder with a folder of images for each class")
    group("--image-size", metavar="PIXELS", type=int, help="height and width (default: the images' median, at most 64)")
    text = "share of the training images that judge architectures (default: %(default)s)"
    group("--validation-fraction", metavar="SHARE", type=float, default=0.2, help=text)
    group("--no-flip", action="store_true", help="never mirror images: where left and right differ, as in letters")
    group("--stream", action="store_true", help="decode images when they are needed: for sets larger than the memory")
    group("--strict", action="store_true", help="stop at the first damaged image instead of leaving it out")
    group = parser.add_argument_group("what is searched").add_argument
    group("--space", metavar="FILE.py:FUNCTION", help="own space: a function of (image_shape, num_classes)")
    text = "own cost: a function of the space that returns a Cost; repeatable; the first is the complexity"
    group("--cost", metavar="FILE.py:FUNCTION", action="append", default=[], help=text)
    text = "further module or .py file that registers own blocks; may be repeated"
    group("--import", metavar="MODULE", dest="imports", action="append", default=[], help=text)
    group = parser.add_argument_group("how long").add_argument
    text = "{} rounds (default: {} epochs, at least {} rounds)"
    least = LEAST_WARMUP_ROUNDS, LEAST_SEARCH_ROUNDS
    group("--warmup-rounds", metavar="N", type=int, help=text.format("warm-up", WARMUP_EPOCHS, least[0]))
    group("--search-rounds", metavar="N", type=int, help=text.format("search", SEARCH_EPOCHS, least[1]))
    group(
        "--batch-size", metavar="B", type=int, help=f"(default: {MOST_BATCH_SIZE}, less where there are fewer images)"
    )
    add_run_arguments(parser, name="custom")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    return run_experiment(custom_parser(), custom_config, argv)


if __name__ == "__main__":
    raise SystemExit(main())
