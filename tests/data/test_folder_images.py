import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multinas_ray.data import Augmentation, DataConfig, encoded_source, inspect_data, load_splits, standard_augmentation
from multinas_ray.data.decoding import read_square
from multinas_ray.data.tree import ImageFiles
from multinas_ray.errors import ConfigError, DataError
from tests.support.image_trees import picture, write_class, write_tree
from tests.support.narrow import labels_of, pixels_of


def config(path, **fields):
    return DataConfig(source="folder", path=str(path), **fields)


def test_images_of_the_size_wanted_come_back_exactly(tmp_path):
    write_tree(tmp_path, {"train/a": 20, "train/b": 10, "val/a": 2, "val/b": 2})
    splits = load_splits(config(tmp_path))
    assert splits.image_shape == (3, 8, 8)
    assert splits.class_names == ("a", "b")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [24, 6, 4]
    found = {image.tobytes(): label for part in (splits.train, splits.validation) for image, label in pairs(part)}
    for label, count in ((0, 20), (1, 10)):
        for number in range(count):
            assert found[np.asarray(picture(2000 * 0 + 1000 * label + number)).tobytes()] == label


def square(path, size, channels):
    one = ImageFiles(str(path.parent), np.array([path.name.encode()]), np.zeros(1, np.int64))
    return read_square(one, 0, size, channels)


def pairs(image_set):
    return zip(image_set.images, image_set.labels.tolist(), strict=True)


def test_the_middle_square_is_scaled_and_its_sides_cut(tmp_path):
    """A white middle of 40x40 between black sides, landscape and portrait, small and large."""
    for size, box in (((80, 40), (20, 0, 60, 40)), ((40, 80), (0, 20, 40, 60))):
        image = Image.new("RGB", size)
        image.paste((255, 255, 255), box)
        image.save(tmp_path / "image.png")
        for wanted in (10, 40, 100):
            cut = square(tmp_path / "image.png", wanted, 3)
            assert cut.shape == (wanted, wanted, 3)
            edge = max(1, wanted // 25)  # antialiasing looks a little beyond the cut
            assert cut[edge:-edge, edge:-edge].min() == 255


def test_scaling_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert abs(square(tmp_path / "stripes.png", 8, 1)[:, 1:-1].astype(int) - 127).max() <= 2


def test_large_jpegs_lose_little_by_being_decoded_small(tmp_path):
    ramp = np.linspace(0, 255, 512)[None, :, None] * np.linspace(0.2, 1, 512)[:, None, None] * np.ones(3)
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "ramp.jpg", quality=95)
    Image.open(tmp_path / "ramp.jpg").save(tmp_path / "ramp.png")
    small, exact = (square(tmp_path / name, 32, 3).astype(int) for name in ("ramp.jpg", "ramp.png"))
    assert abs(small - exact).max() <= 3


@pytest.mark.parametrize(("sizes", "found"), [((8, 10, 12), 10), ((60, 100, 200), 64), ((7, 7, 90), 7)])
def test_the_size_found_is_the_median_of_the_shorter_sides_at_most_64(tmp_path, sizes, found):
    for name in ("a", "b"):
        for number, size in enumerate(sizes):
            write_class(tmp_path / f"train/{name}/{number}", 1, size=(size, 3 * size))
        write_class(tmp_path / f"val/{name}", 1, size=(300, 300))
    facts = inspect_data(config(tmp_path))
    assert facts.image_shape == (3, found, found)
    assert (facts.num_train, facts.num_validation, facts.num_test) == (5, 1, 2)
    assert load_splits(config(tmp_path)).image_shape == (3, found, found)
    assert load_splits(config(tmp_path, image_size=5)).image_shape == (3, 5, 5)


def test_grey_trees_have_one_channel_and_one_colour_image_makes_three(tmp_path):
    write_tree(tmp_path, {"a": 10, "b": 10}, mode="L")
    grey = load_splits(config(tmp_path))
    assert grey.image_shape == (1, 8, 8)
    assert len(grey.mean) == 1
    picture(5).save(tmp_path / "b" / "09.png")
    colour = load_splits(config(tmp_path))
    assert colour.image_shape == (3, 8, 8)
    channels = np.concatenate([pixels_of(part) for part in (colour.train, colour.validation, colour.test)])
    is_grey = (channels == channels[..., :1]).all((1, 2, 3))
    assert is_grey.sum() == 19


def test_a_colour_image_beyond_those_looked_at_for_the_size_makes_three_channels(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_source, "_SIZES_SAMPLED", 2)  # the first and the last
    write_tree(tmp_path, {"train/a": 5, "train/b": 5, "val/a": 2, "val/b": 2}, mode="L")
    assert inspect_data(config(tmp_path)).image_shape == (1, 8, 8)
    picture(0).save(tmp_path / "val" / "a" / "00.png")
    assert inspect_data(config(tmp_path)).image_shape == (3, 8, 8)


