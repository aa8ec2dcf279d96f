from .asng import one_hot
from .best import best_evaluated
from .coefficients import default_coefficients
from .distributions import CategoryLayout, log_mixture, log_prob, modes, sample_architectures
from .making import make_optimizer
from .optimizer import MultiDistributionOptimizer
from .proposals import Proposals
from .screened.optimizer import ScreenedOptimizer
from .targets import TARGET_WEIGHT

__all__ = [
    "TARGET_WEIGHT",
    "CategoryLayout",
    "MultiDistributionOptimizer",
    "Proposals",
    "ScreenedOptimizer",
    "best_evaluated",
    "default_coefficients",
    "log_mixture",
    "log_prob",
    "make_optimizer",
    "modes",
    "one_hot",
    "sample_architectures",
]
