"""A whole one-shot run in an object store: a real S3 client against moto's server, a driver that is killed."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from moto.server import ThreadedMotoServer
from ray.tune.execution import class_cache

from multinas_ray.__main__ import main
from multinas_ray.cluster import ray_session
from multinas_ray.oneshot.trial import OneShotTrial
from multinas_ray.runs import load_run, verify_run
from multinas_ray.selection import load_family
from tests.support import tiny_search
from tests.support.local_ray import local_ray

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAMULTINASTEST4711",
    "AWS_SECRET_ACCESS_KEY": "4711secretOfTheTest0815abcdefghijklmnopq",
}
ENVIRONMENT = {**SECRETS, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


class Bucket:
    """A bucket on a server of this process; `requests` are the lines of its log."""

    def __init__(self, address: str) -> None:
        self.client = boto3.client("s3", endpoint_url=f"http://{address}")
        self.client.create_bucket(Bucket="runs")
        self.query = f"?scheme=http&endpoint_override={address}"
        self.requests: list[str] = []

    def uri(self, path: str) -> str:
        return f"s3://runs/{path}{self.query}"

    def names(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="runs")
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def contents(self) -> dict[str, bytes]:
        return {name: self.client.get_object(Bucket="runs", Key=name)["Body"].read() for name in self.names()}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    bucket = Bucket("{}:{}".format(*server.get_host_and_port()))
    log = logging.getLogger("werkzeug")

    def note(record: logging.LogRecord) -> bool:
        bucket.requests.append(record.getMessage())
        return False  # nothing is printed

    log.addFilter(note)
    yield bucket
    log.filters.clear()
    server.stop()


@pytest.fixture
def ray_folder(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A local Ray, which drivers of other processes join; its logs are in the folder."""
    # a short path: it holds sockets
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, local_ray(_temp_dir=folder):
        yield Path(folder)


def leaks(contents: Mapping[str, bytes]) -> list[str]:
    """Files that hold a key or a secret: as text, in hexadecimal as in Tune's state, or within Parquet."""
    found = []
    for name, content in contents.items():
        if name.endswith(".parquet"):
            table = pq.read_table(pa.BufferReader(content))
            content += f"{table.schema.metadata} {table.to_pydict()}".encode()
        if any(secret.encode() in content or secret.encode().hex().encode() in content for secret in SECRETS.values()):
            found.append(name)
    return found


def test_the_search_for_leaks_finds_them() -> None:
    secret, sink = SECRETS["AWS_SECRET_ACCESS_KEY"], pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [secret]}), sink, compression="zstd")
    told = {"a.json": f"x{secret}y".encode(), "b.json": secret.encode().hex().encode(), "c.json": b"{}"}
    assert leaks({**told, "d.parquet": sink.getvalue().to_pybytes()}) == ["a.json", "b.json", "d.parquet"]


def test_trials_are_not_handed_the_credentials_which_ray_would_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with ray_session():
        trial = class_cache._ActorClassCache().get(OneShotTrial)
    assert not set(SECRETS) & set(trial._default_options["runtime_env"]["env_vars"])


def are_in(parts: Sequence[str], texts: Sequence[str]) -> bool:
    return all(any(part in text for text in texts) for part in parts)


def kill_after_a_checkpoint(bucket: Bucket, flags: list[str], folder: Path) -> bytes:
    """A search in a process of its own that is killed with a checkpoint and evaluations stored; what it printed."""
    environment = {
        **os.environ,
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with subprocess.Popen(
        [sys.executable, tiny_search.__file__, *flags],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        deadline = time.monotonic() + 180
        wanted = ("tiny/checkpoints/round-", "tiny/evaluations/p")
        while not (are_in(wanted, bucket.requests) and are_in(wanted, bucket.names())):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.3)
        process.kill()
        return process.communicate()[0]


@pytest.mark.cluster
def test_a_killed_search_goes_on_from_the_bucket_and_its_networks_are_trained_and_exported_there(
    bucket: Bucket,
    ray_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--storage", bucket.uri("deep"), "--search-rounds", "80", "--checkpoint-interval-seconds", "0.5"]
    flags += ["--upload-seconds", "0.2"]
    run_path = bucket.uri("deep/tiny")
    printed = kill_after_a_checkpoint(bucket, flags, tmp_path)
    assert 0 < len(load_run(run_path).evaluations) < 6 * 80
    bucket.requests.clear()
    assert tiny_search.TINY.run([*flags, "--resume"]) == 0
    assert any("GET" in each and "/checkpoints/round-" in each for each in bucket.requests)
    run = load_run(run_path)
    assert run.finished is not None
    assert run.finished["num_restarts"] == 1
    assert run.evaluations["tell_order"].tolist() == list(range(6 * 80))

    assert main(["retrain", run_path, "--epochs", "2", "--batch-size", "64"]) == 0
    for verb in (["export", run_path, "--no-onnx"], ["report", run_path], ["verify", run_path]):
        assert main(verb) == 0, verb
    assert verify_run(run_path).holds
    assert load_family(run_path).architectures["retrained_accuracy"].notna().all()
    contents = bucket.contents()
    for name in ("supernet.pt", "report.html", "candidates.parquet", "networks/0/export/README.md"):
        assert f"deep/tiny/{name}" in contents

    ray.shutdown()  # so that its logs are whole
    local = {
        str(each): each.read_bytes() for top in (ray_folder, tmp_path) for each in top.rglob("*") if each.is_file()
    }
    told = capfd.readouterr()
    printed += (told.out + told.err + "\n".join(bucket.requests)).encode()
    assert leaks({**contents, **local, "printed": printed}) == []
