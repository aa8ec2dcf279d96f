"""A family on disk: the networks that were chosen together, and the candidates among which they were chosen.

A run's own family is the one chosen for the goals of its search; it lies in the run's folder. Families chosen for other
budgets lie in `families/<label>` below it.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from multinas_ray import storage
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import ARCHITECTURES_FILE, FAMILIES_FOLDER, load_config, read_architectures, read_candidates
from multinas_ray.settings import checked, checked_arguments

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@checked
@dataclass(frozen=True, eq=False)
class Family:
    """Networks that were chosen together."""

    path: str
    """Its folder, a local path or a URI; the paths in `architectures` are relative to it."""

    architectures: pd.DataFrame
    """The networks, from small to large, with the columns of `architectures_schema`; architectures are tuples."""

    candidates: pd.DataFrame
    """All candidates, by network, with the columns of `candidates_schema`; architectures are tuples."""

    def numbers(self, wanted: Collection[int] | None) -> list[int]:
        """The numbers of some of its networks in rising order; all of them for None.

        Raises:
            ConfigError: a number is not that of a network of the family, or there are no numbers.
        """
        known = self.architectures["network"].tolist()
        chosen = known if wanted is None else sorted(set(wanted))
        if not chosen or not set(chosen) <= set(known):
            raise ConfigError(f"{self.path} has the networks {known}, not {chosen}: give numbers of its networks")
        return chosen


@checked_arguments
def family_path(run_path: str, label: str | None = None) -> str:
    """The folder of a family.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        label: the family's label; None for the run's own family.

    Raises:
        ConfigError: the label is not a plain folder name.
    """
    if label is None:
        return str(storage.resolve(run_path))
    if not _LABEL.fullmatch(label):
        raise ConfigError(
            "the label of a family names a folder, so it must be 1 to 100 letters, digits, '.', '_' or '-' of which "
            f"the first is a letter or digit, got {label!r}: choose another label"
        )
    return str(storage.resolve(run_path).join(FAMILIES_FOLDER, label))


@checked_arguments
def load_family(run_path: str, label: str | None = None) -> Family:
    """Read a family of a run.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI such as `s3://bucket/folder/run`.
        label: the family's label; None for the run's own family.

    Raises:
        StateError: there is no run or no such family, or a file is damaged. The message names the families that exist.
        ConfigError: the label is not a plain folder name.
    """
    config = load_config(run_path)
    path = family_path(run_path, label)
    if not storage.exists(storage.resolve(path).join(ARCHITECTURES_FILE)):
        raise StateError(_missing(run_path, label))
    return Family(path=path, architectures=read_architectures(path, config), candidates=read_candidates(path, config))


@checked_arguments
def family_labels(run_path: str) -> list[str]:
    """The labels of the families of a run, without its own family."""
    folder = storage.resolve(run_path).join(FAMILIES_FOLDER)
    return [name for name in storage.list_folders(folder) if storage.exists(folder.join(name, ARCHITECTURES_FILE))]


def _missing(run_path: str, label: str | None) -> str:
    if label is None:
        return (
            f"{run_path} has no chosen networks yet: resume its search if it has not ended, or choose them with "
            f"`multinas-ray select {run_path}`"
        )
    known = ", ".join(family_labels(run_path)) or "none yet"
    return (
        f"{run_path} has no family {label!r}, its families are: {known}; "
        f"choose one with `multinas-ray select {run_path} --max NAME=VALUE --label {label}`"
    )
