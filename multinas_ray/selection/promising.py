"""What a prior finds promising: the networks that it ranks first near each target.

Notation: K targets, N networks, D positions.
"""

from collections.abc import Callable, Sequence

import numpy as np

from multinas_ray.selection.budget import Budget
from multinas_ray.selection.prior import PriorPart
from multinas_ray.selection.ranking import scaled_ranks
from multinas_ray.selection.slice_draws import SliceDraws
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import Cost, IntArray, Space

DRAWS = 1000
"""Networks that are drawn near each target. [ours]"""
KEPT_SHARE = 0.1
"""The share of them that is taken for promising. [ours]"""
RANKED_BY_ALL = 2
"""The parts that cost little cut the networks to so many times those that are kept; all parts rank the rest. NASWOT
takes 10 ms to 0.3 s for a network. [ours]"""


@checked_arguments
def best_by_prior(parts: Sequence[PriorPart], networks_ND: IntArray, number: int) -> IntArray:
    """The networks that a prior ranks first.

    The parts that cost little rank all of them, by the sum of their ranks, and the best RANKED_BY_ALL * `number` go on.
    All parts rank these in the same way. Where no part costs little, all networks go on, since nothing tells which are
    worth it. Networks with equal sums keep their order.

    Args:
        parts: at least one.
        networks_ND: canonical architectures.
        number: how many are wanted.

    Returns:
        (at most `number`, D) the best first.
    """
    cheap = [part for part in parts if part.is_cheap]
    left_ND = _ranked(cheap, networks_ND)[: RANKED_BY_ALL * number] if cheap else networks_ND
    return left_ND[:number] if len(cheap) == len(parts) else _ranked(parts, left_ND)[:number]


@checked_arguments
def promising_networks(
    space: Space,
    cost: Cost,
    targets: Sequence[float],
    share: float,
    parts: Sequence[PriorPart],
    rng: np.random.Generator,
    done: Callable[[], None] = lambda: None,
) -> list[IntArray]:
    """The networks that a prior ranks first near each target.

    For each target DRAWS different networks are drawn from its slice, and the best KEPT_SHARE of them by the prior are
    kept. A slice without any network is made twice as large, and so on.

    Args:
        space: the networks.
        cost: the cost that the targets bound.
        targets: (K,) largest costs.
        share: part of a target that is its slice, in (0, 1].
        parts: of the prior, at least one.
        rng: generator of the draws.
        done: called after each target.

    Returns:
        For each target (N, D) canonical architectures, the best first; none where no network is within it.
    """
    draws, promising = SliceDraws(space.search_space, space.equivalence), []
    for target in targets:
        budget = Budget({cost.name: target}, {cost.name: cost})
        drawn_ND, part = draws.draw(budget, DRAWS, share, rng), share
        while not len(drawn_ND) and part < 1:
            part = min(1.0, 2 * part)
            drawn_ND = draws.draw(budget, DRAWS, part, rng)
        promising.append(best_by_prior(parts, drawn_ND, max(1, round(KEPT_SHARE * len(drawn_ND)))))
        done()
    return promising


def _ranked(parts: Sequence[PriorPart], networks_ND: IntArray) -> IntArray:
    """The networks by the sum of their ranks, the best first."""
    if not len(networks_ND):
        return networks_ND
    total_N = np.sum([scaled_ranks(-part(networks_ND)) for part in parts], axis=0)
    return networks_ND[np.argsort(total_N, kind="stable")]
