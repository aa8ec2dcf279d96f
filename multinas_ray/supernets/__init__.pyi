from .blocks import NormBuilder, build_block
from .grouping import group_by_memory
from .norm import GhostBatchNorm2d
from .saved import (
    SUPERNET_FILE,
    check_supernet,
    is_supernet_damaged,
    load_subnet,
    load_supernet,
    write_supernet,
)
from .steps import accumulate_gradients, evaluate
from .subnet import build_subnet, extract_subnet, image_scores, recalibrate_batch_norm, summed_score
from .subnet_tree import SubnetTree, image_scores_together
from .supernet import Supernet, step_touched, touched_parameters
from .weight_training import WeightTraining

__all__ = [
    "SUPERNET_FILE",
    "GhostBatchNorm2d",
    "NormBuilder",
    "SubnetTree",
    "Supernet",
    "WeightTraining",
    "accumulate_gradients",
    "build_block",
    "build_subnet",
    "check_supernet",
    "evaluate",
    "extract_subnet",
    "group_by_memory",
    "image_scores",
    "image_scores_together",
    "is_supernet_damaged",
    "load_subnet",
    "load_supernet",
    "recalibrate_batch_norm",
    "step_touched",
    "summed_score",
    "touched_parameters",
    "write_supernet",
]
