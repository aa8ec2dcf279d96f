"""Latency of a model's modules as measured on one device, and of a network as the sum over what it uses.

The table is a Parquet file with a row for each part of the sum: the choices that modules depend on, and an option of
each. The file's metadata has the conditions of the measurement.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency.table import CONDITIONS_KEY, LATENCY_UNIT, LatencyConditions
from multinas_ray.settings import checked
from multinas_ray.spaces import (
    AdditiveCost,
    Cost,
    FactoredCost,
    FloatArray,
    ModelSpace,
    SearchSpace,
    Space,
    sum_of_terms,
)
from multinas_ray.storage import TABLE_KEY, VERSION_KEY, AnyPath, check_form, read_parquet, write_parquet

MODEL_KIND = "model_latency"
_VERSION = 1
_SCHEMA = pa.schema(
    [
        pa.field("choices", pa.list_(pa.string()), nullable=False),
        pa.field("options", pa.list_(pa.string()), nullable=False),
        pa.field("milliseconds", pa.float64(), nullable=False),
    ]
)


@checked
@dataclass(frozen=True, kw_only=True)
class TermLatency:
    """What the modules that depend on some choices take together, where a network has these options.

    Raises:
        ConfigError: there is not one option for each choice, or the time is negative or not finite.
    """

    choices: tuple[str, ...]
    """Names of the choices; none: the modules that every network has."""
    options: tuple[str, ...]
    """An option of each."""
    milliseconds: float
    """Milliseconds for one batch."""

    def __post_init__(self) -> None:
        is_time = math.isfinite(self.milliseconds) and self.milliseconds >= 0
        if len(self.choices) != len(self.options) or not is_time:
            raise ConfigError(
                "a term of a latency must have an option for each choice and a time of at least 0, got "
                f"{self.milliseconds} for the options {self.options} of {self.choices}: measure it again"
            )


@checked
@dataclass(frozen=True)
class ModelLatencyTable:
    """The measured modules of a model; `cost` turns them into the latency of its networks."""

    rows: tuple[TermLatency, ...]
    """One row for each combination of options of the choices of each term."""
    conditions: LatencyConditions
    """Where and how they were measured."""

    @classmethod
    def of(
        cls, cost: AdditiveCost | FactoredCost, space: ModelSpace, conditions: LatencyConditions
    ) -> ModelLatencyTable:
        """The table of a cost of a space."""
        variables = space.variables
        rows = [
            TermLatency(
                choices=tuple(variables[d].name for d in chosen),
                options=tuple(variables[d].choices[index] for d, index in zip(chosen, indices, strict=True)),
                milliseconds=float(table[indices]),
            )
            for chosen, table in _terms_of(cost)
            for indices in np.ndindex(*table.shape)
        ]
        return cls(tuple(rows), conditions)

    def cost(self, space: Space, name: str = "latency") -> Cost:
        """Latency of a batch in milliseconds, as the sum over the modules that a network uses.

        Args:
            space: the space of the model.
            name: name of the cost, and of its column in the records.

        Raises:
            ConfigError: the table was measured for another space.
        """
        if space.fingerprint != self.conditions.space_fingerprint:
            raise ConfigError(
                f"a latency table of a model is for its networks alone, this one was measured for "
                f"{self.conditions.space_name!r} and not for {space.name!r}, or for other arguments or inputs of it: "
                "measure the space by multinas-ray profile --run RUN, of a run that has it"
            )
        try:
            terms = self._terms(space.search_space)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"a latency table of a model must name choices and options of it, this one has others ({error}): "
                "measure the space again"
            ) from error
        return replace(sum_of_terms(name, terms.items(), space.search_space.num_categories, 0.0), unit=LATENCY_UNIT)

    def _terms(self, search_space: SearchSpace) -> dict[tuple[int, ...], FloatArray]:
        """The cost of each combination of options, by the variables."""
        variables = search_space.variables
        numbers = {variable.name: d for d, variable in enumerate(variables)}
        terms: dict[tuple[int, ...], FloatArray] = {}
        for row in self.rows:
            chosen = tuple(numbers[each] for each in row.choices)
            table = terms.setdefault(chosen, np.zeros([len(variables[d].choices) for d in chosen]))
            options = zip(chosen, row.options, strict=True)
            table[tuple(variables[d].choices.index(each) for d, each in options)] = row.milliseconds
        return terms

    def to_arrow(self) -> pa.Table:
        """The table as Arrow data, with its conditions in the metadata."""
        rows = [{**asdict(row), "choices": list(row.choices), "options": list(row.options)} for row in self.rows]
        metadata = {
            VERSION_KEY: str(_VERSION),
            TABLE_KEY: MODEL_KIND,
            CONDITIONS_KEY: json.dumps(asdict(self.conditions)),
        }
        return pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(metadata))

    @classmethod
    def from_arrow(cls, table: pa.Table, where: str = "the table") -> ModelLatencyTable:
        """Read what `to_arrow` returned.

        Args:
            table: columns and metadata.
            where: name of the table in error messages.

        Raises:
            StateError: it is not a latency table of a model, or it has another version or form.
        """
        check_form(table, MODEL_KIND, _VERSION, _SCHEMA, where, "make one by multinas-ray profile")
        try:
            conditions = LatencyConditions(**json.loads(table.schema.metadata[CONDITIONS_KEY]))
            rows = [
                TermLatency(**{**row, "choices": tuple(row["choices"]), "options": tuple(row["options"])})
                for row in table.to_pylist()
            ]
            return cls(tuple(rows), conditions)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{where} is damaged ({error}): restore a copy") from error

    def write(self, path: AnyPath) -> None:
        """Write a Parquet file to a local path or a URI, completely or not at all.

        Raises:
            StorageError: the file cannot be written there.
        """
        write_parquet(path, self.to_arrow())

    @classmethod
    def read(cls, path: AnyPath) -> ModelLatencyTable:
        """Read what `write` wrote.

        Raises:
            StateError: there is no such file, or it is not such a table of this version.
        """
        return cls.from_arrow(read_parquet(path), str(path))


def _terms_of(cost: AdditiveCost | FactoredCost) -> Iterator[tuple[tuple[int, ...], FloatArray]]:
    """The terms of a sum: variables, and the cost of each combination of their choices; first what all have."""
    yield (), np.array(cost.base)
    if isinstance(cost, AdditiveCost):
        for d, count in enumerate(cost.num_categories):
            yield (d,), cost.table[d, :count]
    else:
        yield from cost.terms.items()
