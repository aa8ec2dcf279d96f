"""Sessions of a run: each start of its driver, for the restart count and for whoever asks when it ran where."""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import dataclass

from multinas_ray.errors import StateError
from multinas_ray.storage import list_files, make_folder, resolve, write_atomic


@dataclass(frozen=True)
class RunSession:
    """One start of a run's driver. The newest one owns the run."""

    run_path: str
    number: int
    """0 for the first start and so on: the restart count."""

    @classmethod
    def begin(cls, run_path: str) -> RunSession:
        """Note a new start of the driver.

        Raises:
            StateError: another driver started in the same instant.
        """
        folder = resolve(run_path).join("sessions")
        make_folder(folder)
        number = _newest_session(run_path) + 1
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        session = {"session": number, "started": now, "host": platform.node()}
        try:
            write_atomic(folder.join(f"{number:04d}.json"), json.dumps(session).encode(), overwrite=False)
        except FileExistsError as error:
            raise StateError(f"{run_path} was just taken up by another driver; let that one go on alone") from error
        return cls(run_path, number)

    def check_newest(self) -> None:
        """See that no other driver has taken the run up.

        Raises:
            StateError: one has.
        """
        newest = _newest_session(self.run_path)
        if newest > self.number:
            raise StateError(
                f"another driver has taken {self.run_path} up (session {newest}, this one is {self.number}); "
                "this one stops, so that no evaluation is recorded twice"
            )


def was_started(run_path: str) -> bool:
    """Whether a driver came as far as its first session; before that, a folder holds no more than a configuration."""
    return _newest_session(run_path) >= 0


def _newest_session(run_path: str) -> int:
    """Number of the newest session, -1 before the first."""
    names = list_files(resolve(run_path).join("sessions"), ".json")
    return max((int(name.removesuffix(".json")) for name in names), default=-1)
