"""The screened optimiser: what it proposes, and what its state depends on."""

import itertools
from typing import Any

import numpy as np
import pytest

from multinas_ray import ConfigError, MultiDistributionOptimizer, Proposals, ScreenedOptimizer, StateError
from multinas_ray.core import distributions
from multinas_ray.core.screened import archive as archive_module
from multinas_ray.core.screened import optimizer as screened
from multinas_ray.core.screened import proposing
from multinas_ray.core.screened.surrogate import KERNELS, fit_surrogate

COUNTS = [3, 2, 1, 4]
ALL = np.array(list(itertools.product(*map(range, COUNTS))))
OPTIONS: dict[str, Any] = {"num_categories": COUNTS, "coefficients": [0.1, 0.4, 1.6], "seed": 7}


def values(architectures):
    complexities = architectures.sum(axis=1) / 6.0
    losses = np.sin(architectures @ [1.0, 2.0, 3.0, 4.0]) - complexities
    failed = architectures.sum(axis=1) == 5
    return np.where(failed, np.nan, losses), np.where(failed, np.nan, complexities)


def tell(optimizer, proposals):
    return optimizer.tell(proposals, *values(proposals.architectures))


def search(optimizer, count, outstanding=4, seed=0):
    """Asks one by one with results outstanding, tells in random order; returns what was told, in order."""
    rng = np.random.default_rng(seed)
    waiting, told = optimizer.pending(), []
    for _ in range(count):
        waiting = Proposals.concatenate([waiting, optimizer.ask(1)])
        if len(waiting) >= outstanding:
            row = int(rng.integers(len(waiting)))
            told.append(waiting[row])
            tell(optimizer, told[-1])
            waiting = waiting[np.arange(len(waiting)) != row]
    return Proposals.concatenate([Proposals.empty(4), *told])


