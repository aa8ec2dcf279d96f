"""A training on one of several ranks. Its processes import this file alone, so it imports little."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from multinas_ray.data import Augmentation, DataSplits
from multinas_ray.train.network_training import NetworkTraining
from multinas_ray.train.recipe import RetrainConfig


def train_on_a_rank(rank: int, world_size: int, store: Path, splits: DataSplits, file: Path) -> None:
    """An epoch on a rank; the last one writes the weights and what the epoch and the test came to."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    training = without_normalisation(splits, rank, world_size)
    row = training.run_epoch()
    loss, accuracy = training.score(splits.test)
    if rank == world_size - 1:
        torch.save({"state": training.network.state_dict(), "row": (row["train_loss"], loss, accuracy)}, file)
    dist.destroy_process_group()


def without_normalisation(splits: DataSplits, rank: int = 0, world_size: int = 1) -> NetworkTraining:
    """The training of a network without batch normalisation, so that nothing depends on how a batch is shared."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    config = RetrainConfig(epochs=2, batch_size=32, augmentation="standard", num_workers=world_size)
    crops = Augmentation(crop_padding=1, horizontal_flip=False)
    return NetworkTraining(network, config, splits, crops, torch.device("cpu"), rank, world_size)
