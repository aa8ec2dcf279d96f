"""What is written every few seconds beside the search: a record in an object store."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from multinas_ray.errors import StorageError

PATIENCE_SECONDS = 60.0
"""How long a store may refuse before the search ends with its error [ours]. All rows are on this machine's disk."""


class Uploads:
    """Calls a function every few seconds in a thread of its own, and when the process ends.

    Args:
        upload: What is called, by one thread at a time.
        interval_seconds: Time between two calls.
    """

    def __init__(self, upload: Callable[[], None], interval_seconds: float) -> None:
        self._upload, self._interval_seconds = upload, interval_seconds
        self._one_at_a_time, self._closed = threading.Lock(), threading.Event()
        self._refusal: StorageError | None = None
        self._refused_since = 0.0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()
        atexit.register(self._last)

    def check(self) -> None:
        """Raise what has befallen the thread: an error at once, a refusal of the store after `PATIENCE_SECONDS`."""
        if self._error is not None:
            raise self._error
        refusal = self._refusal
        if refusal is not None and time.monotonic() - self._refused_since > PATIENCE_SECONDS:
            raise refusal

    def now(self) -> None:
        """Upload in this thread, after a call that is under way; raises whatever is raised."""
        with self._one_at_a_time:
            self._upload()
            self._refusal = None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        atexit.unregister(self._last)
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._interval_seconds) and self._error is None:
            self._try()

    def _try(self) -> None:
        try:
            self.now()
        except StorageError as error:
            if self._refusal is None:
                self._refused_since = time.monotonic()
            self._refusal = error
        except Exception as error:  # whatever it is, the search has to hear of it
            self._error = error

    def _last(self) -> None:
        with suppress(Exception):  # the rows stay on the disk, and nobody is left to be told
            self.now()
