"""K = 1 is plain ASNG, step for step; and the symmetries of the step.

`PlainASNG` is written apart from the package, in loops over variables and categories, from docs/METHOD.md
steps 5 to 8 for one distribution and weights of 1 with the quarter ranking of ASNG (Akimoto et al., 2019).
"""

import math

import numpy as np
import pytest

from multinas_ray import MultiDistributionOptimizer, Proposals
from multinas_ray.core.asng import ASNGState, asng_step, natural_gradient
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.optimizer import DistributionSettings
from multinas_ray.core.utility import quantile_utilities


class PlainASNG:
    def __init__(self, num_categories, delta_init=1.0, alpha=1.5, delta_max=math.inf, margin_scale=1.0):
        self.theta = [[1.0 / count] * count for count in num_categories]
        self.free = [d for d, count in enumerate(num_categories) if count > 1]
        self.dimension = sum(count - 1 for count in num_categories)
        self.path = {(d, c): 0.0 for d in self.free for c in range(num_categories[d] - 1)}
        self.gamma, self.divisor, self.num_bounded = 0.0, 1.0, 0
        self.delta_init, self.alpha, self.delta_max = delta_init, alpha, delta_max
        self.floor = {}
        for d in self.free:
            count = num_categories[d]
            floor = margin_scale / (len(self.free) * (count - 1))
            self.floor[d] = floor if count * floor < 1.0 else 1.0 / (2.0 * count)

    def update(self, architectures, scores):
        order = sorted(range(len(scores)), key=lambda i: scores[i])
        quarter = len(scores) // 4
        utility = [0.0] * len(scores)
        for rank, i in enumerate(order):
            utility[i] = 1.0 if rank < quarter else (-1.0 if rank >= len(scores) - quarter else 0.0)
        gradient, norm_squared = {}, 0.0
        for d in self.free:
            gradient[d] = [
                sum(u * ((a[d] == c) - theta) for u, a in zip(utility, architectures, strict=True)) / len(scores)
                for c, theta in enumerate(self.theta[d])
            ]
            norm_squared += sum(g * g / theta for g, theta in zip(gradient[d], self.theta[d], strict=True))
        if norm_squared < 1e-24:  # best and worst cancel: what is left is rounding
            return
        self.step(gradient, math.sqrt(norm_squared))

    def step(self, gradient, norm):
        step_size = self.delta_init / self.divisor
        beta = step_size / math.sqrt(self.dimension)
        for d in self.free:
            last = self.theta[d][-1]
            shared = sum(gradient[d][:-1]) / (last + math.sqrt(last))
            for c, theta in enumerate(self.theta[d][:-1]):
                whitened = gradient[d][c] / math.sqrt(theta) + math.sqrt(theta) * shared
                self.path[d, c] = (1 - beta) * self.path[d, c] + math.sqrt(beta * (2 - beta)) * whitened / norm
        for d in self.free:
            moved = [t + step_size * g / norm for t, g in zip(self.theta[d], gradient[d], strict=True)]
            self.theta[d] = self.inside(moved, self.floor[d])
        self.gamma = (1 - beta) ** 2 * self.gamma + beta * (2 - beta)
        length = sum(value * value for value in self.path.values())
        self.divisor *= math.exp(beta * (self.gamma - length / self.alpha))
        self.num_bounded += self.divisor > self.delta_max
        self.divisor = min(self.delta_max, self.divisor)

    @staticmethod
    def inside(values, floor):
        clipped = [max(value, floor) for value in values]
        total = sum(clipped)
        room = total - len(values) * floor
        moved = [value - (total - 1) * (value - floor) / room for value in clipped]
        return [value / sum(moved) for value in moved]


CASES = {
    "padded, one fixed": {"num_categories": [3, 1, 5, 2, 4]},
    "one variable, no room for the margin": {"num_categories": [3]},
    "two binary variables, no room": {"num_categories": [2, 2]},
    "half margin, other constants": {
        "num_categories": [4, 4, 2, 7],
        "margin_scale": 0.5,
        "delta_init": 0.7,
        "alpha": 3.0,
        "delta_max": 1.5,
    },
}


