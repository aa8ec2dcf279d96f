"""What can be chosen and what it costs: search spaces, additive costs, network spaces. No torch."""

from multinas_ray.spaces.blocks import (
    Block,
    BlockDescription,
    ConvLayer,
    Head,
    Layer,
    Shape,
    SqueezeExcitation,
    mbconv,
    scale_width,
    skip,
)
from multinas_ray.spaces.costs import AdditiveCost
from multinas_ray.spaces.described import block_from_dict, register_block, space_from_dict
from multinas_ray.spaces.foreign_latency import read_latency_table, read_proxyless_table
from multinas_ray.spaces.latency import BlockLatency, LatencyConditions, LatencyTable
from multinas_ray.spaces.latency_check import LatencyValidation
from multinas_ray.spaces.network import NetworkSpace, Position
from multinas_ray.spaces.search_space import SearchSpace, Variable
from multinas_ray.spaces.shipped import (
    cifar10_mobile_space,
    digits_space,
    imagenet_mobile_space,
    nas_bench_macro_space,
)

__all__ = [
    "AdditiveCost",
    "Block",
    "BlockDescription",
    "BlockLatency",
    "ConvLayer",
    "Head",
    "LatencyConditions",
    "LatencyTable",
    "LatencyValidation",
    "Layer",
    "NetworkSpace",
    "Position",
    "SearchSpace",
    "Shape",
    "SqueezeExcitation",
    "Variable",
    "block_from_dict",
    "cifar10_mobile_space",
    "digits_space",
    "imagenet_mobile_space",
    "mbconv",
    "nas_bench_macro_space",
    "read_latency_table",
    "read_proxyless_table",
    "register_block",
    "scale_width",
    "skip",
    "space_from_dict",
]
