"""Every file of a record with every damage, for every reader."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.inputs.answers import RETURNED, TOLD, UNCLEAR, WRONG, Answer, answer
from tests.inputs.damages import DAMAGES, PLAUSIBLE
from tests.inputs.records import copied, differences

REMEDY = re.compile(
    "restore a copy|restore the|delete (it|this line)|verify RUN --repair|use (the|that) (version|multinas-ray)|"
    "multinas-ray (select|retrain)|give |choose |wait|resume|train |set |remove |rename |make one|replace |"
    "copy it again|write (it|the shards) again|name each class|correct it|put "
)


@dataclass(frozen=True)
class DamagedFile:
    """A damage of one file of a record, and who reads it."""

    kind: str
    file: str
    damage: str
    seed: int
    reader: str

    def __str__(self) -> str:
        return f"{self.reader} of {self.kind} with {self.file} {self.damage} ({self.seed})"

    def answer(self, record: Path, read: Callable[[Path], Any], wanted: Any, folder: Path) -> Answer:
        """What the reader gives or tells: the same result, or a line that names the file and a remedy."""
        path = copied(record, folder)
        DAMAGES[self.damage](path / self.file, np.random.default_rng([self.seed, *map(ord, self.file)]))
        found = answer(lambda: read(path))
        if found.kind == RETURNED and self.damage not in PLAUSIBLE and not self.loses_a_line:
            wrong = list(differences(found.result, wanted))
            return Answer(WRONG, "; ".join(wrong)) if wrong else found
        if found.kind == TOLD and self.damage not in PLAUSIBLE:
            if Path(self.file).name not in found.text:
                return Answer(UNCLEAR, f"it does not name the file: {found.text[:300]}")
            if not REMEDY.search(found.text):
                return Answer(UNCLEAR, f"it names no remedy: {found.text[:300]}")
        return found

    @property
    def loses_a_line(self) -> bool:
        """Whether lines of a journal do not come to their ends, as a kill may leave them: they never counted."""
        return "_journal" in self.file


def files_of(record: Path) -> list[str]:
    return sorted(str(each.relative_to(record)) for each in record.rglob("*") if each.is_file())


def damaged_files(kind: str, record: Path, readers: list[str], seeds: int) -> Iterator[DamagedFile]:
    for file in files_of(record):
        for damage in DAMAGES:
            if file.startswith("sessions") and damage in ("deleted", "folder"):
                continue  # a driver counts them
            for seed in range(seeds if damage in ("cut", "flipped", "zeros", "absurd", "type") else 1):
                for reader in readers:
                    yield DamagedFile(kind, file, damage, seed, reader)
