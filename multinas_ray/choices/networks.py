"""One network of a model with choices: freshly initialised, or with the weights of the whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from multinas_ray.choices.building import only
from multinas_ray.choices.models import plain
from multinas_ray.choices.width import Elastic
from multinas_ray.errors import ConfigError
from multinas_ray.spaces import SearchSpace

MakeModel = Callable[[], nn.Module]
"""Makes the model, freshly initialised, with the same places at each call."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What batch normalisation counts, and a supernet does not."""


def build_network(make: MakeModel, search_space: SearchSpace, architecture: Sequence[int]) -> nn.Module:
    """Build one network, freshly initialised, without the options that it does not use.

    Args:
        make: makes the model.
        search_space: the places of the model.
        architecture: (D,) indices of options.

    Returns:
        An ordinary module without choices.
    """
    return plain(_with_one_option(make, search_space, architecture))


def extract_network(
    model: nn.Module, make: MakeModel, search_space: SearchSpace, architecture: Sequence[int]
) -> nn.Module:
    """Build one network with copies of the weights that the model has for it.

    Statistics of batch normalisation that the model does not have stay as they are in a new network.

    Args:
        model: as `make` makes it.
        make: makes the model.
        search_space: its places.
        architecture: (D,) indices of options.

    Returns:
        An ordinary module without choices, on the model's device and with its dtype, in training mode.

    Raises:
        ConfigError: a weight of the network has no counterpart in the model.
    """
    network, weights = _with_one_option(make, search_space, architecture), model.state_dict()
    elastic = {name for name, module in network.named_modules() if isinstance(module, Elastic)}
    taken, lost = {}, []
    for key, value in network.state_dict().items():
        source, (owner, _, kind) = weights.get(key), key.rpartition(".")
        if source is None and kind in STATISTICS:
            taken[key] = value
        elif source is not None and (source.shape == value.shape or owner in elastic):
            taken[key] = source[tuple(map(slice, value.shape))]
        else:
            lost.append(key)
    if lost:
        raise ConfigError(
            f"each weight of a network must be one of the whole model, these are not: {', '.join(lost)}; make both by "
            "the same function, with nothing that depends on which options are built"
        )
    example = next(model.parameters())
    network.to(device=example.device, dtype=example.dtype)
    network.load_state_dict(taken)
    return plain(network)


def _with_one_option(make: MakeModel, search_space: SearchSpace, architecture: Sequence[int]) -> nn.Module:
    labels = {
        variable.name: variable.choices[index]
        for variable, index in zip(search_space.variables, architecture, strict=True)
    }
    with only(labels):
        return make()


def num_parameters(network: nn.Module) -> int:
    """Number of trainable values; those that are used twice count once."""
    return sum(each.numel() for each in network.parameters() if each.requires_grad)


def on_meta(make: MakeModel) -> MakeModel:
    """The same model without memory for its values."""

    def build() -> nn.Module:
        with torch.device("meta"):
            return make()

    return build
