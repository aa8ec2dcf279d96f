"""Threads of a process that computes."""

import pytest

from multinas_ray.data import cpu_threads
from multinas_ray.data.machine import SMALL_PASS
from multinas_ray.supernets import WeightTraining


@pytest.mark.parametrize(
    ("multiply_adds", "sharing", "threads"),
    [(0.99 * SMALL_PASS, 1, 1), (SMALL_PASS, 1, 8), (SMALL_PASS, 3, 2), (SMALL_PASS, 9, 1)],
)
def test_small_passes_have_one_thread_and_others_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, multiply_adds: float, sharing: int, threads: int
) -> None:
    monkeypatch.setattr("multinas_ray.data.machine.usable_cores", lambda: 8)
    assert cpu_threads(multiply_adds, sharing) == threads


def test_a_pass_is_of_the_largest_shard_of_both_batches() -> None:
    training = WeightTraining(batch_size=64, validation_batch_size=320, norm_batch_size=32)
    assert training.largest_pass(1e3, num_workers=1) == 320e3
    assert training.largest_pass(1e3, num_workers=4) == 96e3  # 10 groups among 4 workers: 3 at most
