"""No image is decoded in vain by the streams of several sets, and what is kept is decoded once."""

import pytest
import torch

from multinas_ray.data import DataConfig, DecodingProcesses, StreamedImages, load_splits, shared_decoding
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import ConfigError, StateError
from tests.data.streams import stream
from tests.support.counted_images import CountedImages, read_since
from tests.support.image_trees import write_tree

IMAGE_BYTES = 8 * 8 * 3
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """40 images."""
    return str(write_tree(tmp_path_factory.mktemp("images"), {"a": 20, "b": 20}, size=(12, 10)))


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "read")


def two_sets(tree, file, num_processes=0):
    """Two sets of 20 images, whose readings are counted."""
    images = CountedImages(scan_tree(tree).train, file)
    return [StreamedImages(images.select(range(first, 40, 2)), 8, num_processes=num_processes) for first in (0, 1)]


def streams(sets, kept_bytes):
    decoding = DecodingProcesses(sets, augment=None, seed=0, device=CPU, kept_bytes=kept_bytes)
    return [stream(each, augment=None, decoding=decoding) for each in sets]


def equal(batches, others):
    return all(torch.equal(a, b) for pair in zip(batches, others, strict=True) for a, b in zip(*pair, strict=True))


@pytest.mark.slow
def test_processes_decode_what_is_asked_for_and_nothing_in_advance(tree, file):
    sets = two_sets(tree, file, num_processes=1)
    one, two = streams(sets, kept_bytes=0)
    for _ in range(3):
        parts = [list(one.batches(range(2))), list(two.all_batches()), list(two.batches(range(1, 2)))]
    alone = [stream(each, augment=None) for each in two_sets(tree, file)]
    assert read_since(file) == 3 * (16 + 20 + 8)
    assert equal(parts[0], [alone[0].batch(step) for step in range(2)])
    assert equal(parts[1], alone[1].all_batches())
    assert equal(parts[2], [alone[1].batch(1)])


@pytest.mark.parametrize("kept", [0, 7, 30, 100])
def test_images_that_are_kept_are_decoded_once_and_are_the_same(tree, file, kept):
    one, two = streams(two_sets(tree, file), kept_bytes=kept * IMAGE_BYTES)
    first = [list(each) for each in (one.batches(range(1)), two.all_batches(), one.all_batches())]
    assert read_since(file) == 48 - min(kept, 8)  # one batch, and all of both sets
    again = [list(each) for each in (one.batches(range(1)), two.all_batches(), one.all_batches())]
    assert read_since(file) == 48 - min(kept, 8) - min(kept, 40)
    alone = [stream(each, augment=None) for each in two_sets(tree, file)]
    for parts in (first, again):
        assert equal(parts[0], [alone[0].batch(0)])
        assert equal(parts[1], alone[1].all_batches())
        assert equal(parts[2], alone[0].all_batches())


def test_varied_images_are_not_kept(tree, file):
    images, _ = two_sets(tree, file)
    plain = stream(images)
    decoding = DecodingProcesses([images], augment=plain._decoding.augment, seed=3, device=CPU, kept_bytes=10**6)
    varied = stream(images, decoding=decoding)
    assert equal(varied.batches(range(4)), plain.batches(range(4)))
    assert not equal(varied.batches(range(2)), varied.batches(range(2, 4)))
    assert equal(varied.all_batches(), plain.all_batches())
    assert equal(varied.batches(range(4)), plain.batches(range(4)))


def test_a_pass_of_another_stream_does_not_mix_with_the_one_before(tree, file):
    one, two = streams(two_sets(tree, file), kept_bytes=0)
    alone = [stream(each, augment=None) for each in two_sets(tree, file)]
    for step in (0, 1, 2):
        assert equal([one.batch(step), two.batch(step)], [each.batch(step) for each in alone])
    begun = one.all_batches()
    next(begun)
    two.batch(0)
    with pytest.raises(StateError, match="a pass over images must end before the next begins"):
        next(begun)


def test_a_damaged_image_that_is_kept_is_told_once_and_replaced_in_every_pass(tmp_path, caplog):
    folder = write_tree(tmp_path, {"a": 20, "b": 20})
    (folder / "a" / "03.png").write_bytes(b"no image")
    images = StreamedImages(scan_tree(str(folder)).train, 8, num_processes=0)
    (kept,) = streams([images], kept_bytes=10**6)
    passes = [list(kept.all_batches()) for _ in range(2)]
    assert equal(*passes)
    assert caplog.text.count("03.png") == 1
    assert len(kept.damaged_images) == 1


def test_processes_are_for_the_images_and_the_variation_of_their_streams(tree, file):
    one, two = two_sets(tree, file)
    decoding = DecodingProcesses([one], augment=None, seed=0, device=CPU)
    for wrong in ({"images": two, "augment": None}, {"images": one}):
        with pytest.raises(ConfigError, match="must be made for these images and this variation"):
            stream(**wrong, decoding=decoding)
    with pytest.raises(ConfigError, match=r"must have images of one size, got \[8, 12\]"):
        DecodingProcesses([one, StreamedImages(one.encoded, 12)], augment=None, seed=0, device=CPU)


def test_images_in_memory_need_no_processes():
    assert shared_decoding(load_splits(DataConfig(source="digits")), device=CPU, kept_bytes=0) is None
