"""Validation and test images that are training images too are told, in memory and streamed, whatever the source."""

import shutil

import pytest

from multinas_ray.data import DataConfig, copies, load_splits, write_image_shards
from multinas_ray.data.tree import scan_tree
from tests.data.test_image_account import both, table
from tests.data.test_webdataset import config, samples, write_tar
from tests.support.image_trees import write_class, write_tree


def notes_of(splits):
    return [note for note in splits.notes if "training images too" in note]


@pytest.fixture
def tree(tmp_path):
    """Of class b, three of four validation images are training images under other names; no test image is."""
    root = write_tree(tmp_path / "tree", {"train/a": 9, "train/b": 6, "val/a": 2, "val/b": 1, "test/a": 2, "test/b": 2})
    for number in range(3):
        shutil.copy(root / "train" / "b" / f"0{number}.png", root / "val" / "b" / f"copy{number}.png")
    return root


def test_copies_are_told_before_the_start_whatever_their_names(tree):
    for splits in both(tree):
        (note,) = notes_of(splits)
        assert note.startswith(
            "of 4 validation images of class 'b' that were looked at, 3 are training images too: keep"
        )
        assert "Of 4 validation images of class 'b'" in table(splits)


def test_a_split_that_is_a_copy_of_the_training_images_is_told(tmp_path):
    write_tree(tmp_path / "tree" / "train", {"a": 4, "b": 4})
    shutil.copytree(tmp_path / "tree" / "train", tmp_path / "tree" / "test")
    for splits in both(tmp_path / "tree"):
        assert [note[:49] for note in notes_of(splits)] == ["of 4 test images of class 'a' that were looked at, 4"[:49]]
    write_image_shards(str(tmp_path / "tree"), str(tmp_path / "shards"))
    assert len(notes_of(load_splits(DataConfig(source="folder", path=str(tmp_path / "shards"), image_size=8)))) == 1


def test_shards_of_images_with_equal_names_that_differ_have_no_copies(tmp_path):
    write_tree(tmp_path / "tree", {"train/a": 4, "train/b": 4, "test/a": 4, "test/b": 4})
    write_image_shards(str(tmp_path / "tree"), str(tmp_path / "shards"))
    assert notes_of(load_splits(DataConfig(source="folder", path=str(tmp_path / "shards"), image_size=8))) == []
    assert notes_of(both(tmp_path / "tree")[0]) == []


def test_copies_in_tar_files_are_told(tmp_path):
    for name in ("train", "val"):
        write_tar(tmp_path / f"{name}.tar", samples([0, 1, 2] * 5))
    assert len(notes_of(load_splits(config(tmp_path, image_size=8)))) == 1


def test_as_few_images_are_read_of_many_as_of_few(tmp_path, monkeypatch):
    write_tree(tmp_path, {"train/a": 12, "train/b": 20, "val/a": 2, "val/b": 2})
    shutil.copy(tmp_path / "train" / "a" / "00.png", tmp_path / "val" / "a" / "c.png")
    write_class(tmp_path / "val" / "a", 6, first_seed=5)
    monkeypatch.setattr(copies, "_SAMPLED", 4)
    monkeypatch.setattr(copies, "_TRAINING_SAMPLED", 9)
    listing = scan_tree(str(tmp_path))
    read: list[int] = []
    original = type(listing.train).read

    def counted(self, number):
        read.append(number)
        return original(self, number)

    monkeypatch.setattr(type(listing.train), "read", counted)
    copies.copy_notes(listing)
    assert len(read) == 9 + 4
