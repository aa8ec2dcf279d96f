"""Finding the most probable architecture that is not known yet, without listing the space.

Notation: D variables, C categories (padded).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from multinas_ray.core import INACTIVE, CategoryLayout


def most_probable(
    probs_DC: npt.NDArray[np.float64], layout: CategoryLayout, is_seen: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...] | None:
    """Find the most probable architecture of one distribution that is not seen yet.

    It is a best-first search: architectures come by falling probability from a heap of ranks. The ranks of a variable's
    values count the best of what each value makes active. An architecture is reached in one way only, from its
    neighbour with one rank less in the last variable that is not at its best. So no more architectures are looked at
    than are seen, and one more.

    Args:
        probs_DC: one distribution.
        layout: the variables, which are categorical.
        is_seen: whether an architecture is seen already.

    Returns:
        The architecture, or None if all are seen.
    """
    costs = [-np.log(row[:count]) for row, count in zip(probs_DC, layout.num_categories, strict=True)]
    for cost_C, condition in zip(reversed(costs), reversed(layout.conditions), strict=True):
        if condition is not None:  # the costs of a variable are complete before it is added to that of its condition
            parent, value = condition
            costs[parent][value] += cost_C.min()
    order = [cost_C.argsort(kind="stable").tolist() for cost_C in costs]
    losses = [cost_C[ranks].tolist() for cost_C, ranks in zip(costs, order, strict=True)]
    always = [d for d in range(len(order)) if d not in layout.conditional]
    heap = [(sum(losses[d][0] for d in always), (0,) * len(order), 0)]
    while heap:
        loss, ranks, last = heapq.heappop(heap)
        architecture = tuple(row[rank] for row, rank in zip(order, ranks, strict=True))
        if layout.conditional:
            architecture = tuple(layout.without_inactive(np.array([architecture]))[0].tolist())
        if not is_seen(architecture):
            return architecture
        for d in range(last, len(ranks)):
            if architecture[d] != INACTIVE and ranks[d] + 1 < len(losses[d]):
                further = loss + losses[d][ranks[d] + 1] - losses[d][ranks[d]]
                heapq.heappush(heap, (further, (*ranks[:d], ranks[d] + 1, *ranks[d + 1 :]), d))
    return None
