import subprocess
import sys

from multinas_ray.cluster.probe import SAME_EVERYWHERE, probe_node
from multinas_ray.storage import check_writable


def test_a_node_looks_around(tmp_path):
    check_writable(str(tmp_path / "runs"))
    (tmp_path / "runs" / "marker").write_bytes(b"")
    facts = probe_node("here", str(tmp_path / "runs" / "marker"), str(tmp_path / "runs"), str(tmp_path))
    assert facts.storage_problem is None
    assert facts.sees_images
    assert set(facts.versions) == {"python", *SAME_EVERYWHERE}
    assert None not in facts.versions.values()
    elsewhere = probe_node("there", str(tmp_path / "other" / "marker"), str(tmp_path / "other"), str(tmp_path / "none"))
    assert elsewhere.storage_problem == "a file that the driver has just written there is missing"
    assert not elsewhere.sees_images
    assert not (tmp_path / "other").exists()


def test_the_probe_loads_no_torch_and_no_tune():
    """They would cost each node ten seconds of a core."""
    code = "import sys, multinas_ray.cluster.probe; sys.exit(bool({'torch', 'ray.tune'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
