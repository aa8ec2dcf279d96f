"""What the table of a tree's images counts, over made-up trees; in memory and streamed."""

import io
import os
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps
from rich.console import Console

from multinas_ray.data import DataConfig, image_table, load_splits, write_image_shards
from multinas_ray.data.decoding import decode
from multinas_ray.data.split_names import read_split_name
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import DataError
from tests.support.image_trees import picture, write_class, write_tree
from tests.support.narrow import pixels_of


def load(path, **fields):
    return load_splits(DataConfig(source="folder", path=str(path), image_size=8, **fields))


def both(path, **fields):
    """In memory, and decoded by the worker itself when they are needed."""
    return load(path, **fields), load(path, in_memory=False, decode_processes=0, **fields)


def reasons(left_out):
    totals: Counter[str] = Counter()
    for each in left_out:
        totals[each.reason] += each.count
    return dict(totals)


def table(splits, width=200):
    told = io.StringIO()
    Console(width=width, file=told).print(image_table(splits))
    return told.getvalue()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Training", "train_data", "seg_train", "images_train", "TrainImages")),
        *(
            (name, "train")
            for name in ("trainset", "train-set", "train2017", "01_train", "trainval", "TRAIN", "img_trn")
        ),
        *((name, "validation") for name in ("val", "valid", "Validation", "dev", "eval", "validation_set", "valdata")),
        *((name, "test") for name in ("test", "Testing", "test_images", "seg_test", "dataTest", "tst")),
    ],
)
def test_usual_names_of_splits_are_known(name, split):
    assert read_split_name(name) == (split, "")


@pytest.mark.parametrize(
    "name", ["trainer", "cat", "contest", "latest", "devil", "valley", "retriever", "train_test", "0"]
)
def test_other_names_are_no_splits(name):
    assert read_split_name(name) is None


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("train_data", "eval_data", "test_data"),
        ("birds_train", "birds_dev", "birds_test"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val", None),
        ("seg_train/seg_train", None, "seg_test/seg_test"),
        ("train_set/train", "valid", "test"),
    ],
)
def test_splits_are_read_and_folders_beside_them_are_told(tmp_path, train, validation, test):
    for name, count in ((train, 6), (validation, 3), (test, 2)):
        if name is not None:
            write_tree(tmp_path / name, {"a": count, "b": count})
    write_class(tmp_path / "seg_pred", 4)
    listing = scan_tree(str(tmp_path))
    assert listing.class_names == ("a", "b")
    assert len(listing.train) == 12
    assert listing.test is not None
    assert len(listing.test) == (4 if test else 6)
    assert (listing.validation is None) == (not (validation and test))
    (beside,) = listing.left_out
    assert beside.count == 4
    assert "seg_pred" in beside.reason


def test_a_folder_with_the_same_classes_and_an_unknown_name_is_told_beside_the_splits(tmp_path):
    write_tree(tmp_path, {"train/a": 5, "train/b": 5, "holdout/a": 2, "holdout/b": 1, "chest/train/a": 2})
    (tmp_path / "link").symlink_to("/")
    listing = scan_tree(str(tmp_path))
    assert listing.test is None
    assert reasons(listing.left_out) == {
        "in the folder 'chest' beside the splits": 2,
        "in the folder 'holdout' beside the splits": 3,
        "link 'link' to another folder, beside the splits": 1,
    }


def test_folders_below_class_folders_are_no_classes(tmp_path):
    write_tree(tmp_path, {"a/images": 3, "b/images": 3, "c/day": 2, "c/night": 2})
    assert scan_tree(str(tmp_path)).class_names == ("a", "b", "c")


