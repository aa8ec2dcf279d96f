"""A bar for what takes long, on a person's terminal only."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SHOWN_FROM = 2000


def image_progress(num_images: int) -> Progress:
    """A bar that counts images; it stays unseen in workers, in log files and for small sets."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_shown = console.is_terminal and num_images >= _SHOWN_FROM
    return Progress(*columns, console=console, transient=True, disable=not is_shown)
