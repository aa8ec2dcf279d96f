"""A small search of photographs on three nodes of one machine, one of which is killed in the middle. A script.

The head has no place for workers, the two others have one each and a loopback address of their own. The one that is
killed first hears of it from its cloud, as a spot instance does.
"""

import argparse
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {
    "RAY_TMPDIR": tempfile.mkdtemp(prefix="nodes-", dir="/tmp"),  # ray.init() of others must not find this cluster
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",  # of 60: how long a group waits for a lost worker's place
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_health_check_period_ms": "1000",  # of 3000: five refused connections make a node dead, a slow one has longer
    "RAY_agent_register_timeout_ms": "120000",  # of 30000: on a busy machine a node that starts slowly would die
    "MULTINAS_METADATA_URL": "",  # but for the node that is killed
}

import ray
from ray.cluster_utils import Cluster

from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import load_run
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace
from tests.support.metadata import FakeMetadata, aws_notice_of
from tests.support.tiny_search import tiny_config

BEFORE_FILE = "before.parquet"
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
NOTICE_SECONDS = 110
IMAGE_SIZE, NUM_CLASSES = 32, 20


def photo_config(options: ExperimentOptions) -> OneShotSearchConfig:
    """The tiny search on tiny_imagenet; no checkpoint becomes due by itself."""
    tiny = tiny_config(options)
    assert isinstance(tiny.space, NetworkSpace)
    space = replace(
        tiny.space,
        name="photos",
        input_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        stem=Block("stem", (ConvLayer(3, 8, kernel_size=3, stride=2, activation="relu"),)),
        head=Head(in_channels=16, num_classes=NUM_CLASSES),
    )
    path = str(Path(os.environ["MULTINAS_DATA"]) / "tiny_imagenet")
    data = DataConfig(source="folder", path=path, image_size=IMAGE_SIZE)
    return replace(tiny, space=space, data=data, checkpoint_interval_seconds=1e6)


class Killer(threading.Thread):
    """Gives a node notice after some evaluations and kills it once that led to a checkpoint.

    Args:
        cluster: its nodes.
        run_path: the search's folder.
        metadata: the cloud's, as the node sees it.
        then: `replace` brings another node, `interrupt` sends a Ctrl-C; None: nothing.
    """

    def __init__(self, cluster: Cluster, run_path: Path, metadata: FakeMetadata, then: str | None) -> None:
        super().__init__(daemon=True)
        self._cluster, self._run_path, self._metadata, self._then = cluster, run_path, metadata, then
        self.node = cluster.add_node(
            num_cpus=1, node_ip_address=ADDRESSES[1], env_vars={"MULTINAS_METADATA_URL": metadata.url}
        )

    def run(self) -> None:
        while self._num_evaluations() < 18:
            time.sleep(0.1)
        checkpoints = self._num_checkpoints()
        self._metadata.notice = aws_notice_of(NOTICE_SECONDS)
        while self._num_checkpoints() == checkpoints:
            time.sleep(0.1)
        self._cluster.remove_node(self.node, allow_graceful=False)
        load_run(self._run_path).evaluations.to_parquet(self._run_path.parent / BEFORE_FILE)
        time.sleep(2)
        if self._then == "replace":
            self._cluster.add_node(num_cpus=1, node_ip_address=ADDRESSES[2])
        if self._then == "interrupt":
            signal.raise_signal(signal.SIGINT)

    def _num_evaluations(self) -> int:
        return len(load_run(self._run_path).evaluations) if (self._run_path / "config.json").exists() else 0

    def _num_checkpoints(self) -> int:
        return len(list(self._run_path.glob("train/checkpoint_*/supernet.pt")))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("storage", type=Path)
    arguments.add_argument("--num-workers", default="1:2")
    arguments.add_argument("--search-rounds", default="120")
    arguments.add_argument("--then", choices=["replace", "interrupt"])
    given = arguments.parse_args()
    head = {"num_cpus": 0, "include_dashboard": False}
    # Hooks for the exit could be set by the main thread only.
    cluster: Any = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        with FakeMetadata("aws") as metadata:
            cluster.add_node(num_cpus=1, node_ip_address=ADDRESSES[0])
            killer = Killer(cluster, given.storage / "tiny", metadata, given.then)
            # On the head, as after `ray submit`: a driver joins any node of its machine otherwise.
            ray.init(address=cluster.address, _node_ip_address=cluster.head_node.node_ip_address, log_to_driver=False)
            killer.start()
            flags = ["--storage", str(given.storage), "--num-workers", given.num_workers]
            experiment = Experiment(description=str(__doc__), config_of=photo_config, options=ExperimentOptions)
            return experiment.run([*flags, "--search-rounds", given.search_rounds])
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
