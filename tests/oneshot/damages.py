"""What can befall a file of a record: each damage by its name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multinas_ray.runs import read_document, write_document


def emptied(file: Path, _: int) -> None:
    file.write_bytes(b"")


def deleted(file: Path, _: int) -> None:
    file.unlink()


def cut(length: int) -> Callable[[Path, int], None]:
    def shortened(file: Path, _: int) -> None:
        file.write_bytes(file.read_bytes()[:-length])

    return shortened


def flipped(file: Path, seed: int) -> None:
    """One to three bits in the middle half of the file."""
    rng = np.random.default_rng(seed)
    content = bytearray(file.read_bytes())
    for place in rng.integers(len(content) // 4, max(1, 3 * len(content) // 4), 1 + seed % 3):
        content[place] ^= 1 << rng.integers(8)
    file.write_bytes(bytes(content))


def of_another_version(file: Path, _: int) -> None:
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        pq.write_table(table.replace_schema_metadata({b"multinas_ray.schema_version": b"9"}), file)
    else:
        file.write_bytes(file.read_bytes().replace(b'"schema_version": 2', b'"schema_version": 9'))
        file.write_bytes(file.read_bytes().replace(b'"schema_version":2', b'"schema_version":9'))


def of_another_type(file: Path, seed: int) -> None:
    """Another kind of content, well formed: a list for an object, text for a column, an object for a number."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        place = seed % table.num_columns
        column = pa.array([str(value) for value in table.column(place).to_pylist()])
        pq.write_table(table.set_column(place, table.column_names[place], column), file)
    elif file.suffix == ".json" and seed:
        content = read_document(file, "-")
        name = sorted(content)[seed % len(content)]
        write_document(file, {**content, name: {"not": "this"} if not isinstance(content[name], dict) else 3})
    else:
        file.write_text("[1]\n")


def of_noise(file: Path, seed: int) -> None:
    file.write_bytes(np.random.default_rng(seed).bytes(500))


DAMAGES: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "empty": (emptied, 1),
    "deleted": (deleted, 1),
    "cut by 1": (cut(1), 1),
    "cut by 100": (cut(100), 1),
    "flipped": (flipped, 2),
    "version": (of_another_version, 1),
    "type": (of_another_type, 2),
    "noise": (of_noise, 1),
}
"""What is done to a file, and how often it is done otherwise."""
