import io

import pytest
from rich.console import Console
from rich.table import Table

from multinas_ray.cluster import SideMatters, say, show
from tests.support.narrow import printed


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


class AsciiTerminal(io.TextIOWrapper):
    """A terminal that can show ASCII only."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="ascii", errors="strict", write_through=True)

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


class GoneTerminal(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def fail():
    raise OSError(28, "No space left on device")


def test_a_failure_is_told_once_and_not_tried_again(console):
    side, done = SideMatters(console), []
    assert not side.do("writing the curves", fail)
    assert not side.do("writing the curves", lambda: done.append("curves"))
    assert side.do("writing the metrics", lambda: done.append("metrics"))
    assert done == ["metrics"]
    text = printed(console)
    assert text.count("Writing the curves failed ([Errno 28] No space left on device). All else goes on.") == 1


def test_what_has_failed_is_closed_without_another_word(console):
    side, done = SideMatters(console), []
    side.do("writing the curves", fail)
    before = printed(console)
    side.close("writing the curves", lambda: done.append("closed"))
    side.close("writing the curves", fail)
    assert done == ["closed"]
    assert printed(console).removeprefix(before).count("\n") <= 1
    side.close("showing", fail)
    assert "Showing failed" in printed(console)


def test_an_interrupt_is_no_failure(console):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SideMatters(console).do("writing the curves", interrupt)


def test_a_terminal_that_cannot_show_a_character_shows_a_question_mark():
    terminal = AsciiTerminal()
    console = Console(file=terminal, width=80)
    say(console, "größe · [bold]x[/]")
    table = Table("kosten", title="größe")
    table.add_row("1 · 2")
    show(console, table)
    text = terminal.text()
    assert "gr??e ? [bold]x[/]" in text
    assert "1 ? 2" in text


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), ValueError("closed file"), BrokenPipeError(32, "Broken pipe")]
)
def test_a_terminal_that_is_gone_ends_nothing(monkeypatch, error):
    def leave(console):
        raise SystemExit(1)

    monkeypatch.setattr(Console, "on_broken_pipe", leave)  # rich's own closes the standard output, and raises this
    console = Console(file=GoneTerminal(error))
    say(console, "hello")
    show(console, Table("hello"))
