"""Loading the user's own blocks, spaces and costs from a module or a file, by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import ray.cloudpickle

from multinas_ray.errors import FAILURES, ConfigError, first_line
from multinas_ray.settings import checked_arguments

PACKAGE = __name__.partition(".")[0]


@checked_arguments
def load_module(name: str) -> ModuleType:
    """Import a module, or a file that is not on Python's path.

    Its definitions are sent to Ray's workers by value, since the file may be missing on their machines; those of this
    package are there.

    Args:
        name: A module's name ("my_package.blocks"), which is sought in the current folder too, or a path to a .py
            file ("my_blocks.py").

    Returns:
        The module.

    Raises:
        ConfigError: The module does not exist or cannot be imported; the message says why.
    """
    module = _import_file(Path(name)) if name.endswith(".py") else _import(name)
    if module.__name__.partition(".")[0] != PACKAGE:
        ray.cloudpickle.register_pickle_by_value(module)
    return module


@checked_arguments
def load_object(name: str) -> Any:
    """Import an object of a module or file by its name.

    Args:
        name: "my_package.spaces:my_space" or "my_spaces.py:my_space".

    Raises:
        ConfigError: The text does not have this form, or there is no such object.
    """
    module_name, colon, attribute = name.rpartition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(f"an object must be named as MODULE:NAME or FILE.py:NAME, got {name!r}")
    module = load_module(module_name)
    if not hasattr(module, attribute):
        raise ConfigError(f"{module_name} defines no {attribute!r}: give the name of a function in it")
    return getattr(module, attribute)


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # where Python's own -m seeks it
    try:
        return importlib.import_module(name)
    except FAILURES as error:  # the module is the user's and may raise anything
        raise _not_imported(f"the module {name!r}", error) from error


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"there is no file {file}: give the name of a module or a .py file that exists")
    known = sys.modules.get(file.stem)
    if known is not None:
        place = vars(known).get("__file__")  # Python's own may have none
        if place is not None and Path(place).resolve() == file.resolve():
            return known
        raise ConfigError(f"another module named {file.stem!r} is imported already: give {file} another name")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is not a Python file: give a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except FAILURES as error:  # the module is the user's and may raise anything
        del sys.modules[file.stem]
        raise _not_imported(str(file), error) from error
    return module


def _not_imported(what: str, error: BaseException) -> ConfigError:
    """The error of a module that cannot be imported, with the place in it that raised."""
    importers = (__file__, importlib.__file__)
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if each.filename not in importers and not each.filename.startswith("<frozen")
    ]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, SystemExit):
        remedy = 'put what it does as a program under `if __name__ == "__main__":`'
    elif place or isinstance(error, SyntaxError):
        remedy = "correct it"
    else:
        remedy = "give its file, FILE.py"  # nothing of it was run: there is no such module
    return ConfigError(f"{what} cannot be imported ({type(error).__name__}: {first_line(error)}{place}): {remedy}")
