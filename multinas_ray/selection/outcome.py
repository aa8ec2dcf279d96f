"""What a search has found: its last distributions, and every network that it evaluated.

Notation: K distributions, D variables, C categories (padded), A distinct networks of the record, N architectures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from multinas_ray.core import CategoryLayout, modes
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import Run, architectures_of
from multinas_ray.selection.budget import PART, Budget
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.many_rows import AT_ONCE, different_rows, in_parts, rising, row_keys
from multinas_ray.settings import checked
from multinas_ray.spaces import Cost, Equivalence, FloatArray, IntArray, SearchSpace

Architecture = tuple[int, ...]

RECENT_SHARE = 0.2
"""While the shared weights train, recorded losses age. If a network has evaluations in this last part of the record,
only they count. [ours]"""
UNIFORM_SHARE = 0.2
"""Part of the uniform distribution in a tempered one. [ours]"""


@checked
@dataclass(frozen=True, eq=False, kw_only=True)
class SearchOutcome:
    """What a search has found. Architectures are canonical: encodings of the same network are one."""

    search_space: SearchSpace
    equivalence: Equivalence
    """Which architectures build the same network."""
    costs: Mapping[str, Cost]
    complexity_name: str
    """The cost that is the complexity of the search."""
    complexity_scale: float
    """The value of that cost which counts as a complexity of 1."""
    probs_KDC: FloatArray
    """The distributions after the last update."""
    architectures_AD: npt.NDArray[Any]
    """Every network that was evaluated successfully, each once, in rising order; of any type of whole numbers."""
    losses_A: FloatArray
    """Mean of its losses during the search, over all its encodings; see RECENT_SHARE."""
    ids_A: IntArray
    """Id of its newest evaluation."""

    def __post_init__(self) -> None:
        """Check that the arrays of the networks fit each other."""
        number = len(self.architectures_AD)
        for name in ("losses_A", "ids_A"):
            if (found := getattr(self, name).shape) != (number,):
                raise ConfigError(f"{name} must have one value for each of the {number} networks, got shape {found}")

    @classmethod
    def of(
        cls, run: Run, search_space: SearchSpace, costs: Mapping[str, Cost], equivalence: Equivalence
    ) -> "SearchOutcome":
        """Read the outcome of the run of a supernet search.

        Raises:
            StateError: the run has no update yet.
        """
        if run.distributions.empty:
            raise StateError(
                f"{run.path} has no update of its distributions yet: let its search run on before choosing networks"
            )
        evaluations = run.evaluations
        is_finite = np.isfinite(evaluations["loss"].to_numpy(np.float64))
        losses_R, ids_R = (evaluations[name].to_numpy()[is_finite] for name in ("loss", "id"))
        is_recent_R = np.ones(len(losses_R), dtype=bool)
        if run.config["plan"]["train_during_search"]:
            is_recent_R = evaluations["tell_order"].to_numpy()[is_finite] >= (1 - RECENT_SHARE) * len(evaluations)
        column = evaluations["architecture"]
        networks_RD = _networks(column if is_finite.all() else column[is_finite], search_space, equivalence)
        architectures_AD, network_R = different_rows(networks_RD)
        ids_A = np.zeros(len(architectures_AD), dtype=np.int64)
        np.maximum.at(ids_A, network_R, ids_R)
        return cls(
            search_space=search_space,
            equivalence=equivalence,
            costs=costs,
            complexity_name=str(run.config["complexity"]["name"]),
            complexity_scale=float(run.config["complexity"]["scale"]),
            probs_KDC=_newest_probs(run, search_space),
            architectures_AD=architectures_AD,
            losses_A=_mean_losses(losses_R, network_R, is_recent_R, len(architectures_AD)),
            ids_A=ids_A,
        )

    def places_of(self, architectures: Sequence[Architecture]) -> list[int | None]:
        """Where networks stand in the record; None for those that do not."""
        if not len(self.architectures_AD):
            return [None] * len(architectures)
        wanted_N = row_keys(np.array(architectures).astype(self.architectures_AD.dtype))
        places_N = np.minimum(np.searchsorted(self._keys_A, wanted_N), len(self._keys_A) - 1)
        is_there_N = self._keys_A[places_N] == wanted_N
        return [place if there else None for place, there in zip(places_N.tolist(), is_there_N, strict=True)]

    @cached_property
    def _keys_A(self) -> npt.NDArray[np.bytes_]:
        return row_keys(self.architectures_AD)

    @cached_property
    def _complexities_A(self) -> FloatArray:
        parts = [self.complexities(part_ND) for part_ND in in_parts(self.architectures_AD)]
        return np.concatenate([np.zeros(0), *parts])

    def distributions_for(self, goal: Goal) -> list[int]:
        """The distributions from which modes and draws are taken for a goal, the most suitable first.

        For a coefficient this is the goal's own distribution alone. For a budget it is all of them: the goal's own
        first, if it has one, then the others by their distance, which is how far the expected costs lie from the
        limits, above or below.
        """
        if not goal.limits:
            return [goal.distribution] if goal.distribution is not None else list(range(len(self.probs_KDC)))
        expected = {name: self.costs[name].expectation(self.probs_KDC) for name in goal.limits}
        distances_K = np.abs(Budget(goal.limits, self.costs).excess_of(expected))
        return sorted(distances_K.argsort(kind="stable").tolist(), key=lambda k: k != goal.distribution)

    def modes_for(self, goal: Goal) -> IntArray:
        """(M, D) the networks of the likeliest architectures of these distributions, in their order."""
        return self.equivalence.canonical(modes(self.probs_KDC)[self.distributions_for(goal)])

    def tempered_probs(self, distribution: int) -> FloatArray:
        """(D, C) a distribution mixed with the uniform one, position by position.

        A distribution that has decided draws the same few networks again and again. Its small probabilities stand at
        the margin by then, so they tell nothing, and a power of them would tell as little. Mixed with UNIFORM_SHARE of
        the uniform distribution, every position varies now and then, and one that has not decided stays nearly as it
        is. [ours]
        """
        layout = CategoryLayout.from_num_categories(self.search_space.num_categories)
        uniform_DC = layout.valid_DC / layout.valid_DC.sum(axis=1, keepdims=True)
        tempered_DC: FloatArray = (1 - UNIFORM_SHARE) * self.probs_KDC[distribution] + UNIFORM_SHARE * uniform_DC
        return tempered_DC

    def complexities(self, rows_ND: IntArray) -> FloatArray:
        """(N,) the cost that the search weighed, divided by its scale."""
        return self.costs[self.complexity_name](rows_ND) / self.complexity_scale

    def best_evaluated(self, goal: Goal, number: int | None = None) -> IntArray:
        """(A', D) the evaluated networks that keep the limits of a goal, by loss + coefficient * complexity.

        Args:
            goal: the goal.
            number: so many, at most; None: all.
        """
        objectives_A = self.losses_A + (goal.coefficient or 0.0) * self._complexities_A
        budget = Budget(goal.limits, self.costs)
        found, missing = [self.architectures_AD[:0].astype(np.int64)], len(objectives_A) if number is None else number
        for order in rising(objectives_A, self._complexities_A):
            start, size = 0, PART
            while missing > 0 and start < len(order):
                part_ND = self.architectures_AD[order[start : start + size]].astype(np.int64)
                found.append(part_ND[budget.keeps(part_ND)][:missing])
                missing -= len(found[-1])
                start, size = start + size, min(2 * size, AT_ONCE)
            if missing <= 0:
                break
        return np.concatenate(found)


def _networks(column: pd.Series, search_space: SearchSpace, equivalence: Equivalence) -> npt.NDArray[Any]:
    """(R, D) the canonical encodings of recorded architectures, in the fewest bytes."""
    smallest = np.min_scalar_type(-max(search_space.num_categories))
    networks_RD = np.zeros((len(column), search_space.num_variables), dtype=smallest)
    for start in range(0, len(column), AT_ONCE):
        part_ND = architectures_of(column.iloc[start : start + AT_ONCE])
        networks_RD[start : start + AT_ONCE] = equivalence.canonical(part_ND)
    return networks_RD


def _mean_losses(
    losses_R: FloatArray, network_R: IntArray, is_recent_R: npt.NDArray[np.bool_], number: int
) -> FloatArray:
    """(A,) mean loss of each network over its recent rows, or over all where none is recent."""
    recent_A = np.bincount(network_R, is_recent_R, number)
    counts_R = is_recent_R | (recent_A[network_R] == 0)
    sums_A = np.bincount(network_R[counts_R], losses_R[counts_R], number)
    means_A: FloatArray = sums_A / np.maximum(np.bincount(network_R[counts_R], minlength=number), 1)
    return means_A


def _newest_probs(run: Run, search_space: SearchSpace) -> FloatArray:
    """(K, D, C) the distributions after the newest update."""
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    counts = search_space.num_categories
    probs_KDC = np.zeros((len(newest), len(counts), max(counts)))
    for k, ragged in enumerate(newest.sort_values("distribution")["probs"]):
        for d, row in enumerate(ragged):
            probs_KDC[k, d, : counts[d]] = row
    return probs_KDC
