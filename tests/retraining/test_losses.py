"""Training losses of one's own."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from multinas_ray.data import Augmentation, DataConfig, load_splits
from multinas_ray.errors import ConfigError
from multinas_ray.retraining import BatchLoss, RetrainConfig, TrainingLoss, register_loss
from multinas_ray.retraining.losses import _losses as losses
from multinas_ray.retraining.network_training import NetworkTraining
from multinas_ray.settings import PositiveFloat, checked
from multinas_ray.spaces import Space
from multinas_ray.storage import decode_plain, encode_plain
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import Task
from tests.support.tiny_search import tiny_space

CPU = torch.device("cpu")


@checked
@dataclass(frozen=True, kw_only=True)
class Squares(TrainingLoss):
    """Brier's score: the squared distance of the probabilities from the label."""

    kind: ClassVar[str] = "squares"

    factor: PositiveFloat = 1.0
    shares: tuple[float, ...] = ()

    def start(self, space: Space, task: Task, family_path: str, device: torch.device) -> BatchLoss:
        every = torch.eye(space.num_classes or 0, device=device)

        def loss(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            assert images.shape[0] == logits.shape[0] == labels.shape[0]
            return self.factor * (functional.softmax(logits, 1) - every[labels]).square().sum(1).mean()

        return loss


@pytest.fixture(autouse=True)
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_classes", dict(losses._classes))
    assert register_loss(Squares) is Squares


def test_a_loss_of_ones_own_is_minimised() -> None:
    config = RetrainConfig(epochs=3, batch_size=64, loss="squares", loss_options={"factor": 2}, ema_decay=0.0)
    splits = load_splits(DataConfig(source="digits"))
    network, loss = build_subnet(tiny_space(), (1, 0, 1)), config.training_loss.start(tiny_space(), Task(), "", CPU)
    training = NetworkTraining(network, config, loss, splits, Augmentation(crop_padding=0, horizontal_flip=False), CPU)
    rows = [training.run_epoch() for _ in range(3)]
    told = [float(row["train_loss"] or 0) for row in rows if row is not None]
    assert 2 * 0.9 > told[0] > told[-1] > 0  # equal probabilities have 0.9


def test_a_recipe_names_its_loss_and_checks_its_settings() -> None:
    config = RetrainConfig(loss="squares", loss_options={"factor": 2})
    assert config.training_loss == Squares(factor=2.0)
    assert config.identity()["loss_options"] == {"factor": 2}
    assert config.identity() != RetrainConfig().identity()
    listed = RetrainConfig(loss="squares", loss_options={"shares": [0.5, 0.5]}).identity()
    assert decode_plain(encode_plain(listed)) == listed  # so that a resumed training has the recorded recipe
    with pytest.raises(ConfigError, match=r"no training loss is registered by the name 'hinge'; known are di"):
        RetrainConfig(loss="hinge")
    with pytest.raises(ConfigError, match="factor must be positive, got 0"):
        RetrainConfig(loss="squares", loss_options={"factor": 0})
    with pytest.raises(ConfigError, match="factor is unknown"):
        RetrainConfig(loss_options={"factor": 1})


def test_a_worker_gets_the_loss_with_its_recipe() -> None:
    sent = pickle.dumps(RetrainConfig(loss="squares"))
    losses._classes.pop("squares")
    assert pickle.loads(sent).training_loss == Squares()
