"""Batches in passes: so many samples at a time as the memory of a device holds.

Notation: B samples.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from operator import itemgetter
from typing import Any, TypeVar

import torch

from multinas_ray.data import map_tensors, num_samples
from multinas_ray.errors import RunError

T = TypeVar("T")


class Passes:
    """Cuts batches into passes, which become smaller when the memory of the device does not hold them.

    Args:
        group: samples that must stay together, those of a group of batch normalisation.
        most: samples of a pass at the start.
    """

    def __init__(self, group: int, most: int) -> None:
        self._group, self.most = group, max(group, most)

    def of(self, batches: Iterable[Any], group: int = 1) -> Iterator[Any]:
        """The batches in order, each in the fewest parts of nearly equal size.

        Args:
            batches: structures of tensors (B, ...).
            group: parts are multiples of it, as the batches are.
        """
        for batch in batches:
            groups = num_samples(batch) // group
            parts = -(-groups * group // self.most)
            ends = [groups * part // parts * group for part in range(parts + 1)]
            for start, end in pairwise(ends):
                yield map_tensors(itemgetter(slice(start, end)), batch)

    def run(self, work: Callable[[], T]) -> T:
        """Do work, again with passes of half the size as long as the memory of the device is not enough.

        Raises:
            RunError: one group does not fit.
        """
        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                if self.most <= self._group:
                    raise RunError(
                        f"a network and {self.most} samples must fit into the memory of a GPU, they do not: choose the "
                        "networks on GPUs with more memory, or on CPUs (without --use-gpu)"
                    ) from error
                self.most = max(self._group, self.most // 2)
                torch.cuda.empty_cache()
