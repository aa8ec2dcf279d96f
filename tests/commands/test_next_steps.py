"""The commands that are printed name what they must import."""

import os
import subprocess
import sys

import pytest

from multinas_ray.cluster import load_module
from multinas_ray.commands.next_steps import imports_of
from multinas_ray.tasks import Task, register_metric

OWN = "from multinas_ray.spaces import register_model\n@register_model\ndef {}(): ...\n"


@register_metric
def metric_of_this_module(outputs, targets): ...


def test_only_modules_that_the_configuration_names_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model_of_test_next_steps.py"
    file.write_text(OWN.format("told_model"))
    load_module(str(file))
    description = {"space": {"model": "told_model"}, "task": Task().to_dict(), "data": [{"source": "digits"}]}
    assert imports_of(description) == (file.name,)
    assert imports_of(description, ["own.py", str(file)]) == ("own.py", str(file))
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert imports_of({"a": ("told_model",)}) == (str(file.resolve()),)
    task = Task(metrics={"m": "metric_of_this_module"}).to_dict()
    assert imports_of(task) == (__name__,)
    assert imports_of({"told_model": "digits"}) == ()


SCRIPT = """
import beside
from multinas_ray.commands.next_steps import imports_of
from multinas_ray.spaces import register_model

@register_model
def model_of_script(): ...

print(*imports_of({"a": "model_of_script", "b": "model_beside"}))
"""


@pytest.mark.parametrize("started", [["package/script.py"], ["-m", "package.script"]])
def test_a_program_is_imported_after_what_it_needs(tmp_path, started, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    script = SCRIPT if started[0] != "-m" else SCRIPT.replace("import beside", "from package import beside")
    package.joinpath("script.py").write_text(script)
    package.joinpath("beside.py").write_text(OWN.format("model_beside"))
    path = os.pathsep.join(sys.path)
    command = [sys.executable, *started]
    out = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": path}, check=True, capture_output=True, text=True)
    expected = ["package.beside", "package.script"] if "-m" in started else ["package/beside.py", "package/script.py"]
    assert out.stdout.split() == expected