def test_a_class_of_trains_is_a_class(tmp_path):
    write_tree(tmp_path, {"bus": 3, "car": 3, "train": 3})
    assert scan_tree(str(tmp_path)).class_names == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (
            {"p1/a": 2, "p1/b": 2, "p2/a": 2, "p2/b": 2},
            r"must have the names of splits .* both hold 'a', 'b'",
        ),
        ({"new/a": 2, "new/b": 2, "old/b": 2, "old/a": 2, "c": 3}, "must have the names of splits"),
        ({"s1/Cat": 2, "s1/dog": 2, "s2/cat": 2, "s2/bird": 2}, "must have the names of splits .* both hold 'cat'"),
        ({"trian/a": 2, "trian/b": 2, "test/a": 2, "test/b": 2}, "name the one for training 'train'"),
        ({"data_256/a": 3, "data_256/b": 3, "val_256": 3, "test_256": 3}, "name one 'train'"),
        ({"a": 2, "b": 2, "pets/a": 2, "pets/b": 2}, "pets holds 'a', 'b': move it away if it is a copy"),
        (
            {"cats_train": 3, "cats_val": 3, "dogs_train": 3, "dogs_val": 3},
            "training split must have a folder for each",
        ),
        ({"valid": 3, "invalid": 3}, r"must not have the name of a split, .*/valid has: .* into a folder 'train'"),
        ({"cup/train": 2, "cup/test": 2, "pot/train": 2, "pot/test": 2}, "must be above the class folders"),
        ({"train": 3, "test": 3}, "training split must have a folder for each class"),
        ({"train": 3, "val/a": 3, "val/b": 3}, "training split must have a folder for each class"),
        ({"train/a": 3, "train/b": 3, "val": 3}, "validation split must have a folder for each class"),
        ({"cat": 3, "dog": 3, "test": 3}, r"must not have the name of a split, .*/test has: move it away"),
        ({"photos/a": 3, "photos/b": 3}, r"it has 1 folder\(s\): give .*/photos if"),
        ({"train/a": 3, "train/b": 3, "Training/a": 3, "Training/b": 3}, "names of the same split"),
        ({"a\x1b[31m": 3, "b": 3}, r"printable text in UTF-8, 'a\\x1b\[31m'"),
    ],
)
def test_trees_whose_meaning_is_not_clear_are_refused_in_one_line(tmp_path, counts, text):
    write_tree(tmp_path, counts)
    for fields in ({}, {"in_memory": False}):
        with pytest.raises(DataError, match=text) as caught:
            load(tmp_path, **fields)
        assert "\n" not in str(caught.value)
        assert ": " in str(caught.value)


def odd_files(root):
    """Ten used images in each of two classes, and 17 files that are not used."""
    write_tree(root, {"a": 8, "b": 10})
    for extension, kind in (("GIF", "gif"), ("jfif", "jpeg")):
        picture(7).save(root / "a" / f"more.{extension}", kind)
    for folder in ("@eaDir", "__MACOSX", ".ipynb_checkpoints"):
        write_class(root / "a" / folder, 2)
        write_class(root / folder, 2)
    for name in (".DS_Store", "Thumbs.db"):
        (root / "b" / name).write_text("")
    (root / "b" / "x.heic").write_text("")
    (root / "b" / "README").write_text("")
    os.mkfifo(root / "b" / "pipe.png")
    return {
        "hidden or left by a system": 14,
        "of kind .heic": 1,
        "without extension": 1,
        "neither a file nor a folder": 1,
    }


def test_every_file_is_used_or_counted_with_its_reason(tmp_path):
    expected = odd_files(tmp_path)
    for splits in both(tmp_path):
        assert splits.class_names == ("a", "b")
        assert len(splits.train) + len(splits.validation) + len(splits.test) == 20
        assert reasons(splits.left_out) == expected
        told = table(splits)
        assert "all 2 classes     37" in told
        assert all(f"{count} {reason}" in told for reason, count in expected.items())


def test_shards_keep_the_numbers_of_their_tree(tmp_path):
    expected = odd_files(tmp_path / "tree")
    write_image_shards(str(tmp_path / "tree"), str(tmp_path / "shards"))
    for splits in both(tmp_path / "shards"):
        assert reasons(splits.left_out) == expected


