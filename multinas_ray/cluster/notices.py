"""Checkpoints that a training saves because a node is about to go. No Ray."""

from __future__ import annotations

import logging
import time
from collections import deque

import torch
import torch.distributed as dist

from multinas_ray.cluster.spot import SpotNotice

logger = logging.getLogger(__name__)

GPU_STEPS = 10
"""Steps between two questions of ranks with GPUs to each other: each makes the host wait for its GPU [ours]."""


class NoticedCheckpoints:
    """When notices of the nodes want a checkpoint: on all ranks after the same step, whichever node got the notice.

    Args:
        device: where this rank computes.
        world_size: ranks; with more than one, torch.distributed is initialised.
    """

    def __init__(self, device: torch.device, world_size: int = 1) -> None:
        self._device, self._world_size = device, world_size
        self._steps_between = GPU_STEPS if world_size > 1 and device.type == "cuda" else 1
        self._steps = 0
        self._wanted_seconds: deque[float] = deque()  # ascending, since a node gets one notice

    def tell(self, notice: SpotNotice) -> None:
        """Take the notice of this rank's node, from any thread."""
        logger.warning("%s", notice)
        now = time.monotonic()
        self._wanted_seconds.extend([now + delay for delay in notice.checkpoint_delays])

    def is_due(self) -> bool:
        """Whether to save a checkpoint now; to be asked after each step on every rank."""
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
