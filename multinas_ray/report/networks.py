"""The family that a report is about, with the files of its networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.runs import ARCHITECTURES_FILE, EXPORT_FOLDER, Run, candidates_schema, network_path, read_training
from multinas_ray.selection import family_path, load_family

PARITY_FILE = "parity.json"


@dataclass(frozen=True, eq=False)
class ReportedFamily:
    """What is known of a family and of the files of its networks."""

    label: str | None
    """The label of the family; None for the run's own."""
    networks: pd.DataFrame
    """Rows of `architectures_schema`, from small to large; empty until they are chosen."""
    candidates: pd.DataFrame
    """Rows of `candidates_schema`."""
    training: Mapping[int, pd.DataFrame]
    """The epochs of its retraining, by network."""
    parity: Mapping[int, Mapping[str, Any]]
    """The record of the parity check of its export, by network."""
    unreadable: tuple[str, ...]
    """Files that exist but cannot be read, each with the reason."""


def load_reported_family(run: Run, path: str, label: str | None) -> ReportedFamily:
    """Read a family and the files of its networks. Missing files are left out; unreadable ones are listed.

    Args:
        run: the run.
        path: the folder of the run, a local path or a URI.
        label: the label of the family; None for the run's own.

    Raises:
        StateError: there is no such family.
        ConfigError: the label is not a plain folder name.
    """
    place = storage.resolve(path)
    if label is None and not storage.exists(place.join(ARCHITECTURES_FILE)):
        networks, candidates = run.architectures, candidates_schema(()).empty_table().to_pandas()
    else:
        family = load_family(path, label)
        networks, candidates = family.architectures, family.candidates
    folder = storage.resolve(family_path(path, label))
    training: dict[int, pd.DataFrame] = {}
    parity: dict[int, Mapping[str, Any]] = {}
    unreadable: list[str] = []
    for network in networks["network"].astype(int):
        files = folder.join(network_path(int(network)))
        with _told(unreadable):
            if len(epochs := read_training(files)):
                training[network] = epochs
        with _told(unreadable):
            if storage.exists(file := files.join(EXPORT_FOLDER, PARITY_FILE)):
                parity[network] = _read_parity(file)
    return ReportedFamily(label, networks, candidates, training, parity, tuple(unreadable))


@contextmanager
def _told(unreadable: list[str]) -> Iterator[None]:
    """Note what cannot be read."""
    try:
        yield
    except StateError as error:
        unreadable.append(str(error))


def _read_parity(file: storage.Location) -> Mapping[str, Any]:
    content = storage.read_plain(file)
    if not isinstance(content, Mapping):
        raise StateError(f"{file} does not hold a JSON object: write it again with `multinas-ray export`")
    return content
