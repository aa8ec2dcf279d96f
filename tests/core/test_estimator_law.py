"""The estimator's expectation, checked exactly by enumerating a small space. No sampling, so no significance
level."""

import itertools

import numpy as np
import pytest

from multinas_ray import MultiDistributionOptimizer, Proposals
from multinas_ray.core.asng import ASNGState, fisher_norms, natural_gradient, whitened
from multinas_ray.core.distributions import log_mixture, log_prob
from multinas_ray.core.importance import balance_log_density, effective_sample_sizes, importance_weights, weighted_means
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.proposals import Evaluations
from multinas_ray.core.reuse import SampleMemory

CATEGORIES = (3, 1, 2, 4)
LAYOUT = CategoryLayout.from_num_categories(CATEGORIES)
SPACE_ND = np.array(list(itertools.product(*(range(count) for count in CATEGORIES))))
NUM_DISTRIBUTIONS = 3


def random_probs(seed, num_distributions=NUM_DISTRIBUTIONS):
    rng = np.random.default_rng(seed)
    probs_KDC = np.where(LAYOUT.valid_DC, rng.gamma(0.5, size=(num_distributions, 4, 4)) + 0.02, 0.0)
    return probs_KDC / probs_KDC.sum(axis=2, keepdims=True)


def state_of(probs_KDC):
    num_distributions = len(probs_KDC)
    ones = np.ones(num_distributions)
    return ASNGState(probs_KDC, np.zeros_like(probs_KDC), ones, ones)


def gradients_one_by_one(probs_KDC, log_density_N, utilities_KN):
    """Returns (N, K, D, C): what each architecture of the space contributes when it is the only sample."""
    weights_KN = importance_weights(log_prob(probs_KDC, SPACE_ND), log_density_N)
    return np.stack(
        [
            natural_gradient(weights_KN[:, [i]], utilities_KN[:, [i]], SPACE_ND[[i]], state_of(probs_KDC), LAYOUT)[0]
            for i in range(len(SPACE_ND))
        ]
    )


def natural_gradient_by_definition(theta_DC, utilities_N):
    """Returns (D, C): the inverse Fisher matrix times the derivative of sum_a p(a) u(a), in C_d - 1 free
    parameters.

    Written from the definition: with the score and Fisher matrix of the minimal
    parameters theta[d, c], c < C_d - 1, theta[d, C_d - 1] = 1 - the rest.
    """
    natural_DC = np.zeros_like(theta_DC)
    probability_N = np.array([np.prod([theta_DC[d, c] for d, c in enumerate(row)]) for row in SPACE_ND])
    for d, count in enumerate(CATEGORIES):
        if count == 1:
            continue
        last = count - 1
        score_NC = np.zeros((len(SPACE_ND), last))
        for i, row in enumerate(SPACE_ND):
            for c in range(last):
                score_NC[i, c] = (row[d] == c) / theta_DC[d, c] - (row[d] == last) / theta_DC[d, last]
        fisher_CC = (score_NC * probability_N[:, None]).T @ score_NC
        plain_C = (score_NC * (probability_N * utilities_N)[:, None]).sum(axis=0)
        natural_DC[d, :last] = np.linalg.solve(fisher_CC, plain_C)
        natural_DC[d, last] = -natural_DC[d, :last].sum()
    return natural_DC


@pytest.mark.parametrize("density", ["present mixture", "older mixture"])
def test_expected_reweighted_gradient_is_the_on_policy_natural_gradient(density):
    probs_KDC = random_probs(seed=1)
    drawn_KDC = probs_KDC if density == "present mixture" else random_probs(seed=2, num_distributions=5)
    utilities_KN = np.random.default_rng(3).normal(size=(NUM_DISTRIBUTIONS, len(SPACE_ND)))
    log_q_N = log_mixture(log_prob(drawn_KDC, SPACE_ND))
    expected_KDC = np.tensordot(np.exp(log_q_N), gradients_one_by_one(probs_KDC, log_q_N, utilities_KN), 1)
    for k in range(NUM_DISTRIBUTIONS):
        exact_DC = natural_gradient_by_definition(probs_KDC[k], utilities_KN[k])
        np.testing.assert_allclose(expected_KDC[k], exact_DC, rtol=1e-10, atol=1e-13)


