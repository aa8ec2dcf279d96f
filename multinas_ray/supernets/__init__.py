"""The single-path supernet on torch: blocks, train and evaluate steps, subnets of one's own. No Ray here."""

from multinas_ray.supernets.blocks import NormBuilder, build_block
from multinas_ray.supernets.grouping import group_by_memory
from multinas_ray.supernets.norm import GhostBatchNorm2d
from multinas_ray.supernets.profile import profile_space, validate_table
from multinas_ray.supernets.steps import accumulate_gradients, evaluate
from multinas_ray.supernets.subnet import (
    build_subnet,
    extract_subnet,
    image_scores,
    recalibrate_batch_norm,
    summed_score,
)
from multinas_ray.supernets.supernet import Supernet, touched_parameters
from multinas_ray.supernets.timing import ProfileSettings

__all__ = [
    "GhostBatchNorm2d",
    "NormBuilder",
    "ProfileSettings",
    "Supernet",
    "accumulate_gradients",
    "build_block",
    "build_subnet",
    "evaluate",
    "extract_subnet",
    "group_by_memory",
    "image_scores",
    "profile_space",
    "recalibrate_batch_norm",
    "summed_score",
    "touched_parameters",
    "validate_table",
]
