"""The loss and the metric of classification, the default task."""

from torch import Tensor
from torch.nn import functional

from multinas_ray.tasks.named import register_metric, register_task_loss


@register_task_loss
def cross_entropy(outputs: Tensor, targets: Tensor, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits (B, classes, ...) and classes (B, ...)."""
    return functional.cross_entropy(outputs, targets, reduction=reduction, label_smoothing=label_smoothing)


@register_metric
def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the largest of the logits (B, classes, ...) is that of the class (B, ...)."""
    return outputs.argmax(1) == targets
