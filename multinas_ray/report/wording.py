"""Values as the report shows them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinas_ray.runs import format_count

UNKNOWN = "–"  # noqa: RUF001  the text of a cell whose value is unknown


@dataclass(frozen=True)
class Column:
    """A column of a table in the report."""

    name: str
    is_number: bool = True
    hint: str = ""
    """An explanation of the name."""
    wraps: bool = False
    """Whether its texts are long and may be wrapped."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns."""

    columns: list[Column]
    rows: list[list[str]]
    caption: str = ""

    def known(self) -> "Table":
        """This table without the columns in which no value is known."""
        kept = [
            place for place in range(len(self.columns)) if any(row[place] not in ("", UNKNOWN) for row in self.rows)
        ]
        columns = [self.columns[place] for place in kept]
        return Table(columns, [[row[place] for place in kept] for row in self.rows], self.caption)


def is_known(value: Any) -> bool:
    """Whether a cell of a frame holds a value."""
    return value is not None and not (isinstance(value, float) and math.isnan(value)) and str(value) != "<NA>"


def number(value: Any, digits: int = 3) -> str:
    """A number with the given significant digits."""
    return f"{float(value):.{digits}g}" if is_known(value) else UNKNOWN


def whole(value: Any) -> str:
    """A whole number with commas."""
    return f"{int(value):,}" if is_known(value) else UNKNOWN


def fixed(value: Any, digits: int = 4) -> str:
    """A number with the given digits after the decimal point."""
    return f"{float(value):.{digits}f}" if is_known(value) else UNKNOWN


def percent(share: Any, digits: int = 2) -> str:
    """A share between 0 and 1 in percent."""
    return f"{100 * float(share):.{digits}f} %" if is_known(share) else UNKNOWN


def cost(name: str, value: Any) -> str:
    """A cost in a readable unit: counts are shortened, milliseconds are not."""
    if not is_known(value):
        return UNKNOWN
    return f"{float(value):.3g} ms" if name.endswith("_ms") or name == "latency" else format_count(float(value))


def cost_name(name: str) -> str:
    """The readable name of a cost's column."""
    known = {"params": "parameters", "flops": "multiply-adds", "latency_ms": "latency"}
    return known.get(name, name.removesuffix("_ms").replace("_", " "))


def seconds(value: Any) -> str:
    """A duration in its two largest units."""
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
    """The limits of a network, read from JSON."""
    return {str(name): float(most) for name, most in json.loads(text).items()} if is_known(text) else {}


def limits_text(text: Any) -> str:
    """The limits of a network in words, one per line, such as: at most 2 M parameters."""
    told = [f"at most {cost(name, most)} {cost_name(name)}" for name, most in limits(text).items()]
    return "\n".join(told) or UNKNOWN


def plural(count: int, one: str, many: str = "") -> str:
    """A count and the noun in the right number."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def value_text(value: Any) -> str:
    """A setting as text; lists and mappings are written without brackets."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value_text(each)}" for name, each in value.items())
    return "none" if value is None else str(value)
