"""K products of D categorical distributions, and the mixture of them that architectures are drawn from.

Notation: K distributions, D variables, C categories (padded to the widest variable), N samples.
`probs_KDC[k, d, c]` is theta_k[d, c] of docs/METHOD.md; entries with c >= C_d are padding and always 0. A layout is
needed only where a variable is ordered or conditional; without one, values are categories.
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.layout import INACTIVE, CategoryLayout


def uniform_probs(layout: CategoryLayout, num_distributions: int) -> FloatArray:
    """Returns (K, D, C) the prior probabilities, which are uniform without prior weights; zero in the padding."""
    probs_DC = layout.prior_DC / layout.prior_DC.sum(axis=1, keepdims=True)
    return np.repeat(probs_DC[None], num_distributions, axis=0)


def log_prob(probs_KDC: FloatArray, architectures_ND: IntArray, layout: CategoryLayout | None = None) -> FloatArray:
    """Returns (K, N): log p_k(a_i), the sum over the active variables of log(theta_k[d, c] / values in c).

    The sum runs over the variables in order, so a row's value has the same bits whatever batch it is part of.
    Therefore the importance weights of equal distributions are exactly 1.
    """
    num_distributions = probs_KDC.shape[0]
    log_probs_DCK = np.log(np.where(probs_KDC > 0.0, probs_KDC, 1.0)).transpose(1, 2, 0).copy()
    categories_ND = architectures_ND
    if layout is not None and layout.ordered:
        log_probs_DCK -= np.log(layout.sizes_DC)[:, :, None]
        categories_ND = layout.categories_of(architectures_ND)
    conditional = () if layout is None else layout.conditional
    total_NK = np.zeros((len(architectures_ND), num_distributions))
    term_NK = np.empty_like(total_NK)
    for d, (log_probs_CK, category_N) in enumerate(zip(log_probs_DCK, categories_ND.T.copy(), strict=True)):
        log_probs_CK.take(category_N, axis=0, out=term_NK, mode="clip")  # clip: without a buffer
        if d in conditional:
            term_NK[category_N == INACTIVE] = 0.0
        total_NK += term_NK
    return np.ascontiguousarray(total_NK.T)


def log_mixture(log_prob_KN: FloatArray) -> FloatArray:
    """Returns (N,): log of the equal mixture (1/K) sum_k p_k(a_i)  # METHOD step 1."""
    highest_N = log_prob_KN.max(axis=0)
    log_mean_N: FloatArray = np.log(np.exp(log_prob_KN - highest_N).mean(axis=0))
    log_mixture_N: FloatArray = highest_N + log_mean_N
    return log_mixture_N


def stratified_sources(num_samples: int, num_distributions: int, rng: np.random.Generator) -> IntArray:
    """Returns (N,) sources: each distribution floor(N / K) times, and a random choice of them once more.

    METHOD step 1. The order is random [ours], so that any part of a stratum is a fair sample of the mixture. Results
    that arrive late or in part then enter an update without favouring some sources.
    """
    repeats, remainder = divmod(num_samples, num_distributions)
    extra = rng.permutation(num_distributions)[:remainder]
    return rng.permutation(np.concatenate([np.repeat(np.arange(num_distributions), repeats), extra]))


