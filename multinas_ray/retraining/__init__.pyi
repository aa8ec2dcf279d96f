from .losses import BatchLoss, TrainingLoss, register_loss
from .network_training import NetworkTraining
from .recipe import RetrainConfig
from .running import retrain_networks

__all__ = [
    "BatchLoss",
    "NetworkTraining",
    "RetrainConfig",
    "TrainingLoss",
    "register_loss",
    "retrain_networks",
]
