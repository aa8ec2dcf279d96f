"""Latency of blocks as measured on one device, and of a network as the sum over its blocks.

The table is a Parquet file with one row for each block and shape of its input. The file's metadata has the conditions
of the measurement.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces import AdditiveCost, BlockDescription, NetworkSpace, Shape, Space
from multinas_ray.storage import TABLE_KEY, VERSION_KEY, AnyPath, check_form, read_parquet, write_parquet

LATENCY_VERSION = 2
"""Version of the file format; files of other versions cannot be read."""

LATENCY_UNIT = "ms"

TABLE_FILE = "latency.parquet"
"""Default name of a table, and its name in the folder of a run."""

_KIND = "latency"
CONDITIONS_KEY = b"multinas_ray.conditions"
_SCHEMA = pa.schema(
    [
        pa.field("block", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("input_shape", pa.list_(pa.int32()), nullable=False),
        pa.field("median_ms", pa.float64(), nullable=False),
        pa.field("mean_ms", pa.float64(), nullable=False),
        pa.field("spread_ms", pa.float64(), nullable=False),
        pa.field("repeats", pa.int64(), nullable=False),
    ]
)
_MOST_NAMED = 6


@checked
@dataclass(frozen=True, kw_only=True)
class LatencyConditions:
    """Where and how a table was measured."""

    device: str
    """The processor's name, for the reader."""
    batch_size: int
    """Images in one forward pass; latencies are those of the whole batch."""
    precision: str
    """Type of weights and activations, such as "float32"."""
    threads: int | None = None
    """CPU threads that computed; None if they are not known, or if a GPU was measured."""
    clock: str = "wall"
    """The clock that was read: "wall" time, "cpu" time of the one computing thread, or "cuda" events."""
    runtime: str | None = None
    """What ran the blocks, with its version, such as "torch 2.6.0"; None if it is not known."""
    measured_on: str | None = None
    """ISO date and time; None if it is not known."""
    space_name: str | None = None
    """Space whose blocks were measured; other spaces can use the table too if it has all their blocks."""
    space_fingerprint: str | None = None
    """The fingerprint of that space."""


@checked
@dataclass(frozen=True, kw_only=True)
class BlockLatency:
    """One block, measured on an input of one shape.

    Raises:
        ConfigError: A time is negative or not finite, or there are no repeats.
    """

    block: str
    """The block's name, for the reader."""
    description: str
    """Everything that defines the block (`describe_block`); rows are looked up by it."""
    input_shape: Shape
    """(channels, height, width) of one image."""
    median_ms: float
    """Milliseconds for one batch; costs are made from it."""
    mean_ms: float
    """The mean, which rare interruptions affect."""
    spread_ms: float
    """Median absolute deviation, times 1.4826: the standard deviation where errors are normal."""
    repeats: int
    """Number of measurements: passes over all blocks."""

    def __post_init__(self) -> None:
        times = (self.median_ms, self.mean_ms, self.spread_ms)
        if not all(math.isfinite(time) and time >= 0 for time in times) or self.repeats < 1:
            raise ConfigError(
                f"times of a block must be finite and at least 0, of at least 1 repeat, got {times} of "
                f"{self.repeats} repeats for block {self.block!r} on {self.input_shape}: measure it again"
            )


def describe_block(block: BlockDescription) -> str:
    """A block's plain description as one string, which is equal for equal blocks."""
    return json.dumps(block.to_dict(), sort_keys=True, separators=(",", ":"))


