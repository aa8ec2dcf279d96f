"""What can be chosen and what it costs: search spaces, additive costs, network spaces. No torch."""

from multinas_ray.spaces.blocks import (
    Block,
    BlockDescription,
    ConvLayer,
    Head,
    Shape,
    mbconv,
    scale_width,
    skip,
)
from multinas_ray.spaces.costs import AdditiveCost
from multinas_ray.spaces.network import NetworkSpace, Position
from multinas_ray.spaces.search_space import SearchSpace, Variable
from multinas_ray.spaces.shipped import cifar10_mobile_space, digits_space, nas_bench_macro_space

__all__ = [
    "AdditiveCost",
    "Block",
    "BlockDescription",
    "ConvLayer",
    "Head",
    "NetworkSpace",
    "Position",
    "SearchSpace",
    "Shape",
    "Variable",
    "cifar10_mobile_space",
    "digits_space",
    "mbconv",
    "nas_bench_macro_space",
    "scale_width",
    "skip",
]
