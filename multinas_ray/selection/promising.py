"""What a prior finds promising near targets: the networks that it ranks first, and how often each block occurs in them.

Notation: K targets, N networks, P parts of the prior, D positions, C candidate blocks (padded).
"""

from collections.abc import Callable, Sequence

import numpy as np

from multinas_ray.selection.budget import Budget
from multinas_ray.selection.prior import PriorPart
from multinas_ray.selection.ranking import scaled_ranks
from multinas_ray.selection.slice_draws import SliceDraws
from multinas_ray.spaces import Cost, Equivalence, FloatArray, IntArray, NetworkSpace

DRAWS = 1000
"""Networks that are drawn near each target. [ours]"""
KEPT_SHARE = 0.1
"""The share of them that is taken for promising. [ours]"""
RANKED_BY_ALL = 2
"""The parts that cost little cut the networks to so many times those that are kept; all parts rank the rest. NASWOT
takes 10 ms to 0.3 s for a network. [ours]"""


def best_by_prior(parts: Sequence[PriorPart], networks_ND: IntArray, number: int) -> IntArray:
    """The networks that a prior ranks first.

    The parts that cost little rank all of them, by the sum of their ranks, and the best RANKED_BY_ALL * `number` go on.
    All parts rank these in the same way. Networks with equal sums keep their order.

    Args:
        parts: at least one.
        networks_ND: canonical architectures.
        number: how many are wanted.

    Returns:
        (at most `number`, D) the best first.
    """
    cheap = [part for part in parts if part.is_cheap]
    left_ND = _ranked(cheap, networks_ND)[: RANKED_BY_ALL * number]
    return left_ND[:number] if len(cheap) == len(parts) else _ranked(parts, left_ND)[:number]


def promising_frequencies(
    space: NetworkSpace,
    cost: Cost,
    targets: Sequence[float],
    share: float,
    parts: Sequence[PriorPart],
    rng: np.random.Generator,
    done: Callable[[], None] = lambda: None,
) -> FloatArray:
    """How often each block occurs among the promising networks of each target.

    For each target DRAWS different networks are drawn from its slice, and the best KEPT_SHARE of them by the prior are
    counted. A slice without any network is made twice as large, and so on; where a target has none at all, all blocks
    are alike.

    Args:
        space: the networks.
        cost: the cost that the targets bound.
        targets: (K,) largest costs.
        share: part of a target that is its slice, in (0, 1].
        parts: of the prior, at least one.
        rng: generator of the draws.
        done: called after each target.

    Returns:
        (K, D, C) frequencies, which sum to 1 for each position.
    """
    draws = SliceDraws(space.search_space, Equivalence.of(space))
    frequencies = []
    for target in targets:
        budget = Budget({cost.name: target}, {cost.name: cost})
        drawn_ND, part = draws.draw(budget, DRAWS, share, rng), share
        while not len(drawn_ND) and part < 1:
            part = min(1.0, 2 * part)
            drawn_ND = draws.draw(budget, DRAWS, part, rng)
        best_ND = best_by_prior(parts, drawn_ND, max(1, round(KEPT_SHARE * len(drawn_ND))))
        frequencies.append(_frequencies(best_ND, space.search_space.num_categories))
        done()
    return np.array(frequencies)


def _ranked(parts: Sequence[PriorPart], networks_ND: IntArray) -> IntArray:
    """The networks by the sum of their ranks, the best first; in their order where there are no parts."""
    if not len(networks_ND):
        return networks_ND
    total_N = np.sum([scaled_ranks(-part(networks_ND)) for part in parts], axis=0) + np.zeros(len(networks_ND))
    return networks_ND[np.argsort(total_N, kind="stable")]


def _frequencies(networks_ND: IntArray, num_categories: Sequence[int]) -> FloatArray:
    """(D, C) frequencies; uniform where there are no networks."""
    frequencies_DC = np.zeros((len(num_categories), max(num_categories)))
    for d, count in enumerate(num_categories):
        found_C = np.bincount(networks_ND[:, d], minlength=count)
        frequencies_DC[d, :count] = found_C / len(networks_ND) if len(networks_ND) else 1.0 / count
    return frequencies_DC
