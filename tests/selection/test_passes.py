"""Batches cut into passes, and passes that become smaller where the memory of a device is not enough."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from multinas_ray.errors import RunError
from multinas_ray.selection.evaluation import CandidateEvaluator, CandidateJob
from multinas_ray.selection.passes import Passes
from multinas_ray.supernets import evaluate, write_supernet
from tests.support.worker_jobs import candidate_job


@pytest.mark.parametrize(
    ("samples", "group", "most"), [(96, 32, 32), (96, 32, 70), (100, 1, 30), (7, 1, 512), (64, 32, 1)]
)
def test_parts_are_whole_groups_of_nearly_equal_size_and_together_the_batch(
    samples: int, group: int, most: int
) -> None:
    batch = {"x": torch.arange(samples), "y": (torch.arange(samples) * 2,)}
    passes = Passes(group, most)
    parts = list(passes.of([batch, batch], group))
    sizes = [len(part["x"]) for part in parts]
    assert max(sizes) <= max(most, group)
    assert all(size % group == 0 for size in sizes)
    assert max(sizes) - min(sizes) <= group
    assert len(parts) == 2 * -(-samples // (passes.most // group * group))
    assert torch.cat([part["x"] for part in parts]).tolist() == [*range(samples), *range(samples)]
    assert all(torch.equal(part["y"][0], 2 * part["x"]) for part in parts)


def test_work_is_repeated_with_half_the_size_until_it_fits() -> None:
    passes, sizes = Passes(32, 500), []

    def work() -> str:
        sizes.append(passes.most)
        if passes.most > 100:
            raise torch.OutOfMemoryError
        return "done"

    assert passes.run(work) == "done"
    assert sizes == [500, 250, 125, 62]
    assert passes.run(work) == "done"
    assert sizes[4:] == [62]  # it is not tried again


def test_a_group_that_does_not_fit_is_told() -> None:
    def work() -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(RunError, match="a network and 32 samples must fit into the memory of a GPU"):
        Passes(32, 100).run(work)


@pytest.fixture
def job(make_worker: Any, tmp_path: Any) -> CandidateJob:
    worker = make_worker()
    write_supernet(worker.supernet, str(tmp_path))
    return candidate_job(worker, tmp_path)


def scores(job: CandidateJob) -> list[Any]:
    evaluator = CandidateEvaluator(job)
    networks = [(0,) * job.space.search_space.num_variables, (1,) * job.space.search_space.num_variables]
    return [evaluator.evaluate(rung, networks) for rung in evaluator.rungs(100)]


def test_scores_do_not_depend_on_the_size_of_passes(job: CandidateJob, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores(job)
    seen = []

    def counted(supernet: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        seen.append(len(inputs))
        return evaluate(supernet, inputs, *rest, **named)

    monkeypatch.setattr("multinas_ray.selection.evaluation.evaluate", counted)
    size = job.training.norm_batch_size
    small = scores(replace(job, images_per_pass=size))
    assert set(seen) == {size}
    assert len(seen) > 1
    for large_rung, small_rung in zip(whole, small, strict=True):
        for large, little in zip(large_rung, small_rung, strict=True):
            assert little.images == large.images
            assert little.loss == pytest.approx(large.loss, rel=0.02)  # statistics come from smaller batches
    np.testing.assert_allclose([each.loss for each in small[0]], [each.loss for each in whole[0]], rtol=1e-5)


def test_candidates_are_evaluated_in_the_precision_of_the_search(
    job: CandidateJob,
) -> None:
    exact = scores(job)
    rounded = scores(replace(job, training=replace(job.training, precision="bfloat16")))
    for exact_rung, rounded_rung in zip(exact, rounded, strict=True):
        for one, other in zip(exact_rung, rounded_rung, strict=True):
            assert one.loss != other.loss
            assert one.loss == pytest.approx(other.loss, rel=0.05)
