"""What is checked, where, and for how long."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from multinas_ray.settings import Flag, OneOf, PositiveFloat, checked
from multinas_ray.storage import GivenPath

PARTS = {
    "environment": "parity",
    "parity": "parity",
    "shards": "parity",
    "float32": "exactness",
    "deterministic": "exactness",
    "bfloat16": "parity",
    "layout": "states",
    "checkpoint": "states",
    "rounds": "waiting",
    "averaging": "waiting",
    "retraining": "retraining",
    "choice": "choice",
    "training": "speed",
    "evaluation": "speed",
    "graphs": "graphs",
    "memory": "memory",
    "input": "reading",
    "latency": "latency",
}
"""Name of each part, in their order -> the module that has a function of this name. It is imported when the part
starts, so that a package that is not there costs no other part."""


@checked
@dataclass(frozen=True, kw_only=True)
class GpuCheckOptions:
    """What is checked, where, and for how long."""

    device: Annotated[str, OneOf(("cuda", "cpu"))] = "cuda"
    """Where everything is computed."""
    tiny: bool = False
    """Take tiny networks and batches: a test of the check itself."""
    seconds: PositiveFloat = 460.0
    """Time of the whole check; a part that would begin in its last 15 seconds is skipped. It does not bound --tiny."""
    only: Annotated[tuple[Annotated[str, OneOf(PARTS)], ...], MinLen(1), Flag(metavar="PART")] = tuple(PARTS)
    """Parts that are done."""
    out: Annotated[GivenPath | None, Flag(metavar="FILE.jsonl")] = None
    """File to which the lines are added; None: they are printed only."""
