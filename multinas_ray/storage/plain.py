"""Writing nested plain data with numpy arrays as JSON text and reading it back, bit for bit. Without pickle.

JSON's own values are written unchanged. Values that JSON does not have become an object with one reserved key:
`{"__array__": "float64", "shape": [2, 3], "data": "<base64, little endian, C order>"}` and
`{"__float__": "<16 hex digits>"}` for a NaN or an infinity.
"""

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from multinas_ray.errors import StateError, first_line
from multinas_ray.storage.files import read_bytes, write_atomic
from multinas_ray.storage.places import AnyPath, resolve

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)
"""The array types that are written and read."""

_MAX_DIMENSIONS = 32
_MAX_DEPTH = 100


def encode_plain(value: Any, *, indent: int | None = None) -> str:
    """Write plain data as JSON.

    Args:
        value: None, bool, int (of any size), float, str, numpy arrays of `DTYPES`, and lists, tuples and
            string-keyed mappings of these. Tuples come back as lists, numpy scalars as Python numbers.
        indent: Spaces per level for human readers, None for one line.

    Returns:
        Strict JSON.

    Raises:
        StateError: Something else is inside; the message names its place.
    """
    return json.dumps(_to_json(value, "value", 0), indent=indent, allow_nan=False, ensure_ascii=False)


def decode_plain(text: str | bytes) -> Any:
    """Read what `encode_plain` wrote; anything else is refused.

    Args:
        text: JSON.

    Returns:
        The data; arrays are new and writable.

    Raises:
        StateError: Not JSON, a repeated key, an unknown marker, or an array that does not hold what it says.
    """
    try:
        return json.loads(text, object_pairs_hook=_from_pairs, parse_constant=_refuse_constant)
    except StateError:
        raise
    except (ValueError, RecursionError) as error:
        raise StateError(f"it is not JSON: {first_line(error)}") from error


def write_plain(path: AnyPath, value: Any, *, indent: int | None = None) -> None:
    """Write plain data into a file of its own, atomically; its folder exists.

    Raises:
        StateError: Something in it is not plain data.
        StorageError: The file system refused.
    """
    text = encode_plain(value, indent=indent)
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise StateError(f"a text in the data cannot be written in UTF-8 ({error}): give another text") from error
    write_atomic(path, content)


def read_plain(path: AnyPath) -> Any:
    """Read what `write_plain` wrote.

    Raises:
        UnreadableError: The file is missing or cannot be read.
        StateError: It is damaged; the message names it.
    """
    content = read_bytes(path)
    try:
        return decode_plain(content)
    except StateError as error:
        raise StateError(f"{resolve(path)} is damaged ({error}): restore a copy") from error


def _to_json(value: Any, place: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise StateError(f"{place} is nested deeper than {_MAX_DEPTH} levels (or holds itself): flatten it")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        # float(...) drops subclasses, whose repr could be anything
        return float(value) if math.isfinite(value) else {"__float__": struct.pack(">d", value).hex()}
    if isinstance(value, np.ndarray):
        return _array_to_json(value, place)
    if isinstance(value, (list, tuple)):
        return [_to_json(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_checked_key(key, place): _to_json(item, f"{place}[{key!r}]", depth + 1) for key, item in value.items()}
    raise StateError(
        f"{place} is a {type(value).__name__}, not plain data: use None, bool, int, float, str, list, dict "
        "or a numpy array"
    )


def _checked_key(key: object, place: str) -> str:
    if not isinstance(key, str) or key.startswith("__"):
        raise StateError(f"{place} has the key {key!r}: keys are strings that do not begin with '__'")
    return key


def _array_to_json(array: Array, place: str) -> dict[str, Any]:
    name = array.dtype.name
    if name not in DTYPES:
        raise StateError(f"{place} is an array of {name}: use one of {', '.join(DTYPES)}")
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    data = base64.b64encode(little.tobytes()).decode("ascii")
    return {"__array__": name, "shape": list(array.shape), "data": data}


def _from_pairs(pairs: list[tuple[str, Any]]) -> Any:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise StateError("a key occurs twice")
    if "__array__" in value:
        return _array_from_json(value)
    if "__float__" in value:
        return _float_from_json(value)
    unknown = [key for key in value if key.startswith("__")]
    if unknown:
        raise StateError(f"unknown marker {unknown[0]!r}: written by a newer version? upgrade multinas-ray")
    return value


def _float_from_json(value: dict[str, Any]) -> float:
    digits = value["__float__"]
    if len(value) != 1 or not isinstance(digits, str) or len(digits) != 16:
        raise StateError(f"damaged float {value!r}")
    try:
        number: float = struct.unpack(">d", bytes.fromhex(digits))[0]
    except (ValueError, struct.error) as error:
        raise StateError(f"damaged float {value!r}") from error
    return number


def _array_from_json(value: dict[str, Any]) -> Array:
    if set(value) != {"__array__", "shape", "data"}:
        raise StateError(f"damaged array: its keys are {sorted(value)}, not __array__, data and shape")
    name, shape, data = value["__array__"], value["shape"], value["data"]
    if name not in DTYPES:
        raise StateError(f"an array of type {name!r} is refused: only {', '.join(DTYPES)} are known")
    if not _is_shape(shape) or not isinstance(data, str):
        raise StateError(f"damaged array: shape {shape!r} is not a list of sizes, or its data is not text")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise StateError(f"damaged array: its data is not base64 ({error})") from error
    dtype = np.dtype(name).newbyteorder("<")
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise StateError(
            f"damaged array: shape {shape} of {name} needs {math.prod(shape) * dtype.itemsize} bytes, "
            f"there are {len(content)}"
        )
    if name == "bool" and content.strip(b"\x00\x01"):
        raise StateError("damaged array: a bool is neither 0 nor 1")
    return np.frombuffer(content, dtype=dtype).astype(np.dtype(name)).reshape(shape)


def _is_shape(shape: Any) -> bool:
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size < 2**40 for size in shape)


def _refuse_constant(name: str) -> NoReturn:
    raise StateError(f"{name} is not JSON: the file was not written by this package")
