from .asng import one_hot
from .best import best_evaluated
from .coefficients import default_coefficients, small_to_large
from .distributions import log_mixture, log_prob, modes, sample_architectures
from .layout import INACTIVE, CategoryLayout, Condition
from .optimizer import DistributionSettings, MultiDistributionOptimizer
from .proposals import Proposals
from .protocol import Optimizer
from .screened.optimizer import ScreenedOptimizer, ScreenedSettings
from .settings import (
    OptimizerSettings,
    StartKind,
    make_optimizer,
    optimizer_kind,
    register_optimizer,
    settings_from_dict,
    settings_of_kind,
)
from .targets import TARGET_WEIGHT

__all__ = [
    "INACTIVE",
    "TARGET_WEIGHT",
    "CategoryLayout",
    "Condition",
    "DistributionSettings",
    "MultiDistributionOptimizer",
    "Optimizer",
    "OptimizerSettings",
    "Proposals",
    "ScreenedOptimizer",
    "ScreenedSettings",
    "StartKind",
    "best_evaluated",
    "default_coefficients",
    "log_mixture",
    "log_prob",
    "make_optimizer",
    "modes",
    "one_hot",
    "optimizer_kind",
    "register_optimizer",
    "sample_architectures",
    "settings_from_dict",
    "settings_of_kind",
    "small_to_large",
]
