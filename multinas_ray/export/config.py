"""What an export is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from multinas_ray.settings import Flag, checked


@checked
@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which weights are written, and where.

    Raises:
        ConfigError: a setting breaks a rule; the message says which.
    """

    weights: Literal["auto", "retrained", "supernet"] = "auto"
    """"retrained"; "supernet": those the network had in the search; "auto": retrained where there are any."""
    output: Annotated[str | None, Flag(metavar="DIR")] = None
    """Folder for <network>/, local or a URI; None: networks/<network>/export in the family's folder."""
    onnx: bool = True
    """Whether ONNX files are written; without them no onnx packages are needed."""
    latency_table: Annotated[str | None, Flag(metavar="FILE")] = None
    """Latencies measured by `multinas-ray profile`: the model card tells each network's predicted latency there."""
