"""Settings of the verbs that only draw and write what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from multinas_ray.settings import Flag, checked


@checked
@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Where a report is written."""

    output: Annotated[str | None, Flag(metavar="FILE")] = None
    """The HTML file, local or a URI; None: report.html in the folder of the run, or in that of the family."""


@checked
@dataclass(frozen=True, kw_only=True)
class PlotConfig:
    """What is drawn, and where it is written."""

    output: Annotated[str, Flag(metavar="FOLDER")] = "."
    """Where the pictures are written."""
    cost: Annotated[str | None, Flag(metavar="NAME")] = None
    """Column of the evaluations for the horizontal axis, such as params or flops; None: the search's complexity."""