def assert_same(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name])
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(params=[256, 8], ids=["fitted at each result", "fitted seldom"])
def fitted(request, monkeypatch):
    """Small searches meet both: a fit for each result, and one that serves for several."""
    monkeypatch.setattr(screened, "ONE_BY_ONE", request.param)
    monkeypatch.setattr(screened, "KERNEL_SHARE", request.param // 4)


@pytest.mark.usefixtures("fitted")
def test_neither_known_nor_pending_is_proposed_while_anything_is_left():
    optimizer = ScreenedOptimizer(**OPTIONS)
    told = search(optimizer, len(ALL))
    proposed = np.concatenate([told.architectures, optimizer.pending().architectures])
    assert len(np.unique(proposed, axis=0)) == len(ALL)
    assert len(optimizer.ask(3)) == 3  # nothing is left: anything may come


def test_asked_together_they_differ_too():
    asked = ScreenedOptimizer(**OPTIONS).ask(len(ALL))
    assert len(np.unique(asked.architectures, axis=0)) == len(ALL)
    assert (asked.sources == -1).all()
    assert (asked.drawn_at == -1).all()


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("pieces", [1, 5])
def test_replaying_the_record_gives_the_same_distributions(pieces):
    optimizer = ScreenedOptimizer(**OPTIONS)
    told = search(optimizer, 20)
    replayed = ScreenedOptimizer(**OPTIONS)
    replayed.ask(2)
    updates = sum(tell(replayed, told[rows]) for rows in np.array_split(np.arange(len(told)), pieces))
    assert updates == optimizer.num_updates == len(told) // 3
    np.testing.assert_array_equal(replayed.probs, optimizer.probs)
    assert_same(replayed.state_dict()["distributions"], optimizer.state_dict()["distributions"])
    assert_same(replayed.state_dict()["archive"], optimizer.state_dict()["archive"])


@pytest.mark.usefixtures("fitted")
def test_restarting_changes_the_proposals_and_not_the_updates():
    optimizer = ScreenedOptimizer(**OPTIONS)
    told = search(optimizer, 14)
    replayed = ScreenedOptimizer(**OPTIONS)
    tell(replayed, told[:5])
    replayed.restart(first_id=40, seed=[3, 1])
    tell(replayed, Proposals(**{**vars(told[5:]), "ids": 40 + np.arange(len(told) - 5)}))
    np.testing.assert_array_equal(replayed.probs, optimizer.probs)
    assert replayed.ask(1).ids[0] == 40 + len(told) - 5


@pytest.mark.usefixtures("fitted")
def test_restarts_of_different_seeds_propose_differently():
    first, second = ScreenedOptimizer(**OPTIONS), ScreenedOptimizer(**OPTIONS)
    first.restart(first_id=0, seed=1)
    second.restart(first_id=0, seed=2)
    assert not np.array_equal(first.ask(12).architectures, second.ask(12).architectures)


def test_what_was_chosen_ahead_is_dropped_at_a_restart(monkeypatch):
    monkeypatch.setattr(screened, "ONE_BY_ONE", 8)
    optimizer = ScreenedOptimizer(**{**OPTIONS, "num_categories": [5, 5, 5, 5]})
    search(optimizer, 18, outstanding=1)
    optimizer.ask(1)
    assert len(optimizer.state_dict()["queue"]["architectures"]) > 0
    optimizer.restart(first_id=30, seed=1)
    assert len(optimizer.state_dict()["queue"]["architectures"]) == 0


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("count", [0, 1, 4, 9, 17])
def test_a_state_goes_on_bit_for_bit(count):
    optimizer = ScreenedOptimizer(**OPTIONS)
    first = optimizer.ask(3)
    tell(optimizer, first[:2])
    if count:
        search(optimizer, count)
    loaded = ScreenedOptimizer(**{**OPTIONS, "seed": 99})
    loaded.load_state_dict(optimizer.state_dict())
    assert_same(loaded.state_dict(), optimizer.state_dict())
    search(optimizer, 4, outstanding=1)
    search(loaded, 4, outstanding=1)
    assert_same(loaded.state_dict(), optimizer.state_dict())


def test_a_damaged_state_is_refused_and_changes_nothing():
    optimizer = ScreenedOptimizer(**OPTIONS)
    search(optimizer, 8)
    good = optimizer.state_dict()
    for damage, text in [
        (("counters", "next_id", 0), "state.counters.next_id: expected at least"),
        (("counters", "num_told", 1), "state.counters.num_told: expected at least"),
        (("counters", "fit_size", 9), "state.counters.fit_size: expected at most 5, found 9"),
        (("counters", "fit_told", 9), "state.counters.fit_told: expected at most 5, found 9"),
        (("counters", "kernel_known", 9), "state.counters.kernel_known: expected at most 5, found 9"),
        (("counters", "kernel_number", 6), "state.counters.kernel_number: expected less than 6, found 6"),
        (("archive", "support", np.array([77])), "state.archive.support: expected distinct rows"),
        (("archive", "front", np.array([0, 0])), "state.archive.front: expected distinct rows"),
        (("archive", "architectures", good["archive"]["architectures"] + 9), "expected distinct ones of the space"),
        (("distributions", "version", 77), "state.version: expected 6"),
        (("archive", "extra", 1), "state.archive: expected only"),
    ]:
        section, name, value = damage
        with pytest.raises(StateError, match=text):
            optimizer.load_state_dict({**good, section: {**good[section], name: value}})
        assert_same(optimizer.state_dict(), good)
    with pytest.raises(StateError, match="samples_per_update: expected 6, found int 3"):
        ScreenedOptimizer(**OPTIONS, samples_per_update=6).load_state_dict(good)


def test_an_update_from_known_values_steps_as_the_plain_optimiser_does(monkeypatch):
    coefficients = [0.1, 0.4, 1.6]
    optimizer = ScreenedOptimizer(**{**OPTIONS, "num_categories": [3, 2, 1, 2]}, samples_per_update=12)
    everything = np.array(list(itertools.product(range(3), range(2), range(1), range(2))))
    zeros = np.zeros(12, dtype=int)
    one = Proposals(architectures=everything, log_q=np.zeros(12), sources=zeros, ids=np.arange(12), drawn_at=zeros)
    plain = MultiDistributionOptimizer(
        num_categories=[3, 2, 1, 2], coefficients=coefficients, samples_per_update=48, seed=0
    )
    updates = []

    def noted(*told):
        updates.append(told)
        return plain.tell(*told)

    monkeypatch.setattr(optimizer._inner, "tell", noted)
    tell(optimizer, one)
    samples, losses, complexities = updates[0]
    known_losses, known_complexities = values(samples.architectures)
    failed = np.isnan(known_losses)
    np.testing.assert_array_equal(losses, np.where(failed, np.inf, known_losses))
    np.testing.assert_array_equal(complexities[~failed], known_complexities[~failed])
    uniform = distributions.log_prob(optimizer.probs, samples.architectures)  # not stepped: its tell was taken away
    np.testing.assert_allclose(samples.log_q, uniform.mean(axis=0))
    direct = MultiDistributionOptimizer(
        num_categories=[3, 2, 1, 2], coefficients=coefficients, samples_per_update=48, seed=0
    )
    direct.tell(samples, known_losses, np.where(failed, 0.0, known_complexities))
    np.testing.assert_array_equal(plain.probs, direct.probs)
    assert not np.array_equal(plain.probs, optimizer.probs)


def test_the_surrogate_is_fitted_on_a_bounded_number_of_points(monkeypatch):
    monkeypatch.setattr(archive_module, "SUPPORT_LIMIT", 12)
    optimizer = ScreenedOptimizer(**{**OPTIONS, "num_categories": [5, 5, 5, 5]})
    search(optimizer, 40)
    state = optimizer.state_dict()["archive"]
    assert len(state["losses"]) == 37
    assert len(state["support"]) == 12
    assert len(optimizer._surrogate.points.one_hot_NX if optimizer._surrogate else state["support"]) == 12
    scores = state["losses"] + np.array(OPTIONS["coefficients"])[:, None] * state["complexities"]
    assert set(scores.argmin(axis=1)) <= set(state["support"].tolist())


def test_a_fit_serves_for_a_share_of_the_results_and_as_many_choices(monkeypatch):
    monkeypatch.setattr(screened, "ONE_BY_ONE", 17)
    monkeypatch.setattr(screened, "MOST_AHEAD", 4)
    monkeypatch.setattr(screened, "KERNEL_SHARE", 1)
    sizes, drawn = [], []
    screening_set = proposing.screening_set

    def noted_fit(*given):
        sizes.append(len(given[0]))
        return fit_surrogate(*given)

    def noted_set(*given):
        drawn.append(1)
        return screening_set(*given)

    monkeypatch.setattr(screened, "fit_surrogate", noted_fit)
    monkeypatch.setattr(proposing, "screening_set", noted_set)
    optimizer = ScreenedOptimizer(**{**OPTIONS, "num_categories": [5, 5, 5, 5]})
    search(optimizer, 16, outstanding=1)
    assert len(drawn) == 16
    search(optimizer, 64, outstanding=1)
    assert 16 + 64 // 4 <= len(drawn) <= 16 + 24 + 40 // 4 + 4  # four at once at the last
    assert sizes[-1] > 72
    assert np.diff(sorted(set(sizes))).max() <= 4


def test_what_was_chosen_ahead_is_dropped_when_the_fit_is_renewed(monkeypatch):
    monkeypatch.setattr(screened, "ONE_BY_ONE", 12)
    optimizer = ScreenedOptimizer(**{**OPTIONS, "num_categories": [5, 5, 5, 5]})
    search(optimizer, 18, outstanding=1)
    asked = optimizer.ask(1)
    ahead = optimizer.state_dict()["queue"]["architectures"]
    assert (len(ahead), optimizer.results_to_step) == (3, 3)
    tell(optimizer, asked)
    asked = optimizer.ask(1)
    np.testing.assert_array_equal(asked.architectures, ahead[:1])
    tell(optimizer, asked)
    np.testing.assert_array_equal(optimizer.state_dict()["queue"]["architectures"], ahead[1:])
    tell(optimizer, optimizer.ask(1))
    assert len(optimizer.state_dict()["queue"]["architectures"]) == 0


def test_a_result_in_place_of_a_failure_renews_the_fit(monkeypatch):
    monkeypatch.setattr(screened, "ONE_BY_ONE", 8)
    optimizer = ScreenedOptimizer(**OPTIONS)
    search(optimizer, 16, outstanding=1)
    failed = ALL[ALL.sum(axis=1) == 5]
    known = [row for row in failed if optimizer._state.archive.rows_of(row[None])[0] >= 0]
    assert known
    again = optimizer.ask(1)
    optimizer._predict(ALL)
    optimizer.tell(Proposals(**{**vars(again), "architectures": known[0][None]}), [-3.0], [0.1])
    loaded = ScreenedOptimizer(**OPTIONS)
    loaded.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(loaded._predict(ALL).losses(), optimizer._predict(ALL).losses())
    assert loaded._predict(known[0][None]).losses()[0] < -1.0


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("kind", [MultiDistributionOptimizer, ScreenedOptimizer])
def test_results_may_be_held_until_they_make_a_difference(kind):
    at_once, held = (kind(**OPTIONS) for _ in range(2))
    waiting = Proposals.empty(4)
    for _ in range(22):
        asked = at_once.ask(1)
        np.testing.assert_array_equal(held.ask(1).architectures, asked.architectures)
        tell(at_once, asked)
        waiting = Proposals.concatenate([waiting, asked])
        assert len(waiting) <= held.results_to_step
        if len(waiting) == held.results_to_step:
            tell(held, waiting)
            waiting = waiting[:0]
    np.testing.assert_array_equal(held.probs, at_once.probs)


@pytest.mark.parametrize("kernel", [KERNELS[0], KERNELS[1], KERNELS[-1]])
def test_the_kernel_is_chosen_at_updates_and_kept_between(monkeypatch, kernel):
    optimizer = ScreenedOptimizer(**OPTIONS)
    tried = []

    def fit_one(points, values, more, scale, kernels):
        tried.append(kernels)
        return fit_surrogate(points, values, more, scale, [kernel])

    monkeypatch.setattr(screened, "fit_surrogate", fit_one)
    search(optimizer, 24, outstanding=1)
    assert tried.count(KERNELS) == optimizer.num_updates == 8
    assert tried[-1] == KERNELS
    between = [each for each in tried if each != KERNELS]
    assert between == [[kernel]] * len(between)
    assert between
    loaded = ScreenedOptimizer(**OPTIONS)
    loaded.load_state_dict(optimizer.state_dict())
    loaded._predict(ALL)
    assert tried[-1] == [kernel]


@pytest.mark.parametrize(
    "losses",
    [np.full(24, np.nan), np.full(24, 2.0), np.r_[1.0, np.full(23, np.inf)], np.r_[1e300, -1e300, np.arange(22.0)]],
    ids=["all failed", "all equal", "one finite", "huge"],
)
def test_ugly_losses_are_lived_with(losses):
    optimizer = ScreenedOptimizer(**OPTIONS)
    for loss in losses:
        proposals = optimizer.ask(1)
        optimizer.tell(proposals, [loss], [0.5])
    assert len(optimizer.state_dict()["archive"]["losses"]) == 24
    assert np.isfinite(optimizer.probs).all()


def test_results_told_again_are_ignored_and_failures_can_be_replaced():
    optimizer = ScreenedOptimizer(**OPTIONS)
    asked = optimizer.ask(2)
    optimizer.tell(asked[0], [np.inf], [np.nan])
    optimizer.tell(asked[0], [1.0], [0.1])
    assert (optimizer.num_told, optimizer.num_ignored) == (1, 1)
    again = Proposals(**{**vars(asked[0]), "ids": [50]})
    optimizer.tell(again, [1.0], [0.1])
    assert optimizer.state_dict()["archive"]["losses"].tolist() == [1.0]
    optimizer.forget(asked[1])
    assert len(optimizer.pending()) == 0
    with pytest.raises(ConfigError, match="complexity of id 51 must be finite"):
        optimizer.tell(Proposals(**{**vars(asked[0]), "ids": [51]}), [1.0], [np.nan])
    with pytest.raises(ConfigError, match="before any result is told"):
        optimizer.set_coefficients([1.0, 2.0, 3.0])
    optimizer.restart(first_id=60, seed=1, keep=asked)
    assert len(optimizer.pending()) == 0  # one was told, the other forgotten


def test_a_cost_table_makes_predicted_complexities_exact():
    table = np.arange(16.0).reshape(4, 4)
    optimizer = ScreenedOptimizer(**OPTIONS, cost_table=table, base_cost=2.0)
    search(optimizer, 16)
    np.testing.assert_allclose(optimizer._predict(ALL).complexities_N, 2.0 + table[np.arange(4), ALL].sum(axis=1))
