"""Finding the most probable architecture that is not known yet, without listing the space.

Notation: D variables, C categories (padded).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from multinas_ray.core import CategoryLayout


def most_probable(
    probs_DC: npt.NDArray[np.float64], layout: CategoryLayout, is_seen: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...] | None:
    """Find the most probable architecture of one distribution that is not seen yet.

    It is a best-first search: architectures come by falling probability from a heap of ranks. Each is reached in one
    way only, from its neighbour with one rank less in the last variable that is not at its best. So it looks at no
    more architectures than are seen, and one more.

    Args:
        probs_DC: one distribution.
        layout: the variables, which are categorical.
        is_seen: whether an architecture is seen already.

    Returns:
        The architecture, or None if all are seen.
    """
    order = [
        np.argsort(-row[:count], kind="stable").tolist()
        for row, count in zip(probs_DC, layout.num_categories, strict=True)
    ]
    losses = [(-np.log(row[ranks])).tolist() for row, ranks in zip(probs_DC, order, strict=True)]
    heap = [(sum(each[0] for each in losses), (0,) * len(order), 0)]
    while heap:
        loss, ranks, last = heapq.heappop(heap)
        architecture = tuple(row[rank] for row, rank in zip(order, ranks, strict=True))
        if layout.conditional:
            architecture = tuple(layout.without_inactive(np.array([architecture]))[0].tolist())
        if not is_seen(architecture):
            return architecture
        for d in range(last, len(ranks)):
            if ranks[d] + 1 < len(losses[d]):
                further = loss + losses[d][ranks[d] + 1] - losses[d][ranks[d]]
                heapq.heappush(heap, (further, (*ranks[:d], ranks[d] + 1, *ranks[d + 1 :]), d))
    return None
