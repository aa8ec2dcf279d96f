"""Code of a person's own that ends Python, as by sys.exit(): a line tells whose it was, in every process."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

import multinas_ray.__main__ as command_line
from multinas_ray.choices.measuring import ModelMeter
from multinas_ray.commands.script import Script
from multinas_ray.data import DataConfig, SampleSet, load_splits, register_dataset
from multinas_ray.data.streamed_images import ImageDecoder
from multinas_ray.errors import ConfigError, MultiNASError, exits_told
from multinas_ray.export.formats import _trace
from multinas_ray.oneshot.calibration import measure_here
from multinas_ray.oneshot.worker import search_worker
from multinas_ray.retraining import trial
from multinas_ray.retraining.worker import retraining_worker
from multinas_ray.selection import evaluation
from multinas_ray.spaces import descend
from multinas_ray.tune.complexity import checked_value
from multinas_ray.tune.domains import config_space
from tests.choices.every_place import INPUTS, EveryPlace

PACKAGE = Path(command_line.__file__).parent


def ends(*_: Any, **__: Any) -> Any:
    sys.exit("no more")


class Ending(EveryPlace):
    def forward(self, *inputs, **named):
        ends()


class EndingNetwork(torch.nn.Module):
    def forward(self, inputs):
        ends()


class Samples(list[Any]):
    __getitem__ = ends


class EndingJob(dict[str, Any]):
    """What an entry of a process is given; whatever it looks up first ends."""

    __getitem__ = __getattr__ = ends


def signals_that_end():
    ends()


def draw():
    space = config_space({"x": tune.choice([1, 2]), "y": tune.sample_from(ends)})
    return space.draw((0,))


def load():
    register_dataset(signals_that_end)
    return load_splits(DataConfig(source="signals_that_end"))


USES = {
    "^score raised SystemExit \\(no more\\) at .*ends.py:": lambda: descend((0,), (2,), ends),
    "^complexity must take every configuration, it raised SystemExit": lambda: checked_value(ends, {}),
    "^y must be drawn by its sample_from, which raised SystemExit": draw,
    "^the function signals_that_end of datasets raised SystemExit": load,
    "^sample 0 must be readable, the dataset raised SystemExit": lambda: SampleSet(Samples("ab")).example,
    "^every network of a model must run on its example": lambda: ModelMeter(Ending, INPUTS).measure((0, 0, 0, 0)),
    "^the model cannot be made": lambda: ModelMeter(ends, "float32[3]"),
    "^torch.export cannot trace this network \\(no more": lambda: _trace(EndingNetwork(), torch.ones(1, 3)),
}


@pytest.mark.parametrize("told", USES)
def test_it_is_told_by_what_it_is_for(told):
    with pytest.raises(MultiNASError, match=told):
        USES[told]()


ENTRIES: dict[str, Any] = {
    "search": search_worker,
    "retraining": retraining_worker,
    "a trial of retraining": lambda job: trial._train(job, 0),
    "choice": evaluation.CandidateEvaluator,
    "calibration": measure_here,
    "decoding": lambda job: ImageDecoder.__getitem__(job, job),
    "a command": lambda job: command_line.main(["verify", "x"]),
}
TOLD = r"^ends in .*test_own_code_that_ends\.py:\d+ ended Python \(SystemExit: no more\): let it raise"


@pytest.mark.parametrize("entry", ENTRIES)
def test_it_is_told_by_its_place_in_each_process(entry, monkeypatch, capsys):
    monkeypatch.setattr("multinas_ray.commands.verify.run", ends)
    if entry == "a command":
        assert command_line.main(["verify", "x"]) == 2
        assert re.match(TOLD, capsys.readouterr().err.removeprefix("multinas-ray: error: "))
        return
    with pytest.raises(ConfigError, match=TOLD):
        ENTRIES[entry](EndingJob())


def test_a_script_that_ends_tells_it(capsys):
    @dataclass(frozen=True)
    class Settings:
        """None."""

    assert Script(description="", settings=Settings).run([], ends) == 2
    assert "ended Python" in capsys.readouterr().err


def test_rays_own_way_to_end_a_process_is_left_to_it():
    own: dict[str, Any] = {"__name__": "ray._private.worker", "sys": sys}
    exec("def sigterm_handler():\n    sys.exit(15)", own)
    with pytest.raises(SystemExit), exits_told():
        own["sigterm_handler"]()


def test_no_place_that_calls_a_persons_code_forgets_it():
    """Each comment that says so stands at a line that takes SystemExit too."""
    lines = [line for file in PACKAGE.rglob("*.py") for line in file.read_text().splitlines()]
    said = [line for line in lines if re.search(r"except .*# .* is the user's", line)]
    assert len(said) > 8
    assert [line for line in said if "except FAILURES" not in line] == []
