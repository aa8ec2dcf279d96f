"""A model as a chain of modules: what networks have alike at its beginning is computed once.

Notation: N architectures, D variables, L links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from multinas_ray.choices import Place, Places
from multinas_ray.data import call, map_tensors

Apply = Callable[[Callable[[Any], Any], Any], Any]
"""Gives what a link makes of features; what it returns is given to the next link."""


def call_plainly(link: Callable[[Any], Any], features: Any) -> Any:
    """What a link makes of features."""
    return link(features)


class Chain:
    """The links of a model: the modules of an `nn.Sequential`, also within another one; else the model itself.

    Args:
        model: the model.
        places: its places.
    """

    def __init__(self, model: nn.Module, places: Places) -> None:
        numbers = {place: d for d, place in enumerate(places.by_name.values())}
        self._places, self._links = places, _links_of(model)
        self._variables = [
            [numbers[each] for each in link.modules() if isinstance(each, Place)] for link in self._links
        ]
        """Variables on which each link depends, (L, ...)."""

    def outputs(self, inputs: Any, rows: Sequence[tuple[int, ...]], apply: Apply = call_plainly) -> list[Any]:
        """What networks give for the same samples; those that begin alike share the beginning.

        The links are gone through depth first, so that without gradients features live only until the last network
        that needs them. A link may change its input in place, so of several that take the same features all but one
        get a copy.

        Args:
            inputs: the samples, which no link changes.
            rows: N architectures of D options.
            apply: calls the links; it may carry tensors of its own beside the features.

        Returns:
            N outputs, in the order of the architectures.
        """
        found: list[Any] = [None] * len(rows)
        pending = self._branches(inputs, 0, range(len(rows)), rows)
        while pending:
            features, depth, members, is_last = pending.pop()
            self._places.activate(rows[members[0]])
            link = self._links[depth]
            if depth == 0:
                outputs = apply(partial(call, link), features)
            else:
                outputs = apply(link, features if is_last else map_tensors(Tensor.clone, features))
            if depth + 1 < len(self._links):
                pending += self._branches(outputs, depth + 1, members, rows)
            else:
                for member in members:
                    found[member] = outputs
        return found

    def _branches(
        self, features: Any, depth: int, members: Sequence[int], rows: Sequence[tuple[int, ...]]
    ) -> list[tuple[Any, int, list[int], bool]]:
        """The groups of networks for which a link is the same, with what it takes; the first one is computed last."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for member in members:
            groups.setdefault(tuple(rows[member][d] for d in self._variables[depth]), []).append(member)
        return [(features, depth, group, number == 0) for number, group in enumerate(groups.values())]


def _links_of(module: nn.Module) -> list[nn.Module]:
    has_hooks = module._forward_hooks or module._forward_pre_hooks
    if type(module) is not nn.Sequential or has_hooks or not len(module):
        return [module]
    return [link for child in module for link in _links_of(child)]