def test_the_gradient_of_many_samples_is_the_mean_of_theirs():
    probs_KDC, rng = random_probs(seed=1), np.random.default_rng(4)
    log_q_N = log_mixture(log_prob(probs_KDC, SPACE_ND))
    utilities_KN = rng.normal(size=(NUM_DISTRIBUTIONS, len(SPACE_ND)))
    weights_KN = importance_weights(log_prob(probs_KDC, SPACE_ND), log_q_N)
    found_KDC, _ = natural_gradient(weights_KN, utilities_KN, SPACE_ND, state_of(probs_KDC), LAYOUT)
    mean_KDC = gradients_one_by_one(probs_KDC, log_q_N, utilities_KN).mean(axis=0)
    np.testing.assert_allclose(found_KDC, mean_KDC, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_a_fixed_variable_has_no_gradient_not_even_from_rounding(seed):
    rng = np.random.default_rng(seed)
    weights_KN, utilities_KN = rng.random((2, NUM_DISTRIBUTIONS, len(SPACE_ND)))
    gradient_KDC, _ = natural_gradient(weights_KN, utilities_KN, SPACE_ND, state_of(random_probs(seed)), LAYOUT)
    assert (gradient_KDC[:, 1] == 0.0).all()


def test_the_density_of_joined_samples_by_hand():
    history_HKDC = np.stack([random_probs(seed=30 + h) for h in range(2)])
    memory = SampleMemory(2, Evaluations.empty(4), history_HKDC)
    rows, own = np.array([5, 6, 7, 8, 9]), np.array([-1.0, -2.0, -3.0, -4.0, -5.0])
    samples = evaluations_of(rows, np.array([3, 19, 20, 20, 21]), own)
    mixtures_HN = [np.exp(log_mixture(log_prob(probs, SPACE_ND[rows]))) for probs in history_HKDC]
    shared = np.log(mixtures_HN[0] / 3 + 2 * mixtures_HN[1] / 3)
    expected = [-1.0, *shared[1:4], -5.0]  # 3 is too old, and 21 cannot be from this run
    np.testing.assert_allclose(memory.log_density(samples.proposals, num_updates=20), expected, rtol=1e-12)


def evaluations_of(rows_N, drawn_at_N, log_q_N):
    proposals = Proposals(
        architectures=SPACE_ND[rows_N],
        log_q=log_q_N,
        sources=np.zeros(len(rows_N), int),
        ids=np.arange(len(rows_N)),
        drawn_at=drawn_at_N,
    )
    return Evaluations(proposals=proposals, losses=np.zeros(len(rows_N)), complexities=np.zeros(len(rows_N)))


def test_samples_of_several_draws_are_unbiased():
    """Sums, over all architectures in each place of a set of samples, of the estimate of sum_a p_k(a) g(a).

    The set has a sample too old for its mixture to be known (it keeps its own density), one of update 19 and
    two of update 20. The estimate is a mean of one term per sample, so its expectation is the mean of the
    terms' expectations, each under the density that sample was drawn with: the balance
    heuristic's density is a function of the counts of the set alone, so the terms do not depend on each
    other.
    """
    history_HKDC = np.stack([random_probs(seed=30 + h) for h in range(2)])
    old_KDC = random_probs(seed=40)
    memory = SampleMemory(2, Evaluations.empty(4), history_HKDC)
    value_N = np.random.default_rng(5).normal(size=len(SPACE_ND))
    drawn_at_4 = np.array([3, 19, 20, 20])
    drawing_probs = [old_KDC, history_HKDC[0], history_HKDC[1], history_HKDC[1]]
    probs_KDC = history_HKDC[1]
    expectation_K = np.zeros(NUM_DISTRIBUTIONS)
    for place, drawn_from in enumerate(drawing_probs):
        log_q_N = log_mixture(log_prob(drawn_from, SPACE_ND))
        for a in range(len(SPACE_ND)):
            rows = np.zeros(4, int)
            rows[place] = a
            drawn = zip(drawing_probs, SPACE_ND[rows], strict=True)
            own_4 = np.array([log_mixture(log_prob(probs, row[None]))[0] for probs, row in drawn])
            samples = evaluations_of(rows, drawn_at_4, own_4)
            log_density_4 = memory.log_density(samples.proposals, num_updates=20)
            weights_K4 = importance_weights(log_prob(probs_KDC, samples.proposals.architectures), log_density_4)
            expectation_K += np.exp(log_q_N[a]) * weights_K4[:, place] * value_N[a] / 4
    exact_K = np.exp(log_prob(probs_KDC, SPACE_ND)) @ value_N
    np.testing.assert_allclose(expectation_K, exact_K, rtol=1e-10)


def test_balance_density_is_the_count_weighted_mixture():
    log_mixture_GN = np.log(np.random.default_rng(0).random((3, 7)))
    counts_G = np.array([2, 5, 1])
    expected_N = np.log((counts_G[:, None] * np.exp(log_mixture_GN)).sum(axis=0) / 8)
    np.testing.assert_allclose(balance_log_density(log_mixture_GN, counts_G), expected_N, rtol=1e-12)


def test_fresh_weights_lie_in_0_to_k_and_their_mean_over_k_is_1():
    log_prob_KN = log_prob(random_probs(seed=6), SPACE_ND)
    log_q_N = log_mixture(log_prob_KN)
    weights_KN = importance_weights(log_prob_KN, log_q_N)
    assert (weights_KN >= 0).all()
    assert (weights_KN <= NUM_DISTRIBUTIONS * (1 + 1e-12)).all()
    np.testing.assert_allclose(weights_KN.mean(axis=0), 1.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(weights_KN @ np.exp(log_q_N), 1.0, rtol=0, atol=1e-12)
    assert np.ptp(weights_KN) > 0.5, "the case must not be trivial"


def test_mixture_density_sums_to_1_over_the_space():
    log_q_N = log_mixture(log_prob(random_probs(seed=7), SPACE_ND))
    assert np.exp(log_q_N).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("num_distributions", [1, 3, 7, 64])
def test_equal_distributions_give_weights_of_exactly_1(num_distributions):
    probs_KDC = np.repeat(random_probs(seed=8, num_distributions=1), num_distributions, axis=0)
    log_q_N = log_mixture(log_prob(probs_KDC, SPACE_ND))
    for rows in (slice(None), [5], [3, 1, 3], slice(None, None, -2)):  # in whatever batch a sample comes back
        weights_KN = importance_weights(log_prob(probs_KDC, SPACE_ND[rows]), log_q_N[rows])
        assert (weights_KN == 1.0).all()
        balanced_N = balance_log_density(np.stack([log_q_N[rows]] * 3), np.array([4, 2, 1]))
        assert (importance_weights(log_prob(probs_KDC, SPACE_ND[rows]), balanced_N) == 1.0).all()


def test_huge_weights_are_scaled_not_infinite():
    log_prob_KN = np.array([[0.0, -1.0, -2000.0], [-1.0, -1.0, -1.0]])
    weights_KN = importance_weights(log_prob_KN, np.array([-1500.0, -1500.0, -1.0]))
    assert np.isfinite(weights_KN).all()
    assert weights_KN[0, 1] / weights_KN[0, 0] == pytest.approx(np.exp(-1.0))
    np.testing.assert_allclose(effective_sample_sizes(weights_KN)[1], 2.0, rtol=1e-12)


def test_weights_that_all_underflow_are_0():
    log_prob_KN = np.array([[-301.0, -305.0], [-299.0, -900.0]])
    weights_KN = importance_weights(log_prob_KN, np.zeros(2))
    np.testing.assert_array_equal(weights_KN[0], 0.0)
    assert weights_KN[1, 0] == pytest.approx(np.exp(-299.0))


def test_effective_sample_size_and_means_by_hand():
    weights_KN = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(effective_sample_sizes(weights_KN), [3.0, 1.6, 0.0])
    means_K = weighted_means(weights_KN, np.array([2.0, 6.0, np.nan]))
    np.testing.assert_allclose(means_K, [4.0, 3.0, np.nan])


def test_fisher_norm_is_the_norm_in_whitened_coordinates():
    probs_KDC = random_probs(seed=9)
    rng = np.random.default_rng(10)
    weights_KN, utilities_KN = rng.random((3, 5)), rng.normal(size=(3, 5))
    rows = rng.integers(len(SPACE_ND), size=5)
    gradient_KDC, _ = natural_gradient(weights_KN, utilities_KN, SPACE_ND[rows], state_of(probs_KDC), LAYOUT)
    whitened_KDC = whitened(gradient_KDC, probs_KDC, LAYOUT)
    assert not whitened_KDC[:, ~LAYOUT.inner_DC].any()
    np.testing.assert_allclose(
        np.sqrt((whitened_KDC**2).sum(axis=(1, 2))), fisher_norms(gradient_KDC, probs_KDC), rtol=1e-12
    )


def test_shared_search_orders_the_distributions_by_complexity():
    """On a table whose loss falls with complexity, a larger coefficient ends at a lower expected
    complexity."""
    costs_DC = np.linspace(0.0, 1.0, 4) * np.ones((5, 1)) / 5
    losses_DC = np.linspace(1.0, 0.0, 4) ** 2 * np.linspace(0.6, 1.4, 5)[:, None] / 5
    optimizer = MultiDistributionOptimizer(
        num_categories=[4] * 5, coefficients=[0.0, 0.4, 0.8, 1.2, 4.0], seed=11, cost_table=costs_DC
    )
    for _ in range(300):
        proposals = optimizer.ask()
        chosen = (np.arange(5), proposals.architectures)
        optimizer.tell(proposals, losses_DC[chosen].sum(axis=1), costs_DC[chosen].sum(axis=1))
    report = optimizer.diagnostics()
    assert (np.diff(report["expected_complexity"]) <= 0).all()
    assert np.ptp(report["expected_complexity"]) > 0.4
    scores_KDC = losses_DC + report["coefficient"][:, None, None] * costs_DC
    reached_K = np.take_along_axis(scores_KDC, report["mode"][:, :, None], axis=2).sum(axis=(1, 2))
    best_K, worst_K = scores_KDC.min(axis=2).sum(axis=1), scores_KDC.max(axis=2).sum(axis=1)
    assert ((reached_K - best_K) / (worst_K - best_K) < 0.05).all()
