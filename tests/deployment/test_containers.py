"""The image, the job for Kubernetes and the script for Slurm: what their systems would refuse or lose."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from multinas_ray.runs import load_run, verify_run

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "docs" / "clusters"


def pins() -> dict[str, str]:
    """Package -> version of constraints.txt."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    found = {Requirement(line).name: str(Requirement(line).specifier) for line in lines}
    return {name: version.removeprefix("==") for name, version in found.items()}


def test_every_way_to_make_a_node_installs_the_same_versions() -> None:
    assert set(pins()) >= {"ray", "torch", "torchvision", "numpy"}
    assert all(re.fullmatch(r"[\d.]+", version) for version in pins().values())
    for name in ("Makefile", "cluster.yaml", "docs/clusters/local.yaml", "docs/clusters/Dockerfile"):
        installs = [line for line in (ROOT / name).read_text().splitlines() if re.search(r"pip install.* -e", line)]
        assert installs, name
        assert all(re.search(r"-c \S*constraints\.txt", line) for line in installs), name


def test_the_image_is_made_of_files_that_exist_and_of_the_pinned_ray() -> None:
    text = (CLUSTERS / "Dockerfile").read_text()
    for line in re.findall(r"^COPY --chown=\S+ (.*)$", text, re.MULTILINE):
        *sources, _ = shlex.split(line)
        assert [source for source in sources if not (ROOT / source).exists()] == []
    bases = re.findall(r"BASE=rayproject/ray:([\d.]+)-", text)
    assert bases == [pins()["ray"]] * 2


@pytest.fixture
def job() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CLUSTERS / "kuberay.yaml").read_text())
    return loaded


def test_the_cluster_of_the_job_wants_a_token_and_has_shared_memory(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pins()["ray"]
    assert cluster["authOptions"] == {"mode": "token"}
    pods = [each["template"]["spec"] for each in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]]
    for pod in pods:
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/dev/shm"}]
        assert volume["emptyDir"]["medium"] == "Memory"
        assert container["envFrom"] == [{"secretRef": {"name": "multinas-storage"}}]
        assert "env" not in container, "keys stand in the secret"
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1


def test_a_node_that_is_taken_away_has_time_and_the_search_asks_for_what_the_cluster_can_hold(
    job: dict[str, Any],
) -> None:
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 120
    gpus = pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    (most,) = re.findall(r"--num-workers \d+:(\d+)", job["spec"]["entrypoint"])
    assert int(most) == gpus * workers["maxReplicas"]


STAND_INS = {
    "scontrol": """
        if [ "$1" = show ]; then echo "$HEAD"; else echo "$@" >> "$CALLS"; fi
    """,
    "srun": """
        while [ "${1#--}" != "$1" ]; do shift; done
        exec "$@" > /dev/null 2>&1
    """,
}


def environment_of_a_job(folder: Path, calls: Path) -> dict[str, str]:
    """What Slurm sets for a job, and stand-ins for its programs, which note their calls."""
    tools = folder / "tools"
    tools.mkdir()
    for name, body in STAND_INS.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{body}")
        (tools / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "HEAD": socket.gethostbyname(socket.gethostname()),
        "CALLS": str(calls),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "2",
    }


@pytest.mark.cluster
@pytest.mark.by_hand
@pytest.mark.timeout(400)
def test_a_job_of_slurm_is_stopped_in_time_and_goes_on_when_it_is_requeued(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    command = [str(CLUSTERS / "slurm.sh"), sys.executable, str(ROOT / "tests/support/tiny_search.py")]
    command += ["--storage", str(tmp_path / "runs"), "--search-rounds", "600"]
    environment = environment_of_a_job(tmp_path, calls)
    known = Path("/tmp/ray/ray_current_cluster")
    before = known.read_text() if known.exists() else None
    subprocess.run(["ray", "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    run_path = tmp_path / "runs" / "tiny"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 150
    while not list(run_path.glob("evaluations/*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=100)[0]
    assert process.returncode == 130, output
    assert calls.read_text() == f"requeue {os.getpid()}\n"
    assert verify_run(run_path).holds
    stopped = len(load_run(run_path).evaluations)
    assert 0 < stopped < 600 * 6

    again = {**environment, "SLURM_RESTART_COUNT": "1"}
    done = subprocess.run(command, env=again, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(load_run(run_path).evaluations) == 600 * 6
    assert (known.read_text() if known.exists() else None) == before, "others would look for this cluster"
