import io
import re
from pathlib import Path

import pytest
from rich.console import Console

import multinas_ray.cluster
from multinas_ray.cluster import PlainTable

TEXTS = ["conv[a] [bold]wide[/bold]", ":smile:", "\x1b[2J\x1b]0;owned\x07", "C:\\[x]", "[/]"]
SHOWN = ["conv[a] [bold]wide[/bold]", ":smile:", "\\x1b[2J\\x1b]0;owned\\x07", "C:\\[x]", "[/]"]


@pytest.mark.parametrize(("text", "shown"), [*zip(TEXTS, SHOWN, strict=True)])
def test_titles_heads_and_cells_are_shown_as_they_are(text, shown):
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=True, color_system=None)
    table = PlainTable("first", title=text)
    table.add_column(text)
    table.add_row(text, text)
    console.print(table)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert plain.count(shown) == 4
    assert "\x1b" not in plain


def test_no_table_for_the_terminal_is_another():
    """The tables of images have names that were checked, and texts of their own."""
    package = Path(multinas_ray.cluster.__file__).parents[1]
    users = [file for file in package.rglob("*.py") if re.search(r"(?<![\w.])Table\(title", file.read_text())]
    assert [file.name for file in users] == ["counts_table.py"]
