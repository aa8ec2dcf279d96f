"""The exceptions a caller can meet. Each also inherits the builtin that fits, so plain `except ValueError` works."""

import importlib
from types import ModuleType


class MultiNASError(Exception):
    """Base of every error this package raises on purpose; its message names the rule, the value and the remedy."""


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
        return str(self.args[-1])


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


def first_line(error: BaseException) -> str:
    """The first line of an error's text, since torch's have many; its type where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def last_line(error: BaseException) -> str:
    """The last line of an error's text, which is the cause in those of Ray; its type where it has none."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
