"""The one-shot search: `run_search` leads from a configuration to K networks."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from multinas_ray.cluster import SearchMetrics, cause_of, own_error, ray_session
from multinas_ray.errors import RunError
from multinas_ray.oneshot.broker import Broker
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.ending import choose_and_finish
from multinas_ray.oneshot.figures import RoundFigures
from multinas_ray.oneshot.group import NoticeReader, WorkerGroup
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.messages import Ending
from multinas_ray.oneshot.preflight import check_cluster, check_data, check_resources, check_run_folder, tell_images
from multinas_ray.oneshot.record import open_record
from multinas_ray.oneshot.round_blocks import cut_rounds
from multinas_ray.oneshot.schedule import DivergenceCheck, FinishedRound, Schedule
from multinas_ray.oneshot.searcher import OneShotSearch
from multinas_ray.oneshot.start import new_description
from multinas_ray.oneshot.trial import OneShotTrial
from multinas_ray.oneshot.views import Curves, ProgressView
from multinas_ray.runs import (
    FINISHED_FILE,
    SETTINGS_FILE,
    Run,
    RunSession,
    load_run,
    repair_damage,
    repair_run,
    write_config,
)
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import exists, resolve, write_yaml
from multinas_ray.supernets import SUPERNET_FILE

TRIAL_RESOURCES = {"node:__internal_head__": 0.001}
"""Resources of a one-shot trial: a sliver of the head node and no CPU, so that the workers can have all CPUs."""

SETTINGS_COMMENT = """The settings of this search, as its last session was started.
Give the file to the same experiment by --config, whole or with lines left out; flags go over it."""

GROUP_END_SECONDS = 300.0
"""Longest time in which the workers may save the supernet and return."""


@checked_arguments
def run_search(config: OneShotSearchConfig, *, resume: bool = False, console: Console | None = None) -> Run:
    """Search, and return the run with its K networks, all evaluations and the history of the distributions.

    All settings are written to config.yaml in the run's folder, which --config of an experiment takes.

    Starts Ray, or joins the cluster that RAY_ADDRESS or a running head node names. Ctrl-C once lets the rounds in
    flight finish, saves everything and returns the run unfinished; it can be resumed, as after any crash.

    Args:
        config: the search.
        resume: go on with the run of this name and folder. A finished run is returned unchanged.
        console: where progress is printed; None: the standard output.

    Raises:
        ConfigError, DataError, StateError: the settings, the images or the folder of the run break a rule.
        RunError: the cluster lacks resources, or workers or trials failed more often than allowed.
    """
    console = console or Console()
    check_run_folder(config, resume)
    if resume and (finished := _finished_run(config, console)) is not None:
        return finished
    if not resume:
        write_config(config.run_path, new_description(config, console))
    write_yaml(resolve(config.run_path).join(SETTINGS_FILE), config.to_settings(), comment=SETTINGS_COMMENT)
    tell_images(check_data(config), console)
    with ray_session():
        check_resources(config, console)
        if config.use_gpu or len(ray.nodes()) > 1:
            check_cluster(config)
        _search_and_choose(config, console)
    return load_run(config.run_path)


def _finished_run(config: OneShotSearchConfig, console: Console) -> Run | None:
    """Return the run if it is finished, after damaged files that can be made again have been made again."""
    if not exists(resolve(config.run_path).join(FINISHED_FILE)):
        return None
    _print_all(repair_damage(config.run_path), console)
    return load_run(config.run_path)


def _print_all(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _search_and_choose(config: OneShotSearchConfig, console: Console) -> None:
    """Search unless all rounds are done; then choose the networks and mark the run as finished."""
    session = RunSession.begin(config.run_path)
    if exists(resolve(config.run_path).join(SUPERNET_FILE)):
        _print_all(repair_run(session), console)
    elif not _Session(config, session, console).run():
        return
    try:
        choose_and_finish(config, console, restarts=session.number)
    except KeyboardInterrupt:
        console.print("Interrupted while the networks were being chosen. All rounds are done and recorded.")


class _Session:
    """One start of the driver: it connects broker, workers, searcher, record and views, and ends them."""

    def __init__(self, config: OneShotSearchConfig, run_session: RunSession, console: Console) -> None:
        self._config, self._console = config, console
        self._number = number = run_session.number
        self._record, self._optimizer, first_round = open_record(config, run_session)
        self._blocks = cut_rounds(first_round, config.plan.num_rounds, config.rounds_per_block)
        self._namespace = f"multinas_ray/{config.name}/{uuid.uuid4().hex}"
        self._broker = self._start_broker(first_round)
        self._notices = NoticeReader(self._broker)
        self._schedule = Schedule(
            plan=config.plan,
            warmup_draws=config.new_warmup_draws,
            optimizer=self._optimizer,
            complexity=lambda architectures: config.cost(architectures) / config.complexity_scale,
            record=self._record.append,
            observe=self._on_round,
            next_round=first_round,
        )
        self._search = OneShotSearch(self._schedule, self._blocks, self._broker, self._trial_config())
        self._group = self._worker_group()
        self._curves = Curves(f"{config.curves_path}/session-{number:04d}", config.plan)
        self._view = ProgressView(config.plan, first_round, config.complexity, config.complexity_scale, console)
        self._figures = RoundFigures(self._schedule, config.complexity_scale)
        self._metrics = SearchMetrics(config.name, self._figures)
        self._divergence = DivergenceCheck()
        self._interrupted = threading.Event()
        self._stopped_for = (False, False)

    def _start_broker(self, first_round: int) -> Any:
        # The broker must be on the node of the driver, whose loss ends the search anyway; other nodes may come and go.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"name": "broker", "namespace": self._namespace, "num_cpus": 0, "scheduling_strategy": here}
        num_trials = min(self._config.blocks_in_flight, len(self._blocks))
        actor = ray.remote(Broker).options(**options)
        return actor.remote(first_round, num_trials, self._config.checkpoint_interval_seconds)

    def _trial_config(self) -> dict[str, str]:
        return {"broker": "broker", "namespace": self._namespace}

    def _worker_group(self) -> WorkerGroup:
        config = self._config
        job = WorkerJob(
            space=config.space,
            data=config.data,
            training=config.training,
            num_weight_steps=config.plan.num_weight_steps,
            weights_first=not config.plan.train_during_search,
            seed=config.seed,
            broker="broker",
            namespace=self._namespace,
            run_path=config.run_path,
            threads_per_worker=config.threads_per_worker,
        )
        return WorkerGroup(
            job,
            num_workers=config.num_workers,
            min_workers=config.fewest_workers,
            use_gpu=config.use_gpu,
            cpus_per_worker=config.cpus_per_worker,
            max_failures=config.max_worker_failures,
        )

    def run(self) -> bool:
        """Search, and complete the record at the end or at an interrupt; returns whether networks can be chosen."""
        with self._on_interrupt(), self._view:
            self._group.start()
            self._search.start()
            try:
                if self._blocks:
                    self._tune()
                if self._search.error is None:
                    self._record.save(self._schedule.next_round)
                self._raise_errors()
            except Exception:  # whatever it is, it goes on to the caller, and the workers must not stay behind
                self._dismiss_workers(Ending(checkpoint=self._search.error is None))
                raise
            self._dismiss_workers(Ending(supernet=self._schedule.is_complete))
        if self._schedule.is_complete:
            self._raise_errors()
            self._check_supernet()
        return self._schedule.is_complete and not self._interrupted.is_set()

    def _tune(self) -> None:
        tuner = tune.Tuner(
            tune.with_resources(OneShotTrial, tune.PlacementGroupFactory([TRIAL_RESOURCES])),
            tune_config=tune.TuneConfig(
                search_alg=self._search,
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=self._config.blocks_in_flight,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"session-{self._number:04d}",
                storage_path=str(resolve(self._config.run_path).join("tune")),
                verbose=0,
                callbacks=[_Watchdog(self._watch)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()

    def _on_round(self, finished: FinishedRound) -> None:
        self._record.observe(finished)
        self._divergence.check(finished)
        self._figures.note(finished)
        diagnostics = self._optimizer.diagnostics()
        self._curves.show(finished, diagnostics)
        self._view.show(finished, diagnostics)

    def _watch(self) -> None:
        """Stop early if there is a reason; called in every step of Tune's loop."""
        self._metrics.tick()
        if (notice := self._notices.read()) is not None:
            self._console.print(str(notice), highlight=False)
        workers_are_gone = not self._group.is_running
        reason = workers_are_gone, bool(self._interrupted.is_set() or self._search.error)
        if any(reason) and reason != self._stopped_for:
            self._stopped_for = reason
            self._search.stop()
            self._broker.stop.remote(workers_are_gone=workers_are_gone)

    def _raise_errors(self) -> None:
        if self._search.error:
            raise self._search.error
        if self._group.error:
            if (own := own_error(self._group.error)) is not None:
                raise own from self._group.error
            raise RunError(
                f"the workers failed more often than max_worker_failures={self._config.max_worker_failures}, the last "
                f"time: {cause_of(self._group.error)}; fix the cause and resume the run"
            ) from self._group.error

    def _dismiss_workers(self, ending: Ending) -> None:
        """Let the workers save what is wanted and return, and close everything that is open."""
        self._curves.close()
        self._metrics.write()
        are_workers_there = ray.get(self._broker.end.remote(ending))
        if self._interrupted.is_set() and not are_workers_there:
            self._console.print("A worker is lost, so the weights are those of the last checkpoint.")
        elif not self._group.join(GROUP_END_SECONDS):
            self._console.print(f"The workers did not end within {GROUP_END_SECONDS:.0f} s and are left behind.")

    def _check_supernet(self) -> None:
        if not exists(resolve(self._config.run_path).join(SUPERNET_FILE)):
            raise RunError(f"the workers ended without writing {SUPERNET_FILE}: resume the run to have it written")

    @contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        """Let the first Ctrl-C ask for an orderly end, and the second one interrupt as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def handle(signum: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, before)
            self._interrupted.set()
            self._console.print(
                "Interrupted: the rounds in flight are finished and saved. Press Ctrl-C again to stop at once."
            )

        signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class _Watchdog(tune.Callback):
    """Calls `watch` in every step of Tune's loop."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Tune before each step."""
        self._watch()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing is pickled: Tune pickles callbacks into tuner.pkl, but this one serves its own process only."""
        return {}
