"""The worked examples of models of one's own, in small: they fit their data and task, learn, and come out alone."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from experiments.own_mobilenet import mobilenet, mobilenet_space
from experiments.own_sizes import EXAMPLES, networks_of
from multinas_ray.choices import open_model
from multinas_ray.commands.experiment import ExperimentOptions
from multinas_ray.data import call
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot import Round, RoundWorker, WorkerJob
from multinas_ray.oneshot.preflight import check_data
from multinas_ray.supernets import build_subnet, make_supernet

STEPS = 8


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_learns_its_task(name) -> None:
    config = EXAMPLES[name](ExperimentOptions())
    splits = check_data(config)
    job = WorkerJob(
        space=config.space,
        data=config.data,
        task=config.task,
        training=config.training,
        num_weight_steps=STEPS,
        warmup_rounds=STEPS,
        seed=0,
        broker="",
        namespace="",
        run_path="",
    )
    worker, rows = RoundWorker(job, splits, torch.device("cpu")), np.array(networks_of(config))
    costs = config.cost(rows)
    assert costs[0] < costs[1] < costs[2]
    told = Round(number=STEPS, train_architectures=None, architectures=rows)
    before = worker.run(told)[1:4].mean().item()
    for number in range(STEPS):
        worker.run(Round(number=number, train_architectures=rows, architectures=None))
    after = worker.run(told)[1:4].mean().item()
    assert after < before
    network = worker.supernet.extract(rows[0])
    inputs = worker.validation_batches.batch(0)[0][: config.training.norm_batch_size]
    torch.testing.assert_close(call(network, inputs), worker.supernet(inputs, rows[:1])[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_model_of_timm_is_opened_and_keeps_its_checkpoint(tmp_path) -> None:
    fresh = mobilenet(3, 10)
    weights = {key.replace(".options.0", ""): value for key, value in fresh.state_dict().items()}
    torch.save(weights, tmp_path / "weights.pt")
    again = mobilenet(3, 4, str(tmp_path / "weights.pt"))
    for name, value in again.state_dict().items():
        if "classifier" not in name:
            torch.testing.assert_close(value, fresh.state_dict()[name], rtol=0, atol=0)
    space = mobilenet_space((3, 32, 32), 4)
    assert space.search_space.num_architectures == 2**7
    largest, smallest = [0] * 7, [1] * 7
    supernet = make_supernet(space, norm_batch_size=2, seed=0)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(supernet.extract(largest)(images), supernet(images, [largest])[0], rtol=1e-3, atol=1e-4)
    assert len(list(build_subnet(space, smallest).parameters())) < len(list(build_subnet(space, largest).parameters()))
    assert math.isclose(space.costs["params"]([largest])[0], sum(p.numel() for p in mobilenet(3, 4).parameters()))


def test_a_model_that_gets_no_choice_is_told() -> None:
    with pytest.raises(ConfigError, match="options must be given for some module of the model, such as 0, 1"):
        open_model(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), lambda path, module: None)
