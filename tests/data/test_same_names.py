"""Names that differ in their Unicode form only are one name: of classes, in the splits and in labels, and of files."""

import shutil
import unicodedata

import pytest

from multinas_ray.data import write_image_shards
from multinas_ray.data.shards import scan_images
from multinas_ray.data.tree import scan_tree
from multinas_ray.data.webdataset import WebDatasetSource
from multinas_ray.errors import DataError
from tests.data.test_image_account import reasons
from tests.data.test_webdataset import samples, write_tar
from tests.support.image_trees import write_class, write_tree

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))


def test_the_classes_of_splits_that_were_written_on_different_systems_are_the_same(tmp_path):
    write_tree(tmp_path / "tree", {f"train/{DECOMPOSED}": 4, "train/a": 3, f"val/{COMPOSED}": 2, "val/a": 1})
    listing = scan_tree(str(tmp_path / "tree"))
    assert listing.test is not None
    assert listing.class_names == ("a", COMPOSED)
    assert [listing.train.labels.tolist(), listing.test.labels.tolist()] == [[0, 0, 0, 1, 1, 1, 1], [0, 1, 1]]
    assert len(listing.train.read(6)) > 0
    write_image_shards(str(tmp_path / "tree"), str(tmp_path / "shards"))
    assert scan_images(str(tmp_path / "shards")).class_names == ("a", COMPOSED)


def test_two_folders_with_one_name_in_two_forms_are_told(tmp_path):
    write_tree(tmp_path, {COMPOSED: 2, DECOMPOSED: 2, "a": 2})
    told = r"has two named 'größe' in two Unicode forms \('gro\\u0308.*' and 'gr\\xf6.*'\): put their images into one"
    with pytest.raises(DataError, match=told):
        scan_tree(str(tmp_path))


def test_a_file_with_the_name_of_another_in_another_form_is_left_out_and_counted(tmp_path):
    write_tree(tmp_path, {"a": 2, "b": 2})
    for name in (COMPOSED, DECOMPOSED):
        shutil.copy(tmp_path / "a" / "00.png", tmp_path / "a" / f"{name}.png")
    write_class(tmp_path / "b" / COMPOSED, 1)  # in folders below the class too
    write_class(tmp_path / "b" / DECOMPOSED, 2)
    listing = scan_tree(str(tmp_path))
    assert reasons(listing.left_out) == {"of another's name in another Unicode form": 2}
    assert listing.train.labels.tolist() == [0] * 3 + [1] * 4


def test_labels_in_two_forms_are_one_class(tmp_path):
    write_tar(tmp_path / "train.tar", samples([COMPOSED, "a", DECOMPOSED]))
    write_tar(tmp_path / "val.tar", samples([DECOMPOSED, "a"], first=7))
    listing = WebDatasetSource(path=str(tmp_path)).listing()
    assert listing.test is not None
    assert listing.class_names == ("a", COMPOSED)
    assert [listing.train.labels.tolist(), listing.test.labels.tolist()] == [[1, 0, 1], [1, 0]]
