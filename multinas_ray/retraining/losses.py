"""What the training of a chosen network minimises: the extension point of training losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from multinas_ray.registry import Registry
from multinas_ray.settings import Fraction, checked

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from multinas_ray.spaces import Space
    from multinas_ray.tasks import Task

BatchLoss: TypeAlias = "Callable[[Any, Any, Any], Tensor]"
"""From inputs, outputs in float32 and targets of B samples to the mean loss, a scalar with a gradient. They are
normalised images (B, C, H, W), logits (B, classes) and labels (B,), or what the task has."""

LossClass = TypeVar("LossClass", bound="type[TrainingLoss]")

_BUILT_IN = {"distillation": "multinas_ray.retraining.distillation"}
_losses: Registry[type[TrainingLoss]] = Registry("training loss", _BUILT_IN)


class TrainingLoss(ABC):
    """A training loss with its settings.

    One of your own is a frozen dataclass under two more decorators:

        @register_loss
        @checked
        @dataclass(frozen=True, kw_only=True)
        class MyLoss(TrainingLoss):
            kind: ClassVar[str] = "mine"
            margin: float = 1.0

            def start(self, space, task, family_path, device):
                return lambda inputs, outputs, targets: multi_margin_loss(outputs, targets, margin=self.margin)

    `RetrainConfig(loss="mine", loss_options={"margin": 0.5})` then makes it. If the class has a field
    `label_smoothing`, it gets that of the recipe.
    """

    kind: ClassVar[str]
    """Name of the loss in a recipe."""

    @property
    def needed_networks(self) -> tuple[int, ...]:
        """Numbers of the networks of the family whose retrained weights the loss needs. It cannot train these."""
        return ()

    @abstractmethod
    def start(self, space: Space, task: Task, family_path: str, device: torch.device) -> BatchLoss:
        """Get ready to compute the loss. The driver calls it once before any worker starts, and then each worker does.

        Args:
            space: The space that the trained network is of.
            task: The task of the run.
            family_path: Folder of the family whose networks are trained; "" for a network of no family.
            device: Where the loss is computed.

        Returns:
            The loss of a batch.

        Raises:
            StateError: Something that the loss needs is missing or damaged.
        """


def register_loss(loss: LossClass) -> LossClass:
    """Make a training loss known by its `kind`, the `loss` of a `RetrainConfig`; use it as a decorator.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: Another loss has the name already.
    """
    _losses.add(loss.kind, loss)
    return loss


def loss_class(name: str) -> type[TrainingLoss]:
    """Return the training loss of a name.

    Raises:
        ConfigError: No loss of this name is registered.
    """
    return _losses.find(name)


@register_loss
@checked
@dataclass(frozen=True, kw_only=True)
class TaskLoss(TrainingLoss):
    """The loss of the task, as in the search; of classification the cross-entropy with label smoothing."""

    kind: ClassVar[str] = "task"

    label_smoothing: Fraction = 0.1
    """Share of the label that the cross-entropy spreads over all classes; other losses have no labels to smooth."""

    def start(self, space: Space, task: Task, family_path: str, device: torch.device) -> BatchLoss:
        """The loss of a batch; it needs nothing else."""
        from multinas_ray.data import map_tensors
        from multinas_ray.tasks import Scorer

        scorer = Scorer(task)

        def loss(inputs: Any, outputs: Any, targets: Any) -> Tensor:
            return scorer.training_loss(map_tensors(lambda each: each[None], outputs), targets, self.label_smoothing)

        return loss
