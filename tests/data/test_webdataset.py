"""WebDataset's tar files as a source."""

import io
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multinas_ray.data import (
    Augmentation,
    DataConfig,
    ImageSet,
    ResizedCrop,
    StreamedImages,
    inspect_data,
    load_splits,
    open_stream,
    standard_augmentation,
)
from multinas_ray.data.listing import split_listing
from multinas_ray.data.webdataset import WebDatasetSource
from multinas_ray.errors import ConfigError, DataError
from tests.support.image_trees import picture, write_tree


def encoded(seed: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def samples(labels: Sequence[object], first: int = 0) -> dict[str, bytes]:
    """Images whose pixels follow from their numbers, with these labels; the label of a sample comes first."""
    members: dict[str, bytes] = {}
    for number, label in enumerate(labels, start=first):
        members[f"part/{number:04}.cls"] = str(label).encode()
        members[f"part/{number:04}.png"] = encoded(number)
    return members


def config(path: Path, **fields: Any) -> DataConfig:
    return DataConfig(source="webdataset", path=str(path), **fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tar(tmp_path / "train-000.tar", samples([0, 1, 2] * 5))
    write_tar(tmp_path / "train-001.tar", samples([2, 1, 0] * 4, first=15))
    write_tar(tmp_path / "val-000.tar", samples([0, 1, 2], first=50))
    return tmp_path


def test_images_and_labels_are_those_of_the_samples(folder: Path) -> None:
    splits = load_splits(config(folder, image_size=8, validation_fraction=0.25))
    assert splits.class_names == ("0", "1", "2")
    assert splits.image_shape == (3, 8, 8)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 7, 3)
    label_of = dict(enumerate([0, 1, 2] * 5 + [2, 1, 0] * 4))
    number_of = {np.asarray(picture(number)).tobytes(): number for number in label_of}
    found: dict[int, int] = {}
    for part in (splits.train, splits.validation):
        assert isinstance(part, ImageSet)
        found |= {number_of[image.tobytes()]: label for image, label in zip(part.images, part.labels, strict=True)}
    assert found == label_of
    assert isinstance(splits.test, ImageSet)
    np.testing.assert_array_equal(splits.test.images[1], np.asarray(picture(51)))


def test_they_are_those_of_a_tree_of_the_same_files(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"ant": 9, "bee": 7})
    files = sorted(tree.rglob("*.png"))
    members = {}
    for number, file in enumerate(files):
        members[f"{number:03}.png"] = file.read_bytes()
        members[f"{number:03}.cls"] = file.parent.name.encode()
    write_tar(tmp_path / "tars" / "all.tar", members)
    tars = load_splits(config(tmp_path / "tars", image_size=8))
    same = load_splits(DataConfig(source="folder", path=str(tree), image_size=8))
    assert tars.class_names == same.class_names == ("ant", "bee")
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(tars, name).images, getattr(same, name).images)
        np.testing.assert_array_equal(getattr(tars, name).labels, getattr(same, name).labels)


def test_streamed_images_are_read_where_they_lie(folder: Path) -> None:
    told = config(folder, in_memory=False, image_size=8, decode_processes=0)
    assert inspect_data(told).image_shape == (3, 8, 8)
    assert isinstance(standard_augmentation(told), ResizedCrop)
    assert isinstance(standard_augmentation(config(folder), 8), Augmentation)
    test = load_splits(told).test
    assert isinstance(test, StreamedImages)
    again = pickle.loads(pickle.dumps(test))
    assert [again.encoded.read(index) for index in range(3)] == [encoded(50 + index) for index in range(3)]
    assert again.encoded.name(1) == f"{folder / 'val-000.tar'}:part/0051.png"
    assert again.encoded.groups is None
    both = test.join(again)
    assert both.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert both.encoded.read(4) == encoded(51)


def test_splits_are_told_by_folders_too_and_classes_have_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "training" / "0.tar", samples([0, 1, 1, 0] * 2))
    write_tar(tmp_path / "Valid" / "0.tar", samples([1, 0], first=8))
    write_tar(tmp_path / "test" / "0.tar", samples([1], first=10))
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    facts = inspect_data(config(tmp_path))
    assert facts.class_names == ("ant", "bee")
    assert (facts.num_train, facts.num_validation, facts.num_test) == (8, 2, 1)


def test_the_names_of_files_tell_their_split_anywhere(tmp_path: Path) -> None:
    write_tar(tmp_path / "birds-train-000.tar", samples([0, 1, 1, 0] * 2))
    write_tar(tmp_path / "birds-dev-000.tar", samples([1, 0, 1], first=8))
    write_tar(tmp_path / "birds_testing.tar", samples([1], first=12))
    facts = inspect_data(config(tmp_path))
    assert (facts.num_train, facts.num_validation, facts.num_test) == (8, 3, 1)


