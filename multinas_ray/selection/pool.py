"""The pool: which architectures may become a network. They are modes, the best evaluated, and fresh draws.

"Selection is more than the mode" (docs/METHOD.md): weighted sums skip the concave parts of a front, and the best
of everything evaluated reach more of it than the K modes. How many of each kind are considered is ours. [ours]

Notation: K distributions, D variables, C categories (padded), A distinct architectures of the record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multinas_ray.core import CategoryLayout, modes, sample_architectures
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import Run
from multinas_ray.selection.goals import Goal
from multinas_ray.spaces import AdditiveCost, Cost, SearchSpace, descend

Architecture = tuple[int, ...]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RECENT_SHARE = 0.2
"""While the shared weights train, recorded losses age. If an architecture has evaluations in this last part of the
record, only they count. [ours]"""
DRAWS = 1000
"""Draws from each distribution among which architectures within the limits are sought. [ours]"""
WEIGHTINGS = 100
"""Weighted sums of costs; from the cheapest network of each, one within several limits is sought. [ours]"""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture that is considered for a goal."""

    goal: int
    """Position of the goal in the list of goals."""
    origin: str
    """Where it comes from: "mode", "evaluated", "drawn" or "cheapest"."""
    architecture: Architecture
    costs: Mapping[str, float]
    """Every cost of the network, in its own unit."""
    complexity: float
    """The cost that the search weighed, divided by its scale."""
    evaluation_id: int | None
    """Id of its newest evaluation in the record; None if the search never evaluated it."""
    recorded_loss: float | None
    """Mean of its losses during the search; None if the search never evaluated it."""
    within_budget: bool
    """Whether it keeps every limit of the goal."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchOutcome:
    """What a search has found: its last distributions, and every architecture that it evaluated."""

    search_space: SearchSpace
    costs: Mapping[str, Cost]
    complexity_name: str
    """The cost that is the complexity of the search."""
    complexity_scale: float
    """The value of that cost which counts as a complexity of 1."""
    probs_KDC: FloatArray
    """The distributions after the last update."""
    architectures_AD: IntArray
    """Every architecture that was evaluated successfully, each once."""
    losses_A: FloatArray
    """Mean of its losses during the search; see RECENT_SHARE."""
    ids_A: IntArray
    """Id of its newest evaluation."""

    @classmethod
    def of(cls, run: Run, search_space: SearchSpace, costs: Mapping[str, Cost]) -> "SearchOutcome":
        """Read the outcome of the run of a supernet search.

        Raises:
            StateError: the run has no update yet.
        """
        if run.distributions.empty:
            raise StateError(
                f"{run.path} has no update of its distributions yet: let its search run on before choosing networks"
            )
        rows = run.evaluations[np.isfinite(run.evaluations["loss"])]
        losses, ids = rows["loss"].to_numpy(np.float64), rows["id"].to_numpy(np.int64)
        is_recent = np.ones(len(rows), dtype=bool)
        if run.config["plan"]["train_during_search"]:
            is_recent = rows["tell_order"].to_numpy() >= (1 - RECENT_SHARE) * len(run.evaluations)
        rows_ND = np.array(rows["architecture"].tolist(), dtype=np.int64).reshape(len(rows), search_space.num_variables)
        architectures_AD, row_of = np.unique(rows_ND, axis=0, return_inverse=True)
        row_of = row_of.reshape(-1)
        counts_A = np.bincount(row_of, is_recent, len(architectures_AD))
        counted = is_recent | (counts_A[row_of] == 0)
        sums_A = np.bincount(row_of[counted], losses[counted], len(architectures_AD))
        ids_A = np.zeros(len(architectures_AD), dtype=np.int64)
        np.maximum.at(ids_A, row_of, ids)
        return cls(
            search_space=search_space,
            costs=costs,
            complexity_name=str(run.config["complexity"]["name"]),
            complexity_scale=float(run.config["complexity"]["scale"]),
            probs_KDC=_newest_probs(run, search_space),
            architectures_AD=architectures_AD,
            losses_A=sums_A / np.maximum(np.bincount(row_of[counted], minlength=len(architectures_AD)), 1),
            ids_A=ids_A,
        )

    def distributions_for(self, goal: Goal) -> list[int]:
        """The distributions from which modes and draws are taken for a goal, the most suitable first.

        For a coefficient this is the goal's own distribution alone. For a budget it is all of them: the goal's own
        first, if it has one, then the others by their distance, which is how far the expected costs lie from the
        limits, above or below.
        """
        if not goal.limits:
            return [goal.distribution] if goal.distribution is not None else list(range(len(self.probs_KDC)))
        expected = {name: self.costs[name].expectation(self.probs_KDC) for name in goal.limits}
        order: list[int] = np.abs(self._excess(expected, goal.limits)).argsort(kind="stable").tolist()
        return sorted(order, key=lambda k: k != goal.distribution)

    def candidates_for(self, goals: Sequence[Goal], number: int, rng: np.random.Generator) -> list[Candidate]:
        """Collect the candidates of every goal, each architecture once for a goal.

        For a coefficient they are the mode of its distribution, the evaluated architectures of least
        loss + coefficient * complexity, and draws from its distribution. For a budget they are the mode of every
        distribution that keeps it (and that of the first distribution in any case, so that one sees why it is not
        chosen), the best evaluated architectures that keep it, and draws that keep it. If no candidate keeps it, the
        cheapest architectures of the space are added, see `_cheapest`.

        Args:
            goals: the goals.
            number: candidates for each goal: a mode, and of the others half (rounded up) evaluated and half drawn.
                There are fewer if fewer keep the limits, or if DRAWS from each distribution give no more.
            rng: generator of the draws.

        Raises:
            ConfigError: number is below 1.
        """
        if number < 1:
            raise ConfigError(f"candidates_per_network must be at least 1, got {number}")
        num_evaluated, num_drawn = number // 2, (number - 1) // 2
        candidates = []
        for place, goal in enumerate(goals):
            kinds: dict[Architecture, str] = dict.fromkeys(self._modes(goal), "mode")
            for architecture in self._best_evaluated(goal, num_evaluated + len(kinds)):
                if sum(kind == "evaluated" for kind in kinds.values()) < num_evaluated:
                    kinds.setdefault(architecture, "evaluated")
            for architecture in self._draws(goal, rng):
                if sum(kind == "drawn" for kind in kinds.values()) >= num_drawn:
                    break
                kinds.setdefault(architecture, "drawn")
            if not any(self._keeps(np.array([architecture]), goal.limits)[0] for architecture in kinds):
                kinds = {**dict.fromkeys(self._cheapest(goal, rng), "cheapest"), **kinds}
            candidates += [self._candidate(place, goal, *item) for item in kinds.items()]
        return candidates

    def _modes(self, goal: Goal) -> list[Architecture]:
        modes_KD = modes(self.probs_KDC)[self.distributions_for(goal)]
        keeps_K = self._keeps(modes_KD, goal.limits)
        keeps_K[0] = True  # the mode of the goal's own distribution, or of the nearest one
        return [tuple(row) for row in modes_KD[keeps_K].tolist()]

    def _best_evaluated(self, goal: Goal, number: int) -> list[Architecture]:
        complexities_A = self.costs[self.complexity_name](self.architectures_AD) / self.complexity_scale
        scores_A = self.losses_A + (goal.coefficient or 0.0) * complexities_A
        order = np.lexsort((complexities_A, scores_A))
        order = order[self._keeps(self.architectures_AD[order], goal.limits)][:number]
        return [tuple(row) for row in self.architectures_AD[order].tolist()]

    def _draws(self, goal: Goal, rng: np.random.Generator) -> Iterator[Architecture]:
        layout = CategoryLayout.from_num_categories(self.search_space.num_categories)
        for k in self.distributions_for(goal):
            rows_ND = sample_architectures(self.probs_KDC, np.full(DRAWS, k), layout, rng)
            yield from (tuple(row) for row in rows_ND[self._keeps(rows_ND, goal.limits)].tolist())

    def _cheapest(self, goal: Goal, rng: np.random.Generator) -> list[Architecture]:
        """The architectures that are most likely to keep limits which no other candidate keeps.

        [ours] They are the cheapest architecture by each limited cost; a single limit is kept by it if the space has
        any network that keeps it (by a cost whose cheapest architecture is known). For several limits the nearest
        architecture that a local search finds is added. The search changes one block at a time so that the worst
        cost / limit falls; it starts from the cheapest architectures by many weighted sums of those cost / limit that
        are sums over the blocks, and from the nearest evaluated one.
        """
        limits, counts = goal.limits, self.search_space.num_categories
        cheapest_LD = np.array([self.costs[name].argmin() for name in limits])
        starts_SD = np.unique(np.concatenate([cheapest_LD, self._cheapest_by_sums(limits, rng)]), axis=0)
        starts_SD = np.concatenate([starts_SD, self._nearest(self.architectures_AD, limits)])
        ends_SD = np.array([descend(start_D, counts, lambda rows: self._misses(rows, limits)) for start_D in starts_SD])
        rows_ND = np.concatenate([cheapest_LD, self._nearest(ends_SD, limits)])
        return list(dict.fromkeys(tuple(row) for row in rows_ND.tolist()))

    def _cheapest_by_sums(self, limits: Mapping[str, float], rng: np.random.Generator) -> IntArray:
        """(S, D) the cheapest architectures by weighted sums of cost / limit; (0, D) if no limited cost is a sum."""
        counts = self.search_space.num_categories
        parts = [(self.costs[name].additive, limit) for name, limit in limits.items()]
        shares = [cost.table / (abs(limit) or 1.0) for cost, limit in parts if cost is not None]
        if not shares:
            return np.zeros((0, len(counts)), dtype=np.int64)
        shares_DCL = np.stack(shares, axis=-1)
        weights_SL = rng.dirichlet(np.ones(len(shares)), WEIGHTINGS)
        return np.array([AdditiveCost("sum", shares_DCL @ weights_L, counts).argmin() for weights_L in weights_SL])

    def _nearest(self, rows_ND: IntArray, limits: Mapping[str, float]) -> IntArray:
        """(1, D) the first architecture that misses the limits by least; (0, D) if there are no architectures."""
        if not len(rows_ND):
            return rows_ND
        nearest = int(self._misses(rows_ND, limits).argmin())
        return rows_ND[nearest : nearest + 1]

    def _misses(self, rows_ND: IntArray, limits: Mapping[str, float]) -> FloatArray:
        """(N,) how far the worst cost of each architecture lies above its limit."""
        return self._excess({name: self.costs[name](rows_ND) for name in limits}, limits)

    def _keeps(self, architectures_ND: IntArray, limits: Mapping[str, float]) -> npt.NDArray[np.bool_]:
        keeps_N = np.ones(len(architectures_ND), dtype=bool)
        for name, limit in limits.items():
            keeps_N &= self.costs[name](architectures_ND) <= limit
        return keeps_N

    def _excess(self, values: Mapping[str, FloatArray], limits: Mapping[str, float]) -> FloatArray:
        """How far the worst cost of each lies above its limit, as a share of it; negative if it lies below."""
        excess: FloatArray = np.max(
            [(values[name] - limit) / (abs(limit) or 1.0) for name, limit in limits.items()], axis=0
        )
        return excess

    def _candidate(self, place: int, goal: Goal, architecture: Architecture, origin: str) -> Candidate:
        row_ND = np.array([architecture], dtype=np.int64)
        costs = {name: float(cost(row_ND)[0]) for name, cost in self.costs.items()}
        (known,) = np.nonzero((self.architectures_AD == row_ND).all(axis=1))
        return Candidate(
            goal=place,
            origin=origin,
            architecture=architecture,
            costs=costs,
            complexity=costs[self.complexity_name] / self.complexity_scale,
            evaluation_id=int(self.ids_A[known[0]]) if len(known) else None,
            recorded_loss=float(self.losses_A[known[0]]) if len(known) else None,
            within_budget=bool(self._keeps(row_ND, goal.limits)[0]),
        )


def _newest_probs(run: Run, search_space: SearchSpace) -> FloatArray:
    """(K, D, C) the distributions after the newest update."""
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    counts = search_space.num_categories
    probs_KDC = np.zeros((len(newest), len(counts), max(counts)))
    for k, ragged in enumerate(newest.sort_values("distribution")["probs"]):
        for d, row in enumerate(ragged):
            probs_KDC[k, d, : counts[d]] = row
    return probs_KDC
