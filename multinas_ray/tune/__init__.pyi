from .best import best_configs, pareto_front
from .multinas import MultiNASSearch

__all__ = [
    "MultiNASSearch",
    "best_configs",
    "pareto_front",
]