@checked
@dataclass(frozen=True)
class LatencyTable:
    """Measured blocks; `cost` turns them into the latency of a space's networks.

    Raises:
        ConfigError: A block occurs twice with the same shape of its input.
    """

    rows: tuple[BlockLatency, ...]
    """One row for each block and shape of its input."""
    conditions: LatencyConditions
    """Where and how the rows were measured."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        for row in self.rows:
            if self._by_key[row.description, row.input_shape] is not row:
                raise ConfigError(
                    f"a latency table must have one row for each block and input, but block {row.block!r} on "
                    f"{row.input_shape} occurs twice: keep one of the rows"
                )

    @cached_property
    def _by_key(self) -> dict[tuple[str, Shape], BlockLatency]:
        return {(row.description, row.input_shape): row for row in self.rows}

    def find(self, block: BlockDescription, input_shape: Shape) -> BlockLatency | None:
        """The row of a block on an input of this shape; None if there is none."""
        return self._by_key.get((describe_block(block), input_shape))

    def missing(self, network_space: Space) -> list[tuple[str, str, Shape]]:
        """The blocks of a space that the table lacks: (place, block's name, shape of its input), in network order.

        A block that occurs at several places is listed once, at the first of them.
        """
        lacking: dict[tuple[str, Shape], tuple[str, str, Shape]] = {}
        for place, block, shape in blocks_of(network_space):
            if self.find(block, shape) is None:
                lacking.setdefault((describe_block(block), shape), (place, block.name, shape))
        return list(lacking.values())

    def cost(self, network_space: Space, name: str = "latency") -> AdditiveCost:
        """Latency of a batch in milliseconds, as the sum over stem, chosen blocks and head.

        Args:
            network_space: the space.
            name: name of the cost, and of its column in the records.

        Raises:
            ConfigError: The table lacks a block of the space, or the space has no blocks; the message names it.
        """
        if lacking := self.missing(network_space):
            named = "; ".join(f"{block!r} at {place} on {shape}" for place, block, shape in lacking[:_MOST_NAMED])
            more = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
            raise ConfigError(
                f"a latency table must have all blocks of the space {network_space.name!r}, the one measured on "
                f"{self.conditions.device} lacks {len(lacking)}: {named}{more}; measure this space by multinas-ray "
                "profile --run RUN, of a run that has it, or --space FILE.py:FUNCTION"
            )

        def measure(block: BlockDescription, shape: Shape) -> float:
            return self._by_key[describe_block(block), shape].median_ms

        assert isinstance(network_space, NetworkSpace), "blocks_of has looked"
        return network_space.additive_cost(name, measure, LATENCY_UNIT)

    def to_arrow(self) -> pa.Table:
        """The table as Arrow data, with its conditions in the metadata."""
        columns = [{**asdict(row), "input_shape": list(row.input_shape)} for row in self.rows]
        metadata = {
            VERSION_KEY: str(LATENCY_VERSION),
            TABLE_KEY: _KIND,
            CONDITIONS_KEY: json.dumps(asdict(self.conditions)),
        }
        return pa.Table.from_pylist(columns, schema=_SCHEMA.with_metadata(metadata))

    @classmethod
    def from_arrow(cls, table: pa.Table, where: str = "the table") -> "LatencyTable":
        """Read what `to_arrow` returned.

        Args:
            table: columns and metadata.
            where: name of the table in error messages.

        Raises:
            StateError: It is not a latency table, or it has another version or form.
        """
        check_form(table, _KIND, LATENCY_VERSION, _SCHEMA, where, "make one by multinas-ray profile")
        try:
            conditions = LatencyConditions(**json.loads(table.schema.metadata[CONDITIONS_KEY]))
            rows = tuple(BlockLatency(**{**row, "input_shape": tuple(row["input_shape"])}) for row in table.to_pylist())
            return cls(rows, conditions)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{where} is damaged ({error}): restore a copy") from error

    def write(self, path: AnyPath) -> None:
        """Write a Parquet file, completely or not at all.

        Args:
            path: a local path or a URI such as s3://bucket/latency.parquet.

        Raises:
            StorageError: The file cannot be written there.
        """
        write_parquet(path, self.to_arrow())

    @classmethod
    def read(cls, path: AnyPath) -> "LatencyTable":
        """Read what `write` wrote, from a local path or a URI such as s3://bucket/latency.parquet.

        Raises:
            StateError: There is no such file, or it is not a latency table of this version.
        """
        return cls.from_arrow(read_parquet(path), str(path))


@checked_arguments
def blocks_of(network_space: Space) -> Iterator[tuple[str, BlockDescription, Shape]]:
    """Every (place, block, shape of its input) of a space: the stem, each position's choices, the head.

    Raises:
        ConfigError: The space is not described block by block.
    """
    if not isinstance(network_space, NetworkSpace):
        raise ConfigError(
            f"a latency table of blocks must have a space of blocks, {network_space.name!r} has none: measure it by "
            "multinas-ray profile --run RUN, of a run that has it"
        )
    yield "stem", network_space.stem, network_space.input_shape
    *shapes, head_shape = network_space.input_shapes
    for position, shape in zip(network_space.positions, shapes, strict=True):
        for block in position.blocks:
            yield position.name, block, shape
    yield "head", network_space.head, head_shape
