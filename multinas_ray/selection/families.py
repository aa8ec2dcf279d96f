"""A family on disk: the networks that were chosen together, and the candidates they were chosen among.

A run's own family answers its coefficients and lies in the run's folder. Answers to other budgets lie in
`families/<label>` below it.
"""

import re
from dataclasses import dataclass

import pandas as pd

from multinas_ray import storage
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import (
    ARCHITECTURES_FILE,
    CANDIDATES_FILE,
    architectures_schema,
    candidates_schema,
    load_config,
    read_table,
)

FAMILIES = "families"

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, eq=False)
class Family:
    """Networks that were chosen together."""

    path: str
    """Its folder, a local path or a URI; the paths in `architectures` are relative to it."""

    architectures: pd.DataFrame
    """The networks, from small to large; see `architectures_schema`. Architectures are tuples."""

    candidates: pd.DataFrame
    """All that were considered, by network; see `candidates_schema`. Architectures are tuples."""


def family_path(run_path: str, label: str | None = None) -> str:
    """Where a family lies.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        label: that of an answer to other budgets; None for the run's own family.

    Raises:
        ConfigError: the label is no plain folder name.
    """
    if label is None:
        return run_path.rstrip("/")
    if not _LABEL.fullmatch(label):
        raise ConfigError(
            f"the label of a family is a folder's name of at most 100 letters, digits, '.', '_' and '-', "
            f"the first a letter or digit; got {label!r}"
        )
    return storage.below(run_path, FAMILIES, label)


def load_family(run_path: str, label: str | None = None) -> Family:
    """Read the networks of a run, or of one of its answers to other budgets.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI such as `s3://bucket/folder/run`.
        label: that of the answer; None for the run's own family.

    Raises:
        StateError: there is no run or no such family, or a file is damaged; the message names the families there are.
        ConfigError: the label is no plain folder name.
    """
    load_config(run_path)  # that it is a run
    path = family_path(run_path, label)
    place = storage.resolve(path)
    if not storage.exists(place.join(ARCHITECTURES_FILE)):
        raise StateError(_missing(run_path, label))
    return Family(
        path=path,
        architectures=read_table(place.join(ARCHITECTURES_FILE), architectures_schema(())),
        candidates=read_table(place.join(CANDIDATES_FILE), candidates_schema(())),
    )


def family_labels(run_path: str) -> list[str]:
    """Labels of a run's answers to other budgets."""
    folder = storage.resolve(run_path).join(FAMILIES)
    return [name for name in storage.list_folders(folder) if storage.exists(folder.join(name, ARCHITECTURES_FILE))]


def _missing(run_path: str, label: str | None) -> str:
    if label is None:
        return (
            f"{run_path} has no chosen networks: its search has not ended, so resume it; "
            f"if it has, choose them by `multinas-ray select {run_path}`"
        )
    known = ", ".join(family_labels(run_path)) or "none yet"
    return (
        f"{run_path} has no family {label!r}, there are: {known}; "
        f"make one by `multinas-ray select {run_path} --max NAME=VALUE --label {label}`"
    )
