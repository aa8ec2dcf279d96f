"""Random generators of the core: making one from a seed, and writing its state as plain data and reading it back."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from multinas_ray.core.reader import StateReader
from multinas_ray.errors import ConfigError


def new_generator(seed: int | Sequence[int] | None) -> np.random.Generator:
    """Returns a PCG64 generator of `seed` (None: from the operating system).

    Raises:
        ConfigError: A seed is not a whole number or is negative.
    """
    if seed is None:
        return np.random.Generator(np.random.PCG64())
    is_row = isinstance(seed, Iterable) and not isinstance(seed, (str, bytes, Mapping))
    values: Any = seed if is_row else [seed]
    whole = [_whole(value) for value in values]
    if not whole or min(whole) < 0:
        raise ConfigError(f"seed must be a whole number from 0, or a sequence of them, got {seed!r}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(whole)))


def plain_generator(rng: np.random.Generator) -> dict[str, Any]:
    """Returns a PCG64 generator's state as plain data."""
    raw = rng.bit_generator.state
    return {
        "bit_generator": raw["bit_generator"],
        "state": str(raw["state"]["state"]),  # 128 bits, which is more than other readers of JSON keep in a number
        "inc": str(raw["state"]["inc"]),
        "has_uint32": int(raw["has_uint32"]),
        "uinteger": int(raw["uinteger"]),
    }


def read_generator(reader: StateReader) -> np.random.Generator:
    """Reads a PCG64 generator; StateError if it is damaged."""
    reader.expect("bit_generator", "PCG64")
    bit_generator = np.random.PCG64(0)
    bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": reader.digits("state", 2**128), "inc": reader.digits("inc", 2**128)},
        "has_uint32": reader.integer("has_uint32", below=2),
        "uinteger": reader.integer("uinteger", below=2**32),
    }
    reader.finish()
    return np.random.Generator(bit_generator)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"seed must be a whole number, got {value!r}")
    return int(value)
