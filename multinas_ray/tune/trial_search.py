"""A search in which each trial is one evaluation: it decides what to run next and learns from results. Without Tune.

A result is durable in the record at once. The optimiser is told the result later, with the others of its update and
only when the scale of the complexity and the coefficients are known, which may take the results of the first update.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from multinas_ray.core import Optimizer, Proposals, default_coefficients
from multinas_ray.runs import ConfigSpace, RunRecord
from multinas_ray.tune.evaluation import Evaluation
from multinas_ray.tune.known import KnownResults
from multinas_ray.tune.reading import ResultReader, architecture_of, config_in
from multinas_ray.tune.settings import SearchSettings
from multinas_ray.tune.unseen import most_probable

MAX_UNSEEN_DRAWS = 1000
"""After this many draws from the whole space that are all known, a space with numbers counts as known."""

MAX_KNOWN_DRAWS = 100
"""After this many draws in a row that need no run, the most probable unseen architecture is run."""


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in a form that a record can hold; others are replaced by their text."""
    return json.loads(json.dumps(values, default=_plain_value))  # type: ignore[no-any-return]


def _plain_value(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)


def recorded_scales(scales: Mapping[str, float | None]) -> dict[str, Any]:
    """The scales as the record has them: that of the first cost, and all if there are several."""
    return {"scale": next(iter(scales.values())), **({"scales": dict(scales)} if len(scales) > 1 else {})}