def test_links_are_followed_once(tmp_path):
    tree, pool = tmp_path / "tree", tmp_path / "pool"
    write_tree(tree, {"a": 4, "b": 5})
    write_class(pool / "deep", 3, first_seed=500)
    (tree / "a" / "more").symlink_to(pool)  # images from elsewhere are used
    (tree / "a" / "again").symlink_to(pool / "deep")
    (tree / "a" / "self").symlink_to(tree / "a")
    (tree / "a" / "up").symlink_to(tmp_path)
    (pool / "back").symlink_to(tree)
    (tree / "a" / "others").symlink_to(tree / "b")  # b keeps its own
    (tree / "b" / "twin.png").symlink_to(tree / "b" / "00.png")
    (tree / "b" / "hard.png").hardlink_to(tree / "b" / "01.png")
    (tree / "b" / "ring").symlink_to(tree / "b" / "ring")
    listing = scan_tree(str(tree))
    np.testing.assert_array_equal(np.bincount(listing.train.labels), [7, 5])
    found = reasons(listing.left_out)
    assert found["links that lead back"] == 5  # self, up, back, and ring by two ways
    assert found["reached twice by links"] == 1 + 7 + 2  # a folder, b's files by way of a, and the twins in b


def test_links_to_no_file_are_counted_and_never_opened(tmp_path):
    """A pipe would be waited for, and a device be read without an end."""
    write_tree(tmp_path, {"a": 4, "b": 5})
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "pipe.png").symlink_to("pipe")
    (tmp_path / "a" / "zeros.png").symlink_to("/dev/zero")
    (tmp_path / "b" / "gone").symlink_to("/nowhere/gone")
    (tmp_path / "c").symlink_to("/nowhere/c")  # a class on a disk that is not there
    (tmp_path / "zeros.png").symlink_to("/dev/zero")
    for splits in both(tmp_path):
        assert len(splits.train) + len(splits.validation) + len(splits.test) == 9
        assert reasons(splits.left_out) == {"neither a file nor a folder": 4, "links that lead nowhere": 2}
        assert "1 links that lead nowhere" in table(splits)


def test_a_split_that_is_a_link_to_another_is_refused(tmp_path):
    write_tree(tmp_path / "train", {"a": 3, "b": 3})
    (tmp_path / "val").symlink_to(tmp_path / "train")
    with pytest.raises(DataError, match=r"val/a has none \(left out: 3 reached twice by links\)"):
        scan_tree(str(tmp_path))


def test_folders_with_many_links_to_one_another_end(tmp_path):
    names = [f"c{number}" for number in range(12)]
    write_tree(tmp_path, dict.fromkeys(names, 2))
    for one in names:
        for other in names:
            (tmp_path / one / f"{one}_to_{other}").symlink_to(tmp_path / other)
    np.testing.assert_array_equal(np.bincount(scan_tree(str(tmp_path)).train.labels), np.full(12, 2))


