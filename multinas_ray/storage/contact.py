"""The first request to an object store: one that does not answer is told within seconds.

The clients of the stores repeat what fails for minutes and say nothing, which is right in the middle of a run and wrong
at its start. None of them can be told to stop, and S3's keeps a process from ending until it has given up. So another
process asks first, which can be ended at any moment.
"""

import subprocess
import sys
import time

ANSWER_SECONDS = 10.0
"""How long a bucket may take for its first answer [ours]; usual are parts of a second."""
NO_ANSWER = "no first answer"
"""The beginning of the error's text where it takes longer."""
OUT_OF_REACH = ("NETWORK_CONNECTION", "curlCode", "CURL error", "UNAVAILABLE")
"""Words of a client that has given up by itself, one of which is enough."""
REMEMBERED_SECONDS = 60.0
"""How long a bucket without an answer is not asked again [ours]: who tells of it may have to use it once more."""
_QUESTION = """
import sys
sys.path = [folder for folder in sys.path if folder]
from pyarrow import fs
print(flush=True)
store, bucket = fs.FileSystem.from_uri(sys.stdin.read())
store.get_file_info(bucket)
"""


def check_contact(uri: str) -> None:
    """Wait for the first answer of a bucket, whatever that is: rights and names are told by who uses it.

    Args:
        uri: The bucket, with the options of the connection.

    Raises:
        OSError: No answer came within `ANSWER_SECONDS`, or the client has given up by itself.
    """
    told, when = _failures.get(uri, ("", -REMEMBERED_SECONDS))
    if time.monotonic() - when >= REMEMBERED_SECONDS:
        told = _why_no_answer(uri)
    if told:
        _failures.setdefault(uri, (told, time.monotonic()))
        raise OSError(told)


_failures: dict[str, tuple[str, float]] = {}
"""Buckets that gave no answer -> why, and when."""


def _why_no_answer(uri: str) -> str:
    """What an error says; empty if the bucket answers."""
    _failures.pop(uri, None)
    if not sys.executable:  # of a program that has Python in it
        return ""
    command = [sys.executable, "-c", _QUESTION]  # the options are none of the arguments, which everybody can read
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace") as asking:
        assert asking.stdout is not None
        asking.stdout.readline()  # it has loaded pyarrow, which takes long on a busy machine
        try:
            _, errors = asking.communicate(uri, timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            asking.kill()
            return f"{NO_ANSWER} within {ANSWER_SECONDS:g} seconds"
    is_silent = asking.returncode and any(word in errors for word in OUT_OF_REACH)
    return errors.strip().rpartition("\n")[2] if is_silent else ""
