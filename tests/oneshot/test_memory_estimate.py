"""The memory of a round, and the groups that it makes on a GPU. No GPU is needed: its free memory is told."""

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch

from multinas_ray.errors import RunError
from multinas_ray.oneshot.memory_estimate import ACTIVATION_SHARE, activation_limit, estimate_memory
from multinas_ray.spaces import digits_space, imagenet_mobile_space
from multinas_ray.supernets import BlockSupernet, WeightTraining, group_by_memory

Precision = Literal["float32", "bfloat16"]
TRAINING = WeightTraining(batch_size=256, validation_batch_size=256, norm_batch_size=64)


def test_the_weights_are_the_supernets() -> None:
    space = digits_space()
    parameters = BlockSupernet(space, norm_batch_size=2, seed=0).parameters()
    assert estimate_memory(space, TRAINING, 1).weights == sum(each.nbytes for each in parameters)


@pytest.mark.parametrize(("num_workers", "images"), [(1, 256), (2, 128), (3, 128), (4, 64)])
@pytest.mark.parametrize(("precision", "bytes_each"), [("float32", 4), ("bfloat16", 2)])
def test_a_subnet_takes_the_largest_shard(num_workers: int, images: int, precision: Precision, bytes_each: int) -> None:
    space, training = digits_space(), dataclasses.replace(TRAINING, precision=precision)
    largest = space.activations.argmax()
    elements = int(space.activations(largest[None])[0])
    memory = estimate_memory(space, training, num_workers)
    assert memory.subnet == elements * images * bytes_each
    architectures = np.stack([largest, largest])
    assert len(group_by_memory(architectures, space, images, memory.subnet, bytes_each)) == 1


def test_imagenet_fits_an_ordinary_gpu() -> None:
    training = WeightTraining(batch_size=128, validation_batch_size=128, norm_batch_size=64, precision="bfloat16")
    memory = estimate_memory(imagenet_mobile_space(), training, 1)
    assert 10e9 < memory.least < 16e9


def test_a_cpu_or_a_setting_needs_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", None)
    space = digits_space()
    assert activation_limit(space, TRAINING, 1, torch.device("cpu")) is None
    limited = dataclasses.replace(TRAINING, activation_bytes_limit=7)
    for device in ("cpu", "cuda:0"):
        assert activation_limit(space, limited, 1, torch.device(device)) == 7


def test_a_gpus_free_memory_bounds_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    space = digits_space()
    memory = estimate_memory(space, TRAINING, 2)
    needed = memory.optimizer + int(memory.subnet / ACTIVATION_SHARE) + 1
    asked = []

    def mem_get_info(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return needed, 10 * needed

    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    limit = activation_limit(space, TRAINING, 2, torch.device("cuda:1"))
    assert limit == memory.subnet
    assert asked == [torch.device("cuda:1")]
    with pytest.raises(RunError, match="a GPU must hold one subnet, which takes"):
        memory.activation_limit(needed - 2)
    assert memory.least == memory.weights + needed - 1
