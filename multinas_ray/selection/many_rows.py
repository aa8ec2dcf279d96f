"""Work on the millions of architectures of a long search, within little memory.

Notation: N architectures, D variables.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from multinas_ray.spaces import FloatArray, IntArray

AT_ONCE = 65_536
"""Architectures whose costs are computed at once: a table's take 8 bytes for each variable. [ours]"""


def in_parts(rows_ND: npt.NDArray[Any]) -> Iterator[IntArray]:
    """The rows in their order, so many at a time as are computed at once, as whole numbers of 64 bits."""
    for start in range(0, len(rows_ND), AT_ONCE):
        yield rows_ND[start : start + AT_ONCE].astype(np.int64)


def row_keys(rows_ND: npt.NDArray[Any]) -> npt.NDArray[np.bytes_]:
    """(N,) a key of each row of whole numbers from 0. Keys are equal where rows are, and sort as they do."""
    if not rows_ND.shape[1]:
        return np.zeros(len(rows_ND), dtype="S1")
    digits_ND = np.ascontiguousarray(rows_ND.astype(rows_ND.dtype.newbyteorder(">"), copy=False))
    keys_N: npt.NDArray[np.bytes_] = digits_ND.view(f"S{digits_ND.itemsize * rows_ND.shape[1]}").reshape(-1)
    return keys_N


def different_rows(rows_ND: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], IntArray]:
    """The different rows of whole numbers from 0, (A, D), in rising order, and the place among them of each, (N,)."""
    keys_N = row_keys(rows_ND)
    order_N = keys_N.argsort(kind="stable")
    is_first_N = np.ones(len(rows_ND), dtype=bool)
    if len(rows_ND):
        sorted_N = keys_N[order_N]
        is_first_N[1:] = sorted_N[1:] != sorted_N[:-1]
        del sorted_N
    place_N = np.empty(len(rows_ND), dtype=np.int64)
    place_N[order_N] = is_first_N.cumsum() - 1
    return rows_ND[order_N[is_first_N]], place_N


def rising(values_N: FloatArray, then_N: FloatArray) -> Iterator[IntArray]:
    """Places of values from small to large, of equal ones by `then_N` and then by place; some at a time, as asked for.

    To sort millions of which a few hundred are wanted would take seconds.
    """
    left, size = np.arange(len(values_N)), AT_ONCE
    while len(left):
        part, found = left, values_N[left]
        left = left[:0]
        if len(part) > size:
            is_low = found <= np.partition(found, size)[size]
            if is_low.any():  # there is no order of NaN
                part, left = part[is_low], part[~is_low]
        yield part[np.lexsort((then_N[part], values_N[part]))]
        size *= 4
