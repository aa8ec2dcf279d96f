"""Where progress is shown, and a progress bar for work in a known number of pieces."""

import importlib.util
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment

from multinas_ray.errors import printable


class PrintableConsole(Console):
    """A console of rich on which texts cannot steer the terminal: names in files may hold such characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is printed, in which characters that end a line or steer a terminal are shown by their codes."""
        for each in super().render(renderable, options):
            is_clean = each.control or each.text.isprintable() or each.text == "\n"
            yield each if is_clean else Segment("\n".join(map(printable, each.text.split("\n"))), each.style)


def standard_console() -> Console:
    """The standard output.

    A notebook shows what changes only by ipywidgets. Without them it gets plain lines, as a log file does.
    """
    console = PrintableConsole()
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        return PrintableConsole(force_jupyter=False, force_terminal=False, width=console.width)
    return console


def counted_progress(console: Console) -> Progress:
    """A progress bar that counts pieces and shows the time since the start."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console)
