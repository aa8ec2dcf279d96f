"""The cores of the machine."""


def usable_cores() -> int:
    """Number of cores that this process may use, of the machine, its container and its affinity."""
    from joblib import cpu_count  # here, since --help of a command has no need of it

    return int(cpu_count())
