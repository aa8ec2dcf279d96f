"""`retrain`: train the chosen networks, side by side."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_label, add_run
from multinas_ray.retraining import AUGMENTATIONS, INITS, PRECISIONS, SCALINGS, TRAINED_ON, RetrainConfig

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RetrainConfig)}


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    parser = commands.add_parser(
        "retrain",
        help="train the chosen networks and test them",
        description="Train the networks that a search (or `select --max`) chose, side by side as the machine has room, "
        "and test them. Weights go to RUN/networks/<network>/retrained.pt, each epoch's figures to training.parquet "
        "beside them, test accuracies to RUN/architectures.parquet, TensorBoard's curves to RUN/retraining. The test "
        "images choose nothing. Cut off at any moment, the same command goes on from the last checkpoints; networks "
        "that are finished are not trained again.",
        epilog="example: multinas-ray retrain runs/quickstart --epochs 25 --batch-size 64 --augmentation standard",
    )
    add_run(parser)
    add_label(parser)
    parser.add_argument(
        "--networks",
        metavar="N",
        type=int,
        nargs="+",
        help="only these networks, by their number in the table; 0 is the smallest",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="drop earlier trainings of these networks and start anew"
    )
    _add_recipe(parser)
    _add_regularisation(parser)
    _add_machine(parser)
    trackers = parser.add_argument_group("followed by, beside TensorBoard")
    trackers.add_argument(
        "--mlflow", metavar="URI", help="MLflow's tracking server or store, such as sqlite:///runs.db"
    )
    trackers.add_argument("--wandb", metavar="PROJECT", help="a project in Weights & Biases")
    add_build_arguments(parser)
    parser.set_defaults(command=run)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe: SGD, warm-up and cosine")
    _setting(group, "epochs", int, "passes over the images")
    _setting(group, "batch_size", int, "images of one step, over all workers of a network")
    _setting(group, "learning_rate", float, "peak learning rate for a batch of 256 images")
    _setting(group, "learning_rate_scaling", str, "linear: in proportion to the batch; none: as given", SCALINGS)
    _setting(group, "warmup_epochs", float, "epochs over which it rises (default: 5, or a tenth of fewer than 50)")
    _setting(group, "momentum", float, "Nesterov momentum")
    _setting(group, "precision", str, "auto: bfloat16 on GPUs, float32 on CPUs", PRECISIONS)
    _setting(group, "gradient_clip_norm", float, "largest norm of the gradient; inf for no clipping")
    _setting(group, "init", str, "fresh weights, or those of the supernet", INITS)
    _setting(group, "train_on", str, "all: training and validation images; train: tell the validation loss", TRAINED_ON)
    _setting(group, "seed", int, "decides fresh weights, order and augmentation")


def _add_regularisation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe: against overfitting")
    _setting(
        group, "augmentation", str, "standard is crops, and flips where the data allow; the rest adds", AUGMENTATIONS
    )
    _setting(group, "cutout_fraction", float, "side of cutout's square, as a share of the image's")
    _setting(group, "randaugment_ops", int, "RandAugment's operations for each image")
    _setting(group, "randaugment_magnitude", int, "their strength, 0 to 30")
    _setting(group, "weight_decay", float, "on all weights but biases and batch normalisation")
    _setting(group, "label_smoothing", float, "share of the target spread over all classes")
    _setting(group, "ema_decay", float, "moving average of the weights, which is kept; 0 for none")
    _setting(group, "ema_warmup_power", float, "the average's decay is at most 1 - step ** -POWER")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    _setting(group, "num_workers", int, "workers of each network")
    group.add_argument("--use-gpu", action="store_true", help="one GPU for each worker")
    _setting(group, "cpus_per_worker", float, "CPUs that each worker asks Ray for")
    _setting(group, "threads_per_worker", int, "CPU threads of each worker (default: as many as it asks CPUs for)")
    _setting(group, "max_failures", int, "restarts of a network whose worker died; -1 for no limit")
    _setting(group, "checkpoint_interval_seconds", float, "least time between checkpoints")


def _setting(group: Any, name: str, kind: type, text: str, choices: tuple[str, ...] | None = None) -> None:
    default = _DEFAULTS[name]
    group.add_argument(
        f"--{name.replace('_', '-')}",
        type=kind,
        default=default,
        choices=choices,
        metavar=None if choices else {int: "N", float: "X"}[kind],
        help=text if default is None else f"{text} (default: {default})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit status."""
    from rich.console import Console

    from multinas_ray.retraining import Trackers, retrain_networks
    from multinas_ray.storage import resolve

    config = RetrainConfig(**{name: getattr(arguments, name) for name in _DEFAULTS})
    console = Console()
    family = retrain_networks(
        arguments.run,
        config,
        label=arguments.label,
        networks=arguments.networks,
        overwrite=arguments.overwrite,
        trackers=Trackers(mlflow=arguments.mlflow, wandb=arguments.wandb),
        data_path=arguments.data,
        imports=arguments.imports,
        console=console,
    )
    place = resolve(family.path)
    for what, where in (("Networks", place.join("networks")), ("Curves", place.join("retraining"))):
        console.print(f"{what}: {where}", soft_wrap=True, highlight=False, markup=False)
    return 0
