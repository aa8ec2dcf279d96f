"""Values as a reader of the report sees them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinas_ray.runs import format_count

UNKNOWN = "–"  # noqa: RUF001  what a cell says where nothing is known


@dataclass(frozen=True)
class Column:
    """A column of a table in the report."""

    name: str
    is_number: bool = True
    hint: str = ""
    """What it means, where the name does not tell."""
    wraps: bool = False
    """Whether its texts are long and may be broken into lines."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns."""

    columns: list[Column]
    rows: list[list[str]]
    caption: str = ""

    def known(self) -> "Table":
        """This table without the columns of which nothing is known."""
        kept = [
            place for place in range(len(self.columns)) if any(row[place] not in ("", UNKNOWN) for row in self.rows)
        ]
        columns = [self.columns[place] for place in kept]
        return Table(columns, [[row[place] for place in kept] for row in self.rows], self.caption)


def is_known(value: Any) -> bool:
    """Whether a cell of a frame holds something."""
    return value is not None and not (isinstance(value, float) and math.isnan(value)) and str(value) != "<NA>"


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits."""
    return f"{float(value):.{digits}g}" if is_known(value) else UNKNOWN


def whole(value: Any) -> str:
    """A whole number with commas."""
    return f"{int(value):,}" if is_known(value) else UNKNOWN


def fixed(value: Any, digits: int = 4) -> str:
    """A number with so many digits after the point."""
    return f"{float(value):.{digits}f}" if is_known(value) else UNKNOWN


def percent(share: Any, digits: int = 2) -> str:
    """A share of 0..1 in percent."""
    return f"{100 * float(share):.{digits}f} %" if is_known(share) else UNKNOWN


def cost(name: str, value: Any) -> str:
    """A cost in a person's unit: counts shortened, milliseconds as they are."""
    if not is_known(value):
        return UNKNOWN
    return f"{float(value):.3g} ms" if name.endswith("_ms") or name == "latency" else format_count(float(value))


def cost_name(name: str) -> str:
    """What a cost's column is called."""
    known = {"params": "parameters", "flops": "multiply-adds", "latency_ms": "latency"}
    return known.get(name, name.removesuffix("_ms").replace("_", " "))


def seconds(value: Any) -> str:
    """A time in its two largest units."""
    if not is_known(value) or not math.isfinite(float(value)):
        return UNKNOWN
    value = float(value)
    if value < 10:
        return f"{value:.2g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def limits(text: Any) -> dict[str, float]:
    """The hard budgets of a network, from their JSON."""
    return {str(name): float(most) for name, most in json.loads(text).items()} if is_known(text) else {}


def limits_text(text: Any) -> str:
    """The hard budgets of a network, one a line: at most 2 M parameters."""
    told = [f"at most {cost(name, most)} {cost_name(name)}" for name, most in limits(text).items()]
    return "\n".join(told) or UNKNOWN


def plural(count: int, one: str, many: str = "") -> str:
    """A count and what is counted."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def value_text(value: Any) -> str:
    """A setting: lists short, nothing else changed."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value_text(each)}" for name, each in value.items())
    return "none" if value is None else str(value)
