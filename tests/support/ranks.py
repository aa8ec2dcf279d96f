"""Processes of a group of ranks, which start where torch is loaded already."""

import multiprocessing
from collections.abc import Callable
from typing import Any

from torch.multiprocessing.spawn import start_processes


def run_ranks(function: Callable[..., None], *args: Any, num_ranks: int = 2) -> None:
    """Call a function with the rank and the arguments in a process for each rank; an error of one is raised here."""
    multiprocessing.set_forkserver_preload(["multinas_ray.oneshot.worker"])
    start_processes(function, args, nprocs=num_ranks, start_method="forkserver")
