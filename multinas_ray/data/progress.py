"""A progress bar for long work, shown in a terminal only."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SHOWN_FROM = 2000


def image_progress(num_images: int) -> Progress:
    """A progress bar that counts images; it is hidden in workers, in log files and for small sets."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_shown = console.is_terminal and not console.is_jupyter and num_images >= _SHOWN_FROM
    return Progress(*columns, console=console, transient=True, disable=not is_shown)
