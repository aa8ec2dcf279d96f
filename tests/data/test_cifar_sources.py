import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from multinas_ray.data import DataConfig, load_splits
from multinas_ray.data.cifar import CLASS_NAMES, load_cifar10
from multinas_ray.errors import DataError, StorageError


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def photos(count, seed=0, size=32):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write_parquet(folder, name, images, labels, **columns):
    table = {"image": images, "label": pa.array(labels, pa.int8()), **columns}
    pq.write_table(pa.table(table), folder / f"{name}.parquet")


@pytest.fixture
def folder(tmp_path):
    """Parquet files of 60 + 20 images, exact (PNG), ordered by class."""
    for name, count, seed in (("train", 60, 0), ("test", 20, 1)):
        write_parquet(tmp_path, name, [png(p) for p in photos(count, seed)], np.arange(count) * 10 // count)
    return tmp_path


def load(folder, **fields):
    return load_splits(DataConfig(source="cifar10", path=str(folder), **fields))


def test_parquet_images_come_back_exactly(folder):
    train, test, names = load_cifar10(str(folder), download=False)
    np.testing.assert_array_equal(train.images, photos(60, 0))
    np.testing.assert_array_equal(test.images, photos(20, 1))
    np.testing.assert_array_equal(test.labels, np.arange(20) // 2)
    assert names == CLASS_NAMES


def test_many_rows_keep_their_order(tmp_path):
    images = photos(2500, size=4)
    for name in ("train", "test"):
        write_parquet(tmp_path, name, [png(p) for p in images], np.arange(2500) % 10)
    train, _, _ = load_cifar10(str(tmp_path), download=False)
    np.testing.assert_array_equal(train.images, images)


def test_rows_ordered_by_class_are_split_by_class(folder):
    splits = load(folder, validation_fraction=0.5)
    np.testing.assert_array_equal(np.bincount(splits.validation.labels), np.full(10, 3))


def test_greyscale_images_become_rgb(folder):
    grey = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    write_parquet(folder, "test", [png(grey)], [0])
    _, test, _ = load_cifar10(str(folder), download=False)
    np.testing.assert_array_equal(test.images[0], np.repeat(grey[..., None], 3, axis=2))


def test_large_binary_columns_are_read(folder):
    write_parquet(folder, "test", pa.array([png(photos(1)[0])], pa.large_binary()), [0])
    assert len(load_cifar10(str(folder), download=False)[1]) == 1


def damaged(folder, **changes):
    images, labels = [png(p) for p in photos(4)], [0, 1, 2, 3]
    write_parquet(folder, "test", **{"images": images, "labels": labels, **changes})


GOOD = [png(p) for p in photos(4)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"labels": [0, 1, 10, 3]},
            "label 10 in row 2 of .*test.parquet is out of range: labels must lie in 0..9",
        ),
        ({"labels": [0, -1, 2, 3]}, "label -1 in row 1 of"),
        ({"labels": [0, None, 2, 3]}, "row 1 of .*test.parquet has no label"),
        ({"images": [*GOOD[:3], None]}, "row 3 of .*test.parquet has no image"),
        ({"images": [GOOD[0], b"not an image", *GOOD[2:]]}, "the image in row 1 of .* cannot be decoded"),
        ({"images": [*GOOD[:3], b""]}, "the image in row 3 of .* cannot be decoded"),
        ({"images": [*GOOD[:3], GOOD[3][:200]]}, "the image in row 3 of .* cannot be decoded"),
        (
            {"images": [*GOOD[:2], png(photos(1, size=16)[0]), GOOD[3]]},
            "row 2 of .* is 16x16 pixels, row 0 is 32x32",
        ),
        ({"images": ["a", "b", "c", "d"]}, "'image' of .* must hold encoded JPEG or PNG bytes, got string"),
        ({"images": [], "labels": []}, "test.parquet has no rows"),
    ],
)
def test_damaged_rows_are_named(folder, changes, text):
    damaged(folder, **changes)
    with pytest.raises(DataError, match=text):
        load(folder)


def test_labels_that_are_no_whole_numbers_are_refused(folder):
    pq.write_table(pa.table({"image": GOOD, "label": [0.0, 1, 2, 3]}), folder / "test.parquet")
    with pytest.raises(DataError, match=r"'label' of .* must hold whole numbers 0..9, got double"):
        load(folder)


