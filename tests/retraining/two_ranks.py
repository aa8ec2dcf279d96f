"""A training on one of several ranks. Its processes import this file alone, so it imports little."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from multinas_ray.cluster import NoticedCheckpoints, SpotNotice
from multinas_ray.data import Augmentation, DataSplits, Images
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining.network_training import NetworkTraining
from multinas_ray.tasks import Task
from tests.support.narrow import present
from tests.support.tiny_search import tiny_space

NOTICED_STEP = 2
"""Steps done when the last rank's node gets its notice."""


def work_on_a_rank(rank: int, world_size: int, splits: DataSplits, folder: Path) -> None:
    """Two trainings on a rank, one after the other, since its process takes seconds to start."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world_size)
    train(rank, world_size, splits, folder / "trained.pt")
    pause(rank, world_size, splits, folder / f"paused-{rank}.pt")
    dist.destroy_process_group()


def scores(training: NetworkTraining, images: Images) -> tuple[float, float]:
    """Loss and accuracy."""
    score = training.score(images)
    return score.loss, training.primary_of(score)


def train(rank: int, world_size: int, splits: DataSplits, file: Path) -> None:
    """An epoch; the last rank writes the weights and what the epoch and the test came to."""
    training = without_normalisation(splits, rank, world_size)
    row = present(training.run_epoch())
    loss, accuracy = scores(training, splits.test)
    if rank == world_size - 1:
        torch.save({"state": training.network.state_dict(), "row": (row["train_loss"], loss, accuracy)}, file)


def pause(rank: int, world_size: int, splits: DataSplits, file: Path) -> None:
    """Train up to the pause that the notice of the last rank's node wants; each rank writes its state."""
    training = without_normalisation(splits, rank, world_size)
    checkpoints = NoticedCheckpoints(torch.device("cpu"), world_size)

    def is_due() -> bool:
        if rank == world_size - 1 and training.step == NOTICED_STEP:
            checkpoints.tell(SpotNotice("10.0.0.7", 30.0))
        return checkpoints.is_due()

    training.run_epoch(is_due)
    torch.save(training.state_dict(), file)


def without_normalisation(splits: DataSplits, rank: int = 0, world_size: int = 1) -> NetworkTraining:
    """The training of a network without batch normalisation, so that nothing depends on how a batch is shared."""
    linear = nn.Linear(64, 10)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    network = nn.Sequential(nn.Flatten(), linear)
    config = RetrainConfig(epochs=2, batch_size=32, augmentation="standard", num_workers=world_size)
    crops = Augmentation(crop_padding=1, horizontal_flip=False)
    cpu = torch.device("cpu")
    loss = config.training_loss.start(tiny_space(), Task(), "", cpu)
    return NetworkTraining(network, config, loss, splits, crops, cpu, rank, world_size)
