"""What the comparisons' command lines have in common: the tables' folder, and what works at once."""

import os
from pathlib import Path

from multinas_ray.data import usable_cores
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
    """Return the number that was given, or that of the cores that this process may use."""
    return given or usable_cores()


def threads_of_each(jobs: int) -> int:
    """Return the number of CPU threads of each of so many processes that share the cores."""
    return max(1, usable_cores() // jobs)
