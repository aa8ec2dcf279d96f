"""What a round keeps in a worker's memory, estimated before the start. torch is asked for a GPU's free memory only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from multinas_ray.errors import RunError
from multinas_ray.runs import gigabytes
from multinas_ray.supernets import WeightTraining

if TYPE_CHECKING:
    import torch

    from multinas_ray.spaces import NetworkSpace

FLOAT32_BYTES = 4
BYTES_OF_PRECISION = {"float32": 4, "bfloat16": 2}

ACTIVATION_SHARE = 0.6
"""Share of the memory left by the weights that a group's activations may fill [ours]: gradients of activations,
convolution workspaces, evaluation and fragmentation take the rest."""


@dataclass(frozen=True)
class RoundMemory:
    """Bytes of one worker; activations are the space's own estimate, see `NetworkSpace.activations`."""

    weights: int
    """The supernet's weights, float32."""
    subnet: int
    """What autograd keeps for the largest subnet on the worker's shard of a batch."""

    @property
    def optimizer(self) -> int:
        """Gradients and momentum, when every candidate has been trained once."""
        return 2 * self.weights

    @property
    def least(self) -> int:
        """Memory without which not even one subnet at a time can be trained."""
        return self.weights + self.optimizer + int(self.subnet / ACTIVATION_SHARE)

    def activation_limit(self, free: int) -> int:
        """Bytes for a group's activations on a GPU that holds the weights already and has `free` bytes left.

        Raises:
            RunError: the largest subnet does not fit.
        """
        limit = int(ACTIVATION_SHARE * (free - self.optimizer))
        if limit < self.subnet:
            raise RunError(
                f"a GPU is too small for one subnet: it needs {gigabytes(self.least)} in all, weights and optimiser "
                f"{gigabytes(self.weights + self.optimizer)} and activations of its shard of a batch "
                f"{gigabytes(self.subnet)}, but with the weights on it has {gigabytes(free)} left; use more workers, "
                "a smaller batch_size, precision='bfloat16' or larger GPUs"
            )
        return limit


def estimate_memory(space: NetworkSpace, training: WeightTraining, num_workers: int) -> RoundMemory:
    """Memory of a round on each of `num_workers` workers."""
    params = space.costs["params"]
    weights = FLOAT32_BYTES * int(params.table.sum() + params.base)
    groups = -(-training.batch_size // (training.norm_batch_size * num_workers))  # of the largest shard
    images = groups * training.norm_batch_size
    elements = int(space.activations.maximum) * images
    return RoundMemory(weights, elements * BYTES_OF_PRECISION[training.precision])


def activation_limit(
    space: NetworkSpace, training: WeightTraining, num_workers: int, device: torch.device
) -> int | None:
    """Bound of a group's activations: the setting, or what a GPU has room for; None for no bound on a CPU.

    Call it when the weights are on the device.

    Raises:
        RunError: the GPU is too small for one subnet.
    """
    if training.activation_bytes_limit is not None or device.type != "cuda":
        return training.activation_bytes_limit
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return estimate_memory(space, training, num_workers).activation_limit(free)
