import os
import subprocess
import sys

import torch

from multinas_ray.cluster import probe
from multinas_ray.cluster.probe import SAME_EVERYWHERE, probe_node
from multinas_ray.storage import check_writable


def test_a_node_looks_around(tmp_path):
    check_writable(str(tmp_path / "runs"))
    (tmp_path / "runs" / "marker").write_bytes(b"")
    facts = probe_node("here", str(tmp_path / "runs" / "marker"), str(tmp_path / "runs"), str(tmp_path), {"CPU": 4.0})
    assert facts.storage_problem is None
    assert facts.sees_images
    assert set(facts.versions) == {"python", *SAME_EVERYWHERE}
    assert None not in facts.versions.values()
    assert (facts.ray_cpus, facts.ray_gpus) == (4.0, 0.0)
    assert 1 <= facts.cores <= (os.cpu_count() or 1)
    assert facts.wheel_cuda == torch.version.cuda
    elsewhere = probe_node(
        "there", str(tmp_path / "other" / "marker"), str(tmp_path / "other"), str(tmp_path / "none"), {}
    )
    assert elsewhere.storage_problem == "a file that the driver has just written there is missing"
    assert not elsewhere.sees_images
    assert not (tmp_path / "other").exists()


def test_the_probe_loads_no_torch_and_no_tune():
    """They would cost each node ten seconds of a core."""
    code = "import sys, multinas_ray.cluster.probe; sys.exit(bool({'torch', 'ray.tune'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


STATUS = """
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |
+-----------------------------------------------------------------------------------------+
"""


def test_driver_and_its_cuda_are_those_of_nvidia_smi(tmp_path, monkeypatch):
    def answer(command, **options):
        return subprocess.CompletedProcess(command, 0, stdout="81559\n81559\n" if len(command) > 1 else STATUS)

    monkeypatch.setattr(subprocess, "run", answer)
    facts = probe.probe_node("here", str(tmp_path), str(tmp_path), None, {})
    assert (facts.driver, facts.driver_cuda) == ("550.90.07", "12.4")
    assert list(facts.gpu_bytes) == [81559 * 2**20] * 2
