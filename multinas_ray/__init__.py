"""One neural architecture search, K networks.

The core's names are here; loading this package loads neither Ray nor torch.
"""

from multinas_ray.core import MultiDistributionOptimizer, Proposals, ScreenedOptimizer
from multinas_ray.errors import ConfigError, DataError, MultiNASError, RunError, StateError

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
