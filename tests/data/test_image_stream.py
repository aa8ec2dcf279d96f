import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from multinas_ray.data import (
    Augmentation,
    BatchStream,
    DataConfig,
    ImageStream,
    ResizedCrop,
    StreamedImages,
    load_splits,
    open_stream,
    standard_augmentation,
)
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import ConfigError, DataError
from tests.data.streams import MEAN, STD, stream
from tests.support.image_trees import picture, write_tree
from tests.support.narrow import present


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """37 images of 12x10 pixels and three classes."""
    return write_tree(tmp_path_factory.mktemp("images"), {"a": 20, "b": 10, "c": 7}, size=(12, 10))


def images(tree, **fields):
    return StreamedImages(scan_tree(str(tree)).train, 8, **{"num_processes": 0, **fields})


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def pixels(batch):
    """Pixels 0..255, (B, S, S, C), of a normalised batch."""
    return np.rint((batch.permute(0, 2, 3, 1).numpy() * STD + MEAN) * 255).astype(int)


def pictures():
    return [picture(1000 * label + n, (12, 10)) for label, count in enumerate((20, 10, 7)) for n in range(count)]


def test_evaluation_is_that_of_torchvisions_references(tree):
    batch, labels = stream(images(tree), augment=None, shuffle=False, batch_size=36).batch(0)
    reference = v2.Compose([v2.Resize(round(8 * 256 / 224)), v2.CenterCrop(8)])
    expected = [np.asarray(reference(each)) for each in pictures()[:36]]
    np.testing.assert_array_equal(pixels(batch), expected)
    np.testing.assert_array_equal(labels, [0] * 20 + [1] * 10 + [2] * 6)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch.dtype == torch.float32


def test_order_is_the_epochs_permutation(tree):
    a_stream = stream(images(tree), augment=None)
    assert a_stream.batches_per_epoch == 4
    everything = pixels(torch.cat([batch for batch, _ in a_stream.all_batches()]))
    for epoch in (0, 2):
        seen = torch.cat([a_stream.batch(4 * epoch + position)[0] for position in range(4)])
        np.testing.assert_array_equal(pixels(seen), everything[np.random.default_rng((3, epoch)).permutation(37)[:32]])


def test_variation_is_torchvisions_and_depends_on_seed_epoch_and_image_only(tree):
    """Drawn here from torch's global generator, seeded for each image; met again in other batches and shards."""
    big, small = stream(images(tree), batch_size=36), stream(images(tree), batch_size=4, rank=1, world_size=2)
    order = np.random.default_rng((3, 1)).permutation(37)
    transform = v2.Compose([v2.RandomResizedCrop(8, scale=(0.08, 1.0)), v2.RandomHorizontalFlip(0.5)])
    varied = pixels(big.batch(1)[0])
    for place, number in enumerate(order[:36].tolist()):
        torch.manual_seed(int(np.random.SeedSequence((3, 1, number, 2)).generate_state(1, np.uint64)[0]))
        np.testing.assert_array_equal(varied[place], np.asarray(transform(pictures()[number])))
    for position in range(9):
        batch, _ = small.batch(9 + position)
        np.testing.assert_array_equal(pixels(batch), varied[4 * position + 2 : 4 * position + 4])


def test_another_seed_or_epoch_varies_anew(tree):
    still = {"shuffle": False, "batch_size": 36}
    base = stream(images(tree), **still).batch(0)[0]
    assert not torch.equal(base, stream(images(tree), **still).batch(1)[0])
    assert not torch.equal(base, stream(images(tree), seed=4, **still).batch(0)[0])


@pytest.mark.parametrize("flips", [True, False])
def test_half_of_the_images_are_mirrored_or_none(tmp_path, flips):
    ramp = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (24, 24, 3))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(100):
            Image.fromarray(ramp.copy()).save(tmp_path / name / f"{number}.png")
    a_stream = stream(images(tmp_path), augment=ResizedCrop(horizontal_flip=flips), batch_size=200)
    shown = pixels(a_stream.batch(0)[0])
    num_mirrored = (shown[:, 0, 0, 0] > shown[:, 0, -1, 0]).sum()
    # 200 draws of 1/2, seed 3: five standard errors are 35
    assert abs(num_mirrored - 100) < 35 if flips else num_mirrored == 0


