"""Which architectures may become a network: modes, the best evaluated, and fresh draws.

"Selection is more than the mode" (docs/METHOD.md): weighted sums skip the concave parts of a front, and the best
of everything evaluated reach more of it than the K modes. How many of each kind are looked at is ours. [ours]

Notation: K distributions, D variables, C categories (padded), A distinct architectures of the record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from multinas_ray.core import CategoryLayout, modes, sample_architectures
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import Run
from multinas_ray.spaces import AdditiveCost, SearchSpace

Architecture = tuple[int, ...]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CANDIDATES_PER_NETWORK = 10
"""By default: the mode, 5 of the best evaluated and 4 fresh draws. [ours]"""
RECENT_SHARE = 0.2
"""While weights train, losses age: where an architecture has evaluations in this last part of the record, only they
count. [ours]"""
DRAWS = 1000
"""Draws from a distribution in which architectures within the limits are looked for. [ours]"""
WEIGHTINGS = 100
"""Weighted sums of costs from whose cheapest networks one within several limits is looked for. [ours]"""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What one network is chosen for: a weighted sum of loss and complexity, or the loss within limits."""

    coefficient: float | None = None
    """Weight of the complexity; None: the loss alone counts, within the limits."""
    distribution: int | None = None
    """The distribution that searched for it; None: the one whose expected costs are nearest to the limits."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Largest allowed value of each cost named, in its own unit. Never exceeded."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture that may become a network."""

    network: int
    """The goal it is considered for, later the network of that goal's network."""
    origin: str
    """"mode", "evaluated", "drawn" or "cheapest"."""
    architecture: Architecture
    costs: Mapping[str, float]
    """In their own units."""
    complexity: float
    """The cost that the search weighed, normalised."""
    evaluation_id: int | None
    """Its newest evaluation in the record; None where the search never evaluated it."""
    recorded_loss: float | None
    """Mean of its losses as the search saw them."""
    within_budget: bool
    loss: float = np.nan
    """With the supernet's weights, on all validation images; minimised."""
    accuracy: float = np.nan
    objective: float = np.nan
    """Loss + coefficient * complexity, or the loss within limits."""
    chosen: bool = False
    reason: str = ""


def goals_of_run(run: Run) -> list[Goal]:
    """A run's own goals: one for each of its coefficients, or within each of its targets."""
    targets = run.config.get("targets")
    if targets is not None:
        name = run.config["complexity"]["name"]
        return [Goal(limits={name: float(target)}, distribution=k) for k, target in enumerate(targets)]
    return [
        Goal(coefficient=float(eps), distribution=k) for k, eps in enumerate(run.config["optimizer"]["coefficients"])
    ]