def test_sixteen_bits_are_refused(folder):
    deep = io.BytesIO()
    Image.fromarray(np.full((32, 32), 4000, np.uint16)).save(deep, "png")
    damaged(folder, images=[deep.getvalue()], labels=[0])
    with pytest.raises(DataError, match=r"row 0 of .* has more than 8 bits per channel"):
        load(folder)


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_missing_column_is_named_before_anything_is_decoded(folder, column, monkeypatch):
    monkeypatch.setattr("multinas_ray.data.cifar._decode_all", lambda *_: pytest.fail("decoded"))
    table = pq.read_table(folder / "train.parquet")
    pq.write_table(table.rename_columns([f"my_{n}" if n == column else n for n in table.column_names]),
                   folder / "train.parquet")  # fmt: skip
    with pytest.raises(DataError, match=f"train.parquet has no column '{column}', .*my_{column}"):
        load(folder)


def test_a_file_that_is_no_parquet_is_named(folder):
    (folder / "train.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"train.parquet is not a readable Parquet file"):
        load(folder)


def test_half_a_pair_of_files_is_refused(folder):
    (folder / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"must have both train.parquet and test.parquet, .*test.parquet is missing"):
        load(folder)


def test_missing_and_empty_folders_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="must be on a disk, got s3://bucket/cifar: mount the bucket"):
        load_cifar10("s3://bucket/cifar", download=False)
    with pytest.raises(StorageError, match="a name in it is longer than the file system allows"):
        load_cifar10(str(tmp_path / ("x" * 300)), download=False)
    with pytest.raises(DataError, match="nowhere does not exist: set download=True"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is empty: set download=True"):
        load(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="does not contain CIFAR-10: set download=True"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"notes.txt is a file, not a folder"):
        load(tmp_path / "notes.txt")


@pytest.fixture
def torchvision_root(tmp_path, monkeypatch):
    """A folder in the archive's own format; torchvision's checksums are replaced by those of its files."""
    base = tmp_path / CIFAR10.base_folder
    base.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    sums = {}
    for seed, name in enumerate(names):
        data = photos(20, seed).transpose(0, 3, 1, 2).reshape(20, -1)
        content = pickle.dumps({"data": data, "labels": (np.arange(20) % 10).tolist()})
        (base / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": [f"class {i}" for i in range(10)]})
    (base / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})
    return tmp_path


def test_torchvisions_own_folder_is_read(torchvision_root):
    train, test, names = load_cifar10(str(torchvision_root), download=False)
    np.testing.assert_array_equal(train.images, np.concatenate([photos(20, seed) for seed in range(5)]))
    np.testing.assert_array_equal(test.images, photos(20, 5))
    np.testing.assert_array_equal(test.labels, np.arange(20) % 10)
    assert names[4] == "class 4"


def test_a_damaged_torchvision_folder_is_told_with_the_remedy(torchvision_root):
    (torchvision_root / CIFAR10.base_folder / "data_batch_3").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"could not be loaded .*delete the folder's cifar-10-\* entries"):
        load(torchvision_root)


def test_download_goes_through_torchvision_and_its_failure_is_ours(tmp_path, monkeypatch):
    def no_network(self):
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", no_network)
    with pytest.raises(DataError, match=r"no route to host.*check the network"):
        load(tmp_path, download=True)


@pytest.mark.data
def test_real_files_load(tmp_path):
    """A tenth of CIFAR-10's training images and a twentieth of its test images, in files as they come."""
    for name, step in (("train", 10), ("test", 20)):
        table = pq.read_table(Path(os.environ["MULTINAS_DATA"], "cifar10", f"{name}.parquet"))
        pq.write_table(table.take(np.arange(0, len(table), step)), tmp_path / f"{name}.parquet")
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4000, 1000, 500)
    train, validation, test = (
        np.bincount(part.labels, minlength=10) for part in (splits.train, splits.validation, splits.test)
    )
    np.testing.assert_allclose(train, 4 * validation, atol=4)
    assert test.min() > 30
    np.testing.assert_allclose(splits.mean, [0.4913, 0.4821, 0.4465], atol=0.01)
    np.testing.assert_allclose(splits.std, [0.2452, 0.2428, 0.2606], atol=0.01)
    assert splits.image_shape == (3, 32, 32)
    assert torch.from_numpy(splits.train.images).is_contiguous()
