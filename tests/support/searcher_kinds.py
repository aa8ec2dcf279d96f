"""What the cases of searchers need of each kind of searcher: MultiNASSearch, and OptunaSearch as the yardstick."""

from __future__ import annotations

from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from multinas_ray.runs import load_run
from multinas_ray.tune import MultiNASSearch

METRIC = "metric"


class OurKind:
    """MultiNASSearch. The complexity is the key `size` of the results."""

    name = "MultiNASSearch"

    def make(self, kind: type[Searcher] | None = None, **arguments: Any) -> Any:
        return (kind or MultiNASSearch)(**{"complexity": "size", "seed": 0, **arguments})

    def subclass(self) -> type[Searcher]:
        return type("Named", (MultiNASSearch,), {})

    def losses(self, searcher: Any) -> list[float]:
        """The losses that it has learned of, without failed ones."""
        losses = load_run(searcher.record_path).evaluations["loss"]
        return losses[losses < float("inf")].tolist()

    def tracks(self, searcher: Any, trial_id: str) -> bool:
        return trial_id in searcher._search.live


class OptunaKind:
    """OptunaSearch with random draws."""

    name = "OptunaSearch"

    def make(self, kind: type[Searcher] | None = None, **arguments: Any) -> Any:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return (kind or OptunaSearch)(**{"sampler": optuna.samplers.RandomSampler(seed=0), **arguments})

    def subclass(self) -> type[Searcher]:
        return type("Named", (OptunaSearch,), {})

    def losses(self, searcher: Any) -> list[float]:
        trials = searcher._ot_study.trials
        sign = -1 if searcher.mode == "max" else 1
        done = [sign * each.value for each in trials if each.state == optuna.trial.TrialState.COMPLETE]
        return [loss for loss in done if abs(loss) < float("inf")]

    def tracks(self, searcher: Any, trial_id: str) -> bool:
        return trial_id in searcher._ot_trials


KINDS = {kind.name: kind for kind in (OurKind(), OptunaKind())}
