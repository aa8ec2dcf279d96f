"""K = 4 networks for real handwritten digits, on a laptop's CPU, in minutes.

After the search, the chosen networks are trained, exported with a check of every file, and shown in a report. The
images are the 1,797 digits that come with scikit-learn; nothing is downloaded.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import digits_space
from multinas_ray.supernets import WeightTraining

if TYPE_CHECKING:
    from rich.console import Console


def quickstart_config(options: ExperimentOptions) -> OneShotSearchConfig:
    """The search of this experiment."""
    return OneShotSearchConfig(
        space=digits_space(width_multiplier=0.25),  # so small that the digits tell its networks apart
        data=DataConfig(source="digits", validation_fraction=0.25),
        name="quickstart",
        targets=(1_500, 2_500, 5_000, 11_000),  # parameters: the best network within each is wanted
        complexity="params",
        # The weights come first: so few images judge all subnets fairly only when the weights no longer change.
        warmup_rounds=1000,
        search_rounds=200,
        train_during_search=False,
        samples_per_update=16,
        memory=2,
        training=WeightTraining(
            batch_size=64, validation_batch_size=352, norm_batch_size=32, learning_rate=0.1, weight_decay=1e-4
        ),
        checkpoint_interval_seconds=20,
    )


def complete(config: OneShotSearchConfig, arguments: argparse.Namespace, console: Console) -> None:
    """Train, export and report the networks that the search has chosen."""
    from multinas_ray.export import export_networks
    from multinas_ray.report import write_report
    from multinas_ray.retraining import RetrainConfig, retrain_networks

    if not arguments.search_only:
        recipe = RetrainConfig(  # the best of six by validation accuracy, without training on these images (2 seeds)
            epochs=30,
            batch_size=64,
            learning_rate=0.4,  # for 256 images: 0.1 here
            augmentation="standard",
            seed=config.seed,
        )
        retrain_networks(config.run_path, recipe, console=console)
        export_networks(config.run_path, console=console)
    console.print(f"Report: {write_report(config.run_path)}", soft_wrap=True, highlight=False, markup=False)


QUICKSTART = Experiment(description=__doc__, config_of=quickstart_config, options=ExperimentOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    parser = QUICKSTART.parser()
    parser.add_argument("--search-only", action="store_true", help="leave out retraining and export")
    return QUICKSTART.run(argv, parser=parser, complete=complete)


if __name__ == "__main__":
    raise SystemExit(main())
