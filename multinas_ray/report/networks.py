"""The networks a report tells of, and what lies beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.runs import ARCHITECTURES_FILE, EXPORT_FOLDER, Run, candidates_schema, read_training
from multinas_ray.selection import family_path, load_family

PARITY_FILE = "parity.json"


@dataclass(frozen=True, eq=False)
class ToldFamily:
    """What is known of a run's networks, or of those of an answer to other budgets."""

    label: str | None
    """That of the answer; None for the run's own networks."""
    networks: pd.DataFrame
    """Rows of `architectures_schema`, from small to large; empty until they are chosen."""
    candidates: pd.DataFrame
    """Rows of `candidates_schema`."""
    training: Mapping[int, pd.DataFrame]
    """Rank -> the epochs of its retraining."""
    parity: Mapping[int, Mapping[str, Any]]
    """Rank -> the record of its export's check."""
    unreadable: tuple[str, ...]
    """Files that are there and cannot be read, with the reason."""


def load_told_family(run: Run, path: str, label: str | None) -> ToldFamily:
    """Read a family and the files of its networks; what is missing or cannot be read is left out and told.

    Args:
        run: the run.
        path: where it lies, a local path or a URI.
        label: that of an answer to other budgets; None for the run's own networks.

    Raises:
        StateError: there is no selection `label`.
        ConfigError: the label is no plain folder name.
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
        files = folder.join("networks", str(network))
        try:
            if len(epochs := read_training(files)):
                training[network] = epochs
            if storage.exists(file := files.join(EXPORT_FOLDER, PARITY_FILE)):
                parity[network] = _read_parity(file)
        except StateError as error:
            unreadable.append(str(error))
    return ToldFamily(label, networks, candidates, training, parity, tuple(unreadable))


def _read_parity(file: storage.Location) -> Mapping[str, Any]:
    content = storage.read_plain(file)
    if not isinstance(content, Mapping):
        raise StateError(f"{file} holds no object: write it again by `multinas-ray export`")
    return content
