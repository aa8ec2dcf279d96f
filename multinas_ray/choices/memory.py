"""The memory of a network's activations, found by running it on fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive at once while operations run under it.

    Tensors that share their memory count once. An operation's inputs and outputs are alive together; what it needs
    within itself is not known.

    Args:
        weights: tensors that do not count, nor views of them.
        inputs: tensors that are alive from the start.
    """

    def __init__(self, weights: Iterable[Tensor], inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types of it
        self._weights = {_reference_to(each).cdata for each in weights}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = 0
        """The most bytes that were alive at once."""
        self._note(inputs)

    @property
    def alive(self) -> int:
        """The bytes that are alive now."""
        self._note(())
        return sum(number for _, number in self._alive.values())

    @property
    def known(self) -> set[int]:
        """The memory that is alive now and that of the weights, by its keys."""
        return {*self._weights, *self._alive}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count."""
        output = func(*args, **(kwargs or {}))
        self._note(each for each in tree_leaves(output) if isinstance(each, Tensor))
        return output

    @staticmethod
    def keys(tensors: Iterable[Tensor]) -> list[int]:
        """The keys of the memory of tensors."""
        return [_reference_to(each).cdata for each in tensors]

    def _note(self, tensors: Iterable[Tensor]) -> None:
        self._alive = {key: held for key, held in self._alive.items() if not held[0].expired()}
        for each in tensors:
            reference = _reference_to(each)
            if reference.cdata not in self._weights:
                self._alive[reference.cdata] = reference, each.untyped_storage().nbytes()
        self.bytes = max(self.bytes, sum(number for _, number in self._alive.values()))


def _reference_to(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())
