"""K products of D categorical distributions, and the mixture of them that architectures are drawn from.

Notation: K distributions, D variables, C categories (padded to the widest variable), N samples.
`probs_KDC[k, d, c]` is theta_k[d, c] of docs/METHOD.md; entries with c >= C_d are padding and always 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multinas_ray.core.arrays import BoolArray, FloatArray, IntArray, read_only


@dataclass(frozen=True, eq=False)
class CategoryLayout:
    """Which entries of a padded (D, C) array are categories. Built by `from_num_categories`."""

    num_categories: tuple[int, ...]
    """C_d of each variable; 1 means the variable is fixed."""
    valid_DC: BoolArray
    """c < C_d."""
    inner_DC: BoolArray
    """c < C_d - 1: every category but the last, which the others determine."""
    free_D: BoolArray
    """C_d > 1."""
    last_D: IntArray
    """C_d - 1, the index of the last category."""

    @classmethod
    def from_num_categories(cls, num_categories: Sequence[int]) -> "CategoryLayout":
        """Builds the masks for variables with these numbers of categories (each at least 1)."""
        count_D = np.array(num_categories, dtype=np.int64)
        column_C = np.arange(count_D.max())
        return cls(
            num_categories=tuple(int(count) for count in num_categories),
            valid_DC=read_only(column_C < count_D[:, None], np.bool_),
            inner_DC=read_only(column_C < count_D[:, None] - 1, np.bool_),
            free_D=read_only(count_D > 1, np.bool_),
            last_D=read_only(count_D - 1, np.int64),
        )

    @property
    def num_free_parameters(self) -> int:
        """sum_d (C_d - 1), n in the method's text: the dimension of one distribution."""
        return int(self.last_D.sum())


def uniform_probs(layout: CategoryLayout, num_distributions: int) -> FloatArray:
    """Returns (K, D, C) uniform probabilities, zero in the padding."""
    probs_DC = layout.valid_DC / layout.valid_DC.sum(axis=1, keepdims=True)
    return np.repeat(probs_DC[None], num_distributions, axis=0)


def log_prob(probs_KDC: FloatArray, architectures_ND: IntArray) -> FloatArray:
    """Returns (K, N): log p_k(a_i).

    The sum runs over the variables in order, so a row's value has the same bits whatever batch it is part of.
    Therefore the importance weights of equal distributions are exactly 1.
    """
    num_distributions = probs_KDC.shape[0]
    log_probs_DCK = np.log(np.where(probs_KDC > 0.0, probs_KDC, 1.0)).transpose(1, 2, 0).copy()
    total_NK = np.zeros((len(architectures_ND), num_distributions))
    term_NK = np.empty_like(total_NK)
    for log_probs_CK, category_N in zip(log_probs_DCK, architectures_ND.T.copy(), strict=True):
        total_NK += log_probs_CK.take(category_N, axis=0, out=term_NK, mode="clip")  # clip: without a buffer
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
    """Returns (N, D) architectures, row i drawn from distribution `sources_N[i]` by inverting its CDFs."""
    cumulative_KDC = probs_KDC.cumsum(axis=2)
    uniform_ND = rng.random((len(sources_N), probs_KDC.shape[1]))
    architectures_ND = np.zeros(uniform_ND.shape, dtype=np.int64)
    for c in range(probs_KDC.shape[2] - 1):
        architectures_ND += uniform_ND >= cumulative_KDC[:, :, c].take(sources_N, axis=0)
    # A sum that rounds to just under 1 must not let a draw fall into the padding.
    return np.minimum(architectures_ND, layout.last_D)


def modes(probs_KDC: FloatArray) -> IntArray:
    """Returns (K, D): the likeliest architecture of each distribution; of equally likely ones the first."""
    modes_KD: IntArray = probs_KDC.argmax(axis=2).astype(np.int64)
    return modes_KD


def mode_probabilities(probs_KDC: FloatArray) -> FloatArray:
    """Returns (K,): the probability of each distribution's mode."""
    probabilities_K: FloatArray = np.exp(np.log(probs_KDC.max(axis=2)).sum(axis=1))
    return probabilities_K


def entropies(probs_KDC: FloatArray) -> FloatArray:
    """Returns (K,): entropy in nats, summed over the variables."""
    log_probs_KDC = np.log(np.where(probs_KDC > 0.0, probs_KDC, 1.0))
    entropies_K: FloatArray = np.maximum(-(probs_KDC * log_probs_KDC).sum(axis=(1, 2)), 0.0)
    return entropies_K


def expected_costs(probs_KDC: FloatArray, cost_DC: FloatArray, base_cost: float) -> FloatArray:
    """Returns (K,): E_pk[R] of the additive complexity R(a) = base_cost + sum_d cost[d, a_d], exactly."""
    costs_K: FloatArray = base_cost + (probs_KDC * cost_DC).sum(axis=(1, 2))
    return costs_K
