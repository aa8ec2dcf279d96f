"""Tables for the terminal whose texts may be a user's or from a file."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from multinas_ray.errors import printable


class PlainTable(Table):
    """A table of rich that shows texts as they are: no bracket is markup, and no character steers a terminal."""

    def __init__(self, *headers: Any, title: str | None = None, **settings: Any) -> None:
        told = None if title is None else Text(printable(title), "table.title")
        super().__init__(*headers, title=told, **settings)

    def add_column(self, header: Any = "", *rest: Any, **settings: Any) -> None:
        """Add a column, as `Table.add_column` does."""
        super().add_column(_plain(header), *rest, **settings)

    def add_row(self, *cells: Any, **settings: Any) -> None:
        """Add a row, as `Table.add_row` does."""
        super().add_row(*map(_plain, cells), **settings)


def _plain(cell: Any) -> Any:
    return Text(printable(cell)) if isinstance(cell, str) else cell
