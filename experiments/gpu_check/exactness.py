"""Whether float32 is float32 where it is promised, and whether the same gives the same where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from experiments.gpu_check.bench import SMALL_GROUP, Bench, Precision, placed, round_of
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import tensor_float
from multinas_ray.data import DataConfig, standard_augmentation
from multinas_ray.retraining import NetworkTraining, RetrainConfig
from multinas_ray.supernets import (
    Separate,
    accumulate_gradients,
    build_subnet,
    compute_deterministically,
    evaluate,
    sample_scores,
    summed_score,
)
from multinas_ray.tasks import Scorer, Task

LARGEST_DIFFERENCE = 1e-5
"""Between two computations in float32, relative to the largest value; TensorFloat-32 has some 1e-3. [ours]"""
STEPS = 2


def float32(bench: Bench) -> Finding:
    """Losses, gradients and scores in float32, where the process asks for TensorFloat-32 and where it does not."""
    found, network = Finding(), _network(bench)
    images, labels = bench.batch(bench.small_space(), 4 * SMALL_GROUP)
    with torch.no_grad():
        found.figures["what TensorFloat-32 changes in plain torch"] = _difference(lambda: network(images))
    scorer, batches = Scorer(Task()), [(images, labels)]
    for name, values in {
        "gradients": lambda: _gradients(bench),
        "losses": lambda: _losses(bench),
        "scores": lambda: summed_score(network, batches, scorer)[:1].float(),
        "scores of samples": lambda: torch.from_numpy(sample_scores(Separate([network]), batches, scorer)[0]),
        "retraining": lambda: _retrained(bench),
    }.items():
        found.figures[name] = difference = _difference(values)
        found.check(difference <= LARGEST_DIFFERENCE, f"{name} depend on whether the process asks for TensorFloat-32")
    return found


def _network(bench: Bench) -> torch.nn.Module:
    space = bench.small_space()
    return placed(build_subnet(space, bench.architectures(space, 1)[0]), bench.device).eval()


def _difference(values: Callable[[], Tensor]) -> float:
    """The largest difference that TensorFloat-32 makes, relative to the largest value."""
    with tensor_float(False):
        exact = values().double()
    with tensor_float(True):
        asked = values().double()
    return float((asked - exact).abs().max() / exact.abs().max())


def _losses(bench: Bench) -> Tensor:
    space = bench.small_space()
    batch, rows_ND = bench.batch(space, 4 * SMALL_GROUP), bench.architectures(space, 2)
    return evaluate(bench.supernet(space, SMALL_GROUP), *batch, rows_ND)[0]


def _gradients(bench: Bench) -> Tensor:
    space = bench.small_space()
    net, rows_ND = bench.supernet(space, SMALL_GROUP), bench.architectures(space, 2)
    accumulate_gradients(net, *bench.batch(space, 4 * SMALL_GROUP), rows_ND)
    return torch.cat([each.grad.reshape(-1) for each in net.touched_parameters(rows_ND) if each.grad is not None])


def _retrained(bench: Bench, precision: Precision = "float32") -> Tensor:
    """The weights of a network after an epoch of some steps."""
    space = bench.small_space()
    config = RetrainConfig(epochs=1, batch_size=8 if bench.tiny else 32, precision=precision, augmentation="cutout")
    network = placed(build_subnet(space, bench.architectures(space, 1)[0], seed=0), bench.device)
    loss = config.training_loss.start(space, Task(), "", bench.device)
    splits = bench.splits(space, STEPS * config.step_images // 2)  # trained on: two sets of so many
    size = space.input_shape[1]
    crops = standard_augmentation(DataConfig(source="folder", path="unused", image_size=size), size)
    training = NetworkTraining(network, config, loss, splits, crops, bench.device)
    training.run_epoch()
    return torch.cat([each.detach().reshape(-1) for each in training.trained.parameters()])


def deterministic(bench: Bench) -> Finding:
    """Rounds of a search, and an epoch of a training, twice each: without the setting, and equal with it."""
    found = Finding()
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    ways: dict[str, Callable[[], Tensor]] = {
        f"{name} in {precision}": partial(work, bench, precision)
        for name, work in (("rounds", _rounds), ("training", _retrained))
        for precision in precisions
    }
    for name, values in ways.items():
        found.figures[f"{name}, without the setting"] = float((values() - values()).abs().max())
    with _deterministic():
        for name, values in ways.items():
            first, second = values(), values()
            found.figures[name] = float((first - second).abs().max())
            found.check(torch.equal(first, second), f"{name} differ from the same again")
    return found


def _rounds(bench: Bench, precision: Precision) -> Tensor:
    """Results of rounds, and the weights after them."""
    space = bench.small_space()
    worker, rows_ND = bench.worker(space, 4 * SMALL_GROUP, precision=precision), bench.architectures(space, 4)
    results = [worker.run(round_of(number, rows_ND, rows_ND)) for number in range(STEPS)]
    return torch.cat([*results, *(each.detach().reshape(-1) for each in worker.supernet.parameters())])


@contextmanager
def _deterministic() -> Iterator[None]:
    """Within it, this process computes deterministically."""
    before = torch.are_deterministic_algorithms_enabled()
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    compute_deterministically()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
