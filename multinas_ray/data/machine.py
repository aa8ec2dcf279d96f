"""The cores and the memory of the machine."""

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")

SMALL_PASS = 100e6
"""Multiply-adds of a pass of images through a network below which one thread computes it. Several gain little there,
and where other programs have the cores they wait for each other in every layer. [ours]"""


def usable_cores() -> int:
    """Number of cores that this process may use, of the machine, its container and its affinity."""
    from joblib import cpu_count  # here, since --help of a command has no need of it

    return int(cpu_count())


def cpu_threads(multiply_adds: float, sharing: int = 1) -> int:
    """CPU threads for passes of so many multiply-adds, in one of so many processes that share the cores."""
    return 1 if multiply_adds < SMALL_PASS else max(1, usable_cores() // sharing)


def available_memory_bytes() -> int | None:
    """Memory that this process may still use, of the machine or its container; None if unknown (other than Linux)."""
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    limit, used, kinds = (_CGROUP / name for name in ("memory.max", "memory.current", "memory.stat"))
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        # Files that the system only keeps in memory give way; Kubernetes reckons in the same way.
        kept = dict(line.split() for line in kinds.read_text().splitlines()) if kinds.exists() else {}
        found.append(int(limit.read_text()) - int(used.read_text()) + int(kept.get("inactive_file", 0)))
    return min(found, default=None)
