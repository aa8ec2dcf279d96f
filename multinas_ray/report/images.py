"""The table of a search's images: found, used and left out, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.report.wording import Column, Table
from multinas_ray.runs import read_images

MOST_CLASSES = 12
"""Largest number of classes that have a row each [ours]."""


def images_of(path: storage.AnyPath) -> tuple[Table | None, tuple[str, ...]]:
    """The numbers of the images if they are recorded, or the reason why they cannot be read.

    A row is a class, or there is only the row of all classes if there are many.
    """
    try:
        counts = read_images(path)
    except StateError as error:
        return None, (str(error),)
    if counts is None:
        return None, ()
    splits, left_out = list(counts["used"]), counts["left_out"]
    columns = [Column("class", is_number=False), Column("found"), *(Column(name) for name in splits)]
    columns.append(Column("left out, and why", is_number=False, wraps=True))
    names = counts["classes"]
    rows = []
    for number, name in enumerate(names if len(names) <= MOST_CLASSES else ()):
        used = [counts["used"][split][number] for split in splits]
        rows.append(_row(name, used, [each for each in left_out if each["class_name"] == name]))
    if of_none := [each for each in left_out if not each["class_name"]]:
        rows.append(_row("of no class", [0] * len(splits), of_none))
    everything = f"all {len(names):,} classes" if names else "all"
    rows.append(_row(everything, [sum(counts["used"][split]) for split in splits], left_out))
    return Table(columns, rows, " ".join(f"{note[0].upper()}{note[1:]}." for note in counts["notes"])), ()


def _row(name: str, used: list[int], left_out: list[dict[str, Any]]) -> list[str]:
    totals: Counter[str] = Counter()
    for each in left_out:
        totals[each["reason"]] += each["count"]
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in totals.most_common())
    return [name, f"{sum(used) + sum(totals.values()):,}", *(f"{each:,}" for each in used), reasons]
