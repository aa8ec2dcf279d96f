"""The table of a run's images: what was found, what is used, and what is left out and why."""

# c classes

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from multinas_ray.data.images import SPLITS, DataSplits, Images
from multinas_ray.data.left_out import LeftOut, total_by_reason
from multinas_ray.data.samples import SampleSet

MOST_CLASSES = 12
"""Largest number of classes that have a row each; of more, those have one that lack images or files [ours]."""
_ROWS, _REASONS = 8, 6  # most rows and reasons that are shown, if there are more classes


def image_table(splits: DataSplits) -> RenderableType:
    """Return a table with a row for each class, or for the classes with something to tell if there are many.

    `found` is the number of files, which is that of the used images and of those left out.
    """
    used = np.stack([np.bincount(getattr(splits, name).labels, minlength=splits.num_classes) for name in SPLITS])
    table = Table(title="The images", title_justify="left", box=None, pad_edge=False)
    table.add_column("class")
    for name in ("found", *SPLITS):
        table.add_column(name, justify="right")
    table.add_column("left out, and why")
    own = {name: [each for each in splits.left_out if each.class_name == name] for name in ("", *splits.class_names)}
    numbers = range(splits.num_classes)
    told = [number for number in numbers if own[splits.class_names[number]] or not used[:, number].all()]
    rows = numbers if splits.num_classes <= MOST_CLASSES else told[:_ROWS]
    for number in rows:
        _add_row(table, splits.class_names[number], used[:, number], own[splits.class_names[number]])
    others = np.setdiff1d(numbers, rows)
    if len(others):
        _add_others(table, [splits.class_names[number] for number in others], used[:, others], splits.left_out)
    if own[""]:
        _add_row(table, "of no class", None, own[""])
    _add_row(table, f"all {splits.num_classes:,} classes", used.sum(axis=1), splits.left_out, are_summed=True)
    return Group(table, *(Text(f"{note[0].upper()}{note[1:]}.") for note in splits.notes))


def image_counts(splits: DataSplits) -> dict[str, Any]:
    """The numbers of the table as plain data, for the record of a run.

    Returns:
        `classes`, or one of all samples where they are not known; `used`, the images of each class by split;
        `left_out`, the files that are left out with split, class and reason; and `notes`.
    """
    used = {name: _numbers(getattr(splits, name), splits.num_classes) for name in SPLITS}
    return {
        "classes": list(splits.class_names) or ["samples"],
        "used": {name: counts.tolist() for name, counts in used.items()},
        "left_out": [dataclasses.asdict(each) for each in splits.left_out],
        "notes": list(splits.notes),
    }


def _numbers(images: Images, num_classes: int) -> npt.NDArray[np.int64]:
    """The number of images of each class, or of all samples."""
    if isinstance(images, SampleSet):
        return np.array([len(images)])
    return np.bincount(images.labels, minlength=num_classes)


def _add_row(
    table: Table,
    name: str,
    used: npt.NDArray[np.int64] | None,
    left_out: Sequence[LeftOut],
    *,
    are_summed: bool = False,
) -> None:
    found = sum(each.count for each in left_out) + (0 if used is None else int(used.sum()))
    numbers = [""] * len(SPLITS) if used is None else [f"{number:,}" for number in used]
    reasons = _reasons(left_out) if are_summed else _reasons_by_split(left_out)
    if used is not None:
        reasons += [f"no {split} images" for split, number in zip(SPLITS, used, strict=True) if number == 0]
    table.add_row(Text(name), f"{found:,}", *numbers, Text("; ".join(reasons)))


def _add_others(table: Table, names: Sequence[str], used: npt.NDArray[np.int64], left_out: Iterable[LeftOut]) -> None:
    """One row for all classes that have none of their own: the smallest and the largest number of each."""
    of_class = dict.fromkeys(names, 0)
    own = [each for each in left_out if each.class_name in of_class]
    for each in own:
        of_class[each.class_name] += each.count
    found = used.sum(axis=0) + np.array(list(of_class.values()))
    cells = [f"{low:,} to {high:,}" if low < high else f"{low:,}" for low, high in map(_range, (found, *used))]
    table.add_row(Text(f"each of {len(names):,} classes"), *cells, Text("; ".join(_reasons(own))))


def _range(numbers: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(numbers.min()), int(numbers.max())


def _reasons(left_out: Iterable[LeftOut]) -> list[str]:
    totals = total_by_reason(left_out)
    told = [f"{count:,} {reason}" for reason, count in list(totals.items())[:_REASONS]]
    more = list(totals.values())[_REASONS:]
    return told + ([f"{sum(more):,} for {len(more)} other reasons"] if more else [])


def _reasons_by_split(left_out: Iterable[LeftOut]) -> list[str]:
    return [f"{each.count:,} {each.reason}" + (f" ({each.split})" if each.split else "") for each in left_out]
