"""The space of a model with choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from multinas_ray.choices.costs import costs_of
from multinas_ray.choices.measuring import ModelMeter
from multinas_ray.choices.models import Places
from multinas_ray.choices.places import Choice, DepthChoice, Place
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import ModelSpace, Way, model_name


@checked_arguments
def model_space(
    make: Callable[..., nn.Module],
    input_shape: Sequence[int],
    *,
    arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> ModelSpace:
    """The networks of a PyTorch model with choices: variables, costs and which of them are the same.

    Nothing is trained, and the model takes no memory for it. Parameters are counted, multiply-adds too, by torch's own
    counter.

    Args:
        make: makes the model, freshly initialised from torch's global generator, see `register_model`. The model takes
            images (B, channels, height, width) and gives logits (B, classes).
        input_shape: (channels, height, width) of an image.
        arguments: arguments for `make`, plain JSON data.
        name: name of the space in reports and records; None: that of the function.

    Raises:
        ConfigError: the model cannot be made or run, has no choices, has two of one name, does not use one, or gives no
            logits; arguments are not plain data; or the function is not registered.
    """
    model, given = make.__name__, dict(arguments or {})
    try:
        json.dumps(given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"arguments of a model must be plain JSON data, got {given!r} ({error})") from error
    if model_name(make) is None:
        raise ConfigError(f"the function {model} is not registered as a model: write @register_model over it")
    shape = tuple(input_shape)
    meter = ModelMeter(lambda: make(**given), lambda: (torch.zeros(1, *shape),))
    costs = costs_of(model, given, shape, meter)
    meter.check_calls()
    output = meter.output([0] * len(meter.places.by_name))
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != 1:
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ConfigError(f"the model must give logits of the shape (images, classes), for one image it gave {found}")
    return ModelSpace(
        name=model if name is None else name,
        model=model,
        arguments=given,
        input_shape=shape,  # type: ignore[arg-type]  # three numbers, which it checks
        outputs=output.shape[1],
        variables=meter.places.search_space.variables,
        ways=_ways(meter.places),
        skips=tuple(_skips(place) for place in meter.places.by_name.values()),
        measured=costs,
        model_params=meter.total_params,
    )


def _ways(places: Places) -> tuple[tuple[Way, ...], ...]:
    """The conditions by the numbers of variables."""
    numbers = {name: d for d, name in enumerate(places.by_name)}
    return tuple(
        tuple(tuple((numbers[name], tuple(sorted(options))) for name, options in way.items()) for way in ways)
        for ways in places.conditions.values()
    )


def _skips(place: Place) -> tuple[int, ...]:
    """The options that are the identity."""
    if isinstance(place, Choice):
        return tuple(int(key) for key, option in place.options.items() if isinstance(option, nn.Identity))
    if isinstance(place, DepthChoice):
        return tuple(index for index, depth in enumerate(place.depths) if depth == 0)
    return ()
