from .costs import MeasuredCost
from .measuring import Measured, ModelMeter
from .models import Places, active_modules, parts_used, plain
from .networks import build_network, extract_network
from .places import Choice, DepthChoice, Place
from .space import model_space
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
    "MeasuredCost",
    "ModelMeter",
    "Place",
    "Places",
    "Width",
    "WidthChoice",
    "active_modules",
    "build_network",
    "extract_network",
    "model_space",
    "parts_used",
    "plain",
]
