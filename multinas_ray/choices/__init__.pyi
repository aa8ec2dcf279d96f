from .costs import MeasuredCost, peak_memory
from .measuring import Measured, ModelMeter
from .models import Places, active_modules, parts_used, plain
from .networks import build_network, extract_network
from .opening import open_model
from .places import Choice, DepthChoice, Option, Place
from .space import model_space
from .terms import TimedParts
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
    "Option",
    "Place",
    "Places",
    "TimedParts",
    "Width",
    "WidthChoice",
    "active_modules",
    "build_network",
    "extract_network",
    "model_space",
    "open_model",
    "parts_used",
    "peak_memory",
    "plain",
]
