"""What a part of the check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class NotHereError(Exception):
    """A part cannot be done on this machine; the message says what it needs."""


@dataclass
class Finding:
    """The figures of a part, and what is wrong with them."""

    figures: dict[str, Any] = field(default_factory=dict)
    """Name of a figure -> plain numbers, texts, and lists and mappings of them."""
    faults: list[str] = field(default_factory=list)
    """A sentence for each check that failed; none if the part is in order."""

    def check(self, holds: bool, fault: str) -> None:
        """Note a fault unless a condition holds."""
        if not holds:
            self.faults.append(fault)
