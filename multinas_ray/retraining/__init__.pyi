from .recipe import AUGMENTATIONS, INITS, PRECISIONS, SCALINGS, TRAINED_ON, RetrainConfig
from .running import Trackers, retrain_networks

__all__ = [
    "AUGMENTATIONS",
    "INITS",
    "PRECISIONS",
    "SCALINGS",
    "TRAINED_ON",
    "RetrainConfig",
    "Trackers",
    "retrain_networks",
]
