"""The algorithm, on numpy alone: K distributions, importance weights, utilities, ASNG, ask and tell."""

from multinas_ray.core.coefficients import default_coefficients
from multinas_ray.core.optimizer import MultiDistributionOptimizer
from multinas_ray.core.proposals import Proposals

__all__ = ["MultiDistributionOptimizer", "Proposals", "default_coefficients"]
