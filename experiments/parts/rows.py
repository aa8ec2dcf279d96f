"""Finished rows on disk, in a Parquet file that is written completely or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows, each by the names of its columns."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


class KeptRows:
    """Rows by what gave them, in a file that is written whenever some are added: a command goes on where it was ended.

    Args:
        file: the Parquet file.
    """

    def __init__(self, file: Path) -> None:
        found = load_rows(file)
        self._file = file
        self._rows = [] if found is None else rows_of(found)

    def of(self, what: Mapping[str, Any], work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of something, computed if they are not there.

        Args:
            what: columns that tell what gave the rows; the same names at each call.
            work: computes the other columns of the rows.
        """
        found = [row for row in self._rows if all(row[name] == value for name, value in what.items())]
        if not found:
            found = [{**what, **row} for row in work()]
            self._rows += found
            save_rows(pd.DataFrame(self._rows), self._file)
        return found
