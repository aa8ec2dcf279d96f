"""The sandwich rule: the largest network learns from the targets, the others from it."""

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch
from torch.nn import functional

from multinas_ray.choices import model_space
from multinas_ray.data import DataConfig, load_splits
from multinas_ray.oneshot import Round, RoundWorker, WorkerJob
from multinas_ray.supernets import WeightTraining, accumulate_sandwich_gradients, make_supernet
from tests.choices.small_net import SmallNet

Rule = Literal["drawn", "sandwich"]
RULES: tuple[Rule, ...] = ("drawn", "sandwich")
LARGEST, SMALLEST = [2, 2, 0], [0, 0, 0]
CPU = torch.device("cpu")


def space():
    return model_space(SmallNet, (1, 8, 8))


def test_gradients_are_those_of_the_targets_and_of_the_largest_networks_answers() -> None:
    supernet = make_supernet(space(), norm_batch_size=8, seed=0).double()
    images, labels = torch.randn(8, 1, 8, 8, dtype=torch.float64), torch.arange(8)
    loss = accumulate_sandwich_gradients(supernet, images, labels, [LARGEST, SMALLEST])
    found = {name: each.grad.clone() for name, each in supernet.named_parameters() if each.grad is not None}
    supernet.zero_grad()
    large, small = supernet(images, [LARGEST])[0], supernet(images, [SMALLEST])[0]
    own = functional.cross_entropy(large, labels)
    wanted = large.detach().softmax(1)
    distance = -(wanted * functional.log_softmax(small, 1)).sum(1).mean()
    (own + distance).backward()
    torch.testing.assert_close(loss, own.detach())
    for name, each in supernet.named_parameters():
        if each.grad is not None:
            torch.testing.assert_close(found[name], each.grad)


def trained(rule: Rule) -> RoundWorker:
    data = DataConfig(source="digits")
    training = WeightTraining(batch_size=64, validation_batch_size=64, norm_batch_size=32)
    job = WorkerJob(
        space=space(),
        data=data,
        training=dataclasses.replace(training, rule=rule),
        num_weight_steps=60,
        warmup_rounds=60,
        seed=0,
        broker="",
        namespace="",
        run_path="",
    )
    worker, rng = RoundWorker(job, load_splits(data), CPU), np.random.default_rng(0)
    for number in range(60):
        rows = job.space.search_space.random(1, rng)
        worker.run(Round(number=number, train_architectures=rows, architectures=None))
    return worker


@pytest.mark.slow
def test_ends_are_trained_in_every_step_and_the_largest_is_better_with_its_own_weights() -> None:
    workers = {rule: trained(rule) for rule in RULES}
    told = Round(number=60, train_architectures=None, architectures=np.array([LARGEST, SMALLEST]))
    losses = {rule: worker.run(told)[1:3] for rule, worker in workers.items()}
    assert losses["sandwich"][0] < losses["drawn"][0]
    assert workers["sandwich"]._ends_ND[:, :2].tolist() == [[2, 2], [0, 0]]