def check_limits(limits: Mapping[str, float], costs: Mapping[str, AdditiveCost]) -> None:
    """Check that limits name costs and lie within what the space offers.

    Raises:
        ConfigError: one does not; the message names the costs, or the range.
    """
    for name, limit in limits.items():
        if name not in costs:
            raise ConfigError(f"there is no cost {name!r} to limit: choose from {', '.join(costs)}")
        least, most = costs[name].minimum, costs[name].maximum
        if not least <= limit <= most:
            raise ConfigError(
                f"a limit of {name} must lie within what the space's networks have, {least:.10g} to {most:.10g} "
                f"{costs[name].unit}".rstrip()
                + f"; got {limit:.10g}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchOutcome:
    """What a search left to choose from."""

    search_space: SearchSpace
    costs: Mapping[str, AdditiveCost]
    complexity_name: str
    """The cost that is the complexity of the search."""
    complexity_scale: float
    """What it is divided by."""
    probs_KDC: FloatArray
    """The distributions at the end."""
    architectures_AD: IntArray
    """Every architecture that was evaluated with success."""
    losses_A: FloatArray
    """The mean of its losses as the search saw them; see RECENT_SHARE."""
    ids_A: IntArray
    """Its newest evaluation."""

    @classmethod
    def of(cls, run: Run, search_space: SearchSpace, costs: Mapping[str, AdditiveCost]) -> "SearchOutcome":
        """Read what a supernet run left.

        Raises:
            StateError: it has no update yet.
        """
        if run.distributions.empty:
            raise StateError(f"{run.path} has no recorded update to choose from yet: let its search go on")
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
        """The distributions to take modes and draws from, the likeliest first.

        With a coefficient the goal's own alone. Within limits all: the goal's own, if it has one, then by how near they
        are. Near is a distribution whose expected costs meet the limits with the least room, or miss them by least.
        """
        if not goal.limits:
            return [goal.distribution] if goal.distribution is not None else list(range(len(self.probs_KDC)))
        expected = {name: self.costs[name].expectation(self.probs_KDC) for name in goal.limits}
        order: list[int] = np.abs(self._excess(expected, goal.limits)).argsort(kind="stable").tolist()
        return sorted(order, key=lambda k: k != goal.distribution)

    def candidates_for(self, goals: Sequence[Goal], number: int, rng: np.random.Generator) -> list[Candidate]:
        """Candidates of every goal, each architecture once for a goal.

        With a coefficient: the mode of its distribution, the best evaluated by loss + coefficient * complexity, draws
        from its distribution. Within limits: every distribution's mode that keeps them (and the nearest one's, if it
        does not, so that one sees why not), the best evaluated that keep them, draws that keep them. If nothing does,
        the cheapest of the space, see `_cheapest`.

        Args:
            goals: what networks are wanted.
            number: candidates of each goal: a mode, and of the others half (rounded up) evaluated and half drawn.
                Fewer where fewer keep the limits, or where DRAWS from each distribution give no more.
            rng: of the draws.

        Raises:
            ConfigError: number is below 1.
        """
        if number < 1:
            raise ConfigError(f"a network needs at least 1 candidate, got {number}")
        num_evaluated, num_drawn = number // 2, (number - 1) // 2
        candidates = []
        for network, goal in enumerate(goals):
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
            candidates += [self._candidate(network, goal, *item) for item in kinds.items()]
        return candidates

    def _modes(self, goal: Goal) -> list[Architecture]:
        modes_KD = modes(self.probs_KDC)[self.distributions_for(goal)]
        keeps_K = self._keeps(modes_KD, goal.limits)
        keeps_K[0] = True  # the nearest distribution's, or the goal's own
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
        """The architectures [ours] likeliest to keep limits that no other candidate keeps.

        The cheapest network by each limited cost: with a single limit one keeps it if any of the space does. With
        several limits also the nearest that a search finds: by single changes that lower the worst cost / limit, from
        the cheapest by many weighted sums of these, and from the nearest evaluation.
        """
        limits, counts = goal.limits, self.search_space.num_categories
        shares_DCL = np.stack([self.costs[name].table / (abs(limit) or 1.0) for name, limit in limits.items()], axis=-1)
        weights_SL = rng.dirichlet(np.ones(len(limits)), WEIGHTINGS)
        sums_SD = [AdditiveCost("sum", shares_DCL @ weights_L, counts).argmin() for weights_L in weights_SL]
        cheapest_LD = np.array([self.costs[name].argmin() for name in limits])
        starts_SD = np.unique(np.concatenate([cheapest_LD, sums_SD]), axis=0)
        starts_SD = np.concatenate([starts_SD, self._nearest(self.architectures_AD, limits)])
        ends_SD = np.concatenate([self._descend(start_D[None], limits) for start_D in starts_SD])
        rows_ND = np.concatenate([cheapest_LD, self._nearest(ends_SD, limits)])
        return list(dict.fromkeys(tuple(row) for row in rows_ND.tolist()))

    def _descend(self, row_ND: IntArray, limits: Mapping[str, float]) -> IntArray:
        """(1, D) where single changes lead that lower the worst cost / limit."""
        counts = self.search_space.num_categories
        places, choices = np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])
        while True:
            rows_ND = np.repeat(row_ND, 1 + len(places), axis=0)
            rows_ND[1 + np.arange(len(places)), places] = choices
            nearer_ND = self._nearest(rows_ND, limits)
            if (nearer_ND == row_ND).all():
                return row_ND
            row_ND = nearer_ND

    def _nearest(self, rows_ND: IntArray, limits: Mapping[str, float]) -> IntArray:
        """(1, D) the first of those that miss the limits by least; (0, D) of none."""
        if not len(rows_ND):
            return rows_ND
        excess_N = self._excess({name: self.costs[name](rows_ND) for name in limits}, limits)
        nearest = int(excess_N.argmin())
        return rows_ND[nearest : nearest + 1]

    def _keeps(self, architectures_ND: IntArray, limits: Mapping[str, float]) -> npt.NDArray[np.bool_]:
        keeps_N = np.ones(len(architectures_ND), dtype=bool)
        for name, limit in limits.items():
            keeps_N &= self.costs[name](architectures_ND) <= limit
        return keeps_N

    def _excess(self, values: Mapping[str, FloatArray], limits: Mapping[str, float]) -> FloatArray:
        """How far the worst of the costs is above its limit (negative: below), as a share of the limit."""
        excess: FloatArray = np.max(
            [(values[name] - limit) / (abs(limit) or 1.0) for name, limit in limits.items()], axis=0
        )
        return excess

    def _candidate(self, network: int, goal: Goal, architecture: Architecture, origin: str) -> Candidate:
        row_ND = np.array([architecture], dtype=np.int64)
        costs = {name: float(cost(row_ND)[0]) for name, cost in self.costs.items()}
        (known,) = np.nonzero((self.architectures_AD == row_ND).all(axis=1))
        return Candidate(
            network=network,
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
