"""Training the chosen networks of a search: side by side, each from its last checkpoint, none twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import ray
from ray import tune
from ray.tune.logger import TBXLoggerCallback
from rich.console import Console
from rich.table import Table

from multinas_ray.cluster import check_room, ray_session
from multinas_ray.data import load_splits
from multinas_ray.errors import ConfigError, DataError, RunError, StateError
from multinas_ray.retraining.recipe import RetrainConfig
from multinas_ray.retraining.trackers import Trackers
from multinas_ray.retraining.trial import retrain_trial, training_resources, trial_resources
from multinas_ray.retraining.view import RetrainingView
from multinas_ray.retraining.worker import RetrainJob
from multinas_ray.runs import (
    adopt_retrained,
    clear_retraining,
    format_count,
    load_retraining,
    network_path,
    record_retrained,
    write_retraining,
)
from multinas_ray.selection import Family, OpenedRun, load_family, open_run
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import list_folders, resolve

WORK_FOLDER = "retraining"
"""Folder below a family for the trials' curves and worker groups."""
SYNC_SECONDS = 20
"""How often Tune copies the curves into the run's folder."""


@checked_arguments
def retrain_networks(
    run_path: str,
    config: RetrainConfig | None = None,
    *,
    label: str | None = None,
    networks: Sequence[int] | None = None,
    overwrite: bool = False,
    trackers: Trackers | None = None,
    data_path: str | None = None,
    imports: Sequence[str] = (),
    console: Console | None = None,
) -> Family:
    """Train the chosen networks of a search, test them, and write weights and figures beside the family.

    Networks train side by side as the cluster has room, the largest first. What is finished is not trained again, and
    what was cut off goes on from its last checkpoint: call it again with the same recipe. The test images choose
    nothing. Networks of one architecture are trained once and share the result.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        config: the recipe; its defaults if None.
        label: of the selection whose networks are meant; None for the run's own.
        networks: numbers of the networks to train; None for all.
        overwrite: drop earlier trainings of these networks and start anew.
        trackers: MLflow, Weights & Biases.
        data_path: where the images lie now; None: where they lay when the search ran.
        imports: modules or .py files that define blocks of one's own.
        console: where progress and the table are printed; the standard output by default.

    Returns:
        The family, with `retrained_*` filled in `architectures`.

    Raises:
        ConfigError, DataError: a setting or the images are not as they must be.
        StateError: there is no such family, or its networks were trained by another recipe.
        RunError: the cluster has too little, or trainings failed more often than they may.
        MissingPackageError: a tracker's package is not installed.
    """
    run_path = str(resolve(run_path))  # trials have working directories of their own
    opened = open_run(run_path, data_path=data_path, imports=imports)
    family = load_family(run_path, label)
    retraining = Retraining(
        opened=opened,
        family=family,
        config=config or RetrainConfig(),
        networks=checked_networks(family, networks),
        trackers=trackers or Trackers(),
        console=console or Console(),
    )
    retraining.run(overwrite=overwrite)
    family = load_family(run_path, label)
    retraining.console.print(retrained_table(family, opened.costs))
    return family


