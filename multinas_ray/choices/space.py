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
from multinas_ray.data import map_tensors, num_samples, structure_of, tensors_of
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import ModelSpace, Structure, Way, model_name


@checked_arguments
def model_space(
    make: Callable[..., nn.Module],
    inputs: Any,
    *,
    arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> ModelSpace:
    """The networks of a PyTorch model with choices: variables, costs and which of them are the same.

    Nothing is trained, and the model takes no memory for it. Parameters are counted, multiply-adds too, by torch's own
    counter.

    Args:
        make: makes the model, freshly initialised from torch's global generator, see `register_model`.
        inputs: what the model takes for one sample: the shape of a tensor of floats, such as (channels, height, width),
            or an example, tensors in dictionaries and tuples, such as `dataset[0][0]`. A dictionary is given to the
            model by name, and a tuple in its order.
        arguments: arguments for `make`, plain JSON data.
        name: name of the space in reports and records; None: that of the function.

    Raises:
        ConfigError: the model cannot be made or run, has no choices, has two of one name, does not use one, or gives
            something else than a tensor for each sample; arguments are not plain data; or the function is not
            registered.
    """
    model, given = make.__name__, dict(arguments or {})
    try:
        json.dumps(given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"arguments of a model must be plain JSON data, got {given!r} ({error})") from error
    if model_name(make) is None:
        raise ConfigError(f"the function {model} is not registered as a model: write @register_model over it")
    taken = _structure(inputs)
    meter = ModelMeter(lambda: make(**given), taken)
    costs = costs_of(model, given, taken, meter)
    meter.check_calls()
    return ModelSpace(
        name=model if name is None else name,
        model=model,
        arguments=given,
        inputs=taken,
        outputs=_outputs(meter),
        variables=meter.places.search_space.variables,
        ways=_ways(meter.places),
        skips=tuple(_skips(place) for place in meter.places.by_name.values()),
        measured=costs,
        model_params=meter.total_params,
    )


def _structure(inputs: Any) -> Structure:
    """The structure of one sample, given by a shape or by an example.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(inputs, Sequence) and inputs and all(type(size) is int and size > 0 for size in inputs):
        return f"float32{list(inputs)}"
    try:
        return structure_of(map_tensors(lambda each: torch.as_tensor(each)[None], inputs))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"inputs of a model must be a shape such as (1, 8, 8) or tensors in dictionaries and tuples, got {inputs!r}"
        ) from error


def _outputs(meter: ModelMeter) -> Structure:
    """What the networks give for one sample, the same for all.

    Raises:
        ConfigError: they give no tensor for each sample, some networks give other shapes than others, or some cannot be
            trained.
    """
    counts = meter.places.search_space.num_categories
    rows = [[min(number, count - 1) for count in counts] for number in range(max(counts))]  # with every option
    first = _output(meter, rows[0])

    def differs(row: Sequence[int]) -> bool:
        return _output(meter, row) != first

    for row in rows:
        if differs(row):
            raise ConfigError(
                f"all networks of a model must give the same shapes, {meter.blamed(row, differs)} gives "
                f"{json.dumps(_output(meter, row))} in place of {json.dumps(first)}: let the options of each choice "
                "give the same shape, or let the model end with a layer that does"
            )
        meter.check_gradient(row)
    return first


def _output(meter: ModelMeter, row: Sequence[int]) -> Structure:
    """What one network gives for a sample.

    Raises:
        ConfigError: it gives no tensor for each sample.
    """
    try:
        output = meter.output(row)
        if num_samples(output) != 1:
            raise ConfigError(f"its first tensor has the shape {tuple(tensors_of(output)[0].shape)}")
        return structure_of(output)
    except ConfigError as error:
        raise ConfigError(f"the model must give one output for each sample, for one it does not: {error}") from error


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
