"""The worked examples of models of one's own, in small: they fit their data and task, learn, and come out alone."""

import math

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn

from experiments import own_sandwich, own_sizes
from experiments.own_resnet import FOR_SMALL, resnet, resnet_space
from experiments.own_sizes import EXAMPLES, networks_of, told_difference, told_mean
from experiments.parts.rows import KeptRows
from multinas_ray.choices import open_model
from multinas_ray.commands.experiment import ExperimentOptions
from multinas_ray.data import call, load_splits
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot import Round, RoundWorker, WorkerJob
from multinas_ray.oneshot.preflight import check_data
from multinas_ray.supernets import build_subnet, make_supernet
from multinas_ray.tasks import MeanScore

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
    fresh = resnet(3, 10, is_small=True)
    of_timm = {key: value for key, value in fresh.state_dict().items() if ".options.1" not in key}
    weights = {key.replace(".options.0", ""): value for key, value in of_timm.items()}
    torch.save(weights, tmp_path / "weights.pt")
    again = resnet(3, 4, str(tmp_path / "weights.pt"), is_small=True)
    for name, value in of_timm.items():
        if not name.startswith("fc."):
            torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    space = resnet_space((3, 32, 32), 4)
    assert space.search_space.num_architectures == 2**3 * 3**5
    largest, smallest = [0] * 8, [count - 1 for count in space.search_space.num_categories]
    supernet = make_supernet(space, norm_batch_size=2, seed=0)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(supernet.extract(largest)(images), supernet(images, [largest])[0], rtol=1e-3, atol=1e-4)
    assert len(list(build_subnet(space, smallest).parameters())) < len(list(build_subnet(space, largest).parameters()))
    plain = timm.create_model("resnet18", num_classes=4, **FOR_SMALL)
    for option in range(2):  # as both begin, neither is ahead
        weights = build_subnet(space, [option] * 8).state_dict()
        scales = [value for name, value in weights.items() if name.endswith("bn2.weight")]
        assert scales
        assert all(bool((scale == 1).all()) for scale in scales)
    assert math.isclose(space.costs["params"]([largest])[0], sum(p.numel() for p in plain.parameters()))


def test_what_is_kept_is_not_computed_again(tmp_path) -> None:
    def work() -> list[dict[str, float]]:
        computed.append(1)
        return [{"metric": 0.5}, {"metric": 0.25}]

    computed: list[int] = []
    file = tmp_path / "new" / "rows.parquet"
    for _ in range(2):
        kept = KeptRows(file)
        assert [row["metric"] for row in kept.of({"rule": "drawn", "seed": 1}, work)] == [0.5, 0.25]
        assert len(computed) == 1
    assert KeptRows(file).of({"rule": "drawn", "seed": 2}, lambda: [{"metric": 1.0}])[0]["seed"] == 2
    assert len(KeptRows(file).of({"rule": "drawn", "seed": 1}, work)) == 2


def test_the_training_of_another_network_is_not_taken_for_that_of_the_present_one(tmp_path, monkeypatch) -> None:
    """The middle network may be another one after a change of the costs."""
    config = EXAMPLES["series"](ExperimentOptions())
    splits = load_splits(config.data)
    monkeypatch.setattr(own_sizes, "trained", lambda *given: (MeanScore(1.0, {}), 0.5))
    for architecture in ((3, 3, 3, 3), (2, 2, 2, 2), (3, 3, 3, 3)):
        monkeypatch.setattr(own_sizes, "networks_of", lambda config, chosen=architecture: [chosen])
        kept = KeptRows(tmp_path / "rows.parquet")
        (row,) = own_sizes.trained_alone(config, splits, 1, 0.1, 0, kept)
        assert row["cost"] == config.cost([architecture])[0]
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == 2


def test_a_mean_is_told_with_half_its_interval() -> None:
    assert told_mean([1.0, 2.0, 3.0]) == "2.0000 ± 2.4841", "4.3027 standard errors of 3 seeds"
    assert told_mean([2.0]) == "2.0000 ± nan"
    difference = "3.0000 ± 2.2670", "2.7764 standard errors, with 4 degrees of freedom"
    assert told_difference([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]) == difference[0], difference[1]
    assert told_difference([4.0], [3.0]) == "1.0000"


@pytest.mark.slow
def test_the_gap_of_inherited_weights_is_measured_and_kept(tmp_path, capsys, monkeypatch) -> None:
    flags = ["--seeds", "1", "--steps", "2", "--epochs", "1", "--out", str(tmp_path)]
    assert own_sandwich.main(flags) == 0
    monkeypatch.setattr(own_sandwich, "inherited", None)
    monkeypatch.setattr(own_sizes, "trained", None)
    told = capsys.readouterr().out
    assert own_sandwich.main(flags) == 0
    assert capsys.readouterr().out == told
    assert "sandwich" in told


def test_a_model_that_gets_no_choice_is_told() -> None:
    with pytest.raises(ConfigError, match="options must be given for some module of the model, such as 0, 1"):
        open_model(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), lambda path, module: None)
