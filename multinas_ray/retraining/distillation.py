"""Knowledge distillation: a network learns from the labels and from the answers of another network of its family.

Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network (arXiv 1503.02531).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from multinas_ray.data import call
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.retraining.losses import BatchLoss, TrainingLoss, register_loss
from multinas_ray.runs import ARCHITECTURES_FILE
from multinas_ray.settings import Fraction, NonNegativeInt, PositiveFloat, checked
from multinas_ray.spaces import Space
from multinas_ray.storage import read_parquet, resolve
from multinas_ray.supernets import load_subnet
from multinas_ray.tasks import Task

PATH_COLUMNS = {"retrained": "retrained_path", "supernet": "weights_path"}
"""Columns of architectures.parquet with the files of a network's weights."""


@register_loss
@checked
@dataclass(frozen=True, kw_only=True)
class Distillation(TrainingLoss):
    """(1 - weight) * cross-entropy + weight * temperature^2 * KL(teacher's || network's softened answers).

    The factor temperature^2 keeps the size of the gradient when the temperature changes (section 2.1 of the paper).
    """

    kind: ClassVar[str] = "distillation"

    teacher: NonNegativeInt
    """Number of the network of the same family whose answers are learned, such as that of the largest."""
    teacher_weights: Literal["retrained", "supernet"] = "retrained"
    """Weights of the teacher. "retrained": those of its own training, which must be finished; "supernet": those that it
    had in the supernet."""
    temperature: PositiveFloat = 4.0
    """Divides the logits of both networks; larger temperatures soften the answers. [ours]"""
    weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """Share of the teacher in the loss. [ours]"""
    label_smoothing: Fraction = 0.1
    """Share of the label that the cross-entropy spreads over all classes."""

    @property
    def needed_networks(self) -> tuple[int, ...]:
        """The teacher, unless its weights are those of the supernet."""
        return (self.teacher,) if self.teacher_weights == "retrained" else ()

    def start(self, space: Space, task: Task, family_path: str, device: torch.device) -> BatchLoss:
        """Load the teacher.

        Raises:
            ConfigError: The task is no classification, so that a teacher has no logits to soften.
            StateError: There is no such network, or its weights are missing or damaged.
        """
        if not task.is_classification:
            raise ConfigError(
                f"distillation needs logits of classes, the loss of the task is {task.loss}: choose another loss"
            )
        teacher = self._load_teacher(space, family_path)
        teacher.eval().requires_grad_(False)
        teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone

        def loss(images: Any, logits: Tensor, labels: Tensor) -> Tensor:
            wanted = functional.log_softmax(call(teacher, images).float() / self.temperature, dim=1)
            answer = functional.log_softmax(logits / self.temperature, dim=1)
            distance = functional.kl_div(answer, wanted, reduction="batchmean", log_target=True)
            own = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
            return (1 - self.weight) * own + self.weight * self.temperature**2 * distance

        return loss

    def _load_teacher(self, space: Space, family_path: str) -> nn.Module:
        family, column = resolve(family_path), PATH_COLUMNS[self.teacher_weights]
        rows = read_parquet(family.join(ARCHITECTURES_FILE), ["network", "architecture", column]).to_pylist()
        row = next((row for row in rows if row["network"] == self.teacher), None)
        if row is None:
            raise StateError(
                f"the teacher must be a network of {family}, which has {[row['network'] for row in rows]}, got "
                f"{self.teacher}: set teacher to one of them"
            )
        remedy = f"train it first by `multinas-ray retrain RUN --networks {self.teacher}`"
        if self.teacher_weights == "supernet":
            remedy = "choose the networks again with `multinas-ray select`"
        if row[column] is None:
            raise StateError(f"network {self.teacher} of {family} has no {self.teacher_weights} weights: {remedy}")
        return load_subnet(space, row["architecture"], family.join(row[column]), remedy)
