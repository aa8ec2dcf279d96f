"""The description of a new search, with what its start takes from the prior. No Ray."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rich.console import Console

from multinas_ray.cluster import counted_progress
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.selection import make_parts, promising_networks

STREAM = 23
"""Keeps the draws apart from others of the same seed."""


def new_description(config: OneShotSearchConfig, console: Console) -> dict[str, Any]:
    """Describe a new search as it is written beside its results.

    With start="prior" networks near each target are drawn and ranked here, and the description holds the best of them.
    From then on they are read from it, since figures of torch may differ in their last digits from machine to machine.

    Args:
        config: the search.
        console: where progress is printed.
    """
    description, settings = config.to_dict(), config.optimizer_settings
    if settings.start == "prior" and settings.start_architectures is None:
        assert config.targets is not None
        device = "cuda" if config.use_gpu and torch.cuda.is_available() else "cpu"
        with counted_progress(console) as progress:
            text = f"start: promising networks by {', '.join(config.prior)}, of each target"
            task = progress.add_task(text, total=len(config.targets))
            promising = promising_networks(
                config.space,
                config.cost,
                config.targets,
                config.slice_share,
                make_parts(config.prior, config.space, device),
                np.random.default_rng((config.seed, STREAM)),
                lambda: progress.advance(task),
            )
        description["optimizer"]["start_architectures"] = [rows_ND.tolist() for rows_ND in promising]
    return description
