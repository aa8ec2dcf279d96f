"""What comes next, as commands that can be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
