"""`retrain`: training the chosen networks side by side."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_label, add_networks, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "retrain",
        fill=_add_flags,
        command=run,
        help="train the chosen networks and test them",
        description="Train the networks that a search or `select --max` has chosen, and test them. As many are trained "
        "side by side as the machine has room for. The weights are written to RUN/networks/<network>/retrained.pt, the "
        "figures of each epoch to training.parquet beside them, the test accuracies to RUN/architectures.parquet, and "
        "the curves for TensorBoard to RUN/retraining. The test images are not used for any choice. After an "
        "interruption, the same command goes on from the last checkpoints and skips networks that are finished.",
        epilog="example: multinas-ray retrain runs/quickstart --epochs 25 --new-label longer",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.cluster import Trackers
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.retraining import RetrainConfig

    add_run(parser)
    add_label(parser)
    add_networks(parser)
    text = "train copies of the networks as a new family of this label, so that trainings by another recipe stay"
    parser.add_argument("--new-label", metavar="LABEL", help=text)
    parser.add_argument(
        "--overwrite", action="store_true", help="delete earlier trainings of these networks and start anew"
    )
    add_build_arguments(parser)
    add_settings(parser, {"recipe and machine": RetrainConfig, "services that follow, besides TensorBoard": Trackers})


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit status."""
    from multinas_ray.cluster import Trackers, load_module, standard_console
    from multinas_ray.commands.flags import given_settings, read_settings
    from multinas_ray.commands.next_steps import tell_next
    from multinas_ray.retraining import RetrainConfig, retrain_networks
    from multinas_ray.runs import NETWORKS_FOLDER, RETRAINING_FOLDER
    from multinas_ray.storage import resolve

    console = standard_console()
    for name in arguments.imports:
        load_module(name)  # the recipe may name a loss that the module registers
    family = retrain_networks(
        arguments.run,
        read_settings(arguments, RetrainConfig),
        label=arguments.label,
        new_label=arguments.new_label,
        networks=arguments.networks,
        overwrite=arguments.overwrite,
        trackers=Trackers(**given_settings(arguments, Trackers)),
        data_path=arguments.data,
        imports=arguments.imports,
        console=console,
    )
    place, label = resolve(family.path), arguments.label if arguments.new_label is None else arguments.new_label
    for what, where in (("Networks", place.join(NETWORKS_FOLDER)), ("Curves", place.join(RETRAINING_FOLDER))):
        console.print(f"{what}: {where}", soft_wrap=True, highlight=False, markup=False)
    run, data, imports = str(resolve(arguments.run)), arguments.data, arguments.imports
    tell_next(console, ("export", "report"), run, label=label, data=data, imports=imports)
    return 0
