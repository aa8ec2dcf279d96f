"""Small sets of images in each form, and tables of latencies, which others may have made; and what reads them."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multinas_ray.data import DataConfig, DataSplits, Images, ImageSet, StreamedImages, load_splits, write_image_shards
from multinas_ray.data.streamed_images import ImageDecoder, Request
from multinas_ray.errors import DataError
from multinas_ray.latency import BlockLatency, LatencyConditions, LatencyTable, read_latency_table
from multinas_ray.latency.table import blocks_of, describe_block
from tests.support.image_trees import picture, write_tree
from tests.support.tiny_search import tiny_space

COUNTS = {"train/a": 4, "train/b": 3, "val/a": 2, "val/b": 2}
PROXYLESS = {
    "key": ["Conv", "expanded_conv-1", "expanded_conv-2", "Conv_1", "Logits"],
    "input": ["224x224x3", "112x112x32", "112x112x16", "7x7x320", "7x7x1280"],
    "output": ["112x112x32", "112x112x16", "112x112x16", "7x7x1280", "1000"],
    "expand": [None, 1, 3, None, None],
    "kernel": [None, 3, 3, None, None],
    "stride": [None, 1, 1, None, None],
    "mean_ms": [1.0, 2.0, 3.0, 4.0, 5.0],
    "var": [0.1, 0.1, 0.1, 0.1, 0.1],
    "count": [10, 10, 10, 10, 10],
}


def tree(folder: Path) -> Path:
    return write_tree(folder / "images", COUNTS)


def shards(folder: Path) -> Path:
    """Two files for training and one for the test, in row groups of two images."""
    write_image_shards(str(tree(folder)), str(folder / "shards"), images_per_file=4, images_per_group=2)
    return folder / "shards"


def tars(folder: Path) -> Path:
    """A file of each split, with numbers as labels and their names beside them."""
    path = folder / "tars"
    path.mkdir()
    (path / "classes.txt").write_text("a\nb\n")
    for split, number in (("train", 6), ("val", 4)):
        with tarfile.open(path / f"{split}-0.tar", "w") as archive:
            for sample in range(number):
                encoded = io.BytesIO()
                picture(sample).save(encoded, "PNG")
                add(archive, f"{sample:03}.cls", str(sample % 2).encode())
                add(archive, f"{sample:03}.png", encoded.getvalue())
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def latencies(folder: Path) -> Path:
    """A table of this package."""
    rows = {
        (describe_block(block), shape): BlockLatency(
            block=block.name,
            description=describe_block(block),
            input_shape=shape,
            median_ms=1.0,
            mean_ms=1.5,
            spread_ms=0.1,
            repeats=3,
        )
        for _, block, shape in blocks_of(tiny_space())
    }
    path = folder / "table"
    path.mkdir()
    conditions = LatencyConditions(device="a chip", batch_size=2, precision="float32")
    LatencyTable(tuple(rows.values()), conditions).write(path / "latency.parquet")
    return path


def foreign_latencies(folder: Path) -> Path:
    """A table of ProxylessNAS's form."""
    path = folder / "foreign"
    path.mkdir()
    pq.write_table(pa.table(PROXYLESS), path / "latency.parquet")
    return path


# ---- readers


def contents(images: Images) -> dict[str, Any]:
    """All pixels and labels; an image that is replaced by another is told as one that cannot be read."""
    if isinstance(images, ImageSet):
        return {"pixels": images.images, "labels": images.labels}
    assert isinstance(images, StreamedImages)
    decoded = ImageDecoder([images], None, 0)[Request(np.arange(len(images)), None)]
    if decoded.failure or decoded.damaged:
        raise DataError(decoded.failure or next(iter(decoded.damaged.values())))
    return {"pixels": decoded.pixels.numpy(), "labels": decoded.labels.numpy()}


def parts(splits: DataSplits) -> dict[str, Any]:
    found = {"classes": splits.class_names, "mean": splits.mean}
    return {**found, **{name: contents(getattr(splits, name)) for name in ("train", "validation", "test")}}


def in_memory(path: Path) -> dict[str, Any]:
    return parts(load_splits(DataConfig(source="folder", path=str(path), strict=True)))


def streamed(path: Path) -> dict[str, Any]:
    return parts(load_splits(small_stream("folder", path)))


def of_tars(path: Path) -> dict[str, Any]:
    return parts(load_splits(small_stream("webdataset", path)))


def small_stream(source: str, path: Path) -> DataConfig:
    settings: dict[str, Any] = {"in_memory": False, "image_size": 8, "decode_processes": 0, "strict": True}
    return DataConfig(source=source, path=str(path), **settings)


def costs(path: Path) -> dict[str, Any]:
    """The cost of networks by a table."""
    cost = read_latency_table(str(path / "latency.parquet")).cost(tiny_space())
    return {"costs": cost(np.zeros((1, 3), dtype=np.int64))}


def rows(path: Path) -> dict[str, Any]:
    table = read_latency_table(str(path / "latency.parquet"))
    assert isinstance(table, LatencyTable)
    return {"rows": [row.median_ms for row in table.rows]}


RECORDS: dict[str, Callable[[Path], Path]] = {
    "tree": tree,
    "shards": shards,
    "tars": tars,
    "latencies": latencies,
    "foreign latencies": foreign_latencies,
}
READERS: dict[str, dict[str, Callable[[Path], dict[str, Any]]]] = {
    "tree": {"in memory": in_memory, "streamed": streamed},
    "shards": {"in memory": in_memory, "streamed": streamed},
    "tars": {"streamed": of_tars},
    "latencies": {"costs": costs},
    "foreign latencies": {"rows": rows},
}