class TrialSearch:
    """Proposes architectures and learns from their results.

    Args:
        settings: the settings of the search.
        space: the configurations.
        record: the record, in which evaluations are written before the optimiser is told.
        optimizer: the distributions, without coefficients that are not known yet.
        coefficients: None until known.
        scales: column of each cost of the search -> the cost that counts as 1, None until known.
        points: architectures to run first, with their (negative) ids.
        next_untold: the next negative id.
    """

    def __init__(
        self,
        *,
        settings: SearchSettings,
        space: ConfigSpace,
        record: RunRecord,
        optimizer: Optimizer,
        coefficients: tuple[float, ...] | None,
        scales: Mapping[str, float | None],
        points: Iterable[Evaluation],
        next_untold: int,
    ) -> None:
        self.settings, self.space, self.record = settings, space, record
        self.optimizer = optimizer
        self.coefficients, self._scales = coefficients, dict(scales)
        self.live: dict[str, Evaluation] = {}
        """Running trials by Tune's id."""
        self.finished: set[str] | None = None
        """Ids of the trials that have ended well. Only after a restore, when Tune may run others than it asked for."""
        self._points = deque(points)
        self.next_untold = next_untold
        """The next negative id."""
        self._held: list[Evaluation] = []
        self._known = KnownResults(list(settings.complexities.measures), space.key)
        self._in_flight: set[bytes] = set()
        self._followers: dict[bytes, list[Evaluation]] = {}

    @property
    def is_calibrated(self) -> bool:
        """Whether scales and coefficients are known."""
        return self.coefficients is not None and self.scales is not None

    @property
    def scales(self) -> dict[str, float] | None:
        """Column of each cost of the search -> the cost that counts as 1; None until all are known."""
        known = {column: scale for column, scale in self._scales.items() if scale is not None}
        return known if len(known) == len(self._scales) else None

    def propose(self, trial_id: str) -> dict[str, Any] | None:
        """The configuration of a new trial; None if there is nothing to run, now or ever."""
        evaluation = self._next()
        if evaluation is None:
            return None
        drawn = self.space.draw(evaluation.architecture)
        self.run(replace(evaluation, trial_id=trial_id))
        return self.space.decode(evaluation.architecture, drawn)

    def note_drawn(self, trial_id: str, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the values of a running trial that were drawn and not searched.

        Args:
            trial_id: a running trial.
            flat: its configuration by paths; empty if it is not known.

        Returns:
            Its configuration, if a complexity is computed from it; otherwise empty.
        """
        evaluation = self.live[trial_id]
        if self.space.functions:
            drawn = plain_values(self.space.drawn_in(flat, evaluation.architecture))
            evaluation = self.live[trial_id] = replace(evaluation, drawn=drawn or None)
        if not self.settings.complexities.has_functions:
            return {}
        return self.space.decode(evaluation.architecture, evaluation.drawn)

    def run(self, evaluation: Evaluation) -> None:
        """Note that a trial is running."""
        self.live[evaluation.trial_id] = evaluation
        if self.settings.skips_known:
            self._in_flight.add(self.space.key(evaluation.architecture))

    def finish(self, trial_id: str, loss: float, costs: dict[str, float | None]) -> None:
        """Record the result of a running trial, and learn from it.

        Args:
            trial_id: a running trial.
            loss: minimised; inf for a failed evaluation.
            costs: raw complexities by column.
        """
        done = replace(self.live.pop(trial_id), loss=loss, costs=costs)
        self.settle(done)
        for follower in self._no_longer_in_flight(done):
            self.settle(replace(follower, loss=loss, costs=costs, reused_id=done.number))

    def forget(self, trial_id: str) -> None:
        """Drop a trial that ended without a result, which says nothing about its architecture."""
        dropped = self.live.pop(trial_id)
        for draw in [dropped, *self._no_longer_in_flight(dropped)]:
            if draw.proposal is not None:
                self.optimizer.forget(draw.proposal)

    def _no_longer_in_flight(self, evaluation: Evaluation) -> list[Evaluation]:
        """Note that a trial has ended; returns the draws of its configuration that waited for it."""
        if not self.settings.skips_known:
            return []
        key = self.space.key(evaluation.architecture)
        self._in_flight.discard(key)
        return self._followers.pop(key, [])

    def settle(self, evaluation: Evaluation) -> None:
        """Record an evaluation, then learn from it."""
        is_run = evaluation.reused_id is None  # a repeat can be had again for nothing, so it may be lost
        self.record.append(evaluation.results(self.scales), sync=is_run)
        if self.finished is not None and np.isfinite(evaluation.loss):
            self.finished.add(evaluation.trial_id)
        self.remember(evaluation)
        if evaluation.proposal is not None:
            self.hold([evaluation])

    def add(self, outside: Evaluation) -> None:
        """Record an evaluation from outside, which no update may use, under the id `next_untold`."""
        assert outside.number == self.next_untold
        self.next_untold -= 1
        self.settle(outside)

    def take_restarted(self, trial_id: str, result: Mapping[str, Any] | None, reader: ResultReader) -> bool:
        """Record a failed trial that Tune has run again after a restore, under its id or a new one, without asking.

        Returns:
            Whether it is such a trial.
        """
        is_new = self.finished is not None and trial_id not in self.finished
        architecture = architecture_of(self.space, result) if is_new and result is not None else None
        if architecture is None or result is None:
            return False
        drawn = plain_values(self.space.drawn_in(config_in(result), architecture)) or None
        loss, costs = reader.read(self.space.decode(architecture, drawn), result)
        self.add(Evaluation(self.next_untold, architecture, None, drawn, trial_id, loss, costs))
        return True

    def remember(self, evaluation: Evaluation) -> None:
        """Keep a result for later draws of the same configuration, if known ones are not run again."""
        is_own = all(name in self.space.functions for name in evaluation.drawn or ())
        if self.settings.skips_known and evaluation.reused_id is None and is_own:
            self._known.add(evaluation)

    def hold(self, evaluations: Iterable[Evaluation]) -> None:
        """Take recorded results; the optimiser is told many at once, when it would learn from them, which is faster."""
        self._held += evaluations
        if not self.is_calibrated:
            self._calibrate()
        while self._held and self.is_calibrated:
            num_missing = self.optimizer.results_to_step
            if len(self._held) < num_missing:
                return
            now, self._held = self._held[:num_missing], self._held[num_missing:]
            self._tell(now)

    def save(self) -> None:
        """Write the record, with a snapshot of the distributions as soon as they may have learned something."""
        if self.is_calibrated:
            self.record.save(self.optimizer)
        else:
            self.record.flush()

    def _calibrate(self) -> None:
        """Fix scales and coefficients when the results of one update have come, first in the record and then here."""
        useful = [each for each in self._held if np.isfinite(each.loss)]
        if not useful or len(self._held) < self.optimizer.samples_per_update:
            return
        losses_N = np.array([each.loss for each in useful])
        for column, scale in self._scales.items():
            self._scales[column] = scale or max(each.raw(column) for each in useful) or 1.0
        scales = self.scales
        assert scales is not None
        coefficients = self.coefficients
        if coefficients is None:
            complexities_N = np.array([each.complexity(scales) for each in useful])
            coefficients = default_coefficients(losses_N, complexities_N, self.settings.size)
        self.record.update_config(
            optimizer={**self.record.config["optimizer"], "coefficients": list(coefficients)},
            complexity={**self.record.config["complexity"], **recorded_scales(scales)},
        )
        self.optimizer.set_coefficients(coefficients)
        self.coefficients = tuple(coefficients)

    def _tell(self, evaluations: list[Evaluation]) -> None:
        scales = self.scales
        assert scales is not None
        proposals = Proposals.concatenate([each.proposal for each in evaluations if each.proposal is not None])
        complexities = [each.complexity(scales) for each in evaluations]
        self.optimizer.tell(proposals, [each.loss for each in evaluations], complexities)
        self.record.note_update(self.optimizer, self.optimizer.num_updates - 1)

    def _next(self) -> Evaluation | None:
        while self._points:
            point = self._points.popleft()
            if not self._is_seen(point.architecture):
                return point
        if not self.settings.skips_known:
            return self._draw()
        for _ in range(MAX_KNOWN_DRAWS):
            draw = self._draw()
            if draw.architecture in self._known:
                self.settle(self._known.repeat(draw))
            elif (key := self.space.key(draw.architecture)) in self._in_flight:
                self._followers.setdefault(key, []).append(draw)
            else:
                return draw
        return self._most_probable_unseen()

    def _draw(self) -> Evaluation:
        proposal = self.optimizer.ask(1)
        return Evaluation(int(proposal.ids[0]), tuple(proposal.architectures[0].tolist()), proposal)

    def _is_seen(self, architecture: tuple[int, ...]) -> bool:
        is_known = architecture in self._known or self.space.key(architecture) in self._in_flight
        return self.settings.skips_known and is_known

    def _most_probable_unseen(self) -> Evaluation | None:
        """The likeliest unseen architecture of each distribution in turn; None if all are known or running.

        Where numbers are searched, it is one drawn anywhere instead; None if MAX_UNSEEN_DRAWS draws were all known.
        """
        number = self.next_untold
        if self.space.is_listed:
            probs_DC = self.optimizer.probs[number % self.optimizer.num_distributions]
            architecture = most_probable(probs_DC, self.space.layout, self._is_seen)
        else:
            drawn_ND = self.space.random(MAX_UNSEEN_DRAWS, np.random.default_rng([self.settings.seed, -number]))
            rows = (tuple(row) for row in drawn_ND.tolist())
            architecture = next((row for row in rows if not self._is_seen(row)), None)
        if architecture is None:
            return None
        self.next_untold -= 1
        return Evaluation(number, architecture, None)
