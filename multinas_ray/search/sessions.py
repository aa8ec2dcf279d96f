"""Sessions of a run: each start of its driver, for the restart count and for whoever asks when it ran where."""

from __future__ import annotations

import datetime
import json
import platform
import time
from dataclasses import dataclass, field

from multinas_ray.errors import StateError
from multinas_ray.results import resolve, write_atomic
from multinas_ray.results.storage import list_files, make_folder

CHECK_INTERVAL_SECONDS = 5.0


@dataclass
class RunSession:
    """One start of a run's driver. The newest one owns the run."""

    run_path: str
    number: int
    """0 for the first start and so on: the restart count."""
    _checked_seconds: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, run_path: str) -> RunSession:
        """Note a new start of the driver.

        Raises:
            StateError: another driver started in the same instant.
        """
        folder = resolve(run_path).join("sessions")
        make_folder(folder)
        number = len(list_files(folder, ".json"))
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        session = {"session": number, "started": now, "host": platform.node()}
        try:
            write_atomic(folder.join(f"{number:04d}.json"), json.dumps(session).encode(), overwrite=False)
        except FileExistsError as error:
            raise StateError(f"{run_path} was just taken up by another driver; let that one go on alone") from error
        return cls(run_path, number)

    def check_newest(self) -> None:
        """See now and then that no other driver has taken the run up.

        Raises:
            StateError: one has.
        """
        if time.monotonic() - self._checked_seconds < CHECK_INTERVAL_SECONDS:
            return
        self._checked_seconds = time.monotonic()
        started = len(list_files(resolve(self.run_path).join("sessions"), ".json"))
        if started > self.number + 1:
            raise StateError(
                f"another driver has taken {self.run_path} up (session {started - 1}, this one is {self.number}); "
                "this one stops, so that no evaluation is recorded twice"
            )
