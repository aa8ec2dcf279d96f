"""The settings of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from multinas_ray.errors import ConfigError
from multinas_ray.settings import Flag, PositiveInt, checked
from multinas_ray.storage import GivenPath


@checked
@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which weights are exported, and where the files are written.

    Raises:
        ConfigError: a setting breaks a rule; the message names it.
    """

    weights: Literal["auto", "retrained", "supernet"] = "auto"
    """Which weights are exported: "retrained"; "supernet", the weights that the network had in the search; or "auto",
    the retrained weights if the network has any and else those of the supernet."""
    output: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder in which each network gets a folder named by its number, local or a URI; None: networks/<network>/export
    in the folder of the family."""
    onnx: bool = True
    """Whether ONNX files are written. Without them the onnx packages are not needed."""
    quantise: bool = False
    """Whether a file in 8-bit whole numbers, model_int8.onnx, is written beside model.onnx, with the accuracy of both
    on the test images."""
    calibration_images: PositiveInt = 256
    """Training images that give the ranges of the quantised activations."""
    latency_table: Annotated[GivenPath | None, Flag(metavar="FILE")] = None
    """A latency table of `multinas-ray profile`. With it, the model card gives the latency that the table predicts."""

    def __post_init__(self) -> None:
        if self.quantise and not self.onnx:
            raise ConfigError("quantise must have onnx, got onnx=False: the quantised file is made from model.onnx")
