"""The Python of README and guides, and the notebook, that need a Ray.

Only what takes long is shortened: a search itself, the number of trials and of networks, the epochs of a training.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from multinas_ray.cluster import ray_session
from multinas_ray.runs import verify_run
from tests.test_documentation import ROOT, python_with, run_python

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def run_notebook(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the cells of a notebook in order, as in a kernel without ipywidgets."""
    monkeypatch.setenv("MULTINAS_TUTORIAL", "short")
    names: dict[str, object] = {"__name__": "__main__"}
    with monkeypatch.context() as patch:
        patch.setattr("rich.console._is_jupyter", lambda: True)
        for number, cell in enumerate(json.loads((ROOT / path).read_text())["cells"]):
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [], "a notebook is kept without outputs"
                exec(compile("".join(cell["source"]), f"{path}, cell {number}", "exec"), names)


@pytest.mark.parametrize(("page", "cost"), [("README.md", "params"), ("docs/guides/tune.md", "latency_ms")])
def test_the_tune_pipeline_gives_a_row_for_each_answer(page: str, cost: str, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.py"
    short = python_with("tune.Tuner(", page).replace("num_samples=64", "num_samples=4")
    script.write_text(short.replace("range(60)", "range(6)"))
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONWARNINGS": "default", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.rindex(f" {cost} ") :].splitlines()
    assert [line.split()[0] for line in table[1:5]] == ["0", "1", "2", "3"]
    (record,) = tmp_path.glob("ray_results/*/multinas/*")
    assert verify_run(record).num_evaluations == 4


def test_a_finished_run_is_read_chosen_trained_exported_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # first: settings take their paths from where they are made
    with ray_session():  # one for all
        run_notebook("experiments/tutorial.ipynb", monkeypatch)
        shutil.copytree("runs/tutorial", "runs/quickstart")  # the same space and images; another search takes long
        page = "docs/guides/quickstart.md"
        run_python(python_with("load_run(", page), page)
        page = "docs/guides/after.md"
        code = python_with("retrain_networks(", page).replace("epochs=25", "epochs=1")
        budgets = 'SelectConfig(limits={"params": [3e3, 6e3]}'
        assert budgets in code
        run_python(code.replace(budgets, 'SelectConfig(limits={"params": [6e3]}, candidates_per_network=3'), page)
    assert (tmp_path / "runs/tutorial/networks/0/export/model.onnx").is_file()
    assert "report.html" in capsys.readouterr().out
    folder = tmp_path / "runs/quickstart/families/phones/networks"
    assert (folder / "0" / "export/model.onnx").is_file()
