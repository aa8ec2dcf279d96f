"""A folder of this machine for what must outlive a process, but belongs to no run."""

import os

from multinas_ray.storage.places import Location, resolve


def machine_folder() -> Location:
    """The folder of this package for the state of programs, by the XDG Base Directory Specification.

    It is `$XDG_STATE_HOME/multinas_ray`, by default `~/.local/state/multinas_ray`.
    """
    return resolve(os.environ.get("XDG_STATE_HOME") or "~/.local/state").join("multinas_ray")
