"""Reading latency tables that others have measured."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency.kit import read_kit_result
from multinas_ray.latency.model_table import MODEL_KIND, ModelLatencyTable
from multinas_ray.latency.table import BlockLatency, LatencyConditions, LatencyTable, describe_block
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import Block, BlockDescription, ConvLayer, Head, Shape, mbconv, skip
from multinas_ray.storage import TABLE_KEY, AnyPath, read_parquet

_COLUMNS = ("key", "input", "output", "expand", "kernel", "stride", "mean_ms", "var", "count")
_MBCONV = "expanded_conv"
_CONDITIONS = LatencyConditions(device="Pixel 1 (ProxylessNAS)", batch_size=1, precision="not known", clock="not known")


@checked_arguments
def read_latency_table(path: AnyPath) -> LatencyTable | ModelLatencyTable:
    """Read a latency table: of `multinas-ray profile`, of the script of a kit (.json), or of ProxylessNAS's form.

    That of a model with choices has modules in place of blocks.

    Args:
        path: local path or URI.

    Raises:
        StateError: There is no such file, or it has none of these forms.
    """
    if str(path).endswith(".json"):
        return read_kit_result(path)
    table = read_parquet(path)
    if (table.schema.metadata or {}).get(TABLE_KEY) == MODEL_KIND.encode():
        return ModelLatencyTable.from_arrow(table, str(path))
    if set(_COLUMNS) <= set(table.column_names):
        return _proxyless_table(table, str(path))
    return LatencyTable.from_arrow(table, str(path))


@checked_arguments
def read_proxyless_table(path: AnyPath) -> LatencyTable:
    """Read the latencies that ProxylessNAS (Cai et al., ICLR 2019) measured on a Pixel 1 phone.

    The file's rows are MBConv blocks and the three layers around them, with shapes as height x width x channels. They
    become the blocks of `imagenet_mobile_space`: the stem is the first convolution with the first block of
    expansion 1, the head is the last convolution with the classifier, and leaving a block out costs nothing. The file
    has no medians and spreads; its means and standard deviations take their place.

    Args:
        path: Parquet file with the columns key, input, output, expand, kernel, stride, mean_ms, var and count.

    Raises:
        StateError: There is no such file, or a row is not of this form.
    """
    return _proxyless_table(read_parquet(path), str(path))


def _proxyless_table(table: pa.Table, where: str) -> LatencyTable:
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise StateError(
            f"{where} must have the columns of ProxylessNAS's latency table, {missing} are missing: give another file"
        )
    try:
        return LatencyTable(tuple(_blocks_of([_Row.of(fields) for fields in table.to_pylist()])), _CONDITIONS)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"{where} is not ProxylessNAS's latency table ({error!r}): restore a copy") from error


def _blocks_of(rows: Sequence["_Row"]) -> Iterator[BlockLatency]:
    """The blocks of `imagenet_mobile_space` that the rows tell of."""
    around = {row.operation: row for row in rows if row.operation != _MBCONV}
    blocks = [row for row in rows if row.operation == _MBCONV]
    for row in blocks:
        yield _measured(row.mbconv(), row.input_shape, row)
    for shape in dict.fromkeys(row.input_shape for row in blocks if row.mbconv().residual):
        yield _measured(skip(), shape)
    for row in blocks:
        if row.expand == 1:
            yield _stem(around["Conv"], row)
    yield _head(around["Conv_1"], around["Logits"])


@dataclass(frozen=True)
class _Row:
    """One row of the foreign table, with shapes in our order."""

    operation: str
    input_shape: Shape
    out_channels: int
    kernel_size: int | None
    expand: int | None
    stride: int | None
    mean_ms: float
    variance: float
    count: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "_Row":
        """Read a row as the table has it."""
        return cls(
            operation=fields["key"].split("-")[0],
            input_shape=_shape(fields["input"]),
            out_channels=int(fields["output"].split("x")[-1]),
            kernel_size=fields["kernel"],
            expand=fields["expand"],
            stride=fields["stride"],
            mean_ms=fields["mean_ms"],
            variance=fields["var"],
            count=fields["count"],
        )

    def mbconv(self) -> Block:
        """The block that the row measures."""
        if self.kernel_size is None or self.expand is None or self.stride is None:
            raise ConfigError(f"a block must have kernel, expand and stride, got {self}")
        return mbconv(self.input_shape[0], self.out_channels, self.kernel_size, self.expand, self.stride)


def _shape(text: str) -> Shape:
    """(channels, height, width) of "height x width x channels"."""
    height, width, channels = (int(size) for size in text.split("x"))
    return (channels, height, width)


def _stem(first: _Row, block: _Row) -> BlockLatency:
    """The first convolution, of kernel 3 and stride 2 as in MobileNetV2, and the block that follows it."""
    conv = ConvLayer(first.input_shape[0], first.out_channels, 3, 2, activation="relu6")
    return _measured(Block("stem", (conv, *block.mbconv().layers)), first.input_shape, first, block)


def _head(last: _Row, logits: _Row) -> BlockLatency:
    """The last convolution, of kernel 1, with the pooling and the classifier."""
    conv = ConvLayer(last.input_shape[0], last.out_channels, activation="relu6")
    head = Head(last.out_channels, logits.out_channels, Block("features", (conv,)))
    return _measured(head, last.input_shape, last, logits)


def _measured(block: BlockDescription, input_shape: Shape, *parts: _Row) -> BlockLatency:
    """A block as the sum of its measured parts; a skipped block has none."""
    mean = sum(part.mean_ms for part in parts)
    return BlockLatency(
        block=block.name,
        description=describe_block(block),
        input_shape=input_shape,
        median_ms=mean,
        mean_ms=mean,
        spread_ms=math.sqrt(sum(part.variance for part in parts)),
        repeats=min((part.count for part in parts), default=1),
    )
