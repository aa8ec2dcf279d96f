"""The settings of the verbs that draw pictures and write reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from multinas_ray.settings import Flag, checked
from multinas_ray.storage import GivenPath


@checked
@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The settings of a report."""

    output: Annotated[GivenPath | None, Flag(metavar="FILE")] = None
    """The HTML file, local or a URI; None: report.html in the folder of the run, or in that of the family."""


@checked
@dataclass(frozen=True, kw_only=True)
class PlotConfig:
    """The settings of the pictures."""

    output: Annotated[GivenPath, Flag(metavar="FOLDER")] = "."
    """Folder of the pictures."""
    cost: Annotated[str | None, Flag(metavar="NAME")] = None
    """Column of the evaluations for the horizontal axis, such as params or flops; None: the complexity of the
    search."""
