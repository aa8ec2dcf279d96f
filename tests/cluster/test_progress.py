"""Where progress is shown."""

import importlib.util
import re
import warnings

import pytest
from rich.color import ColorSystem
from rich.table import Table

from multinas_ray.cluster import counted_progress, standard_console


@pytest.mark.parametrize(("has_widgets", "is_plain"), [(True, False), (False, True)])
def test_a_notebook_without_widgets_gets_plain_lines(
    has_widgets: bool, is_plain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if has_widgets else None)
    console = standard_console()
    assert console.is_jupyter is not is_plain
    if is_plain:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # rich warns that it shows nothing
            with counted_progress(console) as progress:
                progress.update(progress.add_task("work", total=3), completed=3)
        assert "3/3" in capsys.readouterr().out


def test_what_files_hold_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = standard_console()
    table = Table("name", title="\x1b]0;title\x07")
    table.add_row("\x1b[31mred\rnow")
    console.print(table)
    console.print("\x1b[2J\x9bgone", "two\nlines")
    told = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", told)
    assert r"\x1b[31m" in told
    assert "two\nlines" in told


def test_colours_are_still_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console = standard_console()
    console._force_terminal, console._color_system = True, ColorSystem.STANDARD
    console.print("an error", style="red")
    assert "\x1b[31man error" in capsys.readouterr().out
