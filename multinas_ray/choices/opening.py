"""Choices in a model that was written without any, such as one of torchvision or timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from multinas_ray.choices.places import Choice, Option
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments

Options = Callable[[str, nn.Module], Mapping[str, Option] | None]
"""From the path of a module and the module to what may stand in its place, by names; None: the module stays."""


@checked_arguments
def open_model(model: nn.Module, options: Options) -> nn.Module:
    """Put choices into a model, in the places of some of its modules. Weights that it has already stay.

    >>> from torch import nn
    >>> from multinas_ray.choices import open_model
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    >>> opened = open_model(model, lambda path, layer: {"keep": layer, "skip": nn.Identity()} if path == "2" else None)

    Args:
        model: any model; it is changed.
        options: asked for each module, from the outside to the inside. Modules within one that gets a choice are not
            asked for.

    Returns:
        The same model, in which choices have the paths of the modules as their names.

    Raises:
        ConfigError: no module got a choice.
    """
    opened: list[str] = []
    for path, module in list(model.named_modules()):
        if not path or any(path.startswith(f"{outer}.") for outer in opened):
            continue
        found = options(path, module)
        if found is not None:
            model.set_submodule(path, Choice(path, found))
            opened.append(path)
    if not opened:
        known = ", ".join(path for path, _ in list(model.named_modules())[1:9])
        raise ConfigError(f"options must be given for some module of the model, such as {known}, got none for all")
    return model
