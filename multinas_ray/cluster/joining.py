"""Whether a Ray cluster is there to be joined, without starting or asking anything."""

from __future__ import annotations

import os

import ray
from ray._private.utils import read_ray_address


def is_cluster_there() -> bool:
    """Whether `ray_session` would join a cluster that is named or runs on this machine, and not start Ray."""
    return ray.is_initialized() or bool(os.environ.get("RAY_ADDRESS")) or bool(read_ray_address())