@pytest.mark.parametrize("num_samples", [4, 8])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_distribution_is_plain_asng(case, num_samples):
    num_categories, rng = case["num_categories"], np.random.default_rng(12)
    optimizer = MultiDistributionOptimizer(coefficients=[0.3], samples_per_update=num_samples, seed=13, **case)
    plain = PlainASNG(**case)
    table_DC = rng.random((len(num_categories), max(num_categories)))
    for _ in range(320):
        proposals = optimizer.ask()
        losses = table_DC[np.arange(len(num_categories)), proposals.architectures].sum(axis=1)
        losses += 0.3 * rng.normal(size=num_samples)  # noise: no ties, and the step size moves both ways
        complexities = rng.random(num_samples)
        optimizer.tell(proposals, losses, complexities)
        plain.update(proposals.architectures.tolist(), (losses + 0.3 * complexities).tolist())
        for d, theta in enumerate(plain.theta):
            np.testing.assert_allclose(optimizer.probs[0, d, : len(theta)], theta, rtol=0, atol=1e-11)
        step_size = optimizer.diagnostics()["step_size"][0]
        assert step_size == pytest.approx(plain.delta_init / plain.divisor, rel=1e-9)
    assert optimizer.num_updates == 320
    assert plain.num_bounded > 0 or plain.delta_max == math.inf, "where there is a bound, it must bind"
    assert optimizer.diagnostics()["step_size"][0] != plain.delta_init


def random_update(seed, num_categories, num_distributions=3, num_samples=20):
    """Returns layout, state, settings, architectures, weights and scores of one update at random values."""
    rng = np.random.default_rng(seed)
    layout = CategoryLayout.from_num_categories(num_categories)
    settings = DistributionSettings(
        num_categories=num_categories, num_distributions=num_distributions, margin_scale=0.3
    )
    shape = (num_distributions, *layout.valid_DC.shape)
    probs_KDC = np.where(layout.valid_DC, rng.gamma(2.0, size=shape) + 0.3, 0.0)
    probs_KDC /= probs_KDC.sum(axis=2, keepdims=True)
    state = ASNGState(
        probs_KDC=probs_KDC,
        path_KDC=np.where(layout.inner_DC, rng.normal(size=shape), 0.0),
        path_weight_K=rng.random(num_distributions),
        step_divisor_K=1.0 + rng.random(num_distributions),
    )
    architectures_ND = rng.integers(0, num_categories, size=(num_samples, len(num_categories)))
    weights_KN = rng.gamma(1.0, size=(num_distributions, num_samples))
    scores_KN = rng.normal(size=(num_distributions, num_samples)).round(1)
    return layout, state, settings.asng_settings(), architectures_ND, weights_KN, scores_KN


def one_update(layout, state, settings, architectures_ND, weights_KN, scores_KN):
    utilities_KN = quantile_utilities(scores_KN, weights_KN)
    gradient_KDC, moves_K = natural_gradient(weights_KN, utilities_KN, architectures_ND, state, layout)
    return asng_step(state, gradient_KDC, moves_K, settings)


def assert_same_state(found, expected):
    for name in ("probs_KDC", "path_KDC", "path_weight_K", "step_divisor_K"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-11, atol=1e-13)


def permuted(state, index):
    return ASNGState(state.probs_KDC[index], state.path_KDC[index], state.path_weight_K, state.step_divisor_K)


@pytest.mark.parametrize("seed", range(5))
def test_permuted_samples_give_the_same_step(seed):
    layout, state, settings, architectures_ND, weights_KN, scores_KN = random_update(seed, [3, 4, 1, 2])
    order = np.random.default_rng(seed).permutation(len(architectures_ND))
    expected = one_update(layout, state, settings, architectures_ND, weights_KN, scores_KN)
    found = one_update(layout, state, settings, architectures_ND[order], weights_KN[:, order], scores_KN[:, order])
    assert_same_state(found, expected)
    assert not np.allclose(expected.probs_KDC, state.probs_KDC)


