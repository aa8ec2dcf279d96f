import pickle
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from multinas_ray.data import (
    DataConfig,
    StreamedImages,
    inspect_data,
    load_splits,
    write_image_shards,
)
from multinas_ray.data import shards as shards_module
from multinas_ray.data.shards import ImageShards, scan_images
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import ConfigError, DataError, RunError
from tests.data.streams import stream
from tests.support.image_trees import write_tree
from tests.support.narrow import pixels_of, present


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """60 training images of three classes and 6 test images."""
    counts = {"train/a": 30, "train/b": 20, "train/größe": 10, "val/a": 2, "val/b": 2, "val/größe": 2}
    return write_tree(tmp_path_factory.mktemp("tree"), counts)


@pytest.fixture(scope="module")
def shards(tree, tmp_path_factory):
    """The same in three files, of row groups of 5."""
    folder = tmp_path_factory.mktemp("shards") / "deep"
    assert write_image_shards(str(tree), str(folder), images_per_file=32, images_per_group=5) == 66
    return folder


def contents(part, root):
    return {
        str(Path(part.name(n)).relative_to(root) if root else part.name(n).split(":")[1]): (
            part.read(n),
            int(part.labels[n]),
        )
        for n in range(len(part))
    }


def test_shards_hold_the_trees_images_names_labels_and_splits(tree, shards):
    files, found = scan_tree(str(tree)), scan_images(str(shards))
    assert found.class_names == files.class_names == ("a", "b", "größe")
    assert found.validation is None
    for split in ("train", "test"):
        assert contents(getattr(found, split), None) == contents(getattr(files, split), tree)


def test_images_are_mixed_and_in_row_groups(shards):
    found = scan_images(str(shards)).train
    assert len(np.unique(found.labels[:10])) > 1
    np.testing.assert_array_equal(np.bincount(present(found.groups)), [5, 5, 5, 5, 5, 5, 2, 5, 5, 5, 5, 5, 3])
    assert sorted(path.name for path in shards.iterdir()) == [
        "images-00000.parquet", "images-00001.parquet", "images-00002.parquet", "index.parquet",
    ]  # fmt: skip
    assert pq.ParquetFile(shards / "images-00000.parquet").metadata.num_row_groups == 7


@pytest.mark.parametrize("kind", ["tree", "shards"])
def test_joined_parts_are_the_first_then_the_second(kind, request):
    found = scan_images(str(request.getfixturevalue(kind)))
    test = present(found.test)
    joined = StreamedImages(found.train, 8).join(StreamedImages(test, 8))
    assert len(joined) == 66
    for number in (0, 59, 60, 65):
        part, place = (found.train, number) if number < 60 else (test, number - 60)
        assert joined.encoded.read(number) == part.read(place)
        assert joined.labels[number] == part.labels[place]
    some = joined.select(np.array([65, 3]))
    assert [some.encoded.name(n) for n in range(2)] == [joined.encoded.name(65), joined.encoded.name(3)]


def test_a_folder_of_files_is_still_a_tree(tree):
    assert type(scan_images(str(tree)).train).__name__ == "ImageFiles"


def test_batches_in_memory_are_those_of_the_files(tree, shards):
    """Shards are read like any folder; only the order in it differs."""
    from_files, from_shards = (load_splits(DataConfig(source="folder", path=str(path))) for path in (tree, shards))
    assert from_files.class_names == from_shards.class_names
    for split in ("train", "validation", "test"):
        one, other = getattr(from_files, split), getattr(from_shards, split)
        np.testing.assert_array_equal(np.bincount(one.labels), np.bincount(other.labels))
    rows = [np.concatenate([pixels_of(part) for part in (s.train, s.validation)]) for s in (from_files, from_shards)]
    assert {image.tobytes() for image in rows[0]} == {image.tobytes() for image in rows[1]}


@pytest.mark.slow
def test_ranks_and_processes_change_nothing(shards):
    found = scan_images(str(shards)).train
    whole = stream(StreamedImages(found, 8, num_processes=0))
    ranks = [
        stream(StreamedImages(found, 8, num_processes=processes), rank=rank, world_size=2)
        for rank, processes in ((0, 1), (1, 0))
    ]
    for step in (0, 1, 2, 8, 9, 3):
        images, labels = (torch.cat(parts) for parts in zip(*(rank.batch(step) for rank in ranks), strict=True))
        assert torch.equal(images, whole.batch(step)[0])
        assert torch.equal(labels, whole.batch(step)[1])


