from .measuring import Measured, ModelMeter, single_changes
from .models import Places, active_modules, parts_used, plain
from .networks import build_network, extract_network
from .places import Choice, DepthChoice, Place
from .width import (
    Channels,
    Elastic,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    Width,
    WidthChoice,
)

__all__ = [
    "Channels",
    "Choice",
    "DepthChoice",
    "Elastic",
    "ElasticBatchNorm2d",
    "ElasticConv2d",
    "ElasticLayerNorm",
    "ElasticLinear",
    "Measured",
    "ModelMeter",
    "Place",
    "Places",
    "Width",
    "WidthChoice",
    "active_modules",
    "build_network",
    "extract_network",
    "parts_used",
    "plain",
    "single_changes",
]
