"""Scores that a selection keeps on disk, so that after an interruption it evaluates only what is missing."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.scores import Score
from multinas_ray.storage import JournaledWriter, encode_plain

EVALUATED_FOLDER = "evaluated"
_CONDITIONS = "multinas_ray.conditions"
_SCHEMA = pa.schema(
    [
        pa.field("rung", pa.int32(), nullable=False),
        pa.field("architecture", pa.list_(pa.int16()), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("part_losses", pa.list_(pa.float64()), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
    ]
)


class KeptScores:
    """The scores of candidates in each rung, kept in a journal until the networks are chosen.

    Args:
        folder: the folder of the family; it is created if needed.
        conditions: plain data that the scores depend on. Scores that were kept under other conditions or cannot be
            read are dropped, and their candidates are evaluated again.
    """

    def __init__(self, folder: storage.AnyPath, conditions: Mapping[str, Any]) -> None:
        self._place = storage.resolve(folder).join(EVALUATED_FOLDER)
        self._digest = hashlib.sha256(encode_plain(conditions).encode()).hexdigest()
        self.scores: dict[tuple[int, Architecture], Score] = {}
        """The scores known so far, by rung and architecture."""
        try:
            self._writer = self._open()
            self.scores = self._read()
        except (StateError, KeyError, TypeError, ValueError):
            storage.delete_folder(self._place)
            self._writer = self._open()

    def add(self, rung: int, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Keep scores of a rung; they are durable on return."""
        if not architectures:
            return
        self.scores.update(((rung, each), score) for each, score in zip(architectures, scores, strict=True))
        self._writer.append(
            {
                "rung": [rung] * len(scores),
                "architecture": [list(each) for each in architectures],
                "loss": [each.loss for each in scores],
                "accuracy": [each.accuracy for each in scores],
                "part_losses": [list(each.part_losses) for each in scores],
                "images": [each.images for each in scores],
            }
        )

    def remove(self) -> None:
        """Delete the scores, once the table of candidates holds them."""
        storage.delete_folder(self._place)

    def _open(self) -> JournaledWriter:
        """The journal; what an interrupted selection has written is in Parquet files then."""
        return JournaledWriter(self._place, _SCHEMA, {"conditions": self._digest}, {_CONDITIONS: self._digest})

    def _read(self) -> dict[tuple[int, Architecture], Score]:
        scores = {}
        for name in storage.list_files(self._place, ".parquet"):
            table = storage.read_parquet(self._place.join(name), remedy="it is made again")
            if (table.schema.metadata or {}).get(_CONDITIONS.encode(), b"").decode() != self._digest:
                raise StateError(f"{name} was written under other conditions")
            for row in table.to_pylist():
                score = Score(row["loss"], row["accuracy"], tuple(row["part_losses"]), row["images"])
                scores[row["rung"], tuple(row["architecture"])] = score
        return scores
