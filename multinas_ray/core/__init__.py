"""The algorithm, on numpy alone: K distributions, importance weights, utilities, ASNG, ask and tell."""

from multinas_ray.core.answers import best_evaluated
from multinas_ray.core.coefficients import default_coefficients
from multinas_ray.core.making import make_optimizer
from multinas_ray.core.optimizer import MultiDistributionOptimizer
from multinas_ray.core.proposals import Proposals
from multinas_ray.core.screened import ScreenedOptimizer

__all__ = [
    "MultiDistributionOptimizer",
    "Proposals",
    "ScreenedOptimizer",
    "best_evaluated",
    "default_coefficients",
    "make_optimizer",
]
