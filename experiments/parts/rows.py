"""Finished rows on disk, in a Parquet file that is written completely or not at all."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from multinas_ray.errors import StateError
from multinas_ray.storage import make_folder, read_parquet, write_parquet

MADE_WITH = b"made_with"


def save_rows(frame: pd.DataFrame, path: Path, made_with: str = "") -> None:
    """Write rows; `made_with` goes into the file's metadata."""
    make_folder(path.parent)
    rows = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({MADE_WITH: made_with})
    write_parquet(path, rows)


def load_rows(path: Path, made_with: str = "") -> pd.DataFrame | None:
    """Read finished rows; None if there are none, they are damaged, or they were made with something else."""
    if not path.is_file():
        return None
    try:
        rows = read_parquet(path)
    except StateError:
        return None
    if (rows.schema.metadata or {}).get(MADE_WITH) != made_with.encode():
        return None
    frame: pd.DataFrame = rows.to_pandas()
    return frame
