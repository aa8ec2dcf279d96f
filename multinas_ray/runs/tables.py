"""Reading the tables of a run, with checks of all that readers rely on: the version, the columns and the values.

Notation: K distributions, D variables, C categories of each, N rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from multinas_ray.errors import StateError
from multinas_ray.runs.documents import check_version
from multinas_ray.runs.schema import TABLE_KEY, VERSION_KEY
from multinas_ray.spaces import IntArray
from multinas_ray.storage import Location, exists, read_parquet

MOST_LOG_DENSITY = 1e-9
"""Largest logarithm of a probability, which is above 0 only by rounding."""

SchemaOf = Callable[[Sequence[str]], pa.Schema]
"""Returns columns and types of a table for the names of its costs."""

TUPLE_COLUMNS = ("architecture", "mode")
"""Columns of architectures."""
_LEAST = {
    "round": -1,
    "block": -1,
    "source": -1,
    "drawn_at_update": -1,
    "tell_order": -1,
    "update": -1,
    "distribution": 0,
    "network": 0,
    "num_evaluations": 0,
    "epoch": 0,
}
"""Least value of each column of whole numbers."""
_LAST_MICROSECOND = 1_000_000 * int(datetime(2262, 1, 1, tzinfo=timezone.utc).timestamp())
"""Timestamps must be between 1970 and this one, the last that pandas can represent."""


class Shape:
    """The numbers of distributions, variables and categories that a run's tables must fit.

    Args:
        config: The run's configuration; numbers that it does not contain are not checked.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        optimizer = config.get("optimizer") or {}
        goals = optimizer.get("coefficients") or optimizer.get("targets")
        self.num_categories: IntArray | None = None
        self.num_values: IntArray | None = None
        self.ordered: frozenset[int] = frozenset()
        if optimizer.get("num_categories"):
            self.num_categories = np.array(optimizer["num_categories"], dtype=np.int64)
            self.num_values = np.array(optimizer.get("num_values") or optimizer["num_categories"], dtype=np.int64)
            self.ordered = frozenset(np.flatnonzero(self.num_values > self.num_categories).tolist())
        self.least = -1 if optimizer.get("conditions") else 0
        """Least value of a variable; -1 where some are not always active."""
        self.num_distributions = len(goals) if goals else optimizer.get("num_distributions")


def read_part(file: Location, schema_of: SchemaOf, remedy: str) -> pa.Table:
    """Read a file of a table.

    Args:
        file: The file.
        schema_of: Columns and types that it must have, for the names of its costs.
        remedy: Remedy that the message names if the file is damaged.

    Raises:
        StateError: It is damaged, another table, or of another version; the message names it and the remedy.
    """
    table = read_parquet(file, remedy=remedy)
    metadata = table.schema.metadata or {}
    version = metadata.get(VERSION_KEY.encode(), b"none").decode(errors="replace")
    check_version(int(version) if version.isdecimal() else version, file)
    known = schema_of(())
    schema = schema_of([name for name in table.column_names if name not in known.names])
    kind = metadata.get(TABLE_KEY.encode(), b"none").decode(errors="replace")
    wanted = schema.metadata[TABLE_KEY.encode()].decode()
    if kind != wanted:
        raise StateError(f"{file} must be a table of {wanted}, it is one of {kind}: {remedy}")
    if not table.schema.equals(schema):
        told = ", ".join(_differing_fields(table.schema, schema)) or "their order"
        raise StateError(f"{file} must have the columns of {wanted}, these differ: {told}: {remedy}")
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise StateError(f"{file} has empty values in the column {field.name}: {remedy}")
    return table


def _differing_fields(found: pa.Schema, wanted: pa.Schema) -> list[str]:
    """Names of the columns that only one schema has, or each with another type."""

    def is_same(name: str) -> bool:
        places = found.get_field_index(name), wanted.get_field_index(name)
        return min(places) >= 0 and bool(found.field(places[0]).equals(wanted.field(places[1])))

    return sorted(name for name in {*found.names, *wanted.names} if not is_same(name))


