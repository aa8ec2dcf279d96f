"""A progress bar for work in a known number of pieces."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def counted_progress(console: Console) -> Progress:
    """A progress bar that counts pieces and shows the time since the start."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console)
