"""The cores of the machine."""

from joblib import cpu_count


def usable_cores() -> int:
    """Number of cores that this process may use, of the machine, its container and its affinity."""
    return int(cpu_count())
