"""The contract of ask and tell: partial, late, repeated and foreign results, and replaying a record."""

import numpy as np
import pytest

from multinas_ray import ConfigError, MultiDistributionOptimizer, Proposals

OPTIONS = {"num_categories": [4, 3, 1, 5], "coefficients": [0.0, 0.2, 0.9], "samples_per_update": 6}
TABLE_DC = np.random.default_rng(24).random((4, 5))


def new_optimizer(seed=25, **options):
    return MultiDistributionOptimizer(**{**OPTIONS, "seed": seed, **options})


def evaluate(proposals):
    chosen = TABLE_DC[np.arange(4), proposals.architectures]
    complexities = proposals.architectures.sum(axis=1) / 9
    return chosen.sum(axis=1) - complexities, complexities


def tell(optimizer, proposals):
    return optimizer.tell(proposals, *evaluate(proposals))


def assert_equal_states(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_equal_states(found[name], expected[name])
    else:
        np.testing.assert_array_equal(found, expected)


def late_run(optimizer, num_rounds, seed=26):
    """Runs with results late, in parts and out of order; returns the record in the order told."""
    rng = np.random.default_rng(seed)
    waiting, record = optimizer.ask(20), []
    for _ in range(num_rounds):
        waiting = Proposals.concatenate([waiting, optimizer.ask(int(rng.integers(1, 9)))])
        order = rng.permutation(len(waiting))
        num_told = int(rng.integers(0, 9))
        told, waiting = waiting[order[:num_told]], waiting[order[num_told:]]
        if num_told:
            tell(optimizer, told)
            record.append(told)
    return Proposals.concatenate(record)


def test_ids_go_on_and_asking_for_few_takes_from_one_stratum():
    optimizer = new_optimizer()
    parts = [optimizer.ask(1), optimizer.ask(4), optimizer.ask(3), optimizer.ask()]
    assert [len(part) for part in parts] == [1, 4, 3, 6]
    together = Proposals.concatenate(parts)
    np.testing.assert_array_equal(together.ids, np.arange(14))
    for stratum in (together[:6], together[6:12]):
        np.testing.assert_array_equal(np.bincount(stratum.sources), [2, 2, 2])
    at_once = new_optimizer().ask(14)
    np.testing.assert_array_equal(at_once.architectures, together.architectures)


def test_the_queue_keeps_the_density_of_its_draw():
    optimizer = new_optimizer()
    first = optimizer.ask(6)
    queued_before = optimizer.ask(1)  # leaves five of the stratum in the queue
    tell(optimizer, first)
    queued = optimizer.ask(5)
    assert (queued.drawn_at == 0).all()
    np.testing.assert_array_equal(queued.log_q, queued_before.log_q[0], "the start is uniform")
    assert (optimizer.ask(1).drawn_at == 1).all()


def test_asking_for_more_than_a_stratum_draws_whole_ones():
    proposals = new_optimizer().ask(13)
    np.testing.assert_array_equal(np.bincount(proposals.sources[:12]), [4, 4, 4])


def test_updates_come_every_samples_per_update():
    optimizer = new_optimizer()
    proposals = optimizer.ask(20)
    assert tell(optimizer, proposals[:5]) == 0
    assert tell(optimizer, proposals[5:6]) == 1
    assert tell(optimizer, proposals[6:]) == 2
    assert (optimizer.num_updates, optimizer.num_told, optimizer.num_ignored) == (3, 20, 0)


@pytest.mark.parametrize("memory", [0, 3])
def test_pieces_give_the_same_state_as_one_call(memory):
    at_once, in_pieces = new_optimizer(memory=memory), new_optimizer(memory=memory)
    proposals = at_once.ask(40)
    in_pieces.ask(40)
    order = np.random.default_rng(27).permutation(40)
    tell(at_once, proposals[order])
    for start, stop in ((0, 1), (1, 2), (2, 9), (9, 9), (9, 33), (33, 40)):
        tell(in_pieces, proposals[order[start:stop]])
    assert at_once.num_updates == 6
    assert_equal_states(in_pieces.state_dict(), at_once.state_dict())


def test_repeats_are_ignored_and_counted_also_within_a_call():
    optimizer, clean = new_optimizer(), new_optimizer()
    proposals = optimizer.ask(12)
    clean.ask(12)
    tell(optimizer, proposals[[0, 1, 0, 2]])
    tell(optimizer, proposals[[4]])
    tell(optimizer, proposals[[4]])
    tell(optimizer, proposals[[2, 3, 5]])
    tell(optimizer, proposals[:6])
    tell(clean, proposals[[0, 1, 2, 4, 3, 5]])
    assert (optimizer.num_told, optimizer.num_ignored, optimizer.num_updates) == (6, 9, 1)
    assert_equal_states(optimizer.state_dict()["distributions"], clean.state_dict()["distributions"])
    np.testing.assert_array_equal(optimizer.pending().ids, np.arange(6, 12))


def test_foreign_results_are_taken_in_and_their_ids_not_given_again():
    optimizer, stranger = new_optimizer(), new_optimizer(seed=99)
    proposals = stranger.ask(6)
    assert tell(optimizer, proposals) == 1
    np.testing.assert_array_equal(optimizer.ask(2).ids, [6, 7])


def test_forgotten_results_are_ignored_and_close_the_gap():
    optimizer = new_optimizer()
    proposals = optimizer.ask(12)
    tell(optimizer, proposals[[0, 3, 4, 7]])
    np.testing.assert_array_equal(optimizer.state_dict()["settled"]["above"], [3, 4, 7])
    optimizer.forget(proposals[1:3])
    assert optimizer.state_dict()["settled"]["watermark"] == 5
    optimizer.forget([5, 6])
    optimizer.forget(8)
    assert optimizer.state_dict()["settled"]["watermark"] == 9
    assert optimizer.state_dict()["settled"]["above"].size == 0
    assert tell(optimizer, proposals[:9]) == 0
    assert (optimizer.num_told, optimizer.num_ignored) == (4, 9)
    np.testing.assert_array_equal(optimizer.pending().ids, [9, 10, 11])


def test_ids_forgotten_before_they_were_given_are_never_given():
    optimizer = new_optimizer()
    optimizer.forget([3])
    np.testing.assert_array_equal(optimizer.ask(2).ids, [4, 5])


def test_memory_of_told_ids_does_not_grow():
    optimizer = new_optimizer()
    sizes = []
    waiting = optimizer.ask(30)
    rng = np.random.default_rng(28)
    for _ in range(200):
        row = int(rng.integers(len(waiting)))
        tell(optimizer, waiting[row])
        waiting = Proposals.concatenate([waiting[:row], waiting[row + 1 :], optimizer.ask(1)])
        sizes.append(sum(np.size(array) for array in optimizer.state_dict()["settled"].values()))
        if len(sizes) % 20 == 0:  # the stragglers come in
            tell(optimizer, waiting)
            waiting = optimizer.ask(30)
    assert optimizer.num_told > 450
    assert max(sizes) <= 51, "the ids above a straggler: at most 50 asked between two clearings"
    tell(optimizer, waiting)
    assert optimizer.state_dict()["settled"]["above"].size == 0


@pytest.mark.parametrize("memory", [0, 1, 4])
def test_replaying_the_record_gives_the_distributions_again(memory):
    optimizer = new_optimizer(memory=memory)
    record = late_run(optimizer, 120)
    assert optimizer.num_updates > 50
    assert (record.drawn_at < np.arange(len(record)) // 6).any(), "some results must be late"
    rows = [
        (int(i), a.tolist(), float(q), int(s), int(d))
        for i, a, q, s, d in zip(
            record.ids, record.architectures, record.log_q, record.sources, record.drawn_at, strict=True
        )
    ]
    replayed = new_optimizer(seed=1234, memory=memory)
    losses, complexities = evaluate(record)
    for start in range(0, len(rows), 7):
        columns = map(np.array, zip(*rows[start : start + 7], strict=True))
        ids, architectures, log_q, sources, drawn_at = columns
        proposals = Proposals(architectures=architectures, log_q=log_q, sources=sources, ids=ids, drawn_at=drawn_at)
        replayed.tell(proposals, losses[start : start + 7], complexities[start : start + 7])
    found, expected = replayed.state_dict(), optimizer.state_dict()
    for part in ("distributions", "memory", "batch", "last_update", "settled"):
        assert_equal_states(found[part], expected[part])


def test_reuse_changes_the_updates():
    plain, reusing = new_optimizer(), new_optimizer(memory=2)
    late_run(plain, 20)
    late_run(reusing, 20)
    assert not np.array_equal(plain.probs, reusing.probs)
    assert (reusing.diagnostics()["effective_sample_size"] > plain.diagnostics()["effective_sample_size"]).any()


def test_memory_holds_the_last_updates_samples():
    optimizer = new_optimizer(memory=2)
    proposals = optimizer.ask(24)
    for num_told, expected in ((5, []), (6, range(6)), (12, range(12)), (20, range(6, 18)), (24, range(12, 24))):
        tell(optimizer, proposals[optimizer.num_told : num_told])
        np.testing.assert_array_equal(optimizer.state_dict()["memory"]["ids"], expected)


def test_results_later_than_the_kept_history_still_enter():
    optimizer = new_optimizer(memory=1)
    late = optimizer.ask(6)
    for _ in range(30):
        tell(optimizer, optimizer.ask(6))
    before = optimizer.probs
    assert tell(optimizer, late) == 1
    assert not np.array_equal(optimizer.probs, before)


def test_restart_drops_what_is_out_and_goes_on_under_new_ids():
    optimizer = new_optimizer()
    proposals = optimizer.ask(9)
    tell(optimizer, proposals[:2])
    optimizer.restart(first_id=50, seed=(25, 1))
    assert len(optimizer.pending()) == 0
    fresh = optimizer.ask(6)
    np.testing.assert_array_equal(fresh.ids, np.arange(50, 56))
    np.testing.assert_array_equal(np.bincount(fresh.sources), [2, 2, 2], "a whole new stratum: the queue is gone")
    assert tell(optimizer, proposals) == 0
    assert (optimizer.num_told, optimizer.num_ignored) == (2, 9)
    assert tell(optimizer, fresh) == 1, "the results told before the crash still count"
    optimizer.restart(first_id=0, seed=(25, 2))
    assert optimizer.ask(1).ids[0] == 56, "ids never go back"


def test_restart_keeps_the_proposals_it_is_told_to():
    optimizer = new_optimizer()
    proposals = optimizer.ask(9)
    tell(optimizer, proposals[[0, 5]])
    optimizer.restart(first_id=20, seed=1, keep=proposals[[2, 7]])
    np.testing.assert_array_equal(optimizer.pending().ids, [2, 7])
    assert optimizer.ask(1).ids[0] == 20
    tell(optimizer, proposals)
    assert (optimizer.num_told, optimizer.num_ignored) == (4, 7), "of the old ones only the kept still count"
    restored = new_optimizer()
    restored.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(restored.pending().ids, [20])


def test_restart_keeps_nothing_that_is_settled():
    optimizer = new_optimizer()
    proposals = optimizer.ask(9)
    tell(optimizer, proposals[:2])
    optimizer.forget([3])
    optimizer.restart(first_id=20, seed=1, keep=proposals[[0, 2, 3]])
    np.testing.assert_array_equal(optimizer.pending().ids, [2])
    tell(optimizer, proposals[[2, 3]])
    assert (optimizer.num_told, optimizer.num_ignored) == (3, 1)


def test_restart_keeps_proposals_that_it_has_not_handed_out_itself():
    """A resumed search knows them from its record; its optimiser is one that has not drawn them."""
    proposals = new_optimizer().ask(30)
    optimizer = new_optimizer()
    optimizer.restart(first_id=7, seed=1, keep=proposals[[2, 29]])
    np.testing.assert_array_equal(optimizer.pending().ids, [2, 29])
    assert optimizer.ask(1).ids[0] == 30
    assert tell(optimizer, proposals) == 0
    assert (optimizer.num_told, optimizer.num_ignored) == (2, 28)


def test_coefficients_set_before_the_first_result_are_as_if_given_at_the_start():
    late, early = new_optimizer(), new_optimizer(coefficients=[0.5, 1.0, 7.0])
    proposals = [optimizer.ask(12) for optimizer in (late, early)]
    late.set_coefficients([0.5, 1.0, 7.0])
    np.testing.assert_array_equal(late.diagnostics()["coefficient"], [0.5, 1.0, 7.0])
    for optimizer, asked in zip((late, early), proposals, strict=True):
        assert tell(optimizer, asked) == 2
    np.testing.assert_array_equal(late.probs, early.probs)
    early.load_state_dict(late.state_dict())


def test_coefficients_are_fixed_by_the_first_result():
    optimizer = new_optimizer()
    with pytest.raises(ConfigError, match="K = 3 numbers, got 2"):
        optimizer.set_coefficients([0.0, 1.0])
    with pytest.raises(ConfigError, match="increasing"):
        optimizer.set_coefficients([0.0, 2.0, 1.0])
    tell(optimizer, optimizer.ask(1))
    with pytest.raises(ConfigError, match="before any result is told, got them after 1"):
        optimizer.set_coefficients([0.0, 1.0, 2.0])


def test_restart_seeds_the_draws():
    draws = []
    for seed in ((25, 1), (25, 1), (25, 2)):
        optimizer = new_optimizer()
        optimizer.ask(2)
        optimizer.restart(first_id=0, seed=seed)
        draws.append(optimizer.ask(30).architectures)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("seed", [0, 7, (3, 1), [2], np.int64(4)])
def test_the_seed_decides_the_draws(seed):
    first, second = new_optimizer(seed=seed).ask(30), new_optimizer(seed=seed).ask(30)
    np.testing.assert_array_equal(first.architectures, second.architectures)


def test_no_seed_draws_differently():
    first, second = new_optimizer(seed=None).ask(60), new_optimizer(seed=None).ask(60)
    assert not np.array_equal(first.architectures, second.architectures)


def test_callers_arrays_are_neither_changed_nor_kept():
    optimizer = new_optimizer()
    drawn = optimizer.ask(6)
    arrays = {name: getattr(drawn, name).copy() for name in ("architectures", "log_q", "sources", "ids", "drawn_at")}
    losses, complexities = evaluate(drawn)
    originals = {name: array.copy() for name, array in arrays.items()}
    proposals = Proposals(**arrays)
    optimizer.tell(proposals[:3], losses[:3], complexities[:3])
    state = optimizer.state_dict()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, originals[name])
        assert array.flags.writeable
        array[:] = 0
    losses[:] = complexities[:] = 7.0
    assert_equal_states(optimizer.state_dict(), state)
    with pytest.raises(ValueError, match="read-only"):
        proposals.architectures[0, 0] = 1


def test_returned_arrays_are_the_callers_own():
    optimizer = new_optimizer()
    before = optimizer.state_dict()
    optimizer.probs[:] = 0.0
    optimizer.modes()[:] = 0
    for array in optimizer.diagnostics().values():
        array[:] = 0
    optimizer.state_dict()["distributions"]["probs"][:] = 0.0
    assert_equal_states(optimizer.state_dict(), before)


def test_proposals_can_be_indexed_like_rows():
    proposals = new_optimizer().ask(6)
    for rows, ids in (
        (2, [2]),
        (-1, [5]),
        (slice(1, 4), [1, 2, 3]),
        ([4, 0], [4, 0]),
        ([], []),
        (np.arange(6) % 2 == 0, [0, 2, 4]),
        (np.int64(3), [3]),
    ):
        picked = proposals[rows]
        np.testing.assert_array_equal(picked.ids, ids)
        np.testing.assert_array_equal(picked.architectures, proposals.architectures[ids].reshape(-1, 4))
    assert [int(row.ids[0]) for row in proposals] == list(range(6))
    with pytest.raises(IndexError):
        proposals[6]
