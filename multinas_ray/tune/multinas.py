"""MultiNASSearch: K configurations of different complexity from one search, in any Tune pipeline."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import pandas as pd
from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import Searcher

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import ConfigSpace, Run, has_record, load_run
from multinas_ray.settings import (
    InfinityAllowed,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    checked_arguments,
)
from multinas_ray.tune import best
from multinas_ray.tune.callers import limiter_batches
from multinas_ray.tune.domains import config_space, has_domains
from multinas_ray.tune.evaluation import Evaluation
from multinas_ray.tune.failure import Failure
from multinas_ray.tune.figures import TrialMetrics
from multinas_ray.tune.given import (
    EarlierResult,
    Given,
    Points,
    checked_points,
    minimised,
    outside_evaluation,
    results_of_trials,
)
from multinas_ray.tune.idle import IdleWatch
from multinas_ray.tune.reading import ResultReader, Warner, config_in
from multinas_ray.tune.saved_state import SavedState
from multinas_ray.tune.settings import SearchSettings
from multinas_ray.tune.starting import (
    check_record,
    checked_space,
    record_folder,
    recorded_config,
    resume_search,
    start_search,
)
from multinas_ray.tune.trial_search import TrialSearch

logger = logging.getLogger(__name__)

Mode: TypeAlias = Literal["min", "max"]


class MultiNASSearch(Searcher):
    """A `search_alg` that finds K configurations, from small to large, each the best for its complexity.

    K distributions over the configurations learn together from every result, by importance sampling; the k-th
    minimises loss + coefficient_k * complexity / scale. Results may come late, in any order and from any number of
    concurrent trials. Each result is written to a record on disk before anything is learned from it, so that none is
    lost when the driver is killed: `Tuner.restore` resumes from the record. Give at most one of `coefficients`,
    `targets` and `num_distributions`.

    Args:
        coefficients: (K,) increasing weights of the complexity, whose largest value counts as 1. 0 asks for the best
            configuration whatever it costs.
        targets: increasing upper bounds of the complexity in its own unit: one best configuration within each.
            Coefficients are then chosen from the first results.
        num_distributions: K; 8 if none of the three is given. Coefficients are then chosen from the first results.
        complexity: a key of the result, or a function config -> float, both finite and at least 0. A function is
            called with configurations before the search; if it is a sum over the choices, expectations are exact.
        recorded_complexities: further keys, or a dict of names to keys or functions, which are only recorded.
        space: the search space, if it is not given as the Tuner's `param_space`: nested dicts of constants and domains.
        metric: the key of the result that is optimised; None: that of the TuneConfig.
        mode: "min" or "max"; None: that of the TuneConfig.
        points_to_evaluate: configurations to run first; constants may be left out.
        evaluated_rewards: their results, if they are known. The configurations are then not run.
        evaluated_complexities: their complexities, if `complexity` is a key. These points are part of the record
            and of the results. Since they were not drawn with a known density, the distributions do not learn from
            them.
        samples_per_update: number of results that make an update of the distributions, a multiple of K; None: 2 K (K
            if the optimiser is "screened").
        memory: number of earlier updates whose results each update uses again; None: 4 with `reuse_results` (0 if the
            optimiser is "screened"), otherwise 0, since losses that change with time must not be used for long.
        margin_scale: factor on the least probability of each choice.
        reuse_results: whether a known configuration is not run again. It is for losses that are always the same for a
            configuration.
        optimizer: kind of the optimiser. "distributions" draws what to run. "screened" chooses it with a surrogate of
            the loss, for losses as with `reuse_results` only. See `core.register_optimizer` for a kind of your own.
        optimizer_options: settings that only this kind has, by name.
        seed: seed of the draws; None: it is drawn by the operating system and recorded.
        record_path: folder of the run's record, local or a URI; None: a new one under ~/ray_results/multinas.

    Raises:
        ConfigError: An argument breaks its rule.

    A trial that raises, or whose metric or complexity is missing or not finite, counts as failed and ranks worst. A
    trial that was stopped by a scheduler counts with its last result. With `Repeater`, which passes on only the metric,
    the complexity must be a function. An error of the searcher itself ends `fit`, is kept in `error`, and stands in the
    ResultGrid for the trials whose results are lost by it.
    """

    @checked_arguments
    def __init__(
        self,
        *,
        complexity: str | Callable[[dict[str, Any]], float],
        coefficients: Sequence[float] | None = None,
        targets: Sequence[float] | None = None,
        num_distributions: PositiveInt | None = None,
        recorded_complexities: Sequence[str] | Mapping[str, Any] = (),
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: Mode | None = None,
        points_to_evaluate: Sequence[dict[str, Any]] | None = None,
        evaluated_rewards: Sequence[Annotated[float, InfinityAllowed(nan=True)]] | None = None,
        evaluated_complexities: Sequence[NonNegativeFloat] | None = None,
        samples_per_update: PositiveInt | None = None,
        memory: NonNegativeInt | None = None,
        margin_scale: PositiveFloat = 0.5,
        reuse_results: bool = False,
        optimizer: str = "distributions",
        optimizer_options: Mapping[str, Any] | None = None,
        seed: NonNegativeInt | None = None,
        record_path: str | None = None,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._settings = SearchSettings(
            complexity=complexity,
            recorded_complexities=recorded_complexities,
            coefficients=coefficients,  # type: ignore[arg-type]  # checked, and kept as a tuple
            targets=targets,  # type: ignore[arg-type]  # so too
            num_distributions=num_distributions,
            samples_per_update=samples_per_update,
            memory=memory,
            margin_scale=margin_scale,
            reuse_results=reuse_results,
            optimizer=optimizer,
            optimizer_options=optimizer_options or {},
            seed=secrets.randbits(63) if seed is None else seed,
        )
        self._given = Given(metric, mode, space, points_to_evaluate, evaluated_rewards, evaluated_complexities)
        self._begin(record_folder(record_path), goes_on=False)

    def _begin(self, record_path: str, *, goes_on: bool, added: Sequence[EarlierResult] = ()) -> None:
        """Set everything that changes during a search to its initial value."""
        self._record_path, self._added = record_path, list(added)
        space = self._given.space
        self._space = None if space is None else config_space(space)
        self._search: TrialSearch | None = None
        self._metrics: TrialMetrics | None = None
        self._live: list[Evaluation] = []
        self._goes_on = goes_on
        self._max_concurrent: int | None = None
        self._idle = IdleWatch()
        self._warn = Warner()
        self._failure = Failure()

    @property
    def error(self) -> Exception | None:
        """The error of the searcher itself that ended the search; None if there is none."""
        return self._failure.error

    @property
    def record_path(self) -> str:
        """Folder of the run's record, for `load_run` and `python -m multinas_ray verify`."""
        return self._record_path

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take metric, mode and search space from the Tuner; False if there are two search spaces.

        Raises:
            ConfigError: The space cannot be searched, or this searcher or its record was used before.
        """
        self._check_unused()
        if mode not in (None, "min", "max"):
            raise ConfigError(f'mode must be "min" or "max", got {mode!r}: give a second objective as the complexity')
        self._metric, self._mode = metric or self._metric, mode or self._mode
        if self._space is not None:
            return not has_domains(config)
        self._space = config_space(config)
        self._points_in(self._space)
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Keep at most this many trials running.

        Returns:
            Whether the searcher does this itself. A `ConcurrencyLimiter` that batches does it better.
        """
        self._max_concurrent = None if limiter_batches() else max_concurrent
        return self._max_concurrent is not None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        """The next configuration; FINISHED if all are known; None if Tune shall ask again.

        Raises:
            ConfigError: The metric, the mode or the search space was not given.
            Exception: An error of the searcher itself, which ends `fit`.
        """
        self._failure.raise_again()
        search = self._opened()
        if self._max_concurrent is not None and self._idle.num_running(search.live) >= self._max_concurrent:
            self._note_refusal(search)
            return None
        try:
            config = search.propose(trial_id)
        except Exception as error:
            self._failure.note(error)
            raise
        if config is not None:
            self._idle.reset()
            return config
        if not self._idle.num_running(search.live):
            return str(Searcher.FINISHED)
        self._note_refusal(search)
        return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing, since only last results are used."""
        self._idle.reset()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn from a trial's last result.

        Raises:
            Exception: An error of the searcher itself. Tune calls again with error=True, and shows it at the trial.
        """
        self._idle.reset()
        if self.error is not None:
            return None if error else self._failure.raise_again(trial_id)
        try:
            search = self._opened()
            if trial_id not in search.live:
                if not search.take_restarted(trial_id, None if error else result, self._results):
                    self._warn("unknown", "Trial %s has ended or is not of this search: it is ignored.", trial_id)
            elif result is None and not error:
                search.forget(trial_id)  # stopped before it gave a result
            else:
                config = search.note_drawn(trial_id, config_in(result))
                search.finish(trial_id, *self._results.read(config, None if error else result))
            self._write_metrics(search)
        except Exception as problem:
            self._failure.note(problem, trial_id)
            raise

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float | None,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
        *,
        complexity: float | None = None,
    ) -> None:
        """Add a result from outside to the record and the answers, before or during the search.

        Since it was not drawn with a known density, the distributions do not learn from it.

        Args:
            parameters: the configuration; constants may be left out.
            value: its metric.
            error: whether it failed; it then ranks worst, whatever the value.
            pruned: whether it was stopped early; the value counts all the same, as for a trial stopped by a scheduler.
            intermediate_values: not used.
            complexity: its complexity, if that is a key of the result.

        Raises:
            ConfigError: The configuration is not of the space, or its complexity is unknown.
        """
        loss = math.inf if error or value is None else float(value)
        result = EarlierResult(parameters, loss, complexity)
        if self._search is not None or (self._goes_on and has_record(self._record_path)):
            search = self._opened()
            outside = minimised(result, self._mode)
            search.add(outside_evaluation(search.space, self._settings, search.next_untold, outside))
            return
        if self._space is not None:
            outside_evaluation(self._space, self._settings, -1, result)  # checks
        self._added.append(result)

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Add the results of trials of another run, with their complexities; see `add_evaluated_point`.

        Args:
            trials_or_analysis: a ResultGrid, an ExperimentAnalysis, a Trial or a list of Trials.
            metric: its key in their results; trials without it are left out, failed ones are not.

        Raises:
            ConfigError: A configuration is not of the space, or its complexity is unknown.
        """
        for each in results_of_trials(trials_or_analysis, metric, self._settings.complexities):
            self.add_evaluated_point(each.config, each.loss, complexity=each.complexity)

    def best_configs(self) -> pd.DataFrame:
        """The best configuration for each coefficient, or within each target; see `tune.best_configs`."""
        return best.best_configs(self._run())

    def pareto_front(self) -> pd.DataFrame:
        """The evaluations that no other beats in both metric and complexity; see `tune.pareto_front`."""
        return best.pareto_front(self._run())

    def save(self, checkpoint_path: str) -> None:
        """Write the record, and the running trials, which it does not contain, as plain JSON."""
        search = self._search if self.error is None else None
        if search is not None:
            search.save()
        live = [] if self._search is None else self._search.live.values()
        seed = None if self._search is None else int(self._search.record.config["seed"])
        SavedState(self._record_path, self._max_concurrent, seed, live).write(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Resume from what `save` wrote and from the record that it names.

        If the file is damaged and this searcher knows its record, it resumes from the record alone. Results of trials
        that were running then are recorded, but the distributions do not learn from them.

        Raises:
            StateError: The file is damaged or of another version, and the record is not known; or the record that it
                names is lost or another's.
        """
        self._search, self._metrics, self._goes_on = None, None, True
        try:
            state = SavedState.read(checkpoint_path)
        except StateError as error:
            if not has_record(self._record_path):
                raise
            logger.warning("%s. The search resumes from its record %s.", error, self._record_path)
            self._live = []
            return
        check_record(state)
        self._record_path, self._live = state.record_path, list(state.live)
        self._max_concurrent = state.max_concurrent or self._max_concurrent

    def __getstate__(self) -> dict[str, Any]:
        """The state for Tune's tuner.pkl: only the arguments and the points that were added before the search."""
        given = {"settings": self._settings, "given": self._given, "record_path": self._record_path}
        return {**given, "added": list(self._added)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings, self._given = state["settings"], state["given"]
        self._metric, self._mode = self._given.metric, self._given.mode
        self._begin(state["record_path"], goes_on=True, added=state["added"])

    def _run(self) -> Run:
        if self._search is not None and self.error is None and not self._search.record.session.is_over:
            self._search.record.flush()
        return load_run(self._record_path)

    def _check_unused(self) -> None:
        if self._search is not None or (has_record(self._record_path) and not self._goes_on):
            raise ConfigError(
                f"{self._record_path} is the record of an earlier search, and a MultiNASSearch serves one; make a new "
                "one with a record_path of its own, or resume it by Tuner.restore"
            )

    def _opened(self) -> TrialSearch:
        """The search, which is opened at its first use."""
        if self._search is not None:
            return self._search
        if self._goes_on and has_record(self._record_path):
            recorded = recorded_config(self._record_path)
            self._metric, self._mode = self._metric or recorded["metric"], self._mode or recorded["mode"]
            live, self._live = self._live, []
            space = checked_space(self._record_path, recorded, self._settings, self._space)
            self._search = resume_search(self._record_path, self._settings, space, self._points_in(space), live)
            return self._search
        self._check_unused()
        if self._space is None:
            raise ConfigError("the search must have a search space: give it as param_space to the Tuner, or as space")
        if self._mode is None:
            raise ConfigError("metric and mode must be set: give them to the TuneConfig or to MultiNASSearch")
        self._metric = self._metric or DEFAULT_METRIC
        logger.info("MultiNASSearch records to %s (seed %d).", self._record_path, self._settings.seed)
        points = self._points_in(self._space)
        self._search = start_search(self._record_path, self._settings, self._space, points, self._metric, self._mode)
        return self._search

    def _points_in(self, space: ConfigSpace) -> Points:
        known = [minimised(each, self._mode) for each in (*self._given.known, *self._added)]
        return checked_points(space, self._settings, self._given.to_run, known)

    @property
    def _results(self) -> ResultReader:
        """Reader of trials' results; it needs metric and mode, which are known once the search is opened."""
        return ResultReader(self._settings.complexities, str(self._metric), str(self._mode), self._warn)

    def _write_metrics(self, search: TrialSearch) -> None:
        self._metrics = self._metrics or TrialMetrics(self._record_path, search, self._warn)
        self._metrics.tick()

    def _note_refusal(self, search: TrialSearch) -> None:
        if self._idle.refuse(search.live):
            self._warn("lost", "Tune waits although nothing runs: trials whose end was not reported no longer count.")
