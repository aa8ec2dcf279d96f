"""Work that rank 0 takes reaches the other ranks, over a real connection."""

import threading

import numpy as np
import pytest

from multinas_ray.oneshot.handover import Handover, join_store, open_store
from multinas_ray.oneshot.messages import Ending, Round
from tests.oneshot.fakes import made_up_store

ROUNDS = [
    Round(number=3, train_architectures=np.array([[0, 1], [2, 0]]), architectures=None, checkpoint=True),
    Round(number=4, train_architectures=None, architectures=np.array([[1, 1]])),
]
ENDING = Ending(checkpoint=False, supernet=True)


def same(one: Round, other: Round) -> bool:
    """Whether two rounds have equal fields."""
    return (one.number, one.checkpoint) == (other.number, other.checkpoint) and all(
        (ours is None and theirs is None) or (ours.dtype == theirs.dtype and np.array_equal(ours, theirs))
        for ours, theirs in (
            (getattr(one, name), getattr(other, name)) for name in ("train_architectures", "architectures")
        )
    )


@pytest.fixture
def ranks() -> list[Handover]:
    """Rank 0 and two others, each with a connection of its own."""
    store = open_store("127.0.0.1")
    return [Handover(store), *(Handover(join_store(store.host, store.port)) for _ in range(2))]


def test_work_arrives_as_it_was_given(ranks: list[Handover]) -> None:
    first, *others = ranks
    first.give(3, ROUNDS)
    first.give(5, ENDING)
    for other in others:
        work = other.receive(3)
        assert isinstance(work, list)
        assert all(same(ours, theirs) for ours, theirs in zip(work, ROUNDS, strict=True))
        assert other.receive(5) == ENDING


def test_what_all_ranks_have_read_is_dropped_and_the_rest_stays() -> None:
    store = made_up_store()
    first = Handover(store)
    for number in (3, 5, 9):
        first.give(number, ENDING)
    first.forget_before(8)  # the rounds from 5 to 8 were one batch
    assert [store.check([str(number)]) for number in (3, 5, 9)] == [False, False, True]
    first.forget_before(8)
    assert store.check(["9"])


def test_memory_does_not_grow_with_the_rounds() -> None:
    store = made_up_store()
    first = Handover(store)
    before = store.num_keys()
    for number in range(1000):
        first.give(number, ROUNDS)
        if number >= 4:
            first.forget_before(number - 4)
    assert store.num_keys() - before == 4


def test_ranks_wait_until_there_is_work(ranks: list[Handover]) -> None:
    first, *others = ranks
    found: list[object] = []
    waiting = [threading.Thread(target=lambda other=other: found.append(other.receive(0))) for other in others]
    for each in waiting:
        each.start()
    waiting[0].join(0.5)
    assert not found
    first.give(0, ENDING)
    for each in waiting:
        each.join(30.0)
    assert found == [ENDING, ENDING]


def test_a_single_worker_needs_no_store() -> None:
    alone = Handover()
    alone.give(0, ROUNDS)
    alone.forget_before(0)
