"""Splitting the cells of ordered variables where probability gathers, so that precision is not bounded.

Notation: K distributions, D variables, C categories (padded). docs/METHOD.md, "Numbers as cells". [ours]

A cell is split in the middle of its values, and each half gets the share of its probability that it has of its values.
So no density changes, and neither do importance weights, draws and margins. The state of the step is carried over by
the map from old tangent vectors to new ones that splits a component alike, and that keeps the Fisher norm.
"""

from dataclasses import replace

import numpy as np

from multinas_ray.core.arrays import FloatArray, read_only
from multinas_ray.core.asng import ASNGState, unwhitened, whitened
from multinas_ray.core.layout import CategoryLayout

GATHERED = 0.5
"""A cell is split when one of the distributions gives it more than this probability."""
MOST_CELLS = 64
"""No variable gets more cells than this, so that the cost of an update stays bounded."""

Cell = tuple[int, int]
"""A variable, and the number of one of its cells."""


def gathered_cells(probs_KDC: FloatArray, layout: CategoryLayout) -> list[Cell]:
    """Returns the cells to split, the last first, so that each split leaves the numbers of the others as they are."""
    cells = []
    for d in layout.ordered:
        most_C = np.where(layout.sizes_DC[d] > 1.0, probs_KDC[:, d].max(axis=0), 0.0)
        room = max(MOST_CELLS - layout.num_categories[d], 0)
        likeliest = [int(c) for c in (-most_C).argsort(kind="stable")[:room] if most_C[c] > GATHERED]
        cells += [(d, c) for c in sorted(likeliest, reverse=True)]
    return cells


def split_layout(layout: CategoryLayout, cell: Cell) -> CategoryLayout:
    """Returns the layout with the cell's halves in its place."""
    d, c = cell
    starts_DC = layout.starts_DC
    if layout.num_categories[d] == starts_DC.shape[1]:
        starts_DC = np.concatenate([starts_DC, np.array(layout.num_values)[:, None]], axis=1)
    middle = int(layout.starts_DC[d, c]) + int(layout.sizes_DC[d, c]) // 2
    starts_DC = starts_DC.copy()
    starts_DC[d] = np.insert(starts_DC[d], c + 1, middle)[:-1]
    return replace(layout, starts_DC=read_only(starts_DC, np.int64))


def split_values(values_XDC: FloatArray, before: CategoryLayout, after: CategoryLayout, cell: Cell) -> FloatArray:
    """Returns (..., D, C) values with a cell's value shared out between its halves, in proportion to their values."""
    d, c = cell
    split_XDC = np.zeros((*values_XDC.shape[:-1], after.starts_DC.shape[1]))
    split_XDC[..., : values_XDC.shape[-1]] = values_XDC
    share = after.sizes_DC[d, c] / before.sizes_DC[d, c]
    split_XDC[..., d, c + 1 :] = 0.0
    split_XDC[..., d, c + 1 : after.num_categories[d]] = values_XDC[..., d, c : before.num_categories[d]]
    split_XDC[..., d, c] = share * values_XDC[..., d, c]
    split_XDC[..., d, c + 1] = (1.0 - share) * values_XDC[..., d, c]
    return split_XDC


def split_state(state: ASNGState, before: CategoryLayout, after: CategoryLayout, cell: Cell) -> ASNGState:
    """Returns the state of the same distributions in the finer family; the path keeps its direction and length."""
    probs_KDC = split_values(state.probs_KDC, before, after, cell)
    tangent_KDC = split_values(unwhitened(state.path_KDC, state.probs_KDC, before), before, after, cell)
    path_KDC = split_values(state.path_KDC, before, after, cell)
    d, _ = cell
    path_KDC[:, d] = whitened(tangent_KDC, probs_KDC, after)[:, d]
    return replace(state, probs_KDC=probs_KDC, path_KDC=path_KDC)
