"""Knowledge distillation: its loss, and where the teacher comes from."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.retraining import BatchLoss, RetrainConfig
from multinas_ray.storage import make_table, write_parquet
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import Task
from tests.support.chosen_run import LARGE, SMALL, write_chosen_run
from tests.support.tiny_search import tiny_space

CPU = torch.device("cpu")


@pytest.fixture
def run_path(tmp_path: Path) -> str:
    """A family of two networks, of which the larger one is retrained."""
    path = write_chosen_run(tmp_path, [SMALL, LARGE])
    file = Path(path) / "architectures.parquet"
    table = pq.read_table(file)
    columns = table.to_pydict() | {"retrained_path": [None, "networks/1/retrained.pt"]}
    write_parquet(file, make_table(table.schema, columns))
    torch.save(build_subnet(tiny_space(), LARGE, seed=3).state_dict(), Path(path) / "networks/1/retrained.pt")
    return path


def config_of(**options: Any) -> RetrainConfig:
    return RetrainConfig(loss="distillation", loss_options=options, label_smoothing=0.0)


def loss_of(path: str, **options: Any) -> BatchLoss:
    return config_of(**options).training_loss.start(tiny_space(), Task(), path, CPU)


@pytest.mark.parametrize(("weights", "seed"), [("retrained", 3), ("supernet", 7)])
def test_the_loss_is_that_of_the_paper(run_path: str, weights: str, seed: int) -> None:
    images = torch.rand(6, *tiny_space().input_shape)
    logits, labels = torch.randn(6, 10, requires_grad=True), torch.arange(6)
    loss = loss_of(run_path, teacher=1, teacher_weights=weights, temperature=2.0, weight=0.25)(images, logits, labels)
    soft = functional.softmax(build_subnet(tiny_space(), LARGE, seed=seed).eval()(images) / 2, 1)
    divergence = (soft * (soft.log() - functional.log_softmax(logits / 2, 1))).sum(1).mean()
    torch.testing.assert_close(loss, 0.75 * functional.cross_entropy(logits, labels) + 0.25 * 4 * divergence)
    loss.backward()
    assert logits.grad is not None


def test_a_network_that_answers_as_the_teacher_has_the_least_loss(run_path: str) -> None:
    images, labels = torch.rand(6, *tiny_space().input_shape), torch.arange(6)
    answers = build_subnet(tiny_space(), LARGE, seed=3).eval()(images).detach()
    loss = loss_of(run_path, teacher=1, weight=1.0)
    assert float(loss(images, answers, labels)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(images, torch.randn(6, 10), labels)) > 0.1


def test_a_teacher_that_is_not_there_is_told(run_path: str) -> None:
    with pytest.raises(ConfigError, match="teacher is missing"):
        config_of()
    with pytest.raises(StateError, match=r"which has \[0, 1\], got 5: set teacher to one of them"):
        loss_of(run_path, teacher=5)
    with pytest.raises(StateError, match=r"network 0 of .* has no retrained weights: train it first by .*--networks 0"):
        loss_of(run_path, teacher=0)
    (Path(run_path) / "networks/0/weights.pt").write_bytes(b"no weights")
    with pytest.raises(StateError, match=r"weights\.pt does not hold the weights of this network .*select"):
        loss_of(run_path, teacher=0, teacher_weights="supernet")
