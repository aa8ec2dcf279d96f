"""The raylet of this node: Ray's process to which a driver is tied, also one that has joined a running cluster."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group at the other end of a Unix socket (unix(7), SO_PEERCRED)."""


def listening_process(path: str) -> int | None:
    """The process that listens at a Unix socket; None where none does, or where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        client.connect(path)
        process, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
        return int(process)
    return None


def has_ended(process: int) -> bool:
    """Whether a process of this machine has ended, be it that nobody has asked for its end yet."""
    try:
        state = Path("/proc", str(process), "stat").read_bytes().rpartition(b")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in (b"Z", b"X")
