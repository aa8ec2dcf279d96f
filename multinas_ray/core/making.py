"""Builds either optimiser from a configuration's plain values."""

from typing import Any

from multinas_ray.core.optimizer import MultiDistributionOptimizer
from multinas_ray.core.screened.optimizer import ScreenedOptimizer


def make_optimizer(*, screened: bool = False, **arguments: Any) -> MultiDistributionOptimizer | ScreenedOptimizer:
    """Returns a ScreenedOptimizer (for fixed losses only) or a MultiDistributionOptimizer of these arguments.

    Raises:
        ConfigError: An argument breaks its rule.
    """
    return ScreenedOptimizer(**arguments) if screened else MultiDistributionOptimizer(**arguments)
