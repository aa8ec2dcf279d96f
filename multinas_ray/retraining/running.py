"""Retraining the chosen networks of a search, side by side, each from its last checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import ray
import torch
from ray import tune
from ray.tune.logger import TBXLoggerCallback
from rich.console import Console
from rich.table import Table

from multinas_ray.cluster import (
    NodeNeeds,
    PlainTable,
    SideCallback,
    SideMatters,
    Trackers,
    cause_of,
    check_room,
    check_workers,
    ray_errors_told,
    ray_session,
    standard_console,
    worker_resources,
    workers_on_a_node,
)
from multinas_ray.data import load_splits
from multinas_ray.errors import ConfigError, DataError, RunError, StateError, exits_told
from multinas_ray.retraining.recipe import RetrainConfig
from multinas_ray.retraining.trial import OwnErrors, retrain_trial, trial_resources
from multinas_ray.retraining.view import RetrainingView
from multinas_ray.retraining.worker import RetrainJob
from multinas_ray.runs import (
    RETRAINING_FOLDER,
    SETTINGS_FILE,
    PrimaryMetric,
    adopt_retrained,
    clear_retraining,
    format_count,
    load_retraining,
    network_path,
    primary_metric,
    record_retrained,
    write_retraining,
)
from multinas_ray.selection import Family, OpenedRun, copy_family, load_family, open_run
from multinas_ray.settings import checked_arguments, to_plain
from multinas_ray.storage import GivenCode, GivenPath, list_folders, make_folder, resolve, write_yaml

SETTINGS_COMMENT = "The recipe and the machine of the last training of this family, for retrain RUN --config FILE."
SYNC_SECONDS = 20
"""Seconds between two copies of the curves into the folder of the run."""


@exits_told()
@checked_arguments
def retrain_networks(
    run_path: GivenPath,
    config: RetrainConfig | None = None,
    *,
    label: str | None = None,
    new_label: str | None = None,
    networks: Sequence[int] | None = None,
    overwrite: bool = False,
    trackers: Trackers | None = None,
    data_path: GivenPath | None = None,
    imports: Sequence[GivenCode] = (),
    console: Console | None = None,
) -> Family:
    """Train the chosen networks of a search, test them, and write their weights and results into the family.

    As many networks as the cluster has room for are trained side by side, the largest first. After an interruption,
    call this again with the same recipe: finished networks are not trained again, and the others go on from their last
    checkpoints. The test images are not used for any choice. Networks with the same architecture are trained once and
    share the result.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        config: the recipe; None: the defaults.
        label: the label of the family; None for the run's own.
        new_label: train copies of the networks, as a family of this label, so that trainings by another recipe stay.
        networks: the numbers of the networks to train; None for all.
        overwrite: delete earlier trainings of these networks and start anew.
        trackers: services that follow the trainings; None: none but TensorBoard.
        data_path: where the images are now; None: where they were during the search.
        imports: modules or .py files that define your own blocks.
        console: where progress and the table are printed; None: the standard output.

    Returns:
        The family, whose `architectures` have the columns `retrained_*` filled in.

    Raises:
        ConfigError, DataError: a setting or the images break a rule.
        StateError: there is no such family, or its networks were trained with another recipe.
        RunError: the cluster lacks resources, or a training failed more often than `max_failures`.
        MissingPackageError: a tracker's package is not installed.
    """
    opened = open_run(run_path, data_path=data_path, imports=imports)
    if new_label is not None:
        copy_family(run_path, label, new_label)
        label = new_label
    family = load_family(run_path, label)
    retraining = Retraining(
        opened=opened,
        family=family,
        config=check_images(opened, config or RetrainConfig()),
        networks=family.numbers(networks),
        trackers=trackers or Trackers(),
        console=console or standard_console(),
    )
    retraining.run(overwrite=overwrite)
    family = load_family(run_path, label)
    retraining.console.print(retrained_table(family, opened.costs, primary_metric(opened.run.config)))
    return family


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """The retraining of one call: what is left to do, the trials that do it, and their record."""

    opened: OpenedRun
    family: Family
    config: RetrainConfig
    networks: Sequence[int]
    """Numbers of the networks to train, in rising order."""
    trackers: Trackers
    console: Console

    def run(self, *, overwrite: bool) -> None:
        """Train the networks that are not trained yet, and record the results."""
        loss = self.config.training_loss
        loss.start(
            self.opened.space, self.opened.task, self.family.path, torch.device("cpu")
        )  # so that what it lacks is told at once
        callbacks = self.trackers.callbacks(resolve(self.family.path).name)
        jobs = self.jobs()
        self._check_needed(jobs)
        if overwrite:
            for job in jobs.values():
                clear_retraining(job.folders)
            self.record()
        waiting = {network: job for network, job in jobs.items() if not self._is_done(job)}
        for job in waiting.values():
            for folder in job.folders:
                write_retraining(folder, job.record)
        self._write_settings()
        try:
            if waiting:
                self._train(waiting, callbacks)
        except KeyboardInterrupt:
            self.console.print("Interrupted. Give the same command again to go on from the last checkpoints.")
            raise
        finally:
            self.record()

    def _check_needed(self, jobs: Mapping[int, RetrainJob]) -> None:
        """Check that no network is trained whose trained weights the loss needs, before any are deleted.

        Raises:
            ConfigError: One is.
        """
        groups = {first: {int(resolve(folder).name) for folder in job.folders} for first, job in jobs.items()}
        needed = set(self.config.training_loss.needed_networks)
        if both := sorted(needed & set().union(*groups.values())):
            others = sorted(number for group in groups.values() if not group & needed for number in group)
            remedy = f"give --networks {' '.join(map(str, others))}" if others else "choose another teacher or loss"
            raise ConfigError(
                f"the loss {self.config.loss!r} needs the trained weights of network {', '.join(map(str, both))}, so "
                f"it cannot train it: {remedy}"
            )

    def _write_settings(self) -> None:
        work = resolve(self.family.path).join(RETRAINING_FOLDER)
        make_folder(work)
        write_yaml(work.join(SETTINGS_FILE), to_plain(self.config), comment=SETTINGS_COMMENT)

    def jobs(self) -> dict[int, RetrainJob]:
        """The trainings, one for each architecture, by the number of its first network."""
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
                task=self.opened.task,
                config=self.config,
                architecture=architecture,
                family_path=str(place),
                folders=tuple(str(place.join(network_path(network))) for network in numbers),
                work_path=str(place.join(RETRAINING_FOLDER, "train")),
                supernet_weights=None if weights[numbers[0]] is None else str(place.join(weights[numbers[0]])),
            )
            for architecture, numbers in numbers_of.items()
            if set(numbers) & set(self.networks)
        }

    def _is_done(self, job: RetrainJob) -> bool:
        """Whether the training is finished with this recipe. If so, all networks of the architecture get its files.

        Raises:
            StateError: it was begun or finished with another recipe.
        """
        for folder in job.folders:
            record = load_retraining(folder)
            if record is not None and record.architecture != job.architecture:
                clear_retraining([folder])  # of a network that had this number in an earlier family
            elif record is not None:
                _check_same_recipe(folder, record.recipe, job.record.recipe)
        return adopt_retrained(job.folders, job.architecture)

    def _needs(self, trainings: int) -> NodeNeeds:
        """What so many trainings need of their nodes."""
        config, data = self.config, self.opened.data
        images = 2 * config.step_images // config.num_workers  # of a training's stream and of its tests
        return NodeNeeds(
            num_workers=trainings * config.num_workers,
            cpus_per_worker=config.cpus_per_worker,
            use_gpu=config.use_gpu,
            bfloat16=config.precision == "bfloat16",
            is_group=config.num_workers > 1,
            decoded_bytes=data.decoded_bytes(images, self.opened.space.inputs),
            decode_processes=data.decode_processes,
        )

    def _train(self, jobs: dict[int, RetrainJob], callbacks: list[tune.Callback]) -> None:
        config = self.config
        with ray_errors_told("give the same command again to go on"), ray_session():
            check_room(config.num_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu)
            check_workers(self.family.path, self.opened.data.path, self._needs(len(jobs)), self.console)
            costs = self.family.architectures.set_index("network")["complexity"]
            longest_first = sorted(jobs, key=lambda network: (-costs[network], network))  # so that none ends late
            own_errors = OwnErrors()
            sharing = workers_on_a_node(
                len(jobs) * config.num_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu
            )
            jobs = {network: replace(job, workers_per_node=sharing) for network, job in jobs.items()}
            with RetrainingView(
                self._descriptions(jobs),
                config.epochs,
                lambda network: self.record(),
                self.console,
                primary_metric(self.opened.run.config),
            ) as view:
                side = SideMatters(self.console)
                names = ["writing the curves of TensorBoard", *["following the trainings elsewhere"] * len(callbacks)]
                others = zip(names, [TBXLoggerCallback(), *callbacks], strict=True)
                loggers = [view, *(SideCallback(name, each, side) for name, each in others)]
                results = self._tuner(longest_first, jobs, loggers, own_errors).fit()
        if own_errors.error is not None:
            raise own_errors.error
        if results.errors:
            raise RunError(
                f"{len(results.errors)} of {len(jobs)} trainings failed more often than "
                f"max_failures={config.max_failures}, one of them: {cause_of(results.errors[0])}; fix the cause "
                "and give the same command again to go on"
            )

    def _tuner(
        self, order: list[int], jobs: dict[int, RetrainJob], callbacks: list[tune.Callback], stop: OwnErrors
    ) -> tune.Tuner:
        work = str(resolve(self.family.path).join(RETRAINING_FOLDER))
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
                stop=stop,
                failure_config=tune.FailureConfig(max_failures=self.config.max_failures),
                sync_config=tune.SyncConfig(sync_period=SYNC_SECONDS),
            ),
        )

    def _descriptions(self, jobs: dict[int, RetrainJob]) -> dict[int, str]:
        """A name for each training: the numbers of its networks and their size."""
        table, name = self.family.architectures.set_index("network"), self.opened.run.config["complexity"]["name"]
        equal = {network: table.index[table["architecture"] == job.architecture] for network, job in jobs.items()}
        return {
            network: f"{', '.join(f'#{each}' for each in equal[network])}  {format_count(table[name][network])} {name}"
            for network in jobs
        }

    def record(self) -> None:
        """Write the results of these networks, which are read from their files, into the table of the family."""
        folders = [folder for job in self.jobs().values() for folder in job.folders]
        records = {int(resolve(folder).name): load_retraining(folder) for folder in folders}
        record_retrained(
            self.family.path, {network: None if each is None else each.result for network, each in records.items()}
        )


def networks_at_once(config: RetrainConfig) -> int | None:
    """The largest number of trials at once; None for no limit. Ray must be running.

    A trial that waits for a worker group asks for almost no resources. If there were more such trials than the cluster
    has room for groups, they would starve each other. Other trials are limited by the resources that they ask for.
    """
    if config.num_workers == 1:
        return None
    free, wanted = ray.available_resources(), worker_resources(config.cpus_per_worker, config.use_gpu)
    room = min(int(free.get(name, 0) / amount) for name, amount in wanted.items())
    return max(1, room // config.num_workers)


def check_images(opened: OpenedRun, config: RetrainConfig) -> RetrainConfig:
    """Load the images once on the driver, so that a damaged one is named before anything starts.

    Returns:
        The recipe with its batch size.

    Raises:
        ConfigError: the recipe does not suit the task.
        DataError: they are missing or damaged, are not those of the search, or are fewer than one batch.
    """
    config.check_task(opened.task)
    splits = load_splits(opened.data)
    found, wanted = (splits.inputs, splits.num_classes), (opened.space.inputs, opened.space.num_classes)
    if found[0] != wanted[0] or (splits.class_names and found != wanted):
        classes = [f" of {each[1]} classes" if splits.class_names else "" for each in (wanted, found)]
        raise DataError(
            f"the networks take samples {wanted[0]}{classes[0]}, got {found[0]}{classes[1]}: give the data of the "
            "search with --data"
        )
    num_images = len(splits.train) + (len(splits.validation) if config.train_on == "all" else 0)
    config = config.sized_for(num_images)
    if num_images < config.step_images:
        raise DataError(
            f"batch_size must be at most the {num_images} training images, got {config.step_images}: set it to "
            f"{num_images // config.num_workers * config.num_workers} or less"
        )
    return config


def _check_same_recipe(folder: str, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    names = [name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)]
    if names:
        told = "; ".join(f"{name}: recorded {recorded.get(name)}, now {wanted.get(name)}" for name in names[:3])
        raise StateError(
            f"{folder} was trained with another recipe ({told}): give that recipe to go on, --new-label NAME to "
            "train copies of the networks by this one, or --overwrite to delete the training and start anew"
        )


def retrained_table(family: Family, costs: Collection[str], metric: PrimaryMetric) -> Table:
    """The networks before and after retraining, for the terminal."""
    costs = [name for name in costs if name in family.architectures]
    table = PlainTable(
        title=f"{len(family.architectures)} networks, {metric.name} on the test images", title_justify="left"
    )
    for name in ("#", *costs, "supernet", "retrained", "epochs"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in family.architectures.to_dict("records"):
        is_trained = pd.notna(row["retrained_path"])
        table.add_row(
            str(row["network"]),
            *(format_count(row[name]) for name in costs),
            metric.text(row["supernet_test_accuracy"]),
            metric.text(row["retrained_accuracy"]) if is_trained else "-",
            f"{row['retrained_epochs']:.0f}" if is_trained else "-",
        )
    return table
