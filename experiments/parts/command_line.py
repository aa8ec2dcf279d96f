"""What the command lines have in common: the tables' folder, the checks, and how a command ends."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from multinas_ray.errors import ConfigError, MultiNASError


def check_positive(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    """Check whole numbers of the command line.

    Raises:
        ConfigError: One of them is below 1.
    """
    for name in names:
        value = vars(arguments)[name]
        if value < 1:
            raise ConfigError(f"--{name} must be at least 1, got {value}")


def data_folder(given: Path | None) -> Path:
    """Return the folder that was given, or that the environment names.

    Raises:
        ConfigError: Neither names a folder.
    """
    named = given or os.environ.get("MULTINAS_DATA")
    if not named:
        raise ConfigError("the tables' folder is not known: give --data DIR or set MULTINAS_DATA")
    return Path(named)


def exit_status(run: Callable[[Console], None]) -> int:
    """Run a command; returns 0, 2 after an error (one line on standard error), 130 after an interrupt."""
    console = Console()
    try:
        run(console)
    except (MultiNASError, OSError, ImportError) as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; what is finished is kept, run the same command to go on")
        return 130
    return 0
