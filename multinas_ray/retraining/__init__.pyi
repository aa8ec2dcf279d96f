from .recipe import RetrainConfig
from .running import Trackers, retrain_networks

__all__ = [
    "RetrainConfig",
    "Trackers",
    "retrain_networks",
]