def test_names_that_are_no_utf8_are_used_in_files_and_refused_in_classes(tmp_path):
    write_tree(tmp_path, {"a": 5, "b": 5})
    odd = os.fsencode(tmp_path) + b"/a/\xff\xfe.png"
    os.rename(tmp_path / "a" / "00.png", odd)  # noqa: PTH104  # bytes
    splits = load(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 10
    assert write_image_shards(str(tmp_path), str(tmp_path.parent / "shards")) == 10
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write(b"damaged")
    (name,) = load(tmp_path).skipped_files
    assert name.endswith(r"a/\xff\xfe.png")
    os.rename(tmp_path / "b", os.fsencode(tmp_path) + b"/\xe9")  # noqa: PTH104
    with pytest.raises(DataError, match=r"printable text in UTF-8, '\\xe9'"):
        load(tmp_path)


def test_found_is_used_and_left_out_for_random_trees(tmp_path):
    rng = np.random.default_rng(0)
    extensions = ["png", "PNG", "gif", "txt", "heic", "db"]
    for number in range(12):
        root = tmp_path / str(number)
        splits = [("train", "val"), ("train", "val", "test"), ("",)][number % 3]
        found: Counter[str] = Counter()
        for split in splits:
            for name in ("a", "b", "c"):
                write_class(root / split / name, 4)
                for extra in range(rng.integers(0, 6)):
                    extension = extensions[rng.integers(len(extensions))]
                    path = root / split / name / ("." * int(rng.integers(2)) + f"x{extra}.{extension}")
                    picture(extra).save(path, "gif" if extension == "gif" else "png")
                found[name] += len(list((root / split / name).iterdir()))
        for splits in both(root, **({"max_train_images": 8} if number % 2 else {})):
            labels = np.concatenate([splits.train.labels, splits.validation.labels, splits.test.labels])
            left_out = [sum(x.count for x in splits.left_out if x.class_name == name) for name in ("a", "b", "c")]
            used = np.bincount(labels, minlength=3)
            np.testing.assert_array_equal(used + left_out, [found[name] for name in ("a", "b", "c")])


def test_classes_too_small_for_a_split_are_told(tmp_path):
    write_tree(tmp_path, {"big": 60, "small": 2})
    told = table(load(tmp_path))
    assert "no validation images" in next(line for line in told.splitlines() if line.startswith("small"))
    assert "no " not in next(line for line in told.splitlines() if line.startswith("big"))


def test_many_classes_are_summed_up_in_a_line(tmp_path):
    write_tree(tmp_path, {f"train/c{number:02}": 5 for number in range(30)})
    write_tree(tmp_path, {f"val/c{number:02}": 2 for number in range(30)})
    (tmp_path / "val" / "c07" / "00.png").write_text("damaged")
    lines = table(load(tmp_path)).splitlines()
    assert sum(line.startswith("c") for line in lines) == 2  # the heading and c07
    assert any(line.startswith("each of 29 classes") for line in lines)
    assert next(line for line in lines if line.startswith("c07")).count("1 damaged") == 1
    assert next(line for line in lines if line.startswith("all 30 classes")).split()[3] == "210"


def turned_photo(path):
    """A photo of 8x8 pixels whose EXIF data says that it has to be turned by a quarter to the right."""
    image = Image.fromarray(np.repeat(np.arange(8, dtype=np.uint8)[:, None] * 30, 8, 1)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    return np.asarray(image)


def test_photos_are_turned_as_their_exif_data_says_unless_told_not_to(tmp_path):
    write_tree(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 1, "val/b": 1})
    upright = turned_photo(tmp_path / "val" / "a" / "00.png")
    for turned in (True, False):
        expected = np.rot90(upright, k=-1) if turned else upright
        in_memory, streamed = both(tmp_path, exif_rotation=turned)
        np.testing.assert_array_equal(pixels_of(in_memory.test)[0], expected)
        pixels = np.asarray(read_streamed(streamed))
        assert (np.ptp(pixels, axis=0).max() < np.ptp(pixels, axis=1).max()) == turned
        for splits in (in_memory, streamed):
            assert f"(exif_rotation={turned})" in table(splits)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_each_orientation_is_turned_as_pillow_does(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{kind}"
    picture(0, (6, 10)).save(path, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    found = decode(Image.open(path), 3, "photo", exif_rotation=True)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_damaged_exif_data_does_no_harm(tmp_path):
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = exif.tobytes()
    for number in range(300):
        data = bytearray(whole)
        for place in rng.integers(6, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(256)
        path = tmp_path / f"{number}.jpg"
        picture(0).save(path, exif=bytes(data[: rng.integers(6, len(data) + 1)]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's
            image = Image.open(path)
            assert decode(image, 3, "photo", exif_rotation=True).size == (8, 8)


def read_streamed(splits):
    """The first test image, of shape (H, W)."""
    from multinas_ray.data.streamed_images import ImageDecoder, Request

    return ImageDecoder([splits.test], None, 0)[Request(np.array([0]), None)].pixels[0, :, :, 0]


def test_the_setting_of_exif_data_belongs_to_a_search_only_where_a_source_has_it(tmp_path):
    assert DataConfig(source="folder", path=str(tmp_path)).identity()["exif_rotation"] is True
    assert "exif_rotation" not in DataConfig().identity()
