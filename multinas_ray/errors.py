"""The exceptions a caller can meet. Each also inherits the builtin that fits, so plain `except ValueError` works."""

import importlib
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

FAILURES = (Exception, SystemExit)
"""What code that a person has written may raise; after SystemExit Python would end without a word."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONG_WORD = re.compile(r"\S{1000,}")


class MultiNASError(Exception):
    """Base of every error this package raises on purpose; its message names the rule, the value and the remedy.

    Its text is one line that can be printed: what a file or a user holds may be in it, so characters that end a line or
    steer a terminal are shown by their codes.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """A text in one line that can be printed.

    Characters that end a line, steer a terminal or cannot be shown are written as their codes, and the middle of words
    of more than 1,000 characters is left out.
    """
    text = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
    return _LONG_WORD.sub(lambda found: f"{found[0][:80]}...{found[0][-20:]}", text)


class ConfigError(MultiNASError, ValueError):
    """A setting, a search space or an argument breaks a rule."""


class DataError(MultiNASError, ValueError):
    """Images, labels or tables are missing, unreadable or out of range."""


class StateError(MultiNASError, ValueError):
    """A saved state or a recorded run is damaged, of another version, or of another configuration."""


class StorageError(MultiNASError, OSError):
    """A disk or an object store refuses to read, write, list or delete.

    Its `errno` is the operating system's number where there is one; its text is the message alone.
    """

    def __str__(self) -> str:
        return printable(str(self.args[-1]))


class UnreadableError(StorageError, StateError):
    """A file is missing or cannot be read."""


class FileTakenError(StorageError, FileExistsError):
    """A file that has to be new exists already."""


class RunError(MultiNASError, RuntimeError):
    """A search could not start or could not go on."""


class ExportError(MultiNASError, RuntimeError):
    """A network cannot be written in a format, or a file of it does not compute what the network does."""


class MissingPackageError(MultiNASError, ImportError):
    """A package that only some tasks need is not installed."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: its import name, such as "onnxruntime".
        extra: this package's extra that installs it, such as "export".
        purpose: what it is needed for, as in "ONNX files need onnxruntime".

    Returns:
        The module.

    Raises:
        MissingPackageError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise MissingPackageError(
            f'{purpose} need the package {package}, which is not installed: pip install "multinas-ray[{extra}]"'
        ) from error


@contextmanager
def raised_by(what: str) -> Iterator[None]:
    """Tell errors of code that a person has written with what raised them.

    Args:
        what: what the code is for, such as "the cost 'energy'".

    Raises:
        ConfigError: The code within raised an error that is not one of this package, or SystemExit.
    """
    try:
        yield
    except MultiNASError:
        raise
    except FAILURES as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"{what} raised {type(error).__name__} ({first_line(error)}) at {last.filename}:{last.lineno}: correct it"
        ) from error


@contextmanager
def exits_told() -> Iterator[None]:
    """Tell where code that a person has written ends Python, as by sys.exit(), in a place that nothing else names.

    Use it around what is an entry of a process, also as a decorator.

    Raises:
        ConfigError: The code within raised SystemExit. That of Ray, with which it ends a process, is left to it.
    """
    try:
        yield
    except SystemExit as error:
        frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
        if frame.f_globals.get("__name__", "").partition(".")[0] == "ray":
            raise
        raise ConfigError(
            f"{frame.f_code.co_name} in {frame.f_code.co_filename}:{line} ended Python (SystemExit: "
            f"{first_line(error)}): let it raise an error that says what is wrong, or return"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, since torch's have many; its type where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def last_line(error: BaseException) -> str:
    """The last line of an error's text, which is the cause in those of Ray; its type where it has none."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
