"""Samples of any kind, from PyTorch datasets, and batches of them as a function of the step."""

# n samples of the set

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, default_collate

from multinas_ray.data.batch_plan import BatchPlan
from multinas_ray.data.iterated import Iterated, windows_of
from multinas_ray.data.structures import map_tensors, num_samples, structure_of
from multinas_ray.errors import FAILURES, DataError, MultiNASError, first_line
from multinas_ray.spaces import Structure

_NO_EPOCH = 2**32  # of the seeds of samples that are read in order
_EPOCHS_KEPT = 2  # so that a caller who looks one batch ahead does not draw an epoch twice


class SampleSet:
    """Samples of a PyTorch dataset, each a pair of inputs and target.

    Args:
        dataset: with `__len__` and `__getitem__`; it may vary its samples by torch's global generator, which is seeded
            for each sample. Or an iterable one, see `Iterated`. Or a `DataLoader` of one of both, of which only the
            dataset and `collate_fn` are used.
        collate: makes a batch of a list of samples.

    Raises:
        DataError: the dataset has no samples, has neither numbers nor an order, or is a loader of whole batches.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any] = default_collate) -> None:
        if isinstance(dataset, DataLoader):
            if dataset.batch_size is None and dataset.batch_sampler is None:
                raise DataError(
                    "a DataLoader must make its batches of samples, one with batch_size=None gets whole batches: give "
                    "a dataset of samples"
                )
            dataset, collate = dataset.dataset, dataset.collate_fn
        is_numbered = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        if isinstance(dataset, IterableDataset) or not is_numbered:
            if not hasattr(dataset, "__iter__"):
                raise DataError(
                    f"a dataset must give samples by their numbers or in an order, {type(dataset).__name__} does not: "
                    "write one with __len__ and __getitem__, or with __iter__"
                )
            dataset = Iterated(dataset)
        self.dataset, self._collate = dataset, collate
        if not len(self):
            raise DataError("a dataset must have samples, got an empty one")

    def __len__(self) -> int:
        return len(self.dataset)

    def select(self, index: npt.NDArray[np.int64]) -> SampleSet:
        """The samples at `index`, in its order."""
        return SampleSet(Subset(self.dataset, index.tolist()), self._collate)

    def join(self, other: SampleSet) -> SampleSet:
        """These samples, then the others."""
        return SampleSet(ConcatDataset([self.dataset, other.dataset]), self._collate)

    def order(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """A random order of the samples; of an iterable dataset, one in which its windows follow each other."""
        order = rng.permutation(len(self))
        return order[np.argsort(windows_of(self.dataset, len(self))[order], kind="stable")]

    def batch(self, index: npt.NDArray[np.int64], seeds: npt.NDArray[np.int64]) -> tuple[Any, Any]:
        """Inputs and targets of the samples at `index`, each read with its own seed; numbers have 32 bits at most.

        Raises:
            DataError: a sample cannot be read, or samples do not go together.
        """
        samples = []
        with torch.random.fork_rng(devices=[]):
            for number, seed in zip(index.tolist(), seeds.tolist(), strict=True):
                torch.default_generator.manual_seed(seed)
                samples.append(self._read(number))
        try:
            inputs, targets = self._collate(samples)
            return map_tensors(_narrow, inputs), map_tensors(_narrow, targets)
        except FAILURES as error:  # torch raises what the samples happen to cause
            raise DataError(
                f"samples must be pairs (inputs, target) of tensors, arrays and numbers, all of one structure, samples "
                f"{index[:3].tolist()} are not ({first_line(error)}): correct the dataset"
            ) from error

    def _read(self, number: int) -> Any:
        try:
            sample = self.dataset[number]
        except MultiNASError:
            raise
        except FAILURES as error:  # the dataset is the user's and may raise anything
            raise DataError(
                f"sample {number} must be readable, the dataset raised {type(error).__name__} ({first_line(error)})"
            ) from error
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            raise DataError(
                f"a sample must be a pair (inputs, target), sample {number} is {_told(sample)}: let __getitem__ return "
                "two things, of which the first is what the model takes"
            )
        return sample

    @property
    def example(self) -> tuple[Any, Any]:
        """Inputs and targets of the first two samples, or of the only one twice."""
        return self.batch(np.array([0, min(1, len(self) - 1)]), np.zeros(2, np.int64))

    @property
    def inputs(self) -> Structure:
        """The structure of the inputs of a sample."""
        return structure_of(self.example[0])


class SampleStream:
    """Batches of a set of samples, see `Batches`; epochs are ordered as those of images in memory.

    Samples are read in this process, when their batch is asked for.

    Args:
        samples: the set.
        plan: the batches.

    Raises:
        DataError: the set has fewer samples than a batch.
    """

    def __init__(self, samples: SampleSet, plan: BatchPlan) -> None:
        plan.check(samples)
        self._samples, self._plan = samples, plan
        self.batch_size, self.shard_size = plan.batch_size, plan.shard_size
        self.batches_per_epoch = len(samples) // plan.batch_size
        self._device = torch.device(plan.device)
        self._epochs: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}

    def batch(self, step: int) -> tuple[Any, Any]:
        """Inputs and targets of this rank's shard of the global batch of a step, on the device."""
        epoch, position = divmod(step, self.batches_per_epoch)
        order, seeds = self._epoch(epoch)
        start = position * self.batch_size + self._plan.shard.start
        return self._read(order[start : start + self.shard_size], seeds)

    def batches(self, steps: range) -> Iterator[tuple[Any, Any]]:
        """Inputs and targets of the batches of these steps."""
        return map(self.batch, steps)

    def all_batches(self) -> Iterator[tuple[Any, Any]]:
        """Every sample of this rank's part once, in the order of the set."""
        first, stop = self._plan.part(len(self._samples))
        seeds = self._seeds(_NO_EPOCH)
        for start in range(first, stop, self.shard_size):
            yield self._read(np.arange(start, min(start + self.shard_size, stop)), seeds)

    @property
    def damaged_images(self) -> tuple[str, ...]:
        """Empty: a sample that cannot be read ends the run."""
        return ()

    def _epoch(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        if epoch not in self._epochs:
            while len(self._epochs) >= _EPOCHS_KEPT:
                del self._epochs[next(iter(self._epochs))]
            order = np.arange(len(self._samples))
            if self._plan.shuffle:
                order = self._samples.order(np.random.default_rng((self._plan.seed, epoch)))
            self._epochs[epoch] = order, self._seeds(epoch)
        return self._epochs[epoch]

    def _seeds(self, epoch: int) -> npt.NDArray[np.int64]:
        """The seed of each sample in an epoch."""
        return np.random.default_rng((self._plan.seed, epoch, 1)).integers(2**32, size=len(self._samples))

    def _read(self, index: npt.NDArray[np.int64], seeds: npt.NDArray[np.int64]) -> tuple[Any, Any]:
        inputs, targets = self._samples.batch(index, seeds[index])
        if num_samples(inputs) != len(index) or num_samples(targets) != len(index):
            raise DataError(f"a batch must have {len(index)} samples, got {structure_of(inputs)}: correct the dataset")
        return self._placed(inputs), self._placed(targets)

    def _placed(self, values: Any) -> Any:
        if self._device.type == "cpu":
            return values
        return map_tensors(lambda each: each.pin_memory().to(self._device, non_blocking=True), values)


def _narrow(values: torch.Tensor) -> torch.Tensor:
    """The default collation makes 64 bits of Python's floats and keeps those of numpy; networks have 32."""
    return values.float() if values.dtype == torch.float64 else values


def _told(sample: Any) -> str:
    length = f" of {len(sample)}" if isinstance(sample, (tuple, list)) else ""
    return f"{type(sample).__name__}{length}"