def test_an_epoch_reads_each_piece_once_or_twice(tree, tmp_path, monkeypatch):
    write_tree(tmp_path / "tree", {"a": 500, "b": 500}, size=(2, 2))
    write_image_shards(str(tmp_path / "tree"), str(tmp_path / "shards"), images_per_group=10)
    read = []
    read_piece = shards_module.PieceReader._read_piece

    def noted(self, *where):
        read.append(where)
        return read_piece(self, *where)

    monkeypatch.setattr(shards_module.PieceReader, "_read_piece", noted)
    found = scan_images(str(tmp_path / "shards")).train
    for rank in range(2):
        reader = pickle.loads(pickle.dumps(found))  # as another process has it
        rows = stream(StreamedImages(reader, 8, num_processes=0), rank=rank, world_size=2, batch_size=4)
        for step in range(rows.batches_per_epoch):
            rows.batch(step)
    assert set(read) == {(0, piece) for piece in range(100)}
    assert len(read) <= 100 + 2 * 4  # a piece on the border of two of the 2 x 4 parts may be read by both ranks


def test_a_reader_forgets_the_oldest_pieces(shards, monkeypatch):
    monkeypatch.setattr(shards_module, "_KEPT_BYTES", 3000)
    found = scan_images(str(shards)).train
    assert isinstance(found, ImageShards)
    for number in range(60):
        found.read(number)
    kept = sum(piece.nbytes for piece in found.reader._pieces.values())
    assert kept == found.reader._num_bytes <= 3000
    assert (found.where[59, 0], found.where[59, 1]) in found.reader._pieces


def test_a_damaged_shard_stops_everything_and_is_named(shards, tmp_path):
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = scan_images(str(tmp_path)).train
    (tmp_path / "images-00001.parquet").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"images-00001.parquet is not a readable .* write the shards again"):
        list(stream(StreamedImages(found, 8, num_processes=0)).all_batches())


def test_wrong_destinations_and_sources_are_refused(tree, shards, tmp_path):
    with pytest.raises(ConfigError, match="has image shards already: choose another folder"):
        write_image_shards(str(tree), str(shards))
    with pytest.raises(ConfigError, match="must be at least 1, got 0 and 64"):
        write_image_shards(str(tree), str(tmp_path), images_per_file=0)
    (tmp_path / "index.parquet").write_bytes(b"half")
    with pytest.raises(DataError, match=r"index.parquet is not a readable Parquet file .*, or write the shards again"):
        scan_images(str(tmp_path))
    pq.write_table(pq.read_table(shards / "index.parquet").replace_schema_metadata({}), tmp_path / "index.parquet")
    with pytest.raises(DataError, match=r"index.parquet in .* must have version 2: write the shards again"):
        scan_images(str(tmp_path))
    with pytest.raises(ConfigError, match="'nowhere://bucket/images' cannot be used as a path"):
        scan_images("nowhere://bucket/images")


def test_an_unfinished_writing_leaves_no_index(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "_index_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_image_shards(str(tree), str(tmp_path))
    assert not (tmp_path / "index.parquet").exists()


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A local S3 server with one bucket, and the query that leads there."""
    moto_server = pytest.importorskip("moto.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server.start()
        query = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
        yield query
        server.stop()


@pytest.mark.slow
def test_shards_in_an_object_store_are_those_on_a_disk(tree, shards, s3):
    address = f"s3://bucket/images?{s3}"
    assert write_image_shards(str(tree), address, images_per_file=32, images_per_group=5) == 66
    config = DataConfig(source="folder", path=address, in_memory=False, image_size=8, decode_processes=1)
    assert inspect_data(config).image_shape == (3, 8, 8)
    remote, local = load_splits(config), load_splits(replace(config, path=str(shards)))
    assert remote.class_names == local.class_names
    for step in (0, 1, 5):
        images, labels = stream(remote.train).batch(step)
        same_images, same_labels = stream(local.train).batch(step)
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    with pytest.raises(
        DataError, match=r"s3://bucket/elsewhere\?.* has no index.parquet: write them with write_image_shards"
    ):
        scan_images(f"s3://bucket/elsewhere?{s3}")
