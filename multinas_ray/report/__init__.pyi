from .plots import plot_distributions, plot_latency, plot_pareto
from .writing import write_report

__all__ = [
    "plot_distributions",
    "plot_latency",
    "plot_pareto",
    "write_report",
]
