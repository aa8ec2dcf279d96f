"""Samples of a dataset that can only be iterated, by their numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._pytree import tree_leaves
from torch.utils.data import ConcatDataset, Dataset, Subset

from multinas_ray.errors import FAILURES, DataError, MultiNASError, first_line

WINDOW_SAMPLES, WINDOW_BYTES = 4096, 2**28
"""Most samples and bytes of a window, which is held in memory. [ours]"""


class Iterated(Dataset[Any]):
    """The samples of an iterable by their numbers, in windows of neighbours that are read in the order of the iterable.

    An epoch is ordered by window, and at random within each. So it is one pass over the iterable, and batches remain a
    function of the step: to go on from one, the iterable is begun anew and read up to it.

    Args:
        samples: gives the same samples in the same order whenever it is iterated. What it draws by torch's global
            generator is the same each time. If it has no length, its samples are counted by one pass.

    Raises:
        DataError: it can be iterated only once, has no samples, or gives others the second time.
    """

    def __init__(self, samples: Iterable[Any]) -> None:
        self._samples, self._name = samples, type(samples).__name__
        first, again = (list(itertools.islice(self._begun(), 2)) for _ in range(2))
        if not first:
            raise DataError("a dataset must have samples, got an empty one")
        if iter(samples) is samples or not _is_same(first, again):
            raise DataError(
                f"an iterable dataset must give the same samples in the same order each time, {self._name} does not: "
                "let __iter__ begin anew, shuffle nothing, and vary samples in a dataset with numbers"
            )
        size = sum(np.asarray(each).nbytes for each in tree_leaves(first[0]))
        self.window = max(1, min(WINDOW_SAMPLES, WINDOW_BYTES // max(size, 1)))
        """Number of samples in a window."""
        self._length = len(samples) if isinstance(samples, Sized) else sum(1 for _ in self._begun())
        self._iterator: Iterator[Any] = iter(())
        self._start, self._held = 0, list[Any]()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Any:
        """A sample; the window before it must not be needed again soon."""
        start = number // self.window * self.window
        if not self._held or start != self._start:
            self._read(start)
        return self._held[number - start]

    def __getstate__(self) -> dict[str, Any]:
        """All but where it stands."""
        return {**self.__dict__, "_iterator": iter(()), "_start": 0, "_held": []}

    def _read(self, start: int) -> None:
        """Read the window that begins at a sample."""
        past = self._start + len(self._held)
        if not self._held or start < past:
            self._iterator, past = self._begun(), 0
        for _ in itertools.islice(self._iterator, start - past):
            pass
        self._start, self._held = start, list(itertools.islice(self._iterator, self.window))
        if len(self._held) < min(self.window, len(self) - start):
            found, self._held = start + len(self._held), []
            raise DataError(
                f"an iterable dataset must give the same samples each time, {self._name} has {len(self)} samples and "
                f"ended after {found} or fewer: let its length be the number of its samples"
            )

    def _begun(self) -> Iterator[Any]:
        """The samples from the first on."""
        iterator = None
        for number in itertools.count():
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(number)
                try:
                    iterator = iter(self._samples) if iterator is None else iterator
                    sample = next(iterator)
                except StopIteration:
                    return
                except MultiNASError:
                    raise
                except FAILURES as error:  # the dataset is the user's and may raise anything
                    raise DataError(
                        f"sample {number} must be readable, {self._name} raised {type(error).__name__} "
                        f"({first_line(error)})"
                    ) from error
            yield sample


def windows_of(dataset: Any, length: int) -> npt.NDArray[np.int64]:
    """The window of each sample of a dataset, (n,); the same for all where the samples have numbers."""
    if isinstance(dataset, Iterated):
        return np.arange(length) // dataset.window
    if isinstance(dataset, Subset):
        index = np.asarray(dataset.indices, np.int64)
        windows: npt.NDArray[np.int64] = windows_of(dataset.dataset, int(index.max(initial=-1)) + 1)[index]
        return windows
    if isinstance(dataset, ConcatDataset):
        parts, first = [], 0
        for part in list[Any](dataset.datasets):
            windows = windows_of(part, len(part)) + first
            first = int(windows.max(initial=first)) + 1
            parts.append(windows)
        return np.concatenate(parts)
    return np.zeros(length, np.int64)


def _is_same(first: list[Any], second: list[Any]) -> bool:
    pairs = itertools.zip_longest(tree_leaves(first), tree_leaves(second))
    return all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in pairs)
