"""The record of networks that are trained after a search: one small file of state and one table each.

`networks/<network>/retraining.json` says what is trained by which recipe, and its result once there is one. It is the
truth: the columns of architectures.parquet repeat it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.runs.layout import (
    ARCHITECTURES_FILE,
    CHECKPOINT_FILE,
    EXPORT_FOLDER,
    RETRAINED_FILE,
    RETRAINING_FILE,
    TRAINING_FILE,
    network_path,
)
from multinas_ray.runs.reading import SELECT_ANEW
from multinas_ray.runs.schema import SCHEMA_VERSION, TABLE_KEY, VERSION_KEY, architectures_schema
from multinas_ray.runs.tables import read_part, read_table

TRAIN_ANEW = "delete it, and train the network anew by `multinas-ray retrain RUN`"
TRAIN_OVER = "restore a copy of it, or train the network anew by `multinas-ray retrain RUN --overwrite`"


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """What a network's training came to."""

    loss: float
    """Mean cross-entropy on the test images."""
    accuracy: float
    """Accuracy on the test images, in [0, 1]."""
    epochs: int
    """Epochs trained."""
    seconds: float
    """Time of its epochs, over all starts."""


@dataclass(frozen=True, kw_only=True)
class RetrainingRecord:
    """What is, or was, trained for one network."""

    architecture: tuple[int, ...]
    recipe: Mapping[str, Any]
    """`RetrainConfig.identity()`: what decides the weights."""
    result: Retrained | None = None
    """None until it is finished and its weights are stored."""


def training_schema() -> pa.Schema:
    """One row per epoch of a network's training.

    `learning_rate` is that of the epoch's last step, `train_loss` the mean over its steps, with augmentation and label
    smoothing. `validation_*` are those of the weights to keep; empty where validation images are trained on.
    """
    columns = [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("validation_loss", pa.float64()),
        pa.field("validation_accuracy", pa.float64()),
        pa.field("images_per_second", pa.float64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
    return pa.schema(columns, {VERSION_KEY: str(SCHEMA_VERSION), TABLE_KEY: "training"})


def write_training(folder: storage.AnyPath, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a network's epochs so far, atomically, into its folder."""
    schema = training_schema()
    columns = {name: [row[name] for row in rows] for name in schema.names}
    storage.write_parquet(storage.resolve(folder).join(TRAINING_FILE), storage.make_table(schema, columns))


def read_training(folder: storage.AnyPath) -> pd.DataFrame:
    """Read a network's epochs from its folder; empty before its training was ever started.

    Raises:
        StateError: The table is damaged.
    """
    file = storage.resolve(folder).join(TRAINING_FILE)
    return read_table(file, lambda _: training_schema(), TRAIN_OVER)


def write_retraining(folder: storage.AnyPath, record: RetrainingRecord) -> None:
    """Write a network's record into its folder, durably."""
    place = storage.resolve(folder)
    storage.make_folder(place)
    result = None if record.result is None else asdict(record.result)
    content = {"architecture": list(record.architecture), "recipe": dict(record.recipe), "result": result}
    write_document(place.join(RETRAINING_FILE), content)


def load_retraining(folder: storage.AnyPath) -> RetrainingRecord | None:
    """Read a network's record from its folder; None before its training was ever started.

    Raises:
        StateError: It is damaged.
    """
    file = storage.resolve(folder).join(RETRAINING_FILE)
    if not storage.exists(file):
        return None
    content = read_document(file, TRAIN_ANEW)
    try:
        return RetrainingRecord(
            architecture=tuple(map(int, content["architecture"])),
            recipe=dict(content["recipe"]),
            result=None if content["result"] is None else Retrained(**content["result"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{file} does not describe a training ({error!r}): {TRAIN_ANEW}") from error


def record_retrained(family_path: str, results: Mapping[int, Retrained | None]) -> None:
    """Write what trainings came to into a family's architectures.parquet, atomically; the other networks' rows stay.

    Args:
        family_path: the family's folder.
        results: by the number of the network; None for one that is not finished.
    """
    file = storage.resolve(family_path).join(ARCHITECTURES_FILE)
    table = read_part(file, architectures_schema, SELECT_ANEW)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for row, network in enumerate(columns["network"]):
        if network in results:
            for name, value in _retrained_columns(network, results[network]).items():
                columns[name][row] = value
    storage.write_parquet(file, storage.make_table(table.schema, columns))


def _retrained_columns(network: int, result: Retrained | None) -> dict[str, Any]:
    return {
        "retrained_loss": None if result is None else result.loss,
        "retrained_accuracy": None if result is None else result.accuracy,
        "retrained_epochs": None if result is None else result.epochs,
        "retrained_path": None if result is None else f"{network_path(network)}/{RETRAINED_FILE}",
    }


def adopt_retrained(folders: Sequence[str], architecture: tuple[int, ...]) -> bool:
    """Whether one of several networks of an architecture is trained; the others then get copies of its files.

    Args:
        folders: of the networks.
        architecture: theirs.
    """
    done: list[str] = []
    missing: list[str] = []
    for folder in folders:
        record = load_retraining(folder)
        is_done = record is not None and record.result is not None and record.architecture == architecture
        (done if is_done else missing).append(folder)
    if done:
        for folder in missing:
            storage.make_folder(folder)
            drop_export(folder)
            for name in (TRAINING_FILE, RETRAINED_FILE, RETRAINING_FILE):  # the last one says that the others are there
                content = storage.read_bytes(storage.resolve(done[0]).join(name))
                storage.write_atomic(storage.resolve(folder).join(name), content)
    return bool(done)


def drop_export(folder: storage.AnyPath) -> None:
    """Delete a network's exported files: call it before its weights change, so that none are of earlier weights."""
    storage.delete_folder(storage.resolve(folder).join(EXPORT_FOLDER))


def clear_retraining(folders: Sequence[str]) -> None:
    """Delete networks' trainings, finished or not, and what was exported of them.

    The record goes before its files, so that none seems finished without them.
    """
    for folder in folders:
        drop_export(folder)
        for name in (RETRAINING_FILE, CHECKPOINT_FILE, RETRAINED_FILE, TRAINING_FILE):
            storage.delete_file(storage.resolve(folder).join(name))
