from .network_training import NetworkTraining
from .recipe import RetrainConfig
from .running import retrain_networks
from .trackers import Trackers

__all__ = [
    "NetworkTraining",
    "RetrainConfig",
    "Trackers",
    "retrain_networks",
]
