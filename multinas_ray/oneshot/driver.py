"""One start of the driver: it connects broker, workers, searcher, record and views, and ends them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from multinas_ray.cluster import (
    ClusterGoneError,
    HeadWatch,
    Interrupts,
    SearchMetrics,
    SideMatters,
    Trackers,
    cause_of,
    own_error,
)
from multinas_ray.errors import RunError, StateError, StorageError, last_line
from multinas_ray.oneshot.broker import Broker
from multinas_ray.oneshot.checkpoints import SavedWeights, first_round, newest_weights
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.figures import RoundFigures
from multinas_ray.oneshot.following import FollowedRounds, shown_settings
from multinas_ray.oneshot.group import NoteReader, WorkerGroup
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.messages import Ending, LostSteps
from multinas_ray.oneshot.record import open_record
from multinas_ray.oneshot.round_blocks import cut_rounds
from multinas_ray.oneshot.schedule import DivergenceCheck, FinishedRound, schedule_of
from multinas_ray.oneshot.searcher import OneShotSearch
from multinas_ray.oneshot.setbacks import SetbackCheck
from multinas_ray.oneshot.trial import OneShotTrial
from multinas_ray.oneshot.views import Curves, ProgressView
from multinas_ray.runs import CHECKPOINTS, RunSession
from multinas_ray.storage import exists, resolve
from multinas_ray.supernets import SUPERNET_FILE

TRIAL_RESOURCES = {"node:__internal_head__": 0.001}
"""Resources of a one-shot trial: a sliver of the head node and no CPU, so that the workers can have all CPUs."""

GROUP_END_SECONDS = 300.0
"""Longest time in which the workers may save the supernet and return."""
ERROR_END_SECONDS = 15.0
"""The same after an error; then they are ended."""
ANSWER_SECONDS = 20.0
"""Longest time that the broker has to answer."""

METRICS, CURVES, VIEW = "writing the metrics", "writing the curves of TensorBoard", "showing the progress"
"""What a search can do without."""


class Driver:
    """One start of the driver, which searches until all rounds are done, somebody interrupts it, or something fails.

    Args:
        config: the search.
        run_session: this start in the record.
        trackers: services that follow the search.
        console: where progress is printed.
        head: the watch over Ray's processes.

    Raises:
        StateError: the record or the weights are damaged or lost.
        StorageError: the file system refused.
    """

    def __init__(
        self,
        config: OneShotSearchConfig,
        run_session: RunSession,
        trackers: Trackers,
        console: Console,
        head: HeadWatch,
    ) -> None:
        self._config, self._run_session, self._number = config, run_session, run_session.number
        self._trackers, self._head = trackers, head
        self._side = SideMatters(console)
        self._record, self._optimizer, recorded_rounds = open_record(config, run_session)
        self._first_round = self._find_first_round(recorded_rounds)
        self._blocks = cut_rounds(self._first_round, config.plan.num_rounds, config.rounds_per_block)
        self._view = ProgressView(config.plan, self._first_round, config.complexity, config.complexity_scale, console)
        self._curves = Curves(f"{config.curves_path}/session-{self._number:04d}", config.plan)
        self._divergence, self._setbacks = DivergenceCheck(), SetbackCheck(self._record.earlier_losses)
        self._interrupts = Interrupts(self._tell_interrupt)
        self._namespace = f"multinas_ray/{config.name}/{uuid.uuid4().hex}"
        self._stopped_for = (False, False)
        self._group = self._worker_group()
        self._metrics: SearchMetrics | None = None
        self._broker: Any = None

    def _find_first_round(self, recorded_rounds: int) -> int:
        """The first round of this session; tells damaged checkpoints and weight steps that are done again."""
        config, weights = self._config, SavedWeights(None, 0)
        if self._number == 0:
            return 0
        weights = newest_weights(config.run_path)
        first = first_round(config.plan, weights, recorded_rounds, self._optimizer.num_told > 0, config.run_path)
        if weights.damaged:
            folder = resolve(config.run_path).join(CHECKPOINTS)
            self._side.say(f"{folder}: {', '.join(weights.damaged)} is damaged; {weights.name} takes its place.")
        if first < recorded_rounds:
            self._side.say(f"The {recorded_rounds - first} weight steps since the last checkpoint are done again.")
        return first

    def run(self) -> bool:
        """Search, and complete the record at the end or at an interrupt; returns whether networks can be chosen.

        Whatever raises, workers, trials and broker are ended.
        """
        with self._interrupts.taken():
            try:
                self._start()
                if self._blocks:
                    self._tune()
                if self._search.error is None:
                    self._record.save(self._schedule.next_round)
                self._raise_errors()
            except ClusterGoneError:
                self._broker = None  # whatever is asked of Ray now, it waits until it ends this process
                self._leave(Ending(), 0.0)
                raise
            except BaseException as error:  # whatever it is, it goes on to the caller, and nothing may stay behind
                is_hasty = isinstance(error, KeyboardInterrupt)
                self._leave(Ending(checkpoint=self._may_save(error)), 0.0 if is_hasty else ERROR_END_SECONDS)
                raise
            self._leave(Ending(supernet=self._schedule.is_complete), GROUP_END_SECONDS)
        if self._schedule.is_complete:
            self._raise_errors()
            self._check_supernet()
        return self._schedule.is_complete and not self._interrupts.is_asked

    @staticmethod
    def _may_save(error: BaseException) -> bool:
        """Whether the workers may save after an error: not if the run may belong to another driver by now."""
        return isinstance(error, StorageError) or not isinstance(error, StateError)

    def _start(self) -> None:
        config = self._config
        self._side.do(VIEW, self._view.open)
        self._side.do(CURVES, self._curves.open)
        # The broker must be on the node of the driver, whose loss ends the search anyway; other nodes may come and go.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"name": "broker", "namespace": self._namespace, "num_cpus": 0, "scheduling_strategy": here}
        num_trials = min(config.blocks_in_flight, len(self._blocks))
        actor = ray.remote(Broker).options(**options)
        self._broker = actor.remote(self._first_round, num_trials, config.checkpoint_interval_seconds)
        self._notes = NoteReader(self._broker)
        self._schedule = schedule_of(config, self._optimizer, self._record.append, self._on_round, self._first_round)
        names = {"broker": "broker", "namespace": self._namespace}
        self._search = OneShotSearch(self._schedule, self._blocks, self._broker, names)
        self._figures = RoundFigures(self._schedule, config.complexity_scale)
        self._side.do(METRICS, self._open_metrics)
        self._group.start()
        self._search.start()

    def _open_metrics(self) -> None:
        self._metrics = SearchMetrics(self._config.name, self._figures)

    def _worker_group(self) -> WorkerGroup:
        config = self._config
        job = WorkerJob(
            space=config.space,
            data=config.data,
            training=config.training,
            task=config.task,
            num_weight_steps=config.plan.num_weight_steps,
            warmup_rounds=config.plan.warmup_rounds,
            weights_first=not config.plan.train_during_search,
            seed=config.seed,
            broker="broker",
            namespace=self._namespace,
            run_path=config.run_path,
            deterministic=config.deterministic,
            threads_per_worker=config.threads_per_worker,
        )
        return WorkerGroup(
            job,
            name=f"session-{self._number:04d}",
            num_workers=config.num_workers,
            min_workers=config.fewest_workers,
            use_gpu=config.use_gpu,
            cpus_per_worker=config.cpus_per_worker,
            max_failures=config.max_worker_failures,
        )

    def _tune(self) -> None:
        config = self._config
        following = self._trackers.follow(config.name, config.run_path, shown_settings(config), self._side.say)
        rounds, scale = config.plan.num_rounds, config.complexity_scale
        followed = FollowedRounds(following, rounds, scale, self._optimizer.diagnostics)
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
                callbacks=[_Watchdog(self._watch), followed],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            with self._interrupts.loop():
                tuner.fit()
        finally:
            following.close()

    def _on_round(self, finished: FinishedRound) -> None:
        self._record.observe(finished)
        self._divergence.check(finished)
        self._figures.note(finished)
        if (setback := self._setbacks.check(finished.result.train_loss)) is not None:
            self._side.say(setback)
        diagnose = self._optimizer.diagnostics
        self._side.do(CURVES, lambda: self._curves.show(finished, diagnose))
        self._side.do(VIEW, lambda: self._view.show(finished, diagnose))

    def _watch(self) -> None:
        """Stop early if there is a reason; called in every step of Tune's loop."""
        self._head.check()
        if self._metrics is not None:
            self._side.do(METRICS, self._metrics.tick)
        if (note := self._notes.read()) is not None:
            self._take_note(note)
        workers_are_gone = not self._group.is_running
        reason = workers_are_gone, bool(self._interrupts.is_asked or self._search.error)
        if any(reason) and reason != self._stopped_for:
            self._stopped_for = reason
            self._search.stop()
            self._broker.stop.remote(workers_are_gone=workers_are_gone)
        self._interrupts.check()

    def _take_note(self, note: object) -> None:
        """Print what the workers tell, and record lost weight steps."""
        self._side.say(str(note))
        if isinstance(note, LostSteps):
            self._run_session.add_lost_steps(note.number)

    def _tell_interrupt(self) -> None:
        self._side.say("Interrupted: the rounds in flight are finished and saved. Press Ctrl-C again to stop at once.")

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

    def _leave(self, ending: Ending, patience_seconds: float) -> None:
        """Let the workers save what is wanted and return, and end all that is left; each step whatever befell others.

        Args:
            ending: what the workers are told.
            patience_seconds: longest time in which they may carry it out.
        """
        interrupt: KeyboardInterrupt | None = None
        for step in self._steps(ending, patience_seconds):
            try:
                step()
            except KeyboardInterrupt as error:
                interrupt = error
            except ray.exceptions.RayError:
                continue  # of a process that is gone: that is told as the cause, and the next step ends what is left
            except Exception as error:  # so too
                self._side.say(f"While the search was being ended: {last_line(error)}")
        if interrupt is not None:
            raise interrupt

    def _steps(self, ending: Ending, patience_seconds: float) -> list[Callable[[], None]]:
        views = [
            lambda: self._side.close(CURVES, self._curves.close),
            lambda: self._side.close(VIEW, self._view.close),
        ]
        if self._broker is None:
            return [*views, self._record.close]
        dismiss = [lambda: self._dismiss_workers(ending, patience_seconds)] if patience_seconds else []
        return [
            *dismiss,
            self._read_notes,
            self._end_workers,
            lambda: ray.kill(self._broker),
            self._write_metrics,
            *views,
            self._record.close,
        ]

    def _dismiss_workers(self, ending: Ending, patience_seconds: float) -> None:
        are_workers_there = ray.get(self._broker.end.remote(ending), timeout=ANSWER_SECONDS)
        if self._interrupts.is_asked and not are_workers_there:
            self._side.say("A worker is lost, so the weights are those of the last checkpoint.")
        elif not self._group.join(patience_seconds):
            self._side.say(f"The workers did not end within {patience_seconds:.0f} s and are ended now.")

    def _read_notes(self) -> None:
        for note in self._notes.read_rest(ANSWER_SECONDS):
            self._take_note(note)

    def _end_workers(self) -> None:
        """End workers that are left."""
        if self._group.is_running:
            self._group.end()
            self._group.join(ANSWER_SECONDS)

    def _write_metrics(self) -> None:
        if self._metrics is not None:
            self._side.do(METRICS, self._metrics.write)

    def _check_supernet(self) -> None:
        if not exists(resolve(self._config.run_path).join(SUPERNET_FILE)):
            raise RunError(f"the workers ended without writing {SUPERNET_FILE}: resume the run to have it written")


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