def test_the_global_random_state_stays_as_it_is(tree):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    stream(images(tree)).batch(0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_the_shards_joined_are_the_global_batch(tree, world_size):
    whole = stream(images(tree))
    shards = [stream(images(tree), rank=rank, world_size=world_size) for rank in range(world_size)]
    for step in (0, 3, 4, 9):
        joined = [torch.cat(parts) for parts in zip(*(shard.batch(step) for shard in shards), strict=True)]
        assert equal(joined, whole.batch(step))


def test_a_batch_needs_no_earlier_batch(tree):
    one, other = stream(images(tree)), stream(images(tree))
    there = [one.batch(step) for step in range(10)]
    back = [other.batch(step) for step in reversed(range(10))][::-1]
    assert all(equal(a, b) for a, b in zip(there, back, strict=True))


@pytest.mark.parametrize("world_size", [1, 2])
def test_all_batches_yield_every_image_once_in_order_and_never_varied(tree, world_size):
    streams = [stream(images(tree), rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [batch for one in streams for batch in one.all_batches()]
    still = stream(images(tree), augment=None, shuffle=False, batch_size=36).batch(0)
    assert torch.equal(torch.cat([batch for batch, _ in batches])[:36], still[0])
    assert len(torch.cat([labels for _, labels in batches])) == 37
    assert equal(streams[0].batch(2), stream(images(tree), rank=0, world_size=world_size).batch(2))


@pytest.mark.slow
def test_processes_change_nothing(tree):
    alone, two = stream(images(tree)), stream(images(tree, num_processes=2))
    for step in (0, 1, 2, 3, 4, 5, 20, 21, 2):  # ahead, beyond the epoch, with a jump and back
        assert equal(alone.batch(step), two.batch(step))
    assert all(equal(a, b) for a, b in zip(alone.all_batches(), two.all_batches(), strict=True))
    assert equal(alone.batch(3), two.batch(3))  # the next one, as if nothing had been asked between
    processes = two._running._workers
    del two  # no circle of references: its processes end at once, and are not killed after seconds
    assert [process.exitcode for process in processes] == [0, 0]


def copied(tree, folder):
    for path in tree.glob("*/*"):
        copy = folder / path.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [0, 1])
def test_a_damaged_image_is_named_once_and_the_next_of_its_class_stands_in(tree, tmp_path, caplog, num_processes):
    folder = copied(tree, tmp_path)
    for name in ("a/19.png", "a/00.png", "a/05.png"):  # the next of the last is the first, which is damaged too
        (folder / name).write_bytes(b"damaged")
    whole = [batch for batch, _ in stream(images(tree)).all_batches()]
    a_stream = stream(images(folder, num_processes=num_processes), augment=None, shuffle=False, batch_size=36)
    with caplog.at_level(logging.WARNING):
        batch, labels = a_stream.batch(0)
        a_stream.batch(1)
    expected = torch.cat(whole)[:36].clone()
    expected[19] = expected[0] = expected[1]
    expected[5] = expected[6]
    assert torch.equal(batch, expected)
    np.testing.assert_array_equal(labels[:21], [0] * 20 + [1])
    told = [record.message for record in caplog.records]
    assert len(told) == 3
    assert "a/00.png cannot be read as an image" in told[0]
    assert "takes its place (2 so far)" in told[1]
    assert [Path(text.split()[0]).name for text in a_stream.damaged_images] == ["00.png", "05.png", "19.png"]


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [0, 1])
def test_a_damaged_image_stops_a_strict_stream(tree, tmp_path, num_processes):
    folder = copied(tree, tmp_path)
    (folder / "b/03.png").write_bytes((folder / "b/03.png").read_bytes()[:60])
    a_stream = stream(images(folder, num_processes=num_processes, strict=True), shuffle=False)
    a_stream.batch(1)
    with pytest.raises(DataError, match=r"^/.*b/03.png cannot be decoded .*: replace it$"):
        a_stream.batch(2)


def test_a_class_without_a_readable_image_stops_the_stream(tree, tmp_path):
    folder = copied(tree, tmp_path)
    for path in (folder / "c").iterdir():
        path.write_text("damaged")
    with pytest.raises(DataError, match=r"no image of the class of .*/c/0.\.png can be decoded"):
        list(stream(images(folder)).all_batches())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 7}, "batch_size must be a multiple of"),
        ({"batch_size": 38}, "at most the number of images, 37, got 38"),
        ({"mean": (0.5,)}, "mean and std must have 3 values"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tree, changes, text):
    with pytest.raises((ConfigError, DataError), match=text):
        stream(images(tree), **changes)


def test_the_stream_that_fits_the_images_is_opened(tree):
    settings: dict[str, Any] = {"batch_size": 8, "seed": 0, "shuffle": True, "mean": MEAN, "std": STD, "device": "cpu"}
    for in_memory, kind in ((True, BatchStream), (False, ImageStream)):
        config = DataConfig(source="folder", path=str(tree), image_size=8, in_memory=in_memory)
        splits, augment = load_splits(config), standard_augmentation(config)
        assert splits.image_shape == (3, 8, 8)
        assert type(open_stream(splits.train, augment=augment, norm_batch_size=8, **settings)) is kind
        wrong = ResizedCrop() if in_memory else Augmentation()
        with pytest.raises(ConfigError, match="images in memory must be varied by Augmentation, streamed ones by"):
            open_stream(splits.train, augment=wrong, norm_batch_size=8, **settings)


def test_splits_are_those_in_memory(tree):
    config = DataConfig(source="folder", path=str(tree), image_size=8, in_memory=False, split_seed=4)
    streamed = load_splits(config)
    decoded = load_splits(DataConfig(source="folder", path=str(tree), image_size=8, split_seed=4))
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(streamed, split).labels, getattr(decoded, split).labels)
    parts = [getattr(streamed, split).encoded for split in ("train", "validation", "test")]
    names = [part.name(number) for part in parts for number in range(len(part))]
    assert len(set(names)) == 37


def test_images_that_are_none_are_told_before_anything_starts(tree, tmp_path):
    folder = copied(tree, tmp_path)
    for path in folder.glob("*/*"):
        path.write_text("no image")
    with pytest.raises(DataError, match="cannot be read as an image"):
        load_splits(DataConfig(source="folder", path=str(folder), in_memory=False))


@pytest.mark.slow
@pytest.mark.data
def test_grey_photos_are_streamed_as_rgb():
    found = scan_tree(str(Path(os.environ["MULTINAS_DATA"], "tiny_imagenet")))
    a_stream = stream(StreamedImages(present(found.test), 56, strict=True, num_processes=2), batch_size=128)
    seen = [pixels(batch) for batch, _ in a_stream.all_batches()]
    assert sum(len(batch) for batch in seen) == 1000
    assert any((batch == batch[..., :1]).all((1, 2, 3)).any() for batch in seen)  # a grey one was among them
