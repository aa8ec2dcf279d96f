"""Array types of the core, and the function that makes its arrays read-only."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def read_only(values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Copies `values` into a new array of `dtype` that cannot be written; the original is unchanged."""
    array = np.array(values, dtype=dtype, order="C")
    array.setflags(write=False)
    return array
