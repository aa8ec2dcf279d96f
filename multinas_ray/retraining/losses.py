"""What the training of a chosen network minimises: the extension point of training losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from multinas_ray.registry import Registry
from multinas_ray.settings import Fraction, checked

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from multinas_ray.spaces import Space

BatchLoss: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
"""From normalised images (B, C, H, W), logits (B, classes) in float32 and labels (B,) to the mean loss, a scalar with a
gradient."""

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

            def start(self, space, family_path, device):
                return lambda images, logits, labels: multi_margin_loss(logits, labels, margin=self.margin)

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
    def start(self, space: Space, family_path: str, device: torch.device) -> BatchLoss:
        """Get ready to compute the loss. The driver calls it once before any worker starts, and then each worker does.

        Args:
            space: The space that the trained network is of.
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
class CrossEntropy(TrainingLoss):
    """Cross-entropy with label smoothing."""

    kind: ClassVar[str] = "cross-entropy"

    label_smoothing: Fraction = 0.1
    """Share of the label that the loss spreads over all classes."""

    def start(self, space: Space, family_path: str, device: torch.device) -> BatchLoss:
        """The loss of a batch; it needs nothing else."""
        from torch.nn import functional

        def loss(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

        return loss