def checked_networks(family: Family, networks: Collection[int] | None) -> list[int]:
    """The numbers of networks to train, ascending; all of the family's for None.

    Raises:
        ConfigError: one is not in the family, or there are none.
    """
    known = family.architectures["network"].tolist()
    chosen = known if networks is None else sorted(set(networks))
    if not chosen or not set(chosen) <= set(known):
        raise ConfigError(f"{family.path} has the networks {known}, not {chosen}: give some of these")
    return chosen


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """One call's trainings: what is still to do, the trials that do it, and their record."""

    opened: OpenedRun
    family: Family
    config: RetrainConfig
    networks: Sequence[int]
    """Ranks of those to train, ascending."""
    trackers: Trackers
    console: Console

    def run(self, *, overwrite: bool) -> None:
        """Train what is not trained, and record it."""
        check_images(self.opened, self.config)
        callbacks = self.trackers.callbacks(resolve(self.family.path).name)
        jobs = self.jobs()
        if overwrite:
            for job in jobs.values():
                clear_retraining(job.folders)
            self.record()
        waiting = {network: job for network, job in jobs.items() if not self._is_done(job)}
        for job in waiting.values():
            for folder in job.folders:
                write_retraining(folder, job.record)
        try:
            if waiting:
                self._train(waiting, callbacks)
        except KeyboardInterrupt:
            self.console.print("Interrupted. The same command goes on from the last checkpoints.")
            raise
        finally:
            self.record()

    def jobs(self) -> dict[int, RetrainJob]:
        """The trainings, one for each architecture, by the number of the first network that has it."""
        table = self.family.architectures
        numbers_of: dict[tuple[int, ...], list[int]] = {}
        for network, architecture in zip(table["network"], table["architecture"], strict=True):
            numbers_of.setdefault(architecture, []).append(network)
        weights = dict(zip(table["network"], table["weights_path"], strict=True))
        place = resolve(self.family.path)
        return {
            numbers[0]: RetrainJob(
                space=self.opened.space,
                data=self.opened.data,
                config=self.config,
                architecture=architecture,
                folders=tuple(str(place.join(network_path(network))) for network in numbers),
                work_path=str(place.join(WORK_FOLDER, "train")),
                supernet_weights=None if weights[numbers[0]] is None else str(place.join(weights[numbers[0]])),
            )
            for architecture, numbers in numbers_of.items()
            if set(numbers) & set(self.networks)
        }

    def _is_done(self, job: RetrainJob) -> bool:
        """Whether a training of this recipe is finished; all networks of the architecture then have its files.

        Raises:
            StateError: another recipe was begun or finished.
        """
        for folder in job.folders:
            record = load_retraining(folder)
            if record is not None and record.architecture != job.architecture:
                clear_retraining([folder])  # of a network that had this number in an earlier family
            elif record is not None:
                _check_same_recipe(folder, record.recipe, job.record.recipe)
        return adopt_retrained(job.folders, job.architecture)

    def _train(self, jobs: dict[int, RetrainJob], callbacks: list[tune.Callback]) -> None:
        config = self.config
        with ray_session():
            check_room(config.num_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu)
            costs = self.family.architectures.set_index("network")["complexity"]
            longest_first = sorted(jobs, key=lambda network: (-costs[network], network))  # so that none ends late
            with RetrainingView(
                self._descriptions(jobs), config.epochs, lambda network: self.record(), self.console
            ) as view:
                results = self._tuner(longest_first, jobs, [view, TBXLoggerCallback(), *callbacks]).fit()  # type: ignore[no-untyped-call]
        if results.errors:
            lines = str(results.errors[0]).strip().splitlines()
            raise RunError(
                f"{len(results.errors)} of {len(jobs)} trainings failed for good (max_failures={config.max_failures}), "
                f"one of them with {lines[-1]}; mend the cause and give the same command again: it goes on"
            )

    def _tuner(self, order: list[int], jobs: dict[int, RetrainJob], callbacks: list[tune.Callback]) -> tune.Tuner:
        work = str(resolve(self.family.path).join(WORK_FOLDER))
        trial = tune.with_resources(tune.with_parameters(retrain_trial, jobs=jobs), trial_resources(self.config))
        return tune.Tuner(
            trial,
            param_space={"network": tune.grid_search(order), **self.config.identity()},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                max_concurrent_trials=networks_at_once(self.config),
                trial_dirname_creator=lambda each: f"network-{each.config['network']}",
            ),
            run_config=tune.RunConfig(
                name=f"session-{len(list_folders(work)):04d}",
                storage_path=work,
                verbose=0,
                callbacks=callbacks,
                failure_config=tune.FailureConfig(max_failures=self.config.max_failures),
                sync_config=tune.SyncConfig(sync_period=SYNC_SECONDS),
            ),
        )

    def _descriptions(self, jobs: dict[int, RetrainJob]) -> dict[int, str]:
        """A name for each training: its networks' numbers and their size."""
        table, name = self.family.architectures.set_index("network"), self.opened.run.config["complexity"]["name"]
        equal = {network: table.index[table["architecture"] == job.architecture] for network, job in jobs.items()}
        return {
            network: f"{', '.join(f'#{each}' for each in equal[network])}  {format_count(table[name][network])} {name}"
            for network in jobs
        }

    def record(self) -> None:
        """Write what these networks' trainings came to, as their files say, into the family's table."""
        folders = [folder for job in self.jobs().values() for folder in job.folders]
        records = {int(resolve(folder).name): load_retraining(folder) for folder in folders}
        record_retrained(
            self.family.path, {network: None if each is None else each.result for network, each in records.items()}
        )


def networks_at_once(config: RetrainConfig) -> int | None:
    """Most trials at once. Ray must be running.

    Trials that only wait for a worker group ask for nearly nothing: more of them than there is room for groups would
    starve each other. Other trials are kept in bounds by what they ask for.
    """
    if config.num_workers == 1:
        return None
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    room = min(int(free.get(name, 0) / amount) for name, amount in training_resources(config).items())
    return max(1, room // config.num_workers)


def check_images(opened: OpenedRun, config: RetrainConfig) -> None:
    """Load the images once on the driver, so that a bad one is named before anything starts.

    Raises:
        DataError: they are missing or damaged, not those of the search, or fewer than a batch.
    """
    splits = load_splits(opened.data)
    found = splits.image_shape, splits.num_classes
    if found != (opened.space.input_shape, opened.space.num_classes):
        raise DataError(
            f"the images are {found[0]} (channels, height, width) in {found[1]} classes, the networks take "
            f"{opened.space.input_shape} and tell {opened.space.num_classes} apart: give the search's images by --data"
        )
    num_images = len(splits.train) + (len(splits.validation) if config.train_on == "all" else 0)
    if num_images < config.batch_size:
        raise DataError(
            f"batch_size={config.batch_size} is more than the {num_images} training images; set it to "
            f"{num_images // config.num_workers * config.num_workers} or less"
        )


def _check_same_recipe(folder: str, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    names = [name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)]
    if names:
        told = "; ".join(f"{name}: recorded {recorded.get(name)}, now {wanted.get(name)}" for name in names[:3])
        raise StateError(
            f"{folder} was trained by another recipe ({told}): give that one to go on or to keep it, or --overwrite to "
            "drop it and train anew"
        )


def retrained_table(family: Family, costs: Collection[str]) -> Table:
    """The networks before and after, for the terminal."""
    costs = [name for name in costs if name in family.architectures]
    table = Table(title=f"{len(family.architectures)} networks, accuracy on the test images", title_justify="left")
    for name in ("#", *costs, "supernet", "retrained", "epochs"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in family.architectures.to_dict("records"):
        is_trained = pd.notna(row["retrained_path"])
        table.add_row(
            str(row["network"]),
            *(format_count(row[name]) for name in costs),
            _percent(row["supernet_test_accuracy"]),
            _percent(row["retrained_accuracy"]) if is_trained else "-",
            f"{row['retrained_epochs']:.0f}" if is_trained else "-",
        )
    return table


def _percent(value: float | None) -> str:
    return "-" if pd.isna(value) else f"{value:.2%}"
