import os
from pathlib import Path

import numpy as np
import pytest

from multinas_ray.data import DataConfig
from multinas_ray.data.listing import split_listing
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import ConfigError, DataError
from tests.support.image_trees import write_class, write_tree


def names(files):
    return [os.fsdecode(name) for name in files.names]


def config(path, **fields):
    return DataConfig(source="folder", path=str(path), **fields)


def split(path, **fields):
    return split_listing(scan_tree(str(path)), config(path, **fields))


def test_classes_are_the_sorted_folders_and_every_image_has_its_folders_label(tmp_path):
    write_tree(tmp_path, {"zebra": 3, "ant": 2, "cat": 4})
    tree = scan_tree(str(tmp_path))
    assert tree.class_names == ("ant", "cat", "zebra")
    assert tree.validation is None
    assert tree.test is None
    labels = dict(zip(names(tree.train), tree.train.labels, strict=True))
    assert len(labels) == 9
    assert all(tree.class_names[label] == Path(name).parts[0] for name, label in labels.items())
    assert Path(tree.train.name(0)).is_file()


def test_images_lie_deep_and_other_files_are_passed_over(tmp_path):
    write_tree(tmp_path, {"a": 2, "b": 2, ".cache": 2})
    write_class(tmp_path / "a" / "images" / "more", 1)
    write_class(tmp_path / "a" / ".thumbnails", 1)
    (tmp_path / "a" / "readme.txt").write_text("no image")
    (tmp_path / "a" / "._00.png").write_bytes(b"a shadow that macOS leaves")
    (tmp_path / "a" / "00.png").rename(tmp_path / "a" / "größer.PNG")
    tree = scan_tree(str(tmp_path))
    assert tree.class_names == ("a", "b")
    assert names(tree.train)[:3] == ["a/01.png", "a/größer.PNG", "a/images/more/00.png"]
    assert Path(tree.train.name(1)).is_file()


@pytest.mark.parametrize("second", ["val", "valid", "validation", "test", "Val"])
def test_of_two_split_folders_the_second_is_for_the_end(tmp_path, second):
    write_tree(tmp_path / "train", {"a": 10, "b": 20})
    write_tree(tmp_path / second, {"a": 3, "b": 1})
    train, validation, test = split(tmp_path, validation_fraction=0.2)
    assert [Path(name).parts[0] for name in names(test)] == [second] * 4
    np.testing.assert_array_equal(np.bincount(validation.labels), [2, 4])
    assert sorted(names(train) + names(validation)) == sorted(names(scan_tree(str(tmp_path)).train))


def test_of_three_split_folders_val_judges_and_test_is_for_the_end(tmp_path):
    for name, count in (("train", 5), ("val", 3), ("test", 2)):
        write_tree(tmp_path / name, {"a": count, "b": count})
    parts = split(tmp_path)
    assert [{Path(name).parts[0] for name in names(part)} for part in parts] == [{"train"}, {"val"}, {"test"}]
    assert [len(part) for part in parts] == [10, 6, 4]


def test_a_test_folder_without_classes_is_passed_over(tmp_path):
    write_tree(tmp_path, {"train/a": 5, "train/b": 5, "val/a": 1, "val/b": 1})
    write_class(tmp_path / "test", 3)
    assert {Path(name).parts[0] for name in names(split(tmp_path)[2])} == {"val"}


def test_a_tree_without_splits_is_divided_by_class(tmp_path):
    write_tree(tmp_path, {"a": 50, "b": 100})
    train, validation, test = split(tmp_path, validation_fraction=0.25)
    np.testing.assert_array_equal(np.bincount(test.labels), [10, 20])
    np.testing.assert_array_equal(np.bincount(validation.labels), [10, 20])
    np.testing.assert_array_equal(np.bincount(train.labels), [30, 60])
    everything = names(train) + names(validation) + names(test)
    assert len(set(everything)) == 150


def test_the_seed_moves_the_validation_images_and_never_the_test_images(tmp_path):
    write_tree(tmp_path, {"a": 30, "b": 30})
    first, again, other = split(tmp_path), split(tmp_path), split(tmp_path, split_seed=1)
    for one, same in zip(first, again, strict=True):
        assert names(one) == names(same)
    assert names(first[2]) == names(other[2])
    assert names(first[1]) != names(other[1])


def test_training_images_can_be_limited_by_class(tmp_path):
    write_tree(tmp_path, {"train/a": 40, "train/b": 20, "val/a": 1, "val/b": 1})
    train, validation, test = split(tmp_path, max_train_images=30, validation_fraction=0.2)
    np.testing.assert_array_equal(np.bincount(train.labels) + np.bincount(validation.labels), [20, 10])
    assert len(test) == 2
    with pytest.raises(ConfigError, match="max_train_images must be at least 4 here, two for each of 2 classes, got 3"):
        split(tmp_path, max_train_images=3)


def test_a_class_must_keep_training_images(tmp_path):
    write_tree(tmp_path, {"a": 2, "b": 40})
    with pytest.raises(DataError, match=r"class 'a' would have none: .* a validation_fraction below 0.9"):
        split(tmp_path, validation_fraction=0.9)


def bad_tree(root, what):
    if what == "file":
        root.rmdir()
        root.write_text("")
    elif what == "one class":
        write_tree(root, {"a": 2})
    elif what == "images without folders":
        write_class(root, 2)
    elif what == "empty class":
        write_tree(root, {"a": 2, "b": 0})
    elif what == "one image":
        write_tree(root, {"a": 2, "b": 1})
    elif what == "empty class in val":
        write_tree(root, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 0})
    elif what == "class missing in val":
        write_tree(root, {"train/a": 2, "train/b": 2, "train/c": 2, "val/a": 1})
    elif what == "class missing in train":
        write_tree(root, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "val/c": 1})
    elif what == "two vals":
        write_tree(root, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "valid/a": 1, "valid/b": 1})
    elif what == "no train":
        write_tree(root, {"val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("file", "tree is not a folder: give the folder that holds a folder for each class"),
        ("one class", r"must have a folder for each of at least two classes, it has 1 folder\(s\)"),
        ("images without folders", r"must have a folder for each of at least two classes, it has 0 folder\(s\)"),
        ("empty class", r"at least 2 image\(s\) .*/b has none: add"),
        ("one image", r"at least 2 image\(s\) .*/b has 1: add"),
        ("empty class in val", r"at least 1 image\(s\) .*/val/b has none: add"),
        ("class missing in val", "must have the same classes, .*/val lacks 'b', 'c': add the folders"),
        ("class missing in train", "must have the same classes, .*/train lacks 'c': add the folders"),
        ("two vals", "val and .*valid are names of the same split: keep one of them"),
        ("no train", "has test but no train folder: name one 'train'"),
    ],
)
def test_trees_that_cannot_be_used_are_named(tmp_path, what, text):
    root = tmp_path / "tree"
    root.mkdir()
    bad_tree(root, what)
    with pytest.raises(DataError, match=text):
        scan_tree(str(root))


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_tree(tmp_path, {"a": 2, "b": 2})
    scandir = os.scandir

    def refuse(path):  # whoever runs the tests may be allowed everything
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"the folder .*/b cannot be read \(Permission denied\): check its rights"):
        scan_tree(str(tmp_path))
