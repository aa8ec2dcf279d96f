from .block_supernet import BlockSupernet
from .blocks import NormBuilder, build_block
from .file_names import SUPERNET_FILE
from .grouping import group_by_memory
from .kinds import build_subnet, make_supernet
from .model_supernet import ModelSupernet
from .norm import GhostBatchNorm2d
from .precision import AUTOCAST_DTYPES, at_least_float32, autocast_to, compute_deterministically, whole_float32
from .saved import (
    check_supernet,
    is_supernet_damaged,
    load_subnet,
    load_supernet,
    write_supernet,
)
from .scoring import mean_score, recalibrate_batch_norm, sample_scores, summed_score
from .separate import Separate
from .steps import accumulate_gradients, accumulate_sandwich_gradients, evaluate
from .supernet import Supernet, step_touched
from .weight_training import WeightTraining

__all__ = [
    "AUTOCAST_DTYPES",
    "SUPERNET_FILE",
    "BlockSupernet",
    "GhostBatchNorm2d",
    "ModelSupernet",
    "NormBuilder",
    "Separate",
    "Supernet",
    "WeightTraining",
    "accumulate_gradients",
    "accumulate_sandwich_gradients",
    "at_least_float32",
    "autocast_to",
    "build_block",
    "build_subnet",
    "check_supernet",
    "compute_deterministically",
    "evaluate",
    "group_by_memory",
    "is_supernet_damaged",
    "load_subnet",
    "load_supernet",
    "make_supernet",
    "mean_score",
    "recalibrate_batch_norm",
    "sample_scores",
    "step_touched",
    "summed_score",
    "whole_float32",
    "write_supernet",
]
