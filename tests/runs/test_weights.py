"""Damaged files of weights are named by `verify`, which needs no torch for it."""

import shutil
import subprocess
import sys

import pytest
import torch

from multinas_ray.runs import verify_run
from multinas_ray.runs.weights import damaged_weights

FILES = {
    "supernet.pt": "where a checkpoint is left, resuming writes it again",
    "networks/0/weights.pt": "choose the networks again by `multinas-ray select RUN`",
    "networks/1/retrained.pt": "train the network anew by `multinas-ray retrain RUN --overwrite`",
    "families/small/networks/0/weights.pt": "choose the networks again by `multinas-ray select RUN`",
}


@pytest.fixture
def run_path(finished_run, tmp_path):
    run_path = tmp_path / "run"
    shutil.copytree(finished_run, run_path)
    for name in FILES:
        file = run_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"a": torch.ones(1000)}, file)
    return run_path


@pytest.mark.parametrize("how", ["cut", "zeros", "changed", "empty"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_its_remedy(run_path, name, how):
    assert damaged_weights(run_path) == []
    file = run_path / name
    content = file.read_bytes()
    middle = content.index(torch.ones(4).numpy().tobytes())
    changed = content[:middle] + b"\1" + content[middle + 1 :]
    file.write_bytes({"cut": content[:-100], "zeros": bytes(len(content)), "changed": changed, "empty": b""}[how])
    (told,) = damaged_weights(run_path)
    assert told.startswith(f"{file} is damaged: ")
    assert told.endswith(FILES[name])


def test_a_record_with_damaged_weights_does_not_hold_and_one_without_them_does(run_path):
    (run_path / "supernet.pt").write_bytes(b"x")
    found = verify_run(run_path)
    assert [problem for problem in found.problems if "supernet.pt is damaged" in problem]
    assert not found.holds
    (run_path / "supernet.pt").unlink()
    assert verify_run(run_path).holds


def test_no_torch_is_loaded_for_it(run_path):
    text = (
        "import sys; from multinas_ray.runs.weights import damaged_weights; "
        f"assert damaged_weights({str(run_path)!r}) == []; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