def sample_architectures(
    probs_KDC: FloatArray, sources_N: IntArray, layout: CategoryLayout, rng: np.random.Generator
) -> IntArray:
    """Returns (N, D) architectures, row i drawn from distribution `sources_N[i]` by inverting its CDFs.

    A split of a cell changes no CDF, and so no draw.
    """
    cumulative_KDC = probs_KDC.cumsum(axis=2)
    uniform_ND = rng.random((len(sources_N), probs_KDC.shape[1]))
    categories_ND = np.zeros(uniform_ND.shape, dtype=np.int64)
    for c in range(probs_KDC.shape[2] - 1):
        categories_ND += uniform_ND >= cumulative_KDC[:, :, c].take(sources_N, axis=0)
    # A sum that rounds to just under 1 must not let a draw fall into the padding.
    architectures_ND = np.minimum(categories_ND, layout.last_D)
    for d in layout.ordered:
        category_N = architectures_ND[:, d]
        prob_N = probs_KDC[sources_N, d, category_N]
        within_N = (uniform_ND[:, d] - (cumulative_KDC[sources_N, d, category_N] - prob_N)) / prob_N
        size_N = layout.sizes_DC[d, category_N]
        place_N = np.clip(np.floor(within_N * size_N), 0.0, size_N - 1.0).astype(np.int64)
        architectures_ND[:, d] = layout.starts_DC[d, category_N] + place_N
    return layout.without_inactive(architectures_ND)


def modes(probs_KDC: FloatArray, layout: CategoryLayout | None = None) -> IntArray:
    """Returns (K, D): the likeliest value of each variable; of equally likely ones the first, but the middle of a cell.

    Where the likeliest value of another variable makes a variable inactive, it is INACTIVE.
    """
    densities_KDC = probs_KDC if layout is None else probs_KDC / layout.sizes_DC
    category_KD: IntArray = densities_KDC.argmax(axis=2).astype(np.int64)
    if layout is None:
        return category_KD
    variable_D = np.arange(probs_KDC.shape[1])
    middle_KD = layout.starts_DC[variable_D, category_KD] + layout.sizes_DC[variable_D, category_KD].astype(int) // 2
    return layout.without_inactive(middle_KD)


def mode_probabilities(probs_KDC: FloatArray, layout: CategoryLayout) -> FloatArray:
    """Returns (K,): the probability of the categories of each distribution's mode."""
    category_KD = layout.categories_of(modes(probs_KDC, layout))
    prob_KD = np.take_along_axis(probs_KDC, np.maximum(category_KD, 0)[:, :, None], axis=2)[:, :, 0]
    probabilities_K: FloatArray = np.exp(np.log(np.where(category_KD == INACTIVE, 1.0, prob_KD)).sum(axis=1))
    return probabilities_K


def activities(probs_KDC: FloatArray, layout: CategoryLayout) -> FloatArray:
    """Returns (K, D): the probability that each variable is active."""
    active_KD = np.ones(probs_KDC.shape[:2])
    for d in layout.conditional:
        parent, value = layout.conditions[d] or (0, 0)
        active_KD[:, d] = active_KD[:, parent] * probs_KDC[:, parent, value]
    return active_KD


def entropies(probs_KDC: FloatArray, layout: CategoryLayout) -> FloatArray:
    """Returns (K,): entropy in nats, summed over the variables, each weighted by the probability that it is active.

    That of an ordered variable counts a cell of the start as one value, so that a split does not change it; it can be
    below 0.
    """
    log_probs_KDC = np.log(np.where(probs_KDC > 0.0, probs_KDC, 1.0)) - np.log(layout.spread_DC)
    entropies_KD = -(probs_KDC * log_probs_KDC).sum(axis=2)
    if layout.conditional:
        entropies_KD *= activities(probs_KDC, layout)
    entropies_K: FloatArray = entropies_KD.sum(axis=1)
    return entropies_K if layout.ordered else np.maximum(entropies_K, 0.0)


def expected_costs(
    probs_KDC: FloatArray, cost_DC: FloatArray, base_cost: float, layout: CategoryLayout | None = None
) -> FloatArray:
    """Returns (K,): E_pk[R] of the additive complexity R(a) = base_cost + sum_d cost[d, a_d], exactly.

    Inactive and ordered variables cost nothing.
    """
    shares_KDC = probs_KDC[:, :, : cost_DC.shape[1]]
    if layout is not None and layout.conditional:
        shares_KDC = shares_KDC * activities(probs_KDC, layout)[:, :, None]
    costs_K: FloatArray = base_cost + (shares_KDC * cost_DC).sum(axis=(1, 2))
    return costs_K
