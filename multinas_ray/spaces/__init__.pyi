from .blocks import (
    Block,
    BlockDescription,
    ConvLayer,
    Head,
    Layer,
    PartialBlock,
    Shape,
    SqueezeExcitation,
    mbconv,
    scale_width,
    skip,
)
from .costs import AdditiveCost, Cost, FloatArray, MaximumCost, cost_from_dict, register_cost
from .descent import descend
from .described import block_from_dict, register_block, space_from_dict
from .elastic import ElasticBlock, elastic_blocks
from .equivalence import Equivalence, Way
from .factored import FactoredCost, sum_of_terms
from .memory import peak_elements, peak_memory
from .model import ModelSpace, find_model, model_name, register_model
from .network import NetworkSpace, Position
from .search_space import IntArray, SearchSpace, Variable
from .shipped import cifar10_mobile_space, digits_space, imagenet_mobile_space, nas_bench_macro_space
from .slices import CostSlice
from .space import BoolArray, Space, Structure, all_costs

__all__ = [
    "AdditiveCost",
    "Block",
    "BlockDescription",
    "BoolArray",
    "ConvLayer",
    "Cost",
    "CostSlice",
    "ElasticBlock",
    "Equivalence",
    "FactoredCost",
    "FloatArray",
    "Head",
    "IntArray",
    "Layer",
    "MaximumCost",
    "ModelSpace",
    "NetworkSpace",
    "PartialBlock",
    "Position",
    "SearchSpace",
    "Shape",
    "Space",
    "SqueezeExcitation",
    "Structure",
    "Variable",
    "Way",
    "all_costs",
    "block_from_dict",
    "cifar10_mobile_space",
    "cost_from_dict",
    "descend",
    "digits_space",
    "elastic_blocks",
    "find_model",
    "imagenet_mobile_space",
    "mbconv",
    "model_name",
    "nas_bench_macro_space",
    "peak_elements",
    "peak_memory",
    "register_block",
    "register_cost",
    "register_model",
    "scale_width",
    "skip",
    "space_from_dict",
    "sum_of_terms",
]
