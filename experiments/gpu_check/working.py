"""The parts, one after the other, whatever becomes of each."""

from __future__ import annotations

import importlib
import json
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from experiments.gpu_check.bench import Bench
from experiments.gpu_check.findings import Finding, NotHereError
from experiments.gpu_check.options import PARTS, GpuCheckOptions
from multinas_ray.errors import ConfigError

LEAST_SECONDS = 15.0
"""No part begins with less time left."""
FRAMES_TOLD = 6
OURS = ("experiments", "multinas_ray")


def run(options: GpuCheckOptions, console: Console) -> list[str]:
    """Do the parts, and print and keep a line for each.

    Returns:
        The names of the parts that failed.

    Raises:
        ConfigError: there is no such device.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device must be one that torch finds here, got cuda: use --device cpu --tiny without a GPU")
    ends, lines = time.monotonic() + options.seconds, []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(torch.device(options.device), options.tiny, Path(folder))
        for name in (each for each in PARTS if each in options.only):
            has_time = options.tiny or ends - time.monotonic() >= LEAST_SECONDS
            lines.append(_line(name, bench) if has_time else _skipped(name, "no time is left: raise --seconds"))
            text = json.dumps(lines[-1])
            console.print(text, soft_wrap=True, markup=False, highlight=False)
            if options.out is not None:
                _add(Path(options.out), text)
    failed = [line["part"] for line in lines if line["outcome"] == "failed"]
    console.print(f"{len(lines)} parts, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return failed


def _line(name: str, bench: Bench) -> dict[str, Any]:
    """What became of a part, as plain data."""
    started_seconds = time.monotonic()
    try:
        finding: Finding = getattr(importlib.import_module(f"experiments.gpu_check.{PARTS[name]}"), name)(bench)
        outcome, why = ("failed" if finding.faults else "ok"), finding.faults
        figures = _plain(finding.figures)
    except NotHereError as reason:
        return _skipped(name, str(reason))
    except Exception as error:  # whatever it is, the next part shall be done
        if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] not in OURS:
            return _skipped(name, f"the package {error.name} is not installed")
        outcome, why, figures = "failed", [f"{type(error).__name__}: {error}"], {"where": _where(error)}
    finally:
        if bench.has_gpu:
            torch.cuda.empty_cache()
    seconds = round(time.monotonic() - started_seconds, 2)
    return {"part": name, "outcome": outcome, "why": why, "seconds": seconds, "figures": figures}


def _skipped(name: str, why: str) -> dict[str, Any]:
    return {"part": name, "outcome": "skipped", "why": [why], "seconds": 0.0, "figures": {}}


def _where(error: Exception) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_TOLD:]
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]


def _plain(value: Any) -> Any:
    """A value as JSON has it, with floats of four digits; numbers that are not finite become texts."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else str(value)
    return value if isinstance(value, bool | int | str | None) else str(value)


def _add(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(f"{text}\n")
