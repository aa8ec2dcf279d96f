"""The record of networks that are trained after a search: a small state file and a table for each.

`networks/<network>/retraining.json` says what is trained with which recipe, and has its result once there is one. It is
authoritative: the columns of architectures.parquet only repeat it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.runs.layout import (
    ARCHITECTURES_FILE,
    CHECKPOINT_FILE,
    EXPORT_FOLDER,
    NETWORKS_FOLDER,
    RETRAINED_FILE,
    RETRAINING_FILE,
    TRAINING_FILE,
    network_path,
)
from multinas_ray.runs.reading import SELECT_ANEW
from multinas_ray.runs.schema import SCHEMA_VERSION, TABLE_KEY, VERSION_KEY, architectures_schema
from multinas_ray.runs.tables import read_part, read_table
from multinas_ray.settings import AsGiven, Measured, checked, checked_arguments

TRAIN_ANEW = "delete it, and train the network anew by `multinas-ray retrain RUN`"
TRAIN_OVER = "restore a copy of it, or train the network anew by `multinas-ray retrain RUN --overwrite`"


@checked
@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The result of a network's training."""

    loss: Measured
    """Mean cross-entropy on the test images."""
    accuracy: Measured
    """Accuracy on the test images, in [0, 1]."""
    epochs: int
    """Epochs trained."""
    seconds: float
    """Time of its epochs, over all sessions."""


@checked
@dataclass(frozen=True, kw_only=True)
class RetrainingRecord:
    """The training of one network, running or finished."""

    architecture: tuple[int, ...]
    recipe: Annotated[Mapping[str, Any], AsGiven()]
    """`RetrainConfig.identity()`: the settings that decide the weights."""
    result: Retrained | None = None
    """The result; None until the training is finished and its weights are stored."""


@checked_arguments
def training_schema() -> pa.Schema:
    """One row per epoch of a network's training.

    `learning_rate` is that of the epoch's last step, and `train_loss` is the mean over its steps, with augmentation and
    label smoothing. `validation_*` are those of the weights to keep; they are empty if the network is trained on
    validation images too.
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


@checked_arguments
def write_training(folder: storage.AnyPath, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a network's epochs so far, atomically, into its folder."""
    schema = training_schema()
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    storage.write_parquet(storage.resolve(folder).join(TRAINING_FILE), storage.make_table(schema, columns))


@checked_arguments
def read_training(folder: storage.AnyPath) -> pd.DataFrame:
    """Read a network's epochs from its folder; the table is empty if its training was never started.

    Raises:
        StateError: The table is damaged.
    """
    file = storage.resolve(folder).join(TRAINING_FILE)
    return read_table(file, lambda _: training_schema(), TRAIN_OVER)


@checked_arguments
def write_retraining(folder: storage.AnyPath, record: RetrainingRecord) -> None:
    """Write a network's record into its folder, durably."""
    place = storage.resolve(folder)
    storage.make_folder(place)
    result = None if record.result is None else asdict(record.result)
    content = {"architecture": list(record.architecture), "recipe": dict(record.recipe), "result": result}
    write_document(place.join(RETRAINING_FILE), content)


@checked_arguments
def load_retraining(folder: storage.AnyPath) -> RetrainingRecord | None:
    """Read a network's record from its folder; None if its training was never started.

    Raises:
        StateError: The record is damaged.
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


@checked_arguments
def load_trainings(family_path: storage.AnyPath) -> dict[int, RetrainingRecord]:
    """Read the records of all trainings in a family's folder, finished or not, by number of the network.

    Raises:
        StateError: A record is damaged.
    """
    place = storage.resolve(family_path).join(NETWORKS_FOLDER)
    records = {int(name): load_retraining(place.join(name)) for name in storage.list_folders(place) if name.isdecimal()}
    return {network: record for network, record in sorted(records.items()) if record is not None}


@checked_arguments
def record_retrained(family_path: str, results: Mapping[int, Retrained | None]) -> None:
    """Write results of trainings into a family's architectures.parquet, atomically; rows of other networks are kept.

    Args:
        family_path: the family's folder.
        results: results by number of the network; None for a training that is not finished.
    """
    file = storage.resolve(family_path).join(ARCHITECTURES_FILE)
    table = read_part(file, architectures_schema, SELECT_ANEW)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for row, network in enumerate(columns["network"]):
        if network in results:
            for name, value in retrained_columns(network, results[network]).items():
                columns[name][row] = value
    storage.write_parquet(file, storage.make_table(table.schema, columns))


@checked_arguments
def retrained_columns(network: int, result: Retrained | None) -> dict[str, Any]:
    """What the table of a family says about the training of a network, by column."""
    return {
        "retrained_loss": None if result is None else result.loss,
        "retrained_accuracy": None if result is None else result.accuracy,
        "retrained_epochs": None if result is None else result.epochs,
        "retrained_path": None if result is None else f"{network_path(network)}/{RETRAINED_FILE}",
    }


@checked_arguments
def adopt_retrained(folders: Sequence[str], architecture: tuple[int, ...]) -> bool:
    """Whether one of several networks with the same architecture is trained; the others then get copies of its files.

    Args:
        folders: folders of the networks.
        architecture: their architecture.
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
            for name in (TRAINING_FILE, RETRAINED_FILE, RETRAINING_FILE):  # the last says that the others are there
                content = storage.read_bytes(storage.resolve(done[0]).join(name))
                storage.write_atomic(storage.resolve(folder).join(name), content)
    return bool(done)


@checked_arguments
def drop_export(folder: storage.AnyPath) -> None:
    """Delete a network's exported files. Call it before its weights change, so that no older files stay."""
    storage.delete_folder(storage.resolve(folder).join(EXPORT_FOLDER))


@checked_arguments
def clear_retraining(folders: Sequence[str]) -> None:
    """Delete the trainings of networks, finished or not, and the files exported from them.

    The record is deleted before its files, so that no training seems finished without them.
    """
    for folder in folders:
        drop_export(folder)
        for name in (RETRAINING_FILE, CHECKPOINT_FILE, RETRAINED_FILE, TRAINING_FILE):
            storage.delete_file(storage.resolve(folder).join(name))
