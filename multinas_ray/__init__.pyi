from .core import MultiDistributionOptimizer, Proposals, ScreenedOptimizer
from .errors import ConfigError, DataError, MultiNASError, RunError, StateError

__all__ = [
    "ConfigError",
    "DataError",
    "MultiDistributionOptimizer",
    "MultiNASError",
    "Proposals",
    "RunError",
    "ScreenedOptimizer",
    "StateError",
]
