"""Small changes of a record on disk, as a person or a fault might make them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multinas_ray.runs import read_document, write_document

BARE_CONFIG: dict[str, Any] = {"kind": "oneshot", "costs": []}
"""The least that a configuration holds."""


def edit_document(file: Path, **changes: Any) -> None:
    """Replace values of a record's JSON file, with a checksum that fits."""
    write_document(file, {**read_document(file, "-"), **changes})


def rewrite_table(folder: Path, change: Any) -> None:
    """Replace a table's parts by one that holds `change` of its rows."""
    files = sorted(folder.glob("*.parquet"))
    rows = pa.concat_tables([pq.read_table(file) for file in files])
    changed = pa.Table.from_pylist(change(rows.to_pylist()), schema=rows.schema)
    for file in files:
        file.unlink()
    pq.write_table(changed, folder / "part-00000.parquet")
