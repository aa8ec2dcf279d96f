"""What distributions minimise where complexities are wanted."""

import re

import numpy as np
import pytest

from multinas_ray.core import MultiDistributionOptimizer
from multinas_ray.core.targets import BELOW_SHARE, targeted_losses
from multinas_ray.errors import ConfigError

NUM_CATEGORIES = [4] * 6
COSTS_DC = np.tile(np.arange(4.0), (6, 1)) / 18  # complexities from 0 to 1
TARGETS = (0.2, 0.45, 0.7)


def new_optimizer(**changes) -> MultiDistributionOptimizer:
    settings = {
        "num_categories": NUM_CATEGORIES,
        "samples_per_update": 12,
        "seed": 0,
        "cost_table": COSTS_DC,
        "targets": TARGETS,
    }
    return MultiDistributionOptimizer(**{**settings, **changes})


def complexities_of(proposals):
    return COSTS_DC[np.arange(6), proposals.architectures].sum(axis=1)


def run(optimizer, num_updates):
    """Tells a convex front's losses."""
    for _ in range(num_updates):
        proposals = optimizer.ask()
        complexities = complexities_of(proposals)
        optimizer.tell(proposals, (1.0 - complexities) ** 2, complexities)


def test_scores_by_hand() -> None:
    losses = np.array([1.0, 2.0, 3.0, 4.0, 5.0])  # quartiles 2 and 4
    complexities = np.array([0.2, 0.4, 0.6, 0.8, 0.4])
    scores = targeted_losses(losses, complexities, (0.4, 0.8), weight=10.0)
    expected = [
        np.array([0.5 + 10 * BELOW_SHARE * 0.5, 1.0, 1.5 + 10 * 0.5, 2.0 + 10 * 1.0, 2.5]),
        np.array([0.5, 1.0, 1.5, 2.0, 2.5]) + 10 * BELOW_SHARE * np.array([0.75, 0.5, 0.25, 0.0, 0.5]),
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_failed_samples_rank_worst_and_do_not_count_in_the_spread() -> None:
    finite = targeted_losses(np.arange(5.0), np.full(5, 0.3), (0.4,), weight=1.0)
    losses = np.array([0.0, np.nan, 1.0, np.inf, 2.0, -np.inf, 3.0, 4.0])
    complexities = np.where(np.isfinite(losses), 0.3, np.nan)
    scores = targeted_losses(losses, complexities, (0.4,), weight=1.0)
    np.testing.assert_array_equal(scores[:, np.isfinite(losses)], finite)
    assert (scores[:, ~np.isfinite(losses)] == np.inf).all()


@pytest.mark.parametrize(
    ("losses", "order"),
    [
        ([7.0, 7.0, 7.0], [1, 0, 2]),  # no spread: the nearest first, below before as far above
        ([np.nan, np.nan, np.nan], None),
        ([1.7e308, -1.7e308, 0.0], None),  # a spread beyond the largest float
    ],
)
def test_losses_without_a_spread_of_use(losses, order) -> None:
    scores = targeted_losses(np.array(losses), np.array([0.3, 0.4, 0.5]), (0.4,), weight=1.0)[0]
    assert not np.isnan(scores).any()
    if order is not None:
        assert scores.argsort().tolist() == order


def irregular(architectures):
    """(N,) numbers from -1 to 1 without ties that follow from the architectures, and from no part of them alone."""
    return np.sin(architectures @ [1.0, 5.3, 21.7, 88.1, 361.9, 1507.3])


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_where_most_losses_tie_their_unit_does_not_matter_either(factor: float) -> None:
    losses, complexities = np.array([1.0] * 7 + [0.9]), np.array([0.4] * 7 + [0.41])
    (scores,) = targeted_losses(factor * losses, complexities, (0.4,), weight=7.0)
    assert scores.argmin() == 7  # the range is 1 unit, the distance a fortieth times 7


@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0.0), (64.0, 5.0), (1e6, -1e6)])
def test_neither_unit_nor_zero_of_the_loss_matters(factor: float, offset: float) -> None:
    optimizer, other = new_optimizer(), new_optimizer()
    for _ in range(40):
        proposals = optimizer.ask()
        losses, complexities = irregular(proposals.architectures), complexities_of(proposals)
        optimizer.tell(proposals, losses, complexities)
        other.tell(proposals, factor * losses + offset, complexities)
    np.testing.assert_allclose(other.probs, optimizer.probs, rtol=1e-9)


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda size, noise: (1.0 - size) ** 2,  # larger is better, the front is convex
        lambda size, noise: 1.0 - size**3,  # concave: no weighted sum prefers anything between the ends
        lambda size, noise: noise,  # a supernet that does not tell what size is worth
        lambda size, noise: 0.3 * size + noise,  # or that prefers small networks a little
        lambda size, noise: 0.0 * size,
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_distributions_come_to_their_targets(exact: bool, loss_of) -> None:
    optimizer = new_optimizer(cost_table=COSTS_DC if exact else None, margin_scale=0.25)
    found, rng = [], np.random.default_rng(1)
    for _ in range(400):
        proposals = optimizer.ask()
        complexities = complexities_of(proposals)
        optimizer.tell(proposals, loss_of(complexities, rng.normal(0.0, 0.3, 12)), complexities)
        found.append(optimizer.diagnostics()["expected_complexity"])
    np.testing.assert_allclose(np.mean(found[-100:], axis=0), TARGETS, atol=0.07)