def test_other_members_are_passed_over_and_other_extensions_can_hold_the_label(tmp_path: Path) -> None:
    members = samples([0, 1] * 4)
    labels = [name for name in members if name.endswith(".cls")]
    members |= {name.replace(".cls", ".Y"): b"ab"[number % 2 :][:1] for number, name in enumerate(labels)}
    members |= {"part/0000.json": b"{}", "part/0000.seg.png": encoded(99), "part/.png": b"", "README": b"x"}
    write_tar(tmp_path / "x.tar", members)
    assert inspect_data(config(tmp_path)).class_names == ("0", "1")
    other = config(tmp_path, source_options={"label_extension": "y"})
    assert inspect_data(other).class_names == ("a", "b")
    listing = WebDatasetSource(path=str(tmp_path)).listing()
    assert len(listing.train) == 8
    assert [len(part) for part in split_listing(listing, config(tmp_path))] == [5, 1, 2]


def damaged(tmp_path: Path, kind: str) -> None:
    good = samples([0, 1] * 5)
    write_tar(tmp_path / "train.tar", good)
    path = tmp_path / "train.tar"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:4000])
    if kind == "gzip":
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("x.cls"))
    if kind == "text":
        path.write_text("no tar at all" * 100)
    if kind == "no label":
        write_tar(path, {**good, "part/7777.jpg": encoded(1, "JPEG")})
    if kind == "empty label":
        write_tar(path, {**good, "part/0003.cls": b" \n"})
    if kind == "one class":
        write_tar(path, samples([1] * 5))
    if kind == "gap":
        write_tar(path, samples([0, 2, 99_999_999_999]))
    if kind == "unknown label":
        write_tar(tmp_path / "val.tar", samples([7]))
    if kind == "unknown split":
        write_tar(tmp_path / "shard-1.tar", good)
    if kind == "no training":
        path.rename(tmp_path / "val.tar")
    if kind == "classes":
        (tmp_path / "classes.txt").write_text("ant\n")
    if kind == "twice":
        (tmp_path / "classes.txt").write_text("ant\nant\n")
    if kind == "nothing":
        path.unlink()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("cut", r"train\.tar (cannot be read as a tar file|ends within part/\d+\.png).*: copy it again"),
        ("twice", r"classes\.txt must name each class once, 'ant' is there again"),
        ("gzip", r"train\.tar cannot be read as a tar file .*unpack it if it is compressed"),
        ("text", r"train\.tar cannot be read as a tar file"),
        ("no label", r"part/7777\.jpg in .*train\.tar has no label: put it into part/7777\.cls"),
        ("empty label", r"part/0003\.png in .* has no label"),
        ("one class", "must be of at least two classes, got 1"),
        ("gap", r"without a gap, no training image in .* has 1, the largest is 99999999999: number the classes anew"),
        ("unknown label", r"val\.tar has the label '7', which no training image has: correct it"),
        ("unknown split", r"that of .*shard-1\.tar does not: put one of train, "),
        ("no training", "has no tar files for training: put 'train' into their names"),
        ("classes", r"classes\.txt must have a line for each of the 2 labels, got 1: name each class on one line"),
        ("nothing", r"has no tar files \(\*\.tar\): give the folder that holds them"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(tmp_path: Path, kind: str, text: str) -> None:
    damaged(tmp_path, kind)
    with pytest.raises(DataError, match=text):
        load_splits(config(tmp_path))


def test_a_place_that_is_no_folder_is_told() -> None:
    with pytest.raises(DataError, match="is not a folder: give the folder that holds the tar files"):
        load_splits(config(Path("/no/such/folder")))
    with pytest.raises(ConfigError, match="tar files must be on a disk, got s3://bucket/images: mount"):
        load_splits(DataConfig(source="webdataset", path="s3://bucket/images"))


def test_batches_come_from_tar_files(folder: Path) -> None:
    splits = load_splits(config(folder, in_memory=False, image_size=8, decode_processes=0))
    settings: dict[str, Any] = {"seed": 0, "shuffle": True, "mean": splits.mean, "std": splits.std, "device": "cpu"}
    stream = open_stream(splits.train, batch_size=4, norm_batch_size=2, augment=None, **settings)
    images, labels = stream.batch(0)
    assert images.shape == (4, 3, 8, 8)
    assert images.dtype == torch.float32
    assert set(labels.tolist()) <= {0, 1, 2}
