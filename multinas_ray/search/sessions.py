"""Sessions of a run: each start of its driver, for the restart count and for whoever asks when it ran where."""

from __future__ import annotations

import datetime
import json
import platform

from multinas_ray.results import resolve, write_atomic
from multinas_ray.results.storage import list_files, make_folder


def begin_session(run_path: str) -> int:
    """Note a new start of the driver; returns its number, 0 for the first and so on: the restart count."""
    folder = resolve(run_path).join("sessions")
    make_folder(folder)
    number = len(list_files(folder, ".json"))
    session = {
        "session": number,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "host": platform.node(),
    }
    write_atomic(folder.join(f"{number:04d}.json"), json.dumps(session).encode(), overwrite=False)
    return number
