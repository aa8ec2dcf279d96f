"""The chosen networks block by block: one row for each network, one column for each position."""

# K networks, D positions

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from multinas_ray.report.figures.look import network_keys
from multinas_ray.report.positions import Option, Position

NUM_TONES = 6
"""Number of colours of blocks; all further kinds share the last colour."""

_LEAST_HEIGHT = 0.55  # of a box, as a share of the row


@dataclass(frozen=True)
class Group:
    """Adjacent positions of one stage."""

    name: str
    span: int


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    name: str
    title: str
    halves: bool


@dataclass(frozen=True)
class Box:
    """One block of one network."""

    label: str
    title: str
    is_skip: bool
    tone: int
    height: int
    """Height in percent of the row."""


@dataclass(frozen=True)
class Row:
    """One network."""

    name: str
    colour: int
    """Key of its colour, see `network_keys`."""
    boxes: list[Box]


@dataclass(frozen=True)
class Diagram:
    """The K networks."""

    groups: list[Group]
    heads: list[Head]
    rows: list[Row]
    tones: list[tuple[int, str]]
    """What each colour stands for."""
    heights_tell: bool
    """Whether the height of a box shows the expansion of its block."""


def diagram_of(networks: pd.DataFrame, positions: Sequence[Position]) -> Diagram | None:
    """Lay out the networks; None if there are none, or if the positions are not theirs.

    Args:
        networks: rows of `architectures_schema`, from small to large.
        positions: (D,) the positions of the run.
    """
    if networks.empty or any(len(row) != len(positions) for row in networks["architecture"]):
        return None
    tones = _tones(positions)
    largest = max((option.expansion or 0.0 for each in positions for option in each.options), default=0.0)
    expansions = {option.expansion for each in positions for option in each.options if not option.is_skip}
    heights_tell = None not in expansions and len(expansions) > 1
    rows = [
        Row(
            f"#{network}",
            colour,
            [_box(position, position.options[option], tones, largest if heights_tell else 0.0)
             if position.is_used(architecture) else _unused(position)
             for position, option in zip(positions, architecture, strict=True)],
        )
        for colour, network, architecture in zip(
            network_keys(len(networks)), networks["network"], networks["architecture"], strict=True
        )
    ]  # fmt: skip
    return Diagram(*_heads(positions), rows, _key(tones), heights_tell)


def _heads(positions: Sequence[Position]) -> tuple[list[Group], list[Head]]:
    """The heads in two lines, stage above number, if the names have the form stage1_1, stage1_2, ..."""
    parts = [re.fullmatch(r"(.+)[_.-](\d+)", each.name) for each in positions]
    if all(parts) and len(positions) > 1:
        stages = [found[1] for found in parts if found]
        groups = [Group(name, len(list(same))) for name, same in itertools.groupby(stages)]
        names = [found[2] for found in parts if found]
    else:
        groups, names = [], [each.name for each in positions]
    return groups, [Head(name, each.name, each.halves) for name, each in zip(names, positions, strict=True)]


def _kind(option: Option, by_kernel: bool) -> str:
    return f"kernel {option.kernel_size}" if by_kernel else option.label


def _tones(positions: Sequence[Position]) -> dict[str, int]:
    """The number of each colour by what it stands for: a kernel size if every block has one, else a label."""
    blocks = [option for each in positions for option in each.options if not option.is_skip]
    if all(option.kernel_size is not None for option in blocks):
        sizes = sorted({option.kernel_size or 0 for option in blocks})
        return {f"kernel {size}": min(tone, NUM_TONES - 1) for tone, size in enumerate(sizes)}
    labels = list(dict.fromkeys(option.label for option in blocks))
    return {label: min(tone, NUM_TONES - 1) for tone, label in enumerate(labels)}


def _key(tones: dict[str, int]) -> list[tuple[int, str]]:
    names: dict[int, list[str]] = {}
    for name, tone in tones.items():
        names.setdefault(tone, []).append(name)
    return [(tone, ", ".join(each) if len(each) < 4 else "others") for tone, each in names.items()]


def _unused(position: Position) -> Box:
    """The place of a choice that the network does not use."""
    return Box("-", f"{position.name}: not used by this network", True, 0, 0)


def _box(position: Position, option: Option, tones: dict[str, int], largest: float) -> Box:
    if option.is_skip:
        return Box(option.label, f"{position.name}: {option.label}, the position is left out", True, 0, 0)
    tone = tones.get(_kind(option, True), tones.get(option.label, NUM_TONES - 1))
    share = (option.expansion or 0.0) / largest if largest else 1.0
    details = [f"kernel {option.kernel_size}"] if option.kernel_size else []
    details += [f"expansion {option.expansion:.3g}"] if option.expansion else []
    height = round(100 * (_LEAST_HEIGHT + (1 - _LEAST_HEIGHT) * share))
    return Box(option.label, f"{position.name}: {', '.join([option.label, *details])}", False, tone, height)
