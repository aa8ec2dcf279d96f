"""The evaluation of candidates: in bfloat16, and with passes that become smaller where the memory is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from experiments.gpu_check.bench import SMALL_GROUP, Bench
from experiments.gpu_check.findings import Finding
from multinas_ray.data import DataConfig
from multinas_ray.selection import CandidateEvaluator, CandidateJob, Rung, Score
from multinas_ray.spaces import NetworkSpace
from multinas_ray.supernets import WeightTraining, write_supernet

LARGEST_PASS = 4 * SMALL_GROUP
"""Images of a pass at the start. Twice halved they are a group, which must fit."""
HALVINGS = 2
LARGEST_LOSS_DIFFERENCE = 0.05
"""Between bfloat16 and float32, and between passes of two sizes, as a share of the loss. [ours]"""


def choice(bench: Bench) -> Finding:
    """Scores of two networks in every rung, when a pass of more than one group finds no memory."""
    job, space = _job(bench), bench.small_space(2)
    exact = _scores(bench, replace(job, training=replace(job.training, precision="float32")))
    small = _scores(bench, replace(job, images_per_pass=SMALL_GROUP))
    with _memory_for(SMALL_GROUP, space) as refused:
        halved = _scores(bench, job)
    found = Finding({"rungs": len(halved), "refused passes": len(refused), "losses": [each.loss for each in halved]})
    for name, others in (("float32", exact), ("small passes", small)):
        shares = [abs(one.loss - other.loss) / other.loss for one, other in zip(halved, others, strict=True)]
        found.figures[f"largest difference from {name}"] = max(shares)
        found.check(max(shares) <= LARGEST_LOSS_DIFFERENCE, f"losses differ from those of {name}")
    found.check(len(refused) == HALVINGS, f"passes were refused {len(refused)} times, not {HALVINGS}")
    found.check([each.images for each in halved] == [each.images for each in exact], "images were left out or repeated")
    return found


def _job(bench: Bench) -> CandidateJob:
    """A supernet in a folder and the photos, for an evaluator in this process."""
    space, folder = bench.small_space(2), bench.folder / "run"
    folder.mkdir(exist_ok=True)
    write_supernet(bench.supernet(space, SMALL_GROUP, torch.device("cpu")), str(folder))
    size = 2 * LARGEST_PASS
    training = WeightTraining(
        batch_size=size, validation_batch_size=size, norm_batch_size=SMALL_GROUP, precision="bfloat16"
    )
    data = DataConfig(source="folder", path=str(bench.photos), image_size=space.input_shape[1], validation_fraction=0.5)
    return CandidateJob(
        run_path=str(folder),
        space=space,
        data=data,
        training=training,
        seed=0,
        num_threads=torch.get_num_threads(),
        num_workers=1,
        use_gpu=bench.has_gpu,
        images_per_pass=LARGEST_PASS,
    )


def _scores(bench: Bench, job: CandidateJob) -> list[Score]:
    """Scores of two networks in the first and in the last rung."""
    evaluator = CandidateEvaluator(job)
    networks = [tuple(row) for row in bench.architectures(bench.small_space(2), 2).tolist()]
    rungs: list[Rung] = evaluator.rungs(100)
    return [score for rung in (rungs[0], rungs[-1]) for score in evaluator.evaluate(rung, networks)]


@contextmanager
def _memory_for(images: int, space: NetworkSpace) -> Iterator[list[int]]:
    """Within it, a pass of more images ends with torch's error of a GPU without memory; lists the refused sizes."""
    refused: list[int] = []

    def look(module: torch.nn.Module, inputs: Any) -> None:
        batch = inputs[0] if inputs else None
        if isinstance(batch, torch.Tensor) and batch.shape[1:] == space.input_shape and len(batch) > images:
            refused.append(len(batch))
            raise torch.OutOfMemoryError("forced by the check")

    hook = register_module_forward_pre_hook(look)
    try:
        yield refused
    finally:
        hook.remove()
