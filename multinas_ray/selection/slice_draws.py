"""Networks in the last part of a goal's budget, drawn uniformly or from a distribution.

Notation: N architectures, D variables, C categories (padded), K distributions.
"""

from collections.abc import Callable, Iterator

import numpy as np

from multinas_ray.core import CategoryLayout, sample_architectures
from multinas_ray.selection.budget import Budget
from multinas_ray.spaces import CostSlice, Equivalence, FloatArray, IntArray, SearchSpace

ENUMERABLE = 50_000
"""Spaces with at most so many architectures are listed, so that every slice of theirs is exact."""
BATCH = 1024
"""Least number of draws made at once."""
MOST_BATCHES = 20
"""Batches of draws, each from every source, after which no further networks are sought. [ours]"""
PATIENCE = 4
"""Batches in a row without a new network after which no further ones are sought. [ours]"""

Source = Callable[[int, np.random.Generator], IntArray]


class SliceDraws:
    """Draws different networks of a space that keep a budget and lie in the last part of one of its limits.

    A small space is listed. In a large one, networks come from the exact slice of one limited cost that is a sum over
    the blocks, and those that break another limit are rejected; each such cost is tried. A limit of a cost that is no
    sum is reached by rejection alone. Where several limits can be the tightest, networks that are near two of them come
    up twice as often; the pool needs variety there and no exact law. [ours]

    Args:
        search_space: the space.
        equivalence: which architectures build the same network.
    """

    def __init__(self, search_space: SearchSpace, equivalence: Equivalence) -> None:
        self._space, self._equivalence = search_space, equivalence
        self._listed_ND: IntArray | None = None
        if search_space.num_architectures <= ENUMERABLE:
            self._listed_ND = np.unique(equivalence.canonical(search_space.enumerate()), axis=0)

    def draw(
        self,
        budget: Budget,
        number: int,
        share: float,
        rng: np.random.Generator,
        probs_DC: FloatArray | None = None,
    ) -> IntArray:
        """Different networks of the last part of a budget.

        Args:
            budget: the limits.
            number: how many.
            share: the part; the worst cost / limit is above 1 - share and at most 1. 1: the whole budget.
            rng: generator of the draws.
            probs_DC: the distribution from which they come, as independent choices given that they lie in that part;
                None: all networks are alike.

        Returns:
            (N, D) canonical architectures in random order; fewer than `number` where no more are found.
        """
        if self._listed_ND is not None and probs_DC is None:
            return budget.first_of(rng.permutation(self._listed_ND), share, number)
        found: dict[tuple[int, ...], None] = {}
        sources, without_new = list(self._sources(budget, share, probs_DC)), 0
        batch = budget.num_draws(max(2 * number, BATCH))
        for _ in range(MOST_BATCHES):
            before = len(found)
            for source in sources:
                rows_ND = self._equivalence.canonical(source(batch, rng))
                found.update(dict.fromkeys(map(tuple, rows_ND[budget.uses(rows_ND, share)].tolist())))
            without_new = 0 if len(found) > before else without_new + 1
            if len(found) >= number or without_new == PATIENCE:
                break
        rows_ND = np.array(list(found), dtype=np.int64).reshape(len(found), self._space.num_variables)
        return rng.permutation(rows_ND)[:number] if len(sources) > 1 else rows_ND[:number]

    def _sources(self, budget: Budget, share: float, probs_DC: FloatArray | None) -> Iterator[Source]:
        """For each limit a source of architectures that lie in its last part, or may lie there."""
        whole = None
        for name, limit in budget.limits.items():
            cost = budget.costs[name].additive
            if cost is not None:
                low = (1 - share) * limit if share < 1 and limit > 0 else -np.inf
                whole = whole or (cost, limit)
                # Weighted draws are made of encodings, which have the probability, and stand for networks afterwards.
                equivalence = self._equivalence if probs_DC is None else None
                yield CostSlice(cost, low, limit, equivalence=equivalence, probs=probs_DC).draw
        if whole is None:
            yield self._all(probs_DC)
        elif any(budget.costs[name].additive is None for name in budget.limits):
            equivalence = self._equivalence if probs_DC is None else None
            yield CostSlice(whole[0], -np.inf, whole[1], equivalence=equivalence, probs=probs_DC).draw

    def _all(self, probs_DC: FloatArray | None) -> Source:
        """Draws from the whole space."""
        if probs_DC is None:
            return self._space.random
        layout = CategoryLayout.from_num_categories(self._space.num_categories)
        probs_KDC = probs_DC[None]  # K = 1
        return lambda number, rng: sample_architectures(probs_KDC, np.zeros(number, dtype=np.int64), layout, rng)
