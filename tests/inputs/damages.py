"""What can befall a file: each damage by its name."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from multinas_ray.errors import MultiNASError
from multinas_ray.runs import read_document, write_document

ABSURD: tuple[Any, ...] = (
    -1, 2**62, 10**30, float("nan"), float("inf"), -1e300, None, True, "", "\x1b[31mred\a", "a" * 3000, [], {},
    [[[1]]], {"a": "b"},
)  # fmt: skip


def emptied(file: Path, _: np.random.Generator) -> None:
    file.write_bytes(b"")


def deleted(file: Path, _: np.random.Generator) -> None:
    file.unlink()


def made_a_folder(file: Path, _: np.random.Generator) -> None:
    file.unlink()
    file.mkdir()


def cut_at_the_end(file: Path, _: np.random.Generator) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def cut_anywhere(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(rng.integers(0, max(1, len(content))))])


def flipped(file: Path, rng: np.random.Generator) -> None:
    """One to three bits."""
    content = bytearray(file.read_bytes())
    for place in rng.integers(0, len(content), rng.integers(1, 4)) if content else ():
        content[place] ^= 1 << rng.integers(8)
    file.write_bytes(bytes(content))


def zeroed(file: Path, rng: np.random.Generator) -> None:
    """A block of zeros, as a file system leaves behind after a crash."""
    content = bytearray(file.read_bytes())
    first = int(rng.integers(0, max(1, len(content))))
    content[first : first + 512] = bytes(len(content[first : first + 512]))
    file.write_bytes(bytes(content))


def of_noise(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(rng.bytes(500))


def of_another_version(file: Path, _: np.random.Generator) -> None:
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        metadata = {**(table.schema.metadata or {}), b"multinas_ray.schema_version": b"9"}
        pq.write_table(table.replace_schema_metadata(metadata), file)
    elif file.suffix == ".pt":
        write_torch(file, lambda content: {**content, "version": 9} if "version" in content else {"version": 9})
    else:
        content = file.read_bytes().replace(b'"schema_version": 2', b'"schema_version": 9')
        file.write_bytes(content.replace(b'"schema_version":2', b'"schema_version":9'))


def of_another_type(file: Path, rng: np.random.Generator) -> None:
    """Another kind of content, well formed: a list for an object, text for a column, an object for a number."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        place = int(rng.integers(table.num_columns))
        column = pa.array([str(value) for value in table.column(place).to_pylist()])
        pq.write_table(table.set_column(place, table.column_names[place], column), file)
    elif file.suffix == ".pt":
        write_torch(file, lambda _: [1, 2])
    else:
        file.write_text("[1]\n")


def of_an_absurd_value(file: Path, rng: np.random.Generator) -> None:
    """One value in place of another, in a file that is otherwise whole."""
    if file.suffix == ".parquet":
        with_absurd_cell(file, rng)
    elif file.suffix == ".json":
        with_absurd_leaf(file, rng)
    elif file.suffix == ".pt":
        write_torch(file, lambda content: with_absurd_tensor(content, rng))
    else:
        lines = file.read_bytes().splitlines(keepends=True)
        if lines:
            lines[int(rng.integers(len(lines)))] = b"batch_size: \x1b[31m\n"
        file.write_bytes(b"".join(lines))


def with_absurd_cell(file: Path, rng: np.random.Generator) -> None:
    table = pq.read_table(file)
    if not table.num_rows:
        return
    place, row = int(rng.integers(table.num_columns)), int(rng.integers(table.num_rows))
    name, rows = table.column_names[place], table.to_pylist()
    for value in (ABSURD[each] for each in rng.permutation(len(ABSURD))):
        changed = [{**each, name: value} if number == row else each for number, each in enumerate(rows)]
        try:
            whole = pa.Table.from_pylist(changed, schema=table.schema)
            pq.write_table(whole, file)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
        return


def with_absurd_leaf(file: Path, rng: np.random.Generator) -> None:
    """The checksum is made to fit."""
    try:
        content: Any = read_document(file, "-")
    except MultiNASError:
        content = json.loads(file.read_text())
        leaf = list(leaves(content))[int(rng.integers(len(list(leaves(content)))))]
        file.write_text(json.dumps(replaced(content, leaf, ABSURD[int(rng.integers(len(ABSURD)))])))
        return
    places = list(leaves(content))
    place = places[int(rng.integers(len(places)))]
    value = ABSURD[int(rng.integers(len(ABSURD)))]
    write_document(file, replaced(content, place, value))


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all values that hold no others, and of the short ones that do."""
    if place:
        yield place
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*place, key))
    elif isinstance(value, list):
        for index, each in enumerate(value[:3]):
            yield from leaves(each, (*place, index))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    first, *others = place
    if isinstance(value, dict):
        return {key: replaced(each, tuple(others), new) if key == first else each for key, each in value.items()}
    return [replaced(each, tuple(others), new) if index == first else each for index, each in enumerate(value)]


def write_torch(file: Path, change: Callable[[Any], Any]) -> None:
    content = torch.load(io.BytesIO(file.read_bytes()), weights_only=True)
    torch.save(change(content), file)


def with_absurd_tensor(content: Any, rng: np.random.Generator) -> Any:
    weights = content.get("weights", content)
    name = sorted(weights)[int(rng.integers(len(weights)))]
    tensor = weights[name]
    kinds = (
        tensor[..., None],
        torch.full_like(tensor, -1),
        "text",
        None,
        tensor.to(torch.complex64),
        tensor[:0] if tensor.ndim else tensor,
    )
    changed = {**weights, name: kinds[int(rng.integers(len(kinds)))]}
    return {**content, "weights": changed} if "weights" in content else changed


Damage = Callable[[Path, np.random.Generator], None]
DAMAGES: dict[str, Damage] = {
    "empty": emptied,
    "deleted": deleted,
    "folder": made_a_folder,
    "cut by 1": cut_at_the_end,
    "cut": cut_anywhere,
    "flipped": flipped,
    "zeros": zeroed,
    "noise": of_noise,
    "version": of_another_version,
    "type": of_another_type,
    "absurd": of_an_absurd_value,
}
PLAUSIBLE = ("absurd", "deleted", "folder")
"""Damages after which a file may be whole by its rules, so that readers may return something else."""