def save_as(path, mode):
    image = picture(0)
    if mode == "P":
        image.quantize(4).save(path, transparency=bytes([0, 128, 255, 255]))
    elif mode == "RGBA":
        image.putalpha(128)
        image.save(path)
    elif mode == "CMYK":
        image.convert("CMYK").save(path, "jpeg")
    else:
        image.convert(mode).save(path)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "CMYK"])
def test_other_kinds_of_colour_are_converted_without_a_warning(tmp_path, mode):
    save_as(tmp_path / "image.png", mode)
    assert square(tmp_path / "image.png", 8, 3).shape == (8, 8, 3)
    assert square(tmp_path / "image.png", 8, 1).shape == (8, 8, 1)


def damage(path, kind):
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not an image")
    elif kind == "16 bit":
        Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(path)
    elif kind == "dangling":
        path.unlink()
        path.symlink_to("nowhere.png")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "cannot be decoded"),
        ("empty", "cannot be read as an image"),
        ("text", "cannot be read as an image (no known format)"),
        ("16 bit", "has more than 8 bits per channel"),
        ("dangling", "cannot be read as an image"),
    ],
)
def test_damaged_files_are_named_and_left_out_or_stop_a_strict_run(tmp_path, caplog, kind, reason):
    write_tree(tmp_path, {"train/a": 10, "train/b": 10, "val/a": 2, "val/b": 2})
    damaged = [tmp_path / "train/a/03.png", tmp_path / "val/b/01.png"]
    for path in damaged:
        damage(path, kind)
    with caplog.at_level(logging.WARNING):
        splits = load_splits(config(tmp_path))
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 22
    assert sorted(splits.skipped_files) == [str(path) for path in damaged]
    assert "2 of 24 images are left out" in caplog.text
    assert all(f"{path} {reason}" in caplog.text for path in damaged)
    images = np.concatenate([pixels_of(splits.train), pixels_of(splits.validation)])
    assert {image.tobytes() for image in images} <= {np.asarray(picture(n)).tobytes() for n in range(2000)}
    with pytest.raises(DataError, match=re.escape(f"train/a/03.png {reason}")):
        load_splits(config(tmp_path, strict=True))


def test_a_class_whose_images_are_all_damaged_is_named(tmp_path):
    write_tree(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 1, "val/b": 1})
    damage(tmp_path / "val/b/00.png", "text")
    with pytest.raises(DataError, match=r"none of the 1 test images of class 'b' can be decoded .*val/b/00.png"):
        load_splits(config(tmp_path))


def test_too_little_memory_is_told_before_anything_is_decoded(tmp_path, monkeypatch):
    write_tree(tmp_path, {"a": 10, "b": 10})
    monkeypatch.setattr(encoded_source, "available_memory_bytes", lambda: 2 * 20 * 3 * 8**2 - 1)
    monkeypatch.setattr(encoded_source.EncodedSource, "_decode_all", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ConfigError, match=r"20 images of 8x8 take 0.0 GiB.* set image_size=7 or less"):
        load_splits(config(tmp_path))


@pytest.mark.parametrize(("size", "padding"), [(64, 8), (32, 4)])
def test_folders_are_flipped_unless_told_not_to_be(size, padding):
    found = standard_augmentation(config("x"), image_size=size)
    assert found == Augmentation(crop_padding=padding, horizontal_flip=True)
    small = standard_augmentation(config("x", image_size=16), image_size=size)
    assert small == Augmentation(crop_padding=2, horizontal_flip=True)
    plain = standard_augmentation(config("x", horizontal_flip=False))
    assert isinstance(plain, Augmentation)
    assert not plain.horizontal_flip


@pytest.mark.data
def test_tiny_imagenet_is_read_as_it_is():
    path = Path(os.environ["MULTINAS_DATA"], "tiny_imagenet")
    splits = load_splits(config(path))
    assert splits.image_shape == (3, 64, 64)
    assert splits.num_classes == 20
    assert splits.skipped_files == ()
    for part, per_class in ((splits.train, 80), (splits.validation, 20), (splits.test, 50)):
        np.testing.assert_array_equal(np.bincount(labels_of(part)), np.full(20, per_class))
    first = sorted((path / "val" / splits.class_names[0]).iterdir())[0]
    with Image.open(first) as image:
        np.testing.assert_array_equal(pixels_of(splits.test)[0], np.asarray(image.convert("RGB")))
