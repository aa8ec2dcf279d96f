"""What a user gives a search in a Tune pipeline besides its settings: metric, mode, space, and points."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ray.tune import ExperimentAnalysis, ResultGrid
from ray.tune.experiment import Trial

from multinas_ray.errors import ConfigError
from multinas_ray.runs import ConfigSpace
from multinas_ray.tune.complexity import Complexities, as_number
from multinas_ray.tune.evaluation import Evaluation
from multinas_ray.tune.reading import loss_of
from multinas_ray.tune.settings import SearchSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlierResult:
    """A result from outside the search."""

    config: dict[str, Any]
    """The configuration; constants may be missing."""
    loss: float
    """Minimised; not finite for a failed evaluation."""
    complexity: Mapping[str, float] | float | None
    """Costs that are keys of the result, by name; a single one without; None if all are computed."""


@dataclass(frozen=True)
class Points:
    """The user's architectures with the ids -1, -2, ...: those to run first, then those with a result."""

    to_run: list[Evaluation]
    known: list[Evaluation]


@dataclass(frozen=True)
class Given:
    """Arguments of a constructor, unchanged.

    Raises:
        ConfigError: Results were given without their points, or not one result for each point.
    """

    metric: str | None
    mode: str | None
    space: dict[str, Any] | None
    points: Sequence[dict[str, Any]] | None
    rewards: Sequence[float] | None
    complexities: Sequence[Any] | None

    def __post_init__(self) -> None:
        if self.rewards is None:
            return
        if not self.points:
            raise ConfigError("evaluated_rewards must have configurations: give points_to_evaluate too")
        given = {"evaluated_rewards": self.rewards, "evaluated_complexities": self.complexities}
        for name, values in given.items():
            if values is not None and len(values) != len(self.points):
                raise ConfigError(
                    f"{name} must have one number for each point, got {len(values)} for {len(self.points)}"
                )

    @property
    def to_run(self) -> Sequence[dict[str, Any]]:
        """The points without a result."""
        return (self.points or ()) if self.rewards is None else ()

    @property
    def known(self) -> list[EarlierResult]:
        """The points with a result, with the metric unchanged."""
        if self.rewards is None or self.points is None:
            return []
        costs = [None] * len(self.points) if self.complexities is None else self.complexities
        return [EarlierResult(*each) for each in zip(self.points, map(float, self.rewards), costs, strict=True)]


def objectives(
    metric: str | Sequence[str] | None, mode: str | Sequence[str] | None
) -> tuple[str | None, str | None, list[str]]:
    """The metric, its mode, and the costs, from what a caller gave as metric and mode: single ones or lists.

    Raises:
        ConfigError: The lists do not fit together, or a cost shall be large.
    """
    if metric is None or isinstance(metric, str):
        if not (mode is None or isinstance(mode, str)):
            raise ConfigError(f"mode must be a list only if metric is one, got {list(mode)}: give one of them")
        return metric, mode, []
    modes = [mode or "min"] * len(metric) if mode is None or isinstance(mode, str) else list(mode)
    if len(metric) < 2 or len(modes) != len(metric):
        raise ConfigError(
            f"metric and mode must be lists of one length, the loss first and then the costs, got {list(metric)} and "
            f"{modes}"
        )
    large = [name for name, each in zip(metric[1:], modes[1:], strict=True) if each != "min"]
    if large:
        raise ConfigError(
            f'the mode of a cost must be "min", got "max" for {large[0]}: put it first, or report its inverse'
        )
    return metric[0], modes[0], list(metric[1:])


def checked_points(
    space: ConfigSpace,
    settings: SearchSettings,
    to_run: Sequence[dict[str, Any]],
    known: Sequence[EarlierResult],
) -> Points:
    """Encode the user's points.

    Raises:
        ConfigError: One is not of the space, or the complexity of a result is unknown.
    """
    first = len(to_run)
    return Points(
        [Evaluation(-1 - i, space.encode(config), None) for i, config in enumerate(to_run)],
        [outside_evaluation(space, settings, -1 - first - i, result) for i, result in enumerate(known)],
    )


def outside_evaluation(space: ConfigSpace, settings: SearchSettings, number: int, result: EarlierResult) -> Evaluation:
    """Make an evaluation from a result from outside, which no update may use.

    A number between the values of a variable is recorded as it was given, at the nearest architecture.

    Raises:
        ConfigError: The configuration is not of the space, or its complexity is unknown.
    """
    architecture, own = space.encode_nearest(result.config)
    loss = float(result.loss) if np.isfinite(result.loss) else np.inf
    costs = settings.complexities.of_outside(space.decode(architecture, own), result.complexity)
    missing = [settings.complexities.measures[column] for column, value in costs.items() if value is None]
    if missing and np.isfinite(loss):
        raise ConfigError(
            f"the complexity {missing[0]!r} of results that are not run must be known: give evaluated_complexities, "
            "one for each point (complexity= in add_evaluated_point), or a dict of several, or the complexity as a "
            "function of the config"
        )
    return Evaluation(number, architecture, None, own or None, loss=loss, costs=costs)


def minimised(result: EarlierResult, mode: str | None) -> EarlierResult:
    """A result with a loss in place of its metric."""
    return replace(result, loss=loss_of(result.loss, mode))


def results_of_trials(trials_or_analysis: Any, metric: str, complexities: Complexities) -> Iterator[EarlierResult]:
    """The results of trials of another run, with the metric unchanged; NaN for a failed trial.

    Args:
        trials_or_analysis: a ResultGrid, an ExperimentAnalysis, a Trial or a list of Trials.
        metric: the key of the metric; trials that did not fail and lack it are left out.
        complexities: the complexities of the search.

    Raises:
        ConfigError: It is nothing of these.
    """
    given = trials_or_analysis
    if isinstance(given, ResultGrid):
        given = given._experiment_analysis  # the trials have no public name there
    trials = given.trials if isinstance(given, ExperimentAnalysis) else [given] if isinstance(given, Trial) else given
    if not isinstance(trials, Sequence) or not all(isinstance(trial, Trial) for trial in trials):
        raise ConfigError(f"trials must be a ResultGrid, an ExperimentAnalysis or a list of Trials, got {given!r}")
    for trial in trials:
        result = trial.last_result or {}
        has_failed = trial.status == Trial.ERROR
        if not has_failed and metric not in result:
            logger.warning("Trial %s is left out, since its result has no %s.", trial.trial_id, metric)
            continue
        keys = [key for key in complexities.costs.values() if isinstance(key, str)]
        costs = {key: value for key in keys if (value := as_number(result.get(key))) is not None}
        yield EarlierResult(trial.config, math.nan if has_failed else float(result[metric]), costs)
