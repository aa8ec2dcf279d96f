from .checking import check_task
from .named import register_metric, register_task_loss
from .scoring import Score, Scorer
from .task import Metric, Task, read_task

__all__ = [
    "Metric",
    "Score",
    "Scorer",
    "Task",
    "check_task",
    "read_task",
    "register_metric",
    "register_task_loss",
]
