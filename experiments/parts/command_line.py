"""What the comparisons' command lines have in common: the tables' folder, and how many processes work at once."""

import os
from pathlib import Path

from multinas_ray.errors import ConfigError


def data_folder(given: str | None) -> Path:
    """Return the folder that was given, or that the environment names.

    Raises:
        ConfigError: There is neither.
    """
    named = given or os.environ.get("MULTINAS_DATA")
    if not named:
        raise ConfigError("the tables' folder must be known: give --data DIR or set MULTINAS_DATA")
    return Path(named)


def images_folder(given: str | None, data: str | None) -> Path:
    """Return the folder of CIFAR-10 that was given, or cifar10 beside the tables.

    Raises:
        ConfigError: Neither is known.
    """
    return data_folder(data) / "cifar10" if given is None else Path(given)


def num_processes(given: int | None) -> int:
    """Return the number that was given, or that of the cores."""
    return given or os.cpu_count() or 1