@pytest.mark.parametrize("seed", range(5))
def test_permuted_variables_permute_the_step(seed):
    num_categories = np.array([3, 4, 1, 2])
    layout, state, settings, architectures_ND, weights_KN, scores_KN = random_update(seed, num_categories)
    order = np.random.default_rng(seed).permutation(4)
    other_layout, _, other_settings, *_ = random_update(seed, num_categories[order])
    expected = one_update(layout, state, settings, architectures_ND, weights_KN, scores_KN)
    found = one_update(
        other_layout,
        permuted(state, np.s_[:, order]),
        other_settings,
        architectures_ND[:, order],
        weights_KN,
        scores_KN,
    )
    assert_same_state(found, permuted(expected, np.s_[:, order]))


@pytest.mark.parametrize("seed", range(5))
def test_permuted_categories_but_the_last_permute_the_step(seed):
    layout, state, settings, architectures_ND, weights_KN, scores_KN = random_update(seed, [5, 5, 5])
    order = np.append(np.random.default_rng(seed).permutation(4), 4)  # new category c is old order[c]
    expected = one_update(layout, state, settings, architectures_ND, weights_KN, scores_KN)
    found = one_update(
        layout,
        permuted(state, np.s_[:, :, order]),
        settings,
        order.argsort()[architectures_ND],
        weights_KN,
        scores_KN,
    )
    assert_same_state(found, permuted(expected, np.s_[:, :, order]))


def test_scaling_one_distributions_weights_changes_no_step():
    layout, state, settings, architectures_ND, weights_KN, scores_KN = random_update(3, [3, 4, 2])
    expected = one_update(layout, state, settings, architectures_ND, weights_KN, scores_KN)
    found = one_update(
        layout, state, settings, architectures_ND, weights_KN * np.array([[1e-40], [1.0], [1e60]]), scores_KN
    )
    assert_same_state(found, expected)


def test_the_step_size_stays_bounded_where_the_published_rule_breaks_down():
    """A steady direction after a long quiet phase would take beta past 2; ours stops at 1.5."""
    layout, state, settings, *_ = random_update(4, [2])
    path_KDC = np.where(layout.inner_DC, 30.0, 0.0) * np.ones((3, 1, 2))
    state = ASNGState(state.probs_KDC, path_KDC, np.ones(3), np.full(3, 4.0))
    gradient_KDC = np.array([[[1.0, -1.0]]] * 3)
    for _ in range(5):
        state = asng_step(state, gradient_KDC, np.ones(3, bool), settings)
        assert np.isfinite(state.path_KDC).all()
        assert (settings.delta_init / state.step_divisor_K <= 1.5 * settings.root_dimension * (1 + 1e-12)).all()


def test_a_rounding_gradient_moves_nothing():
    """All samples are one architecture: the terms cancel up to rounding, and noise must not become a whole
    step."""
    optimizer = MultiDistributionOptimizer(num_categories=[3, 3, 3], coefficients=[0.0, 0.1, 0.2], seed=14)
    rng = np.random.default_rng(15)
    for _ in range(20):
        proposals = optimizer.ask()
        optimizer.tell(proposals, proposals.architectures.sum(axis=1) + rng.random(6), rng.random(6))
    before = optimizer.state_dict()["distributions"]
    same = Proposals(
        architectures=np.zeros((6, 3), int),
        log_q=np.log(rng.random(6)),
        sources=np.zeros(6, int),
        ids=np.arange(1000, 1006),
        drawn_at=np.full(6, -1),
    )
    assert optimizer.tell(same, rng.random(6), rng.random(6)) == 1
    after = optimizer.state_dict()["distributions"]
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
