"""The architectures that are most likely to keep limits which no other candidate keeps.

Notation: L limits, S starts, N architectures, D variables, C categories (padded).
"""

from collections.abc import Sequence

import numpy as np

from multinas_ray.selection.budget import Budget
from multinas_ray.selection.many_rows import in_parts
from multinas_ray.spaces import AdditiveCost, IntArray, descend

WEIGHTINGS = 100
"""Weighted sums of costs; from the cheapest network of each, one within several limits is sought. [ours]"""


def cheapest_architectures(
    budget: Budget, num_categories: Sequence[int], known_AD: IntArray, rng: np.random.Generator
) -> IntArray:
    """The cheapest architectures of a space, and the nearest to the limits that a local search finds.

    [ours] They are the cheapest architecture by each limited cost; a single limit is kept by it if the space has any
    network that keeps it (by a cost whose cheapest architecture is known). For several limits the nearest architecture
    that a local search finds is added. The search changes one block at a time so that the worst cost / limit falls; it
    starts from the cheapest architectures by many weighted sums of those cost / limit that are sums over the blocks,
    and from the nearest of those that are known.

    Args:
        budget: the limits.
        num_categories: (D,) number of choices of each variable.
        known_AD: (A, D) architectures to begin with; there may be none.
        rng: generator of the weights of the sums.

    Returns:
        (N, D) architectures, the cheapest first; some may be equal.
    """
    cheapest_LD = np.array([budget.costs[name].argmin() for name in budget.limits])
    starts_SD = np.unique(np.concatenate([cheapest_LD, _cheapest_by_sums(budget, num_categories, rng)]), axis=0)
    starts_SD = np.concatenate([starts_SD, _nearest(known_AD, budget)])
    ends_SD = np.array([descend(start_D, num_categories, budget.excess) for start_D in starts_SD])
    return np.concatenate([cheapest_LD, _nearest(ends_SD, budget)])


def _cheapest_by_sums(budget: Budget, num_categories: Sequence[int], rng: np.random.Generator) -> IntArray:
    """(S, D) the cheapest architectures by weighted sums of cost / limit; (0, D) if no limited cost is a sum."""
    parts = [(budget.costs[name].additive, limit) for name, limit in budget.limits.items()]
    shares = [cost.table / (abs(limit) or 1.0) for cost, limit in parts if cost is not None]
    if not shares:
        return np.zeros((0, len(num_categories)), dtype=np.int64)
    shares_DCL = np.stack(shares, axis=-1)
    weights_SL = rng.dirichlet(np.ones(len(shares)), WEIGHTINGS)
    counts = tuple(num_categories)
    return np.array([AdditiveCost("sum", shares_DCL @ weights_L, counts).argmin() for weights_L in weights_SL])


def _nearest(rows_ND: IntArray, budget: Budget) -> IntArray:
    """(1, D) the first architecture that misses the limits by least; (0, D) if there are no architectures."""
    if not len(rows_ND):
        return rows_ND
    nearest = int(np.concatenate([budget.excess(part_ND) for part_ND in in_parts(rows_ND)]).argmin())
    return rows_ND[nearest : nearest + 1]
