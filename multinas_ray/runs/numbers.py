"""Numbers as text for readers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinas_ray.settings import checked, checked_arguments

_IMAGE = re.compile(r"float32\[\d+, \d+, \d+\]")
"""(channels, height, width)."""


@checked
@dataclass(frozen=True)
class PrimaryMetric:
    """What the columns named accuracy hold: the primary metric of the run's task."""

    name: str = "accuracy"
    """Its name for people."""
    is_share: bool = True
    """Whether it is a share of the samples, which is told in percent."""
    samples: str = "images"
    """What it is measured on: images, or other samples."""

    def text(self, value: float, missing: str = "-") -> str:
        """A figure as text."""
        if value is None or value != value:
            return missing
        return f"{value:.2%}" if self.is_share else f"{value:.4g}"


def primary_metric(config: Mapping[str, Any]) -> PrimaryMetric:
    """The primary metric of a recorded run, or of another description with its task; without any it is the accuracy."""
    task = config.get("task") or {}
    name = task.get("primary") or "accuracy"
    described = (task.get("metrics") or {}).get(name) or {}
    inputs = (config.get("space") or {}).get("inputs")  # of a model, for one sample
    samples = "images" if inputs is None or _IMAGE.fullmatch(str(inputs)) else "samples"
    return PrimaryMetric(str(name), described.get("function", "accuracy") == "accuracy", samples)


@checked_arguments
def format_count(value: float) -> str:
    """A count with a unit prefix, such as 12.3 k or 4.56 M."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.4g}"


@checked_arguments
def gigabytes(number: float) -> str:
    """A number of bytes in MB or GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
