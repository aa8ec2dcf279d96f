"""Checkpoints that a training saves because a node is about to be taken away. Without Ray."""

from __future__ import annotations

import logging
import time
from collections import deque

import torch
import torch.distributed as dist

from multinas_ray.cluster.spot import SpotNotice
from multinas_ray.settings import checked_arguments

logger = logging.getLogger(__name__)

GPU_STEPS = 10
"""Ranks with GPUs ask each other only once in so many steps, since the host must wait for its GPU then [ours]."""


class NoticedCheckpoints:
    """Decides when a notice calls for a checkpoint: on all ranks after the same step, whichever node got the notice.

    Args:
        device: device of this rank.
        world_size: number of ranks; if there is more than one, torch.distributed must be initialised.
    """

    @checked_arguments
    def __init__(self, device: torch.device, world_size: int = 1) -> None:
        self._device, self._world_size = device, world_size
        self._steps_between = GPU_STEPS if world_size > 1 and device.type == "cuda" else 1
        self._steps = 0
        self._wanted_seconds: deque[float] = deque()  # ascending, since a node gets one notice

    def tell(self, notice: SpotNotice) -> None:
        """Take note of a notice for this rank's node; may be called from any thread."""
        logger.warning("%s", notice)
        now = time.monotonic()
        self._wanted_seconds.extend([now + delay for delay in notice.checkpoint_delays])

    def is_due(self) -> bool:
        """Whether to save a checkpoint now; must be called after each step on every rank."""
        self._steps += 1
        if self._steps % self._steps_between:
            return False
        is_due = self._is_due_here()
        if self._world_size > 1:
            told = torch.tensor(int(is_due), device=self._device)
            dist.all_reduce(told, dist.ReduceOp.MAX)
            is_due = bool(told)
        return is_due

    def _is_due_here(self) -> bool:
        is_due, now = False, time.monotonic()
        while self._wanted_seconds and self._wanted_seconds[0] <= now:
            self._wanted_seconds.popleft()
            is_due = True
        return is_due
