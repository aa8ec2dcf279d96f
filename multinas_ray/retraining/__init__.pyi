from .recipe import RetrainConfig
from .running import retrain_networks
from .trackers import Trackers

__all__ = [
    "RetrainConfig",
    "Trackers",
    "retrain_networks",
]
