"""What the modules of a model add to the memory of activations, so that calls that are alike are run once.

The networks of a model differ in some places only. Most of what one of them runs was run for another one before, and
what a module adds to the memory while it is called depends on its options and on what it is given alone. A chain of
modules that are all known is not run at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from multinas_ray.choices.memory import PeakMemory
from multinas_ray.choices.places import Choice, DepthChoice, Place

Layout = tuple[torch.dtype, tuple[int, ...], tuple[int, ...]]
"""Type, sizes and strides of a tensor."""


@dataclass(frozen=True)
class Call:
    """What a call of a module adds to the memory."""

    most: int
    """Bytes, at most, beside those that were alive before."""
    outputs: Sequence[Layout]
    """The tensors that it gives."""
    structure: TreeSpec
    """How it gives them."""
    shares: bool
    """Whether they use memory of what it was given; else each has memory of its own."""


class RememberedCalls:
    """Calls of the modules of a model.

    A call is not remembered if it gives or keeps other memory that was there before, or is given something else than
    tensors and plain values.

    Args:
        model: whose modules are called.
    """

    def __init__(self, model: nn.Module) -> None:
        self._memory: PeakMemory | None = None
        self._calls: dict[Hashable, Call | None] = {}
        self._places = {
            module: [each for each in module.modules() if isinstance(each, Place)] for module in model.modules()
        }
        for module in self._places:
            if module is not model:
                self._remember(module)

    @contextmanager
    def counted_by(self, memory: PeakMemory) -> Iterator[None]:
        """Within it, calls that are known are not run; what they add is told to `memory`."""
        self._memory = memory
        try:
            yield
        finally:
            self._memory = None

    def added(self, model: nn.Module, example: Any) -> int | None:
        """Bytes that the active network adds, at most, to those of a tensor; None: it must be run."""
        if not isinstance(example, Tensor) or (call := self._known(model, _layout(example))) is None:
            return None
        return call.most

    def _known(self, module: nn.Module, given: Layout) -> Call | None:
        """The call of a module for one tensor, also that of modules in a row; None: it must be run."""
        key = self._key(module, (_ONE_TENSOR, (given,)))
        if key in self._calls:
            return self._calls[key]
        if (row := _row_of(module)) is None:
            return None
        most, held, now, shares = 0, 0, given, True
        for each in row:
            call = self._known(each, now)
            if call is None or not call.structure.is_leaf():
                return None
            most, (now,) = max(most, held + call.most), call.outputs
            if not call.shares:
                held, shares = _bytes(now), False
        return Call(most, [now], _LEAF, shares)

    def _key(self, module: nn.Module, given: Hashable) -> Hashable:
        return module, tuple(place.active for place in self._places[module]), given

    def _remember(self, module: nn.Module) -> None:
        run = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            memory = self._memory
            given = None if memory is None else _described((args, kwargs))
            if memory is None or given is None:
                return run(*args, **kwargs)
            key = self._key(module, given)
            call = self._calls.get(key)
            if call is not None and not call.shares:
                memory.bytes = max(memory.bytes, memory.alive + call.most)
                made = [torch.empty_strided(sizes, strides, dtype=dtype) for dtype, sizes, strides in call.outputs]
                return tree_unflatten(made, call.structure)
            if key in self._calls:
                return run(*args, **kwargs)
            output, self._calls[key] = _measured(memory, run, args, kwargs)
            return output

        module.forward = forward


def _measured(
    memory: PeakMemory, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Call | None]:
    """The output of a module, and what its call adds; None if that is not to be remembered."""
    given = memory.keys(each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor))
    before, most = memory.alive, memory.bytes
    known = memory.known
    memory.bytes = before
    output = run(*args, **kwargs)
    added, memory.bytes = memory.bytes - before, max(most, memory.bytes)
    outputs, structure = tree_flatten(output)
    if not all(isinstance(each, Tensor) for each in outputs):
        return output, None
    layouts, keys, kept = [_layout(each) for each in outputs], memory.keys(outputs), memory.alive - before
    if known.isdisjoint(keys) and len(set(keys)) == len(keys) and kept == sum(map(_bytes, layouts)):
        return output, Call(added, layouts, structure, shares=False)
    if len(given) == 1 and set(keys) == set(given) and kept == 0:
        return output, Call(added, layouts, structure, shares=True)
    return output, None


def _row_of(module: nn.Module) -> list[nn.Module] | None:
    """The active modules of one that passes a tensor from each to the next; None: it is none of those."""
    if type(module) is nn.Sequential:
        return list(module)
    if type(module) is DepthChoice:
        return list(module.options)[: module.depths[module.active]]
    return [module.options[str(module.active)]] if type(module) is Choice else None


def _described(given: Any) -> Hashable | None:
    """What a call is given, but for the values of tensors; None if something is no plain value."""
    leaves, structure = tree_flatten(given)
    if all(each is None or isinstance(each, Tensor | bool | int | float | str) for each in leaves):
        return str(structure), tuple(
            _layout(each) if isinstance(each, Tensor) else (type(each), each) for each in leaves
        )
    return None


def _layout(tensor: Tensor) -> Layout:
    return tensor.dtype, tuple(tensor.shape), tensor.stride()


def _bytes(layout: Layout) -> int:
    """Bytes of a tensor with memory of its own."""
    dtype, sizes, strides = layout
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    return 0 if 0 in sizes else (last + 1) * dtype.itemsize


_LEAF = tree_flatten(torch.zeros(0))[1]
_ONE_TENSOR = str(tree_flatten(((torch.zeros(0),), {}))[1])
"""How a module is given one tensor."""
