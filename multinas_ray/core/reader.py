"""Strict reading of nested plain data: every error names the path, what was expected and what was found."""

from typing import Any

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray, IntArray, read_only
from multinas_ray.errors import StateError

MOST_NUMBER = 2**62
"""Numbers and ids are smaller, so that arrays of int64 hold them and the next ones."""


class StateReader:
    """Reads one dict key by key; arrays come back as read-only copies.

    Args:
        data: should be a dict with string keys.
        path: where the dict is within the whole state, for error messages.

    Raises:
        StateError: Every method raises it where the data is not of the kind that the method reads.
    """

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise StateError(f"{path}: expected a dict, found {_describe(data)}")
        self.path = path
        self._data: dict[Any, Any] = data
        self._read: set[str] = set()

    def section(self, name: str) -> "StateReader":
        """Returns a reader of the dict under `name`."""
        return StateReader(self._take(name), f"{self.path}.{name}")

    def plain(self, name: str) -> object:
        """Returns what is under `name`, for another reader to check."""
        return self._take(name)

    def expect(self, name: str, expected: object) -> None:
        """Checks that the plain value under `name` is exactly `expected`."""
        found = self._take(name)
        if isinstance(found, np.ndarray) or type(found) is not type(expected) or found != expected:
            raise StateError(f"{self.path}.{name}: expected {expected!r}, found {_describe(found)}")

    def integer(self, name: str, below: int = MOST_NUMBER) -> int:
        """Returns the whole number under `name`, at least 0 and less than `below`."""
        found = self._take(name)
        is_whole = isinstance(found, int) and not isinstance(found, bool)
        if not is_whole or not 0 <= found < below:
            bound = "" if below == MOST_NUMBER else f" and less than {below}"
            raise StateError(f"{self.path}.{name}: expected a whole number from 0{bound}, found {_describe(found)}")
        return int(found)

    def digits(self, name: str, below: int) -> int:
        """Returns the whole number that the string under `name` holds as digits."""
        found = self._take(name)
        is_number = isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= len(str(below))
        if not is_number or int(found) >= below:
            raise StateError(f"{self.path}.{name}: expected the digits of a number, found {_describe(found)}")
        return int(found)

    def floats(self, name: str, shape: tuple[int | None, ...], *, finite: bool = True) -> FloatArray:
        """Returns the float64 array under `name`; None in `shape` allows any length."""
        array = self._array(name, shape, np.float64)
        if finite and not np.isfinite(array).all():
            raise StateError(f"{self.path}.{name}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
        return array

    def integers(self, name: str, shape: tuple[int | None, ...]) -> IntArray:
        """Returns the int64 array under `name`; None in `shape` allows any length."""
        return self._array(name, shape, np.int64)

    def finish(self) -> None:
        """Checks that every key was read."""
        unknown = sorted(str(name) for name in self._data if name not in self._read)
        if unknown:
            raise StateError(f"{self.path}: expected only {sorted(self._read)}, found also {unknown}")

    def _take(self, name: str) -> Any:
        if name not in self._data:
            raise StateError(f"{self.path}.{name} is missing")
        self._read.add(name)
        return self._data[name]

    def _array(self, name: str, shape: tuple[int | None, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        found = self._take(name)
        wanted = f"an array of {np.dtype(dtype)} of shape {str(shape).replace('None', 'any')}"
        if not isinstance(found, np.ndarray) or found.dtype != dtype or found.ndim != len(shape):
            raise StateError(f"{self.path}.{name}: expected {wanted}, found {_describe(found)}")
        if any(size is not None and size != actual for size, actual in zip(shape, found.shape, strict=True)):
            raise StateError(f"{self.path}.{name}: expected {wanted}, found {_describe(found)}")
        return read_only(found, dtype)


def _describe(found: object) -> str:
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype} of shape {found.shape}"
    try:
        return f"{type(found).__name__} {found!r}"[:120]
    except ValueError:  # a whole number of thousands of digits
        return "an int too long to show"
