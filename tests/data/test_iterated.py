"""Datasets that can only be iterated, and loaders: batches are a function of the step as for any other."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from multinas_ray.data import DataConfig, iterated, load_splits, open_stream, register_dataset
from multinas_ray.data.iterated import Iterated
from multinas_ray.data.samples import SampleSet
from multinas_ray.errors import DataError


class Numbers(IterableDataset[Any]):
    """0 to n, and a random number beside each."""

    def __init__(self, num: int) -> None:
        self.num, self.passes = num, 0

    def __iter__(self):
        self.passes += 1
        for number in range(self.num):
            yield torch.tensor([number, torch.rand(())]), number


class Shuffled(Numbers):
    def __iter__(self):
        return (list(super(Shuffled, self).__iter__())[each] for each in (self.passes % 3, 1, 0))


class Once(Numbers):
    def __iter__(self):
        return self

    def __next__(self):
        return torch.zeros(1), 0


class Longer(Numbers):
    def __len__(self):
        return self.num + 1


class Broken(Numbers):
    def __iter__(self):
        yield torch.zeros(1), 0
        yield torch.zeros(1), 0
        raise OSError("gone")


@register_dataset
def numbers(num: int):
    return Numbers(num), Numbers(8)


def doubling(samples):
    return 2 * torch.stack([each for each, _ in samples]), torch.zeros(len(samples))


@register_dataset
def loaded(num: int):
    doubled = DataLoader(Numbers(num), batch_size=3, collate_fn=doubling)
    return doubled, doubled, DataLoader[Any](list(Numbers(num)))  # type: ignore[arg-type]  # has numbers


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(iterated, "WINDOW_SAMPLES", 8)


def stream(samples: SampleSet, rank: int = 0, world_size: int = 1):
    settings: dict[str, Any] = {"batch_size": 4, "seed": 3, "shuffle": True, "device": "cpu", "norm_batch_size": 1}
    return open_stream(samples, augment=None, rank=rank, world_size=world_size, **settings)


def splits() -> Any:
    return load_splits(DataConfig(source="numbers", source_options={"num": 50}, validation_fraction=0.2))


def test_an_epoch_is_one_pass_in_which_neighbours_are_shuffled() -> None:
    dataset = Numbers(24)
    batches = stream(SampleSet(dataset))
    passes = dataset.passes
    seen = [batches.batch(step)[1].tolist() for step in range(12)]
    assert dataset.passes == passes + 2
    for epoch in (seen[:6], seen[6:]):
        for window in range(3):
            assert sorted(epoch[2 * window] + epoch[2 * window + 1]) == list(range(8 * window, 8 * window + 8))
    assert seen[:6] != seen[6:]
    assert seen[0] != sorted(seen[0])
    assert len(set(batches.batch(0)[0][:, 1].tolist())) == 4


def test_any_step_can_be_the_first_and_ranks_share_it() -> None:
    whole = stream(splits().train)
    steps = [whole.batch(step) for step in range(14)]
    for step in (13, 6, 7, 2):
        resumed = stream(pickle.loads(pickle.dumps(splits().train)))
        torch.testing.assert_close(resumed.batch(step), steps[step], rtol=0, atol=0)
        shards = [stream(splits().train, rank, 2).batch(step)[0] for rank in range(2)]
        torch.testing.assert_close(torch.cat(shards), steps[step][0], rtol=0, atol=0)


def test_it_is_divided_and_joined_like_others() -> None:
    parts = splits()
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (40, 10, 8)
    joined = parts.train.join(parts.validation)
    both, dataset = stream(joined), joined.dataset.datasets[0].dataset._samples
    before = dataset.passes
    assert len(set(torch.cat([both.batch(step)[1] for step in range(12)]).tolist())) == 48
    assert dataset.passes == before + 2
    validation = torch.cat([batch[1] for batch in stream(parts.validation).all_batches()]).tolist()
    train = torch.cat([batch[1] for batch in stream(parts.train).all_batches()]).tolist()
    assert validation == sorted(validation)
    assert sorted(train + validation) == list(range(50))


def test_a_loader_stands_for_its_dataset_and_its_batches() -> None:
    parts: Any = load_splits(DataConfig(source="loaded", source_options={"num": 8}))
    index = np.array([1, 2])
    inputs, _ = parts.validation.batch(index, np.zeros(2, np.int64))
    assert inputs[:, 0].tolist() == [2, 4]
    assert len(parts.test) == 8


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Shuffled(3), "must give the same samples in the same order each time, Shuffled does not"),
        (Once(3), "must give the same samples in the same order each time, Once does not"),
        (Numbers(0), "must have samples, got an empty one"),
        (Broken(3), r"sample 2 must be readable, Broken raised OSError \(gone\)"),
        (object(), "must give samples by their numbers or in an order, object does not"),
        (DataLoader(Numbers(3), batch_size=None), "one with batch_size=None gets whole batches"),
    ],
)
def test_datasets_without_an_order_of_their_own_are_refused(dataset, message) -> None:
    with pytest.raises(DataError, match=message):
        SampleSet(dataset)


def test_a_length_that_is_not_true_is_told() -> None:
    samples = Iterated(Longer(9))
    assert samples[7][1] == 7
    with pytest.raises(DataError, match="Longer has 10 samples and ended after 9"):
        samples[9]


def test_a_window_of_large_samples_is_small(monkeypatch) -> None:
    monkeypatch.setattr(iterated, "WINDOW_BYTES", 3 * (2 * 4 + 8))
    assert Iterated(Numbers(9)).window == 3