def read_table(
    file: Location, schema_of: SchemaOf, remedy: str, shape: Shape | None = None, unique: str | None = None
) -> pd.DataFrame:
    """Read a table from one file; it is empty if there is no file.

    Args:
        file: The file.
        schema_of: Columns and types that it must have, for the names of its costs.
        remedy: Remedy that the message names if the file is damaged.
        shape: Shape that architectures must fit.
        unique: A column in which no value may occur twice.

    Raises:
        StateError: It is damaged, another table, or of another version; the message names it and the remedy.
    """
    if not exists(file):
        return to_frame(schema_of(()).empty_table())
    table = read_part(file, schema_of, remedy)
    for text in value_problems(table, shape or Shape({}), unique):
        raise StateError(f"{file}: {text}: {remedy}")
    return to_frame(table)


def value_problems(table: pa.Table, shape: Shape, unique: str | None = None) -> list[str]:
    """List the impossible values of a table, one line for each rule that is broken.

    Args:
        table: Rows of any table of a run.
        shape: Shape that architectures and probabilities must fit.
        unique: A column in which no value may occur twice.
    """
    if not table.num_rows:
        return []
    return [
        *_small_numbers(table, shape),
        *(text for name in TUPLE_COLUMNS if name in table.column_names for text in _architectures(table, name, shape)),
        *(_probs(table, shape) if "probs" in table.column_names else ()),
        *(_draws(table) if "log_q" in table.column_names else ()),
        *(_timestamps(table) if "timestamp" in table.column_names else ()),
        *(_limits(table) if "limits" in table.column_names else ()),
        *(_repeated(table, unique) if unique else ()),
    ]


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Turn a small table, whose rows have no problems, into a frame; architectures become tuples."""
    frame: pd.DataFrame = table.to_pandas()
    for name in TUPLE_COLUMNS:
        if name in frame:
            frame[name] = pd.Series([tuple(row) for row in table[name].to_pylist()], dtype=object)
    return frame


def _told(name: str, is_wrong_N: npt.NDArray[np.bool_], values: Any, rule: str) -> list[str]:
    """A line for the first wrong value, if there is one."""
    rows = np.flatnonzero(is_wrong_N)
    if not len(rows):
        return []
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return [f"row {rows[0]}{more} has {name} {values[int(rows[0])]}, which must be {rule}"]


def _small_numbers(table: pa.Table, shape: Shape) -> list[str]:
    texts = []
    for name, least in _LEAST.items():
        if name in table.column_names and not table[name].null_count:
            values = table[name].to_numpy()
            texts += _told(name, values < least, values, f"at least {least}")
    for name in ("distribution", "source"):
        if name in table.column_names and shape.num_distributions is not None and not table[name].null_count:
            values = table[name].to_numpy()
            texts += _told(name, values >= shape.num_distributions, values, f"below {shape.num_distributions}")
    return texts


def _architectures(table: pa.Table, name: str, shape: Shape) -> list[str]:
    column, counts_D = table[name].combine_chunks(), shape.num_values
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    num_variables = int(lengths[0]) if counts_D is None else len(counts_D)
    flat = column.flatten()
    if flat.null_count or (lengths != num_variables).any():
        rows = column.to_pylist()
        is_wrong = np.array([len(row) != num_variables or None in row for row in rows])
        return _told(name, is_wrong, rows, f"{num_variables} numbers")
    rows_ND = flat.to_numpy(zero_copy_only=False).reshape(len(column), num_variables)
    is_outside_ND = rows_ND < shape.least
    rule = f"numbers from {shape.least}"
    if counts_D is not None:
        is_outside_ND, rule = is_outside_ND | (rows_ND >= counts_D), f"{rule} and below {counts_D.tolist()}"
    return _told(name, is_outside_ND.any(axis=1), rows_ND, rule)


def _probs(table: pa.Table, shape: Shape) -> list[str]:
    counts_D = shape.num_categories
    if counts_D is not None and _are_probs(table["probs"].combine_chunks(), counts_D):
        return []
    rows = table["probs"].to_pylist()
    wanted = None if counts_D is None else counts_D.tolist()
    is_wrong = np.array([not _is_probs(row, wanted, shape.ordered) for row in rows])
    rule = "a list of probabilities for each variable" + ("" if wanted is None else f", of {wanted} numbers")
    return _told("probs", is_wrong, rows, rule)


def _are_probs(column: pa.ListArray, counts_D: IntArray) -> bool:
    """Whether all rows have these numbers of probabilities; rows with split cells are looked at one by one."""
    inner = column.flatten()
    values = inner.flatten()
    if column.null_count or inner.null_count or values.null_count or len(inner) != len(column) * len(counts_D):
        return False
    lengths_ND = pc.list_value_length(inner).to_numpy().reshape(len(column), len(counts_D))
    is_shaped = (pc.list_value_length(column).to_numpy() == len(counts_D)).all() and (lengths_ND == counts_D).all()
    probs = values.to_numpy()
    return bool(is_shaped and ((probs >= 0.0) & (probs <= 1.0 + MOST_LOG_DENSITY)).all())  # NaN is neither


def _is_probs(
    row: Sequence[Sequence[float | None] | None], counts: Sequence[int] | None, ordered: frozenset[int]
) -> bool:
    """Whether there are as many numbers as categories, or no fewer where cells can be split."""
    if any(each is None or None in each for each in row):
        return False
    found = [len(each or ()) for each in row]
    is_shaped = counts is None or (
        len(found) == len(counts)
        and all(n == m or (d in ordered and n > m) for d, (n, m) in enumerate(zip(found, counts, strict=True)))
    )
    values = np.array([value for each in row for value in each or ()], dtype=np.float64)
    return is_shaped and bool((np.isfinite(values) & (values >= 0.0) & (values <= 1.0 + MOST_LOG_DENSITY)).all())


def _draws(table: pa.Table) -> list[str]:
    """Check log densities, ids and complexities by the rules of an optimiser."""
    log_q, ids, orders, losses = (table[name].to_numpy() for name in ("log_q", "id", "tell_order", "loss"))
    complexities = table["complexity"].to_numpy(zero_copy_only=False).astype(np.float64)
    is_bad = np.isfinite(losses) & ((complexities < 0.0) | np.isinf(complexities))
    return [
        *_told("log_q", ~(np.isfinite(log_q) & (log_q <= MOST_LOG_DENSITY)), log_q, "finite and at most 0"),
        *_told("id", (ids < 0) & (orders >= 0), ids, "at least 0 where updates use the row"),
        *_told("complexity", is_bad, complexities, "finite and at least 0"),
    ]


def _timestamps(table: pa.Table) -> list[str]:
    values = table["timestamp"].cast(pa.int64()).to_numpy()
    return _told(
        "timestamp", (values < 0) | (values >= _LAST_MICROSECOND), values, "microseconds of the years 1970 to 2261"
    )


def _limits(table: pa.Table) -> list[str]:
    texts = table["limits"].to_pylist()
    return _told("limits", np.array([not _is_limits(text) for text in texts]), texts, "a JSON object of numbers")


def _is_limits(text: str | None) -> bool:
    try:
        limits = {} if text is None else json.loads(text)
    except ValueError:
        return False
    return isinstance(limits, dict) and all(type(each) in (int, float) for each in limits.values())


def _repeated(table: pa.Table, name: str) -> list[str]:
    values = table[name].to_numpy(zero_copy_only=False)
    is_again = np.ones(len(values), dtype=bool)
    is_again[np.unique(values, return_index=True)[1]] = False
    return _told(name, is_again, values, "in one row only")
