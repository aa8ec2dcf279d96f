"""The estimate of a worker's memory in a round. torch is imported only to ask for the free memory of a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from multinas_ray.errors import RunError
from multinas_ray.runs import gigabytes
from multinas_ray.supernets import WeightTraining

if TYPE_CHECKING:
    import torch

    from multinas_ray.spaces import Space

FLOAT32_BYTES = 4
BYTES_OF_PRECISION = {"float32": 4, "bfloat16": 2}

ACTIVATION_SHARE = 0.6
"""Share of the memory that the weights leave free which the activations of a group may fill [ours]. Gradients of
activations, convolution workspaces, evaluation and fragmentation need the rest."""


@dataclass(frozen=True)
class RoundMemory:
    """The memory of one worker in bytes. Activations are estimated by the space, see `Space.most_activations`."""

    weights: int
    """Memory of the weights of the supernet, in float32."""
    subnet: int
    """Memory that autograd keeps for the largest subnet on the worker's shard of a batch."""

    @property
    def optimizer(self) -> int:
        """Memory of gradients and momentum after every block has been trained once."""
        return 2 * self.weights

    @property
    def least(self) -> int:
        """The least memory in which one subnet at a time can be trained."""
        return self.weights + self.optimizer + int(self.subnet / ACTIVATION_SHARE)

    def activation_limit(self, free: int) -> int:
        """Bytes for the activations of a group on a GPU that holds the weights and has `free` bytes left.

        Raises:
            RunError: the largest subnet does not fit.
        """
        limit = int(ACTIVATION_SHARE * (free - self.optimizer))
        if limit < self.subnet:
            raise RunError(
                f"a GPU must hold one subnet, which takes {gigabytes(self.least)}: "
                f"{gigabytes(self.weights + self.optimizer)} of weights and optimiser and {gigabytes(self.subnet)} of "
                f"activations. With the weights on it this one has {gigabytes(free)} left: use more workers, a smaller "
                "batch_size, precision='bfloat16' or larger GPUs"
            )
        return limit


def check_memory(memory: RoundMemory, free: int | None, where: str) -> None:
    """Check that a machine without a GPU holds the weights of the supernet while they are trained.

    Args:
        memory: the memory of a worker.
        free: bytes that are free there; None if that is unknown.
        where: the machine, in words.

    Raises:
        RunError: the weights do not fit.
    """
    needed = memory.weights + memory.optimizer
    if free is not None and needed > free:
        raise RunError(
            f"a worker must hold the weights of the supernet and their optimiser, which take {gigabytes(needed)}; "
            f"{where} has {gigabytes(free)} free: use a smaller or narrower space, or larger machines"
        )


def estimate_memory(space: Space, training: WeightTraining, num_workers: int) -> RoundMemory:
    """Estimate the memory of a round on each of `num_workers` workers."""
    weights = FLOAT32_BYTES * space.supernet_params
    elements = (space.most_activations or 0) * training.largest_shard(training.batch_size, num_workers)
    return RoundMemory(weights, elements * BYTES_OF_PRECISION[training.precision])


def activation_limit(space: Space, training: WeightTraining, num_workers: int, device: torch.device) -> int | None:
    """Return the limit of a group's activations in bytes: the setting, or the room on a GPU; None on a CPU.

    The weights must be on the device already.

    Raises:
        RunError: the GPU is too small for one subnet.
    """
    if training.activation_bytes_limit is not None or device.type != "cuda":
        return training.activation_bytes_limit
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return estimate_memory(space, training, num_workers).activation_limit(free)
