from .checking import check_task
from .named import register_metric, register_task_loss
from .scoring import MeanScore, Scorer
from .task import Metric, Task, read_task

__all__ = [
    "MeanScore",
    "Metric",
    "Scorer",
    "Task",
    "check_task",
    "read_task",
    "register_metric",
    "register_task_loss",
]
