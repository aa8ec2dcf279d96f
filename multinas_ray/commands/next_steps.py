"""What comes next, as commands that can be pasted."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from multinas_ray.registry import Registry

if TYPE_CHECKING:
    from rich.console import Console


def tell_next(
    console: Console,
    verbs: Sequence[str],
    run_path: str,
    *,
    label: str | None = None,
    data: str | None = None,
    imports: Sequence[str] = (),
) -> None:
    """Print the commands that follow, in their order, quoted for a shell.

    Args:
        console: where they are printed.
        verbs: some of "retrain", "export" and "report".
        run_path: the folder of the run.
        label: the label of the family; None for the run's own.
        data: where the images are now, if they have moved.
        imports: modules or files that define blocks of the user's own.
    """
    console.print("Next:")
    for verb in verbs:
        words = ["multinas-ray", verb, run_path, *([] if label is None else ["--label", label])]
        if verb != "report":
            words += [] if data is None else ["--data", data]
            words += [word for name in imports for word in ("--import", name)]
        console.print(f"  {shlex.join(words)}", soft_wrap=True, highlight=False, markup=False)


def imports_of(description: Mapping[str, Any], given: Sequence[str] = ()) -> tuple[str, ...]:
    """What the commands on a run must import: the modules of the user's own that its configuration names.

    Args:
        description: the configuration as plain data; the texts in it may be names of registered things.
        given: modules and files that are imported anyway.
    """
    # A module is imported after those that it needs, so that these are found though they are on no path.
    order = {name: place for place, name in enumerate(sys.modules)}
    modules = [name for name in Registry.modules_of(set(_texts(description))) if name in order]
    modules.sort(key=lambda name: (name == "__main__", order[name]))
    places = [_place(sys.modules[name]) for name in modules]
    known = {os.path.realpath(each) for each in given}
    return (*given, *(each for each in places if each is not None and os.path.realpath(each) not in known))


def _texts(value: Any) -> Iterator[str]:
    """All texts in plain data, without the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _place(module: ModuleType) -> str | None:
    """A module as --import takes it: its name if it is part of a package, otherwise its file; None without either."""
    name = getattr(module.__spec__, "name", module.__name__)
    if "." in name:
        return str(name)
    if getattr(module, "__file__", None) is None:
        return None
    file, here = Path(str(module.__file__)).resolve(), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
