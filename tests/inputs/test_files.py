"""Damaged files of small finished runs, of sets of images and of tables: every reader gives the right result, or names
the file and a remedy."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from multinas_ray.report import drawings
from tests.inputs import image_files
from tests.inputs.answers import TOLD
from tests.inputs.file_walks import DamagedFile, damaged_files
from tests.inputs.records import READERS, RECORDS, copied

SAMPLED = {"oneshot": 30, "oneshot killed": 10, "tune": 15}
SAMPLED |= {"tree": 15, "shards": 15, "tars": 10, "latencies": 5, "foreign latencies": 5}
"""Of some 5,500; all where the environment has MULTINAS_INPUTS."""
RECORDS, READERS = RECORDS | image_files.RECORDS, READERS | image_files.READERS


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time."""
    nothing = drawings.Drawing(Markup(""), Markup(""))
    monkeypatch.setattr(drawings, "_drawn", lambda prefix, label, draw: nothing)


def chosen(kind: str, record: Path) -> Iterator[DamagedFile]:
    """Some damages of each file, always the same."""
    every = list(damaged_files(kind, record, list(READERS[kind]), seeds=2))
    if "MULTINAS_INPUTS" in os.environ:
        yield from every
        return
    for place in np.random.default_rng(1).permutation(len(every))[: SAMPLED[kind]]:
        yield every[place]


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_named_with_a_remedy_or_changes_nothing(kind: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    record = RECORDS[kind](tmp_path / "whole")
    wanted: dict[str, Any] = {}
    faults, told = [], 0
    for number, each in enumerate(chosen(kind, record)):
        reader = READERS[kind][each.reader]
        if each.reader not in wanted:
            wanted[each.reader] = reader(copied(record, folder(tmp_path / each.reader)))
        place = folder(tmp_path / str(number))
        found = each.answer(record, reader, wanted[each.reader], place)
        shutil.rmtree(place)
        told += found.kind == TOLD
        if found.is_fault:
            faults.append(f"{each}: {found.kind}: {found.text}")
    assert faults == []
    assert told > 1


def folder(path: Path) -> Path:
    path.mkdir()
    return path
