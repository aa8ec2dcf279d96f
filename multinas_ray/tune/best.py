"""The results of a search in a Tune pipeline: the best configurations and the front of all evaluations.

Notation: K distributions, n evaluations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from multinas_ray.core import best_evaluated, default_coefficients
from multinas_ray.errors import StateError
from multinas_ray.runs import ConfigSpace, Run, best_subset, nondominated, spread_subset
from multinas_ray.settings import checked_arguments
from multinas_ray.tune.evaluation import drawn_of

REFERENCE_QUANTILE = 0.9
"""Losses above this quantile of all evaluated losses are no answer."""

REFERENCE_MARGIN = 0.1
"""Distance of the reference beyond the largest complexity, as a share of the range, so that the largest one counts."""


@checked_arguments
def best_configs(run: Run) -> pd.DataFrame:
    """Choose the best configuration for each coefficient, or within each target or set of targets.

    Args:
        run: a run of a `MultiNASSearch`, running or finished.

    Returns:
        One row for each coefficient or target, from small to large: the row's index is the number of the answer, 0 for
        the smallest. `coefficient` and, with targets, `target`;
        `mode_config` and `mode_probability`, the likeliest configuration of the row's distribution and its
        probability (None and NaN before the first update); `config`, the best evaluated configuration, its metric and
        its complexity under their own names and in their own units, and its `evaluation_id` and `trial_id`;
        `effective_sample_size` of the distribution's last update; and `num_evaluations`, the number of results from
        which the distributions learned. With several costs, each has a column, and each target too, as `target_NAME`.

        The best configuration has the least loss + coefficient * complexity / scale; with a target, the least loss
        among those above the target in no cost. If neither was given, it is the k-th, from small to large, of the K
        evaluations that together dominate most. With targets, the row's distribution is the one with the nearest
        expected complexity. If no evaluation meets a target, `is_met` is False, `config` is None, the metric and the
        costs are NaN, and `nearest_complexity` is the least complexity there is; with several costs it is the least
        there is of the largest of costs / targets.

    Raises:
        StateError: The run is of another kind, or has no successful evaluation yet.
    """
    space, names = _space_of(run), _Names(run)
    costs = run.evaluations[names.columns].to_numpy(dtype=np.float64)
    tried = run.evaluations[np.isfinite(run.evaluations["loss"]) & np.isfinite(costs).all(axis=1)]
    if tried.empty:
        raise StateError(f"{run.path} has no successful evaluation yet: wait for one, or find out why trials fail")
    raw = tried[names.columns].to_numpy(dtype=np.float64)
    losses = tried["loss"].to_numpy()
    scales = np.array([names.scales[name] or float(raw[:, j].max()) or 1.0 for j, name in enumerate(names.columns)])
    coefficients = _coefficients_of(run, losses, (raw / scales).max(axis=1))
    newest = _newest_distributions(run, coefficients)
    choose = _Chooser(space, names, int(run.config["optimizer"]["samples_per_update"]), tried, losses, raw, scales)
    settings = run.config["settings"]
    if settings["targets"] is not None:
        return pd.DataFrame([choose.within(limits, newest) for limits in _limits_of(settings["targets"], names)])
    spread = choose.spread(len(coefficients)) if settings["coefficients"] is None else []
    if len(spread) == len(coefficients):
        rows = [choose.row(newest.iloc[k], place) for k, place in enumerate(spread)]
    else:
        rows = [choose.weighing(newest.iloc[k]) for k in range(len(coefficients))]
    return pd.DataFrame(rows[::-1])  # the first coefficient asks for the largest


@checked_arguments
def pareto_front(run: Run) -> pd.DataFrame:
    """Find the evaluations that no other beats in metric and complexity, or in all costs if there are several.

    Args:
        run: a run of a `MultiNASSearch`, running or finished.

    Returns:
        Their `config`, metric and complexity (under their own names and in their own units), `evaluation_id` and
        `trial_id`, from small to large complexity (first cost).

    Raises:
        StateError: The run is of another kind.
    """
    space, names = _space_of(run), _Names(run)
    ran = run.evaluations[run.evaluations["reused_id"].isna()]
    front = nondominated(ran["loss"].to_numpy(np.float64), ran[names.columns].to_numpy(np.float64))
    columns = ["config", names.metric, *names.labels, "evaluation_id", "trial_id"]
    return pd.DataFrame([_evaluation_row(ran.iloc[place], space, names) for place in front], columns=columns)


@dataclass(frozen=True)
class _Chooser:
    """Chooses among the n successful evaluations, which have J costs."""

    space: ConfigSpace
    names: "_Names"
    samples_per_update: int
    tried: pd.DataFrame
    losses: npt.NDArray[np.float64]
    raw: npt.NDArray[np.float64]
    """(n, J) costs in their own units."""
    scales: npt.NDArray[np.float64]
    """(J,) costs that count as 1."""

    @property
    def complexities(self) -> npt.NDArray[np.float64]:
        """(n,) largest of costs / scales."""
        largest: npt.NDArray[np.float64] = (self.raw / self.scales).max(axis=1)
        return largest

    def weighing(self, distribution: Any) -> dict[str, Any]:
        """The row for the coefficient of one distribution."""
        architectures = np.array(self.tried["architecture"].tolist())
        (best,) = best_evaluated(architectures, self.losses, self.complexities, [distribution["coefficient"]])
        return self.row(distribution, int(best))

    def spread(self, size: int) -> list[int]:
        """The evaluations that together dominate most, from large to small; points above the reference do not count.

        Weighted sums would skip the concave parts of a front, and here the user gave no coefficients [ours].
        """
        spans = np.ptp(self.raw, axis=0)
        largest = self.raw.max(axis=0) + REFERENCE_MARGIN * np.where(spans > 0, spans, 1.0)
        worst = float(np.quantile(self.losses, REFERENCE_QUANTILE))
        if len(largest) == 1:
            places = best_subset(self.losses, self.raw[:, 0], size, (worst, float(largest[0])))[::-1]
        else:
            points, reference = np.column_stack([self.losses, self.raw]), np.array([worst, *largest])
            places = spread_subset(points, size, reference)
            places = places[np.argsort(-self.complexities[places], kind="stable")]
        chosen: list[int] = places.tolist()
        return chosen

    def row(self, distribution: Any, place: int) -> dict[str, Any]:
        """The row for a distribution and a chosen evaluation."""
        return {**self._of_distribution(distribution), **self._of_evaluation(place)}

    def within(self, limits: npt.NDArray[np.float64], newest: pd.DataFrame) -> dict[str, Any]:
        """The row for one target of each of the J costs; inf for a cost without."""
        fits = np.flatnonzero((self.raw <= limits).all(axis=1))
        chosen = int(fits[np.argmin(self.losses[fits])]) if len(fits) else None
        nearest = _nearest(newest["expected_complexity"].to_numpy(dtype=float), float((limits / self.scales).min()))
        if len(limits) == 1:
            targets, nearness = {"target": limits[0]}, self.raw[:, 0]
        else:
            bounded = zip(self.names.labels, limits.tolist(), strict=True)
            targets = {f"target_{label}": limit for label, limit in bounded if np.isfinite(limit)}
            with np.errstate(divide="ignore", invalid="ignore"):  # a target may be 0
                nearness = np.nan_to_num(self.raw / limits, nan=0.0).max(axis=1)
        return {
            **targets,
            "is_met": chosen is not None,
            **self._of_distribution(newest.iloc[nearest]),
            **self._of_evaluation(chosen),
            "nearest_complexity": float(nearness.min() if chosen is None else nearness[chosen]),
        }

    def _of_distribution(self, row: Any) -> dict[str, Any]:
        is_known = isinstance(row["mode"], tuple)
        return {
            "coefficient": float(row["coefficient"]),
            "mode_config": self.space.decode(row["mode"]) if is_known else None,
            "mode_probability": float(row["mode_probability"]),
            "effective_sample_size": float(row["effective_sample_size"]),
            "num_evaluations": int(row["update"]) * self.samples_per_update if is_known else 0,
        }

    def _of_evaluation(self, place: int | None) -> dict[str, Any]:
        return _evaluation_row(None if place is None else self.tried.iloc[place], self.space, self.names)


class _Names:
    """Names of the metric and the costs, and the direction of the metric."""

    def __init__(self, run: Run) -> None:
        self.metric = str(run.config["metric"])
        self.sign = -1.0 if run.config["mode"] == "max" else 1.0
        told = run.config["complexity"]
        self.scales: dict[str, float | None] = told.get("scales") or {told["name"]: told["scale"]}
        self.columns = list(self.scales)
        names = run.config["settings"].get("costs") or {told["name"]: told["label"]}
        self.labels = [str(names[column]) for column in self.columns]


def _space_of(run: Run) -> ConfigSpace:
    if run.kind != "tune":
        raise StateError(
            f"{run.path} must be the record of a MultiNASSearch, it is of a one-shot search: use `architectures`"
        )
    return ConfigSpace.from_plain(run.config["space"])


def _coefficients_of(
    run: Run, losses: npt.NDArray[np.float64], complexities: npt.NDArray[np.float64]
) -> tuple[float, ...]:
    """The run's coefficients; before they are fixed, those that the results so far suggest."""
    fixed = run.config["optimizer"]["coefficients"]
    if fixed is not None:
        return tuple(fixed)
    return tuple(default_coefficients(losses, complexities, run.config["settings"]["num_distributions"]))


