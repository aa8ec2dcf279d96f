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
from .equivalence import Equivalence, skips
from .memory import peak_elements, peak_memory
from .network import NetworkSpace, Position, all_costs
from .search_space import IntArray, SearchSpace, Variable
from .shipped import cifar10_mobile_space, digits_space, imagenet_mobile_space, nas_bench_macro_space
from .slices import CostSlice

__all__ = [
    "AdditiveCost",
    "Block",
    "BlockDescription",
    "ConvLayer",
    "Cost",
    "CostSlice",
    "ElasticBlock",
    "Equivalence",
    "FloatArray",
    "Head",
    "IntArray",
    "Layer",
    "MaximumCost",
    "NetworkSpace",
    "PartialBlock",
    "Position",
    "SearchSpace",
    "Shape",
    "SqueezeExcitation",
    "Variable",
    "all_costs",
    "block_from_dict",
    "cifar10_mobile_space",
    "cost_from_dict",
    "descend",
    "digits_space",
    "elastic_blocks",
    "imagenet_mobile_space",
    "mbconv",
    "nas_bench_macro_space",
    "peak_elements",
    "peak_memory",
    "register_block",
    "register_cost",
    "scale_width",
    "skip",
    "skips",
    "space_from_dict",
]
