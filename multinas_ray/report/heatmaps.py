"""Maps of the probabilities of each distribution: positions by options."""

# K distributions, D positions, C options

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multinas_ray.report.figures.curves import distributions_by_size
from multinas_ray.report.figures.look import network_keys
from multinas_ray.report.goals import goal_of
from multinas_ray.report.positions import Position
from multinas_ray.report.wording import percent
from multinas_ray.runs import Run

_SMALL = 10  # columns
_MOST_EXTRA_ROWS = 4  # rows of a shared list of labels beyond the options of one position


@dataclass(frozen=True)
class Cell:
    """One option of one position."""

    probability: float | None
    """None if the position has no such option."""
    is_mode: bool
    title: str
    label: str


@dataclass(frozen=True)
class MapRow:
    """A row of cells under a name."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class HeatMap:
    """One distribution."""

    name: str
    colour: int
    """Key of its colour, see `network_keys`."""
    subtitle: str
    description: str
    """Text for readers who cannot see the map."""
    columns: list[str]
    """Names above the columns; empty if each cell has its own label."""
    rows: list[MapRow]

    @property
    def is_labelled(self) -> bool:
        """Whether each cell shows its option. Then the rows are positions, else the columns are."""
        return not self.columns

    @property
    def is_small(self) -> bool:
        """Whether three such maps fit side by side."""
        return 0 < len(self.columns) <= _SMALL


def heat_maps(run: Run, networks: pd.DataFrame, positions: Sequence[Position]) -> list[HeatMap]:
    """The newest recorded probabilities of each distribution, from the smallest network to the largest.

    If the positions share most options, each option has a row; else each position has a row, and its cells show their
    options. Numbers are left out.
    """
    listed = [place for place, position in enumerate(positions) if position.options]
    positions = [positions[place] for place in listed]
    if run.distributions.empty or not positions:
        return []
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    newest = newest.set_index("distribution")
    order, maps = distributions_by_size(run, networks), []
    for colour, (number_of, name) in zip(network_keys(len(order)), order.items(), strict=True):
        row = newest.loc[number_of]
        probs = [np.asarray(row["probs"][place], dtype=float) for place in listed]
        if [len(each) for each in probs] != [len(each.options) for each in positions]:
            return []
        most = sum(float(np.log(len(each))) for each in probs)
        subtitle = f"{' '.join(goal_of(run, row))}, entropy {row['entropy']:.2f} of {most:.2f} nats"
        description = f"Probabilities of distribution {name}. Its mode, {row['mode_readable']}, has "
        description += percent(row["mode_probability"], 1)
        columns, rows = _shared_rows(probs, positions) or ([], _own_rows(probs, positions))
        maps.append(HeatMap(name, colour, subtitle, description, columns, rows))
    return maps


def _cell(position: Position, option: int, probs: np.ndarray) -> Cell:
    label = position.options[option].label
    probability = float(probs[option])
    return Cell(
        probability, option == int(probs.argmax()), f"{position.name}: {label}, {percent(probability, 1)}", label
    )


def _shared_rows(probs: Sequence[np.ndarray], positions: Sequence[Position]) -> tuple[list[str], list[MapRow]] | None:
    """One row for each label; None if the positions do not share most of them."""
    labels = list(dict.fromkeys(option.label for each in positions for option in each.options))
    if 2 * len(labels) > sum(len(each.options) for each in positions):
        return None
    if len(labels) > max(len(each.options) for each in positions) + _MOST_EXTRA_ROWS:
        return None
    rows = []
    for label in labels:
        cells = []
        for position, each in zip(positions, probs, strict=True):
            names = [option.label for option in position.options]
            known = label in names
            cells.append(_cell(position, names.index(label), each) if known else Cell(None, False, "", label))
        rows.append(MapRow(label, cells))
    return [each.name for each in positions], rows


def _own_rows(probs: Sequence[np.ndarray], positions: Sequence[Position]) -> list[MapRow]:
    """One row for each position, with its options side by side."""
    return [
        MapRow(position.name, [_cell(position, option, each) for option in range(len(each))])
        for position, each in zip(positions, probs, strict=True)
    ]
