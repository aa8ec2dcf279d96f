"""Where progress is shown, and a progress bar for work in a known number of pieces."""

import importlib.util

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def standard_console() -> Console:
    """The standard output.

    A notebook shows what changes only by ipywidgets. Without them it gets plain lines, as a log file does.
    """
    console = Console()
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        return Console(force_jupyter=False, force_terminal=False, width=console.width)
    return console


def counted_progress(console: Console) -> Progress:
    """A progress bar that counts pieces and shows the time since the start."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console)
