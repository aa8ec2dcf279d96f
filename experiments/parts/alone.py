"""Networks that are trained alone, from fresh weights, as `multinas-ray retrain` trains them, and without Ray."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multinas_ray.data import DataConfig, DataSplits
    from multinas_ray.retraining import RetrainConfig
    from multinas_ray.spaces import NetworkSpace


def accuracy_alone(
    space: "NetworkSpace",
    architecture: Sequence[int],
    recipe: "RetrainConfig",
    data: "DataConfig",
    splits: "DataSplits",
    use_gpu: bool = False,
) -> float:
    """Train a network on images by a recipe, from weights of its seed; returns the accuracy on the test images."""
    import torch

    from multinas_ray.data import standard_augmentation
    from multinas_ray.retraining import NetworkTraining
    from multinas_ray.supernets import build_subnet
    from multinas_ray.tasks import Task

    device = torch.device("cuda" if use_gpu else "cpu")
    network = build_subnet(space, tuple(architecture), seed=recipe.seed)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone
    loss = recipe.training_loss.start(space, Task(), "", device)
    run = NetworkTraining(network, recipe, loss, splits, standard_augmentation(data, splits.image_size), device)
    while not run.is_finished:
        run.run_epoch()
    return run.primary_of(run.score(splits.test))
