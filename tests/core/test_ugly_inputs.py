"""Ugly inputs, decided once: what each does to the distributions."""

import numpy as np
import pytest

from multinas_ray import MultiDistributionOptimizer, Proposals

NAN, INF = float("nan"), float("inf")
RAMP = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


def moved_optimizer():
    """K = 2 with parted distributions and step sizes away from the start."""
    optimizer = MultiDistributionOptimizer(
        num_categories=[3, 4, 2], coefficients=[0.0, 2.0], samples_per_update=8, seed=36
    )
    rng = np.random.default_rng(37)
    for _ in range(8):
        proposals = optimizer.ask()
        cost = proposals.architectures.sum(axis=1) / 6
        optimizer.tell(proposals, -cost + 0.1 * rng.normal(size=8), cost)
    return optimizer


def after(losses, complexities=(0.5,) * 8, change=None):
    """Returns which distributions moved, and all their states, after one update on these results."""
    optimizer = moved_optimizer()
    before = optimizer.state_dict()["distributions"]
    proposals = optimizer.ask()
    if change is not None:
        proposals = change(proposals)
    assert optimizer.tell(proposals, losses, complexities) == 1
    states = optimizer.state_dict()["distributions"]
    for array in states.values():
        assert np.isfinite(array).all()
    np.testing.assert_allclose(states["probs"].sum(axis=2), 1.0, rtol=0, atol=1e-12)
    moved = [any((states[name][k] != before[name][k]).any() for name in states) for k in range(2)]
    return moved, states


def assert_equal(found, expected):
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("losses", "moves"),
    [
        (RAMP, True),
        ([2.0] * 8, False),
        ([0.0] * 8, False),
        ([-3.0] * 8, False),
        ([NAN] * 8, False),
        ([INF] * 8, False),
        ([-INF] * 8, False),
        ([NAN, INF, -INF, NAN, INF, -INF, NAN, NAN], False),
        ([1.0, *[NAN] * 7], True),
        ([1.0] * 4 + [2.0] * 4, True),
        ([1e308, -1e308, 1e308, -1e308, 1.0, 2.0, 3.0, 4.0], True),
        ([5e-324, 0.0, -5e-324, 1.0, 2.0, 3.0, 4.0, 5.0], True),
    ],
)
def test_which_losses_move_the_distributions(losses, moves):
    assert after(losses)[0] == [moves, moves]


@pytest.mark.parametrize("failure", [NAN, INF, -INF])
def test_every_failure_is_the_same_failure_and_worst(failure):
    complexities = [0.1, NAN, 0.3, 0.4, -1.0, 0.6, 0.7, 0.8]
    found = after([1.0, failure, 3.0, 4.0, failure, 6.0, 7.0, 8.0], complexities)[1]
    worst = [0.1, 0.0, 0.3, 0.4, 0.0, 0.6, 0.7, 0.8]
    assert_equal(found, after([1.0, 1e6, 3.0, 4.0, 1e6, 6.0, 7.0, 8.0], worst)[1])


@pytest.mark.parametrize(("scale", "shift"), [(1.0, -100.0), (1.0, 1e6), (2.0**-30, 0.0), (2.0**40, 0.0), (4.0, -7.0)])
def test_shift_and_positive_scale_of_f_change_nothing(scale, shift):
    complexities = np.array([4.0, 1.0, 2.0, 8.0, 5.0, 7.0, 1.0, 3.0])
    losses = np.array(RAMP)[::-1]
    found = after(scale * losses + shift, scale * complexities)[1]
    assert_equal(found, after(losses, complexities)[1])


def with_log_q(log_q):
    def change(proposals):
        return Proposals(
            architectures=proposals.architectures, log_q=log_q(proposals.log_q), sources=proposals.sources,
            ids=proposals.ids, drawn_at=proposals.drawn_at,
        )  # fmt: skip

    return change


def test_huge_weights_step_like_the_same_weights_scaled():
    found = after(RAMP, change=with_log_q(lambda log_q: log_q - 5000.0))[1]
    expected = after(RAMP)[1]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_a_distribution_whose_weights_all_underflow_does_not_move():
    """Late samples of distribution 1 alone, at which distribution 0 is impossibly unlikely."""
    num_variables = 120
    optimizer = MultiDistributionOptimizer(
        num_categories=[10] * num_variables, coefficients=[0.0, 1.0], samples_per_update=4, seed=38
    )
    state = optimizer.state_dict()
    floor = 1 / (num_variables * 9)
    probs = state["distributions"]["probs"]
    probs[:] = floor
    probs[0, :, 0] = probs[1, :, 1] = 1 - 9 * floor
    optimizer.load_state_dict(state)
    architectures = np.ones((4, num_variables), int)
    architectures[0, :3] = architectures[1, 5:8] = 2
    told = Proposals(
        architectures=architectures,
        log_q=np.full(4, -1e-3),
        sources=np.ones(4, int),
        ids=np.arange(4),
        drawn_at=np.zeros(4, int),
    )
    optimizer.tell(told, [1.0, 2.0, 3.0, 4.0], [1.0] * 4)
    found = optimizer.state_dict()["distributions"]
    for name, array in state["distributions"].items():
        np.testing.assert_array_equal(found[name][0], array[0])
    assert not np.array_equal(found["probs"][1], probs[1])
    report = optimizer.diagnostics()
    assert report["effective_sample_size"][0] == 0.0
    assert np.isnan(report["expected_loss"][0])
    assert np.isfinite(report["expected_loss"][1])


def test_ties_share_their_worth_whatever_their_order():
    proposals_order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
    losses = np.array([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    expected = after(losses)[1]
    found = after(losses[proposals_order], change=lambda proposals: proposals[proposals_order])[1]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-13)


def test_near_ties_are_no_ties():
    tied, apart = [1.0] * 4 + [2.0] * 4, [np.nextafter(1.0, 0.0), *[1.0] * 3, *[2.0] * 4]
    assert not np.array_equal(after(tied)[1]["probs"], after(apart)[1]["probs"])
