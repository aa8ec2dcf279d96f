"""MultiNASSearch: K configurations of different complexity from one search, in any Tune pipeline."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import pandas as pd
from ray.tune.search import Searcher

from multinas_ray.errors import ConfigError
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
from multinas_ray.tune.given import (
    EarlierResult,
    Given,
    minimised,
    objectives,
    outside_evaluation,
    results_of_trials,
)
from multinas_ray.tune.reading import config_in
from multinas_ray.tune.record_place import used_before
from multinas_ray.tune.recorded_searcher import RecordedSearcher

Mode: TypeAlias = Literal["min", "max"]

Cost: TypeAlias = str | Callable[[dict[str, Any]], float]
"""A key of the result, or a function of the configuration."""

Complexity: TypeAlias = Cost | Sequence[str] | Mapping[str, Cost]
"""One cost, or several."""


class MultiNASSearch(RecordedSearcher):
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
            Coefficients are then chosen from the first results. With several costs, a dict of names to upper bounds,
            one of each cost for each answer; its names are the costs if `complexity` is None.
        num_distributions: K; 8 if none of the three is given. Coefficients are then chosen from the first results.
        complexity: a key of the result, or a function config -> float, both finite and at least 0. A function is
            called with configurations before the search; if it is a sum over the choices, expectations are exact.
            Or several costs: keys, or a dict of names to keys and functions. The complexity is then the largest of
            costs / scales, where a scale is the cost's largest target, or else its largest value in the first results.
        recorded_complexities: further keys, or a dict of names to keys or functions, which are only recorded.
        space: the search space, if it is not given as the Tuner's `param_space`: nested dicts of constants and domains.
        metric: the key of the result that is optimised; None: that of the TuneConfig. Of a list, the first is optimised
            and the others are the costs, in place of `complexity`.
        mode: "min" or "max"; None: that of the TuneConfig. Of a list, those of the costs must be "min".
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
        record_path: folder of the run's record, local or a URI; None: a new one in the folder `multinas` of Tune's
            experiment, so that it moves with the experiment.

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
        complexity: Complexity | None = None,
        coefficients: Sequence[float] | None = None,
        targets: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
        num_distributions: PositiveInt | None = None,
        recorded_complexities: Sequence[str] | Mapping[str, Any] = (),
        space: dict[str, Any] | None = None,
        metric: str | Sequence[str] | None = None,
        mode: Mode | Sequence[Mode] | None = None,
        points_to_evaluate: Sequence[dict[str, Any]] | None = None,
        evaluated_rewards: Sequence[Annotated[float, InfinityAllowed(nan=True)]] | None = None,
        evaluated_complexities: Sequence[NonNegativeFloat | Mapping[str, NonNegativeFloat]] | None = None,
        samples_per_update: PositiveInt | None = None,
        memory: NonNegativeInt | None = None,
        margin_scale: PositiveFloat = 0.5,
        reuse_results: bool = False,
        optimizer: str = "distributions",
        optimizer_options: Mapping[str, Any] | None = None,
        seed: NonNegativeInt | None = None,
        record_path: str | None = None,
    ) -> None:
        loss, direction, costs = objectives(metric, mode)
        arguments = {
            "complexity": _complexity(complexity, costs, targets),
            "recorded_complexities": recorded_complexities,
            "coefficients": coefficients,
            "targets": targets,
            "num_distributions": num_distributions,
            "samples_per_update": samples_per_update,
            "memory": memory,
            "margin_scale": margin_scale,
            "reuse_results": reuse_results,
            "optimizer": optimizer,
            "optimizer_options": optimizer_options or {},
            "seed": secrets.randbits(63) if seed is None else seed,
        }
        given = Given(loss, direction, space, points_to_evaluate, evaluated_rewards, evaluated_complexities)
        super().__init__(arguments, given, record_path)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take metric, mode and search space from the Tuner; False if there are two search spaces.

        Raises:
            ConfigError: The space cannot be searched, or this searcher or its record was used before.
        """
        if self._search is not None:
            raise used_before(self.record_path)
        self._place.check_free()
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
        complexity: float | Mapping[str, float] | None = None,
    ) -> None:
        """Add a result from outside to the record and the answers, before or during the search.

        Since it was not drawn with a known density, the distributions do not learn from it.

        Args:
            parameters: the configuration; constants may be left out.
            value: its metric.
            error: whether it failed; it then ranks worst, whatever the value.
            pruned: whether it was stopped early; the value counts all the same, as for a trial stopped by a scheduler.
            intermediate_values: not used.
            complexity: its complexity, if that is a key of the result; by name if there are several costs.

        Raises:
            ConfigError: The configuration is not of the space, or its complexity is unknown.
        """
        loss = math.inf if error or value is None else float(value)
        result = EarlierResult(parameters, loss, complexity)
        if self._search is not None or self._place.has_own_record():
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


def _complexity(given: Complexity | None, costs: list[str], targets: object) -> Complexity:
    """The complexity that was given, or the costs that are further metrics, or those of the targets.

    Raises:
        ConfigError: There is none, or it is given twice.
    """
    if given is not None:
        if costs:
            raise ConfigError("the costs must be given once, got complexity and a list of metrics: keep one of them")
        return given
    names = costs or (list(targets) if isinstance(targets, Mapping) else [])
    if not names:
        raise ConfigError(
            "complexity must be given: a key of the result or a function config -> float, which says how large a "
            "configuration is"
        )
    return names[0] if len(names) == 1 else names
