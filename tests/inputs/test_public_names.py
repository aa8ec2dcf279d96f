"""Bad values for every public constructor and checked function: each is refused in a clear line, or works."""

import contextlib
import inspect
import io
import os
from pathlib import Path

import numpy as np
import pytest

from tests.inputs.examples import BY_THEMSELVES, WITHOUT_CHECKS
from tests.inputs.public import fronts, is_checked, public_names
from tests.inputs.walks import Input, inputs

SAMPLED = 2000
"""Of some 25,000; all where the environment has MULTINAS_INPUTS."""
TOO_SLOW = (
    "latency.profile_space",
    "latency.validate_table",
    "oneshot.dry_run",
    "oneshot.run_search",
    "selection.promising_networks",
)
"""They work for seconds where the value is right."""


def chosen() -> list[Input]:
    every = [each for each in inputs() if each.call.name not in TOO_SLOW]
    if "MULTINAS_INPUTS" in os.environ:
        return every
    return [every[place] for place in np.random.default_rng(0).permutation(len(every))[:SAMPLED]]


@pytest.mark.filterwarnings("ignore")
def test_a_bad_value_is_told_in_one_line_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    faults = []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for each in chosen():
            found = each.answer()
            if found.is_fault:
                faults.append(f"{each}: {found.kind}: {found.text}")
    assert faults == []


def test_every_public_class_checks_what_it_is_given() -> None:
    """Or it stands in the table of those that do not, with the reason."""
    classes = {name: each for name, each in public_names() if inspect.isclass(each)}
    unchecked = {name for name, each in classes.items() if not is_checked(each)} - {*BY_THEMSELVES, *WITHOUT_CHECKS}
    assert unchecked == set(), "put @checked above @dataclass, or @checked_arguments above __init__"
    assert {*WITHOUT_CHECKS} <= {*classes}


def test_all_fronts_are_found() -> None:
    assert {"core", "oneshot", "settings", "storage", "tune"} <= {*fronts()}