def test_at_its_target_a_distribution_finds_the_better_half() -> None:
    """Two ways to the same complexity, one of them with half the loss."""
    optimizer = new_optimizer(targets=(0.45,), samples_per_update=8)
    for _ in range(300):
        proposals = optimizer.ask()
        front_half = proposals.architectures[:, :3].sum(axis=1)
        back_half = proposals.architectures[:, 3:].sum(axis=1)
        optimizer.tell(proposals, 1.0 + 0.05 * front_half - 0.05 * back_half, complexities_of(proposals))
    (mode,) = optimizer.modes()
    assert mode[3:].sum() > mode[:3].sum() + 5
    assert complexities_of_mode(mode) == pytest.approx(0.45, abs=0.12)


def complexities_of_mode(mode) -> float:
    return float(COSTS_DC[np.arange(6), mode].sum())


def test_either_drives_and_the_other_is_not_a_number() -> None:
    targeted, weighted = new_optimizer(), new_optimizer(targets=None, coefficients=(0.1, 0.5, 2.0))
    assert targeted.diagnostics()["target"].tolist() == list(TARGETS)
    assert weighted.diagnostics()["coefficient"].tolist() == [0.1, 0.5, 2.0]
    assert np.isnan(targeted.diagnostics()["coefficient"]).all()
    assert np.isnan(weighted.diagnostics()["target"]).all()
    assert targeted.num_distributions == weighted.num_distributions == 3


def test_a_seed_gives_the_networks_it_gave_when_targets_were_listed_falling() -> None:
    """Golden values: commit a82940f, whose targets fell, printed these for (0.7, 0.45, 0.2); sizes rise here."""
    optimizer = new_optimizer()
    run(optimizer, 60)
    assert optimizer.sample(3).tolist() == [[1, 0, 1, 0, 1, 1], [1, 1, 3, 0, 2, 0], [1, 3, 1, 1, 2, 1]]
    assert optimizer.modes().tolist() == [[0, 0, 1, 0, 1, 0], [1, 3, 1, 0, 1, 1], [3, 2, 3, 3, 2, 0]]
    sizes, step_sizes = (
        (0.23461437807212548, 0.4498344268348391, 0.6663816034894816),
        (1.2533972710342243, 0.415157103133533, 0.7887853046476028),
    )
    np.testing.assert_allclose(optimizer.diagnostics()["expected_complexity"], sizes, rtol=1e-12)
    np.testing.assert_allclose(optimizer.diagnostics()["step_size"], step_sizes, rtol=1e-12)


def test_a_state_goes_on() -> None:
    optimizer, copy = new_optimizer(), new_optimizer(seed=1)
    run(optimizer, 10)
    copy.load_state_dict(optimizer.state_dict())
    run(optimizer, 5)
    run(copy, 5)
    assert (copy.probs == optimizer.probs).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"targets": None}, "the number of distributions must be known: give coefficients, targets"),
        ({"coefficients": (0.1, 0.5, 2.0)}, "a search has either coefficients or targets"),
        ({"targets": ()}, "targets must have at least 1 items or None"),
        ({"targets": (0.4, 0.5, 0.5)}, "targets must be strictly increasing"),
        ({"targets": (0.0, 0.4, 0.5)}, "targets[0] must be positive, got 0.0"),
        ({"targets": (0.4, 0.5, float("inf"))}, "targets[2] must be finite, got inf"),
        ({"target_weight": 0.0}, "target_weight must be positive, got 0.0"),
    ],
)
def test_what_targets_cannot_be(changes, text) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        new_optimizer(**changes)


def test_coefficients_cannot_be_set_beside_targets() -> None:
    with pytest.raises(ConfigError, match="either coefficients or targets"):
        new_optimizer().set_coefficients((0.1, 0.5, 2.0))