def _newest_distributions(run: Run, coefficients: tuple[float, ...]) -> pd.DataFrame:
    """One row for each distribution, with NaN if nothing is recorded yet."""
    rows = run.distributions
    newest = rows[rows["update"] == rows["update"].max()].set_index("distribution")
    newest = newest.reindex(range(len(coefficients)))
    return pd.DataFrame(newest.assign(coefficient=list(coefficients)))


def _evaluation_row(row: Any, space: ConfigSpace, names: _Names) -> dict[str, Any]:
    if row is None:
        unknown = {"config": None, names.metric: np.nan, **dict.fromkeys(names.labels, np.nan)}
        return {**unknown, "evaluation_id": None, "trial_id": None}
    return {
        "config": space.decode(row["architecture"], drawn_of(row)),
        names.metric: names.sign * float(row["loss"]),
        **{label: float(row[name]) for label, name in zip(names.labels, names.columns, strict=True)},
        "evaluation_id": int(row["id"]),
        "trial_id": row["trial_id"],
    }


def _limits_of(targets: Any, names: _Names) -> list[npt.NDArray[np.float64]]:
    """For each answer the (J,) limits of the costs."""
    if not isinstance(targets, Mapping):
        return [np.array([target], dtype=np.float64) for target in targets]
    count = len(next(iter(targets.values())))
    return list(np.array([targets.get(name, [np.inf] * count) for name in names.labels], dtype=np.float64).T)


def _nearest(values: npt.NDArray[np.float64], target: float) -> int:
    distances = np.abs(values - target)
    return 0 if np.isnan(distances).all() else int(np.nanargmin(distances))
