from .losses import BatchLoss, TrainingLoss, register_loss
from .network_training import NetworkTraining
from .recipe import RetrainConfig
from .running import retrain_networks
from .trackers import Trackers

__all__ = [
    "BatchLoss",
    "NetworkTraining",
    "RetrainConfig",
    "Trackers",
    "TrainingLoss",
    "register_loss",
    "retrain_networks",
]
