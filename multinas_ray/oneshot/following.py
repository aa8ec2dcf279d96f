"""Following a search in MLflow or Weights & Biases: the points of each round, by a callback of Tune."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import tune

from multinas_ray.cluster import Following
from multinas_ray.core import small_to_large
from multinas_ray.oneshot.config import OneShotSearchConfig

FOLLOWED = ("expected_loss", "expected_complexity", "entropy", "effective_sample_size", "mode_probability")
"""Diagnostics of the distributions that are followed, each with the number of its network."""
MOST_POINTS = 2000
"""The largest number of points of a curve; longer searches are thinned evenly."""


class FollowedRounds(tune.Callback):
    """Gives the points of each round to the services that follow a search.

    Args:
        following: the services.
        num_rounds: number of rounds of the search.
        complexity_scale: the cost that counts as a complexity of 1.
        diagnostics: the diagnostics of the distributions at present.
    """

    def __init__(
        self,
        following: Following,
        num_rounds: int,
        complexity_scale: float,
        diagnostics: Callable[[], dict[str, NDArray[Any]]],
    ) -> None:
        self._following, self._complexity_scale, self._diagnostics = following, complexity_scale, diagnostics
        self._stride = -(-num_rounds // MOST_POINTS)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune with each round."""
        if "round" not in result or result["round"] % self._stride:
            return
        points = {"train_loss": result["train_loss"], "round_seconds": result["compute_seconds"]}
        if result["losses"]:
            points["median_validation_loss"] = float(np.median(result["losses"]))
            points |= self._of_distributions()
        self._following.log({name: value for name, value in points.items() if math.isfinite(value)}, result["round"])

    def _of_distributions(self) -> dict[str, float]:
        diagnostics = self._diagnostics()
        order = small_to_large(diagnostics["coefficient"], diagnostics["target"])
        scales = {"expected_complexity": self._complexity_scale}
        return {
            f"{name}/{network}": float(diagnostics[name][k]) * scales.get(name, 1.0)
            for name in FOLLOWED
            for network, k in enumerate(order)
        }

    def __getstate__(self) -> dict[str, Any]:
        """Nothing is pickled: Tune pickles callbacks into tuner.pkl, but this one serves its own process only."""
        return {}


def shown_settings(config: OneShotSearchConfig) -> dict[str, Any]:
    """The settings that a service shows beside the curves."""
    return {
        "space": config.space.name,
        "data": config.data.source,
        "complexity": config.complexity,
        "goals": str(list(config.targets or config.coefficients or ())),
        "warmup_rounds": config.warmup_rounds,
        "search_rounds": config.search_rounds,
        "batch_size": config.training.batch_size,
        "learning_rate": config.training.learning_rate,
        "seed": config.seed,
        "folder": config.run_path,
    }
