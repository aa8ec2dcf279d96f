"""The algorithm, on numpy alone: K categorical distributions, importance weights, utilities, the ASNG step, ask and tell."""

from multinas_ray.core.optimizer import MultiDistributionOptimizer
from multinas_ray.core.proposals import Proposals

__all__ = ["MultiDistributionOptimizer", "Proposals"]
