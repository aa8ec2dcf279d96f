"""The tiny search on three nodes of one machine, one of which is killed in the middle. A script: Ray is its own.

The head has no place for workers, the two others have one each and a loopback address of their own.
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

os.environ |= {
    "RAY_TMPDIR": tempfile.mkdtemp(prefix="nodes-", dir="/tmp"),  # ray.init() of others must not find this cluster
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",  # of 60: how long a group waits for a lost worker's place
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_health_check_timeout_ms": "60000",  # of 10000: on a busy machine a node that is slow is not dead
}

import ray
from ray.cluster_utils import Cluster

from multinas_ray.results import load_run
from multinas_ray.search.cli import run_experiment
from tests.search.tiny_search import parser, tiny_config

BEFORE_FILE = "before.parquet"
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Killer(threading.Thread):
    """Kills a node after some evaluations, and maybe brings another in its place."""

    def __init__(self, cluster: Cluster, run_path: Path, *, replace: bool) -> None:
        super().__init__(daemon=True)
        self._cluster, self._run_path, self._replace = cluster, run_path, replace
        self.node = cluster.add_node(num_cpus=1, node_ip_address=ADDRESSES[1])

    def run(self) -> None:
        self._wait_for(18)
        self._cluster.remove_node(self.node, allow_graceful=False)
        load_run(self._run_path).evaluations.to_parquet(self._run_path.parent / BEFORE_FILE)
        if self._replace:
            time.sleep(2)
            self._cluster.add_node(num_cpus=1, node_ip_address=ADDRESSES[2])

    def _wait_for(self, number: int) -> None:
        while not (self._run_path / "config.json").exists() or len(load_run(self._run_path).evaluations) < number:
            time.sleep(0.1)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("storage", type=Path)
    arguments.add_argument("--num-workers", default="1:2")
    arguments.add_argument("--replace", action="store_true")
    given = arguments.parse_args()
    head = {"num_cpus": 0, "include_dashboard": False}
    # Hooks for the exit could be set by the main thread only.
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        cluster.add_node(num_cpus=1, node_ip_address=ADDRESSES[0])
        killer = Killer(cluster, given.storage / "tiny", replace=given.replace)
        # On the head, as after `ray submit`: a driver joins any node of its machine otherwise.
        ray.init(address=cluster.address, _node_ip_address=cluster.head_node.node_ip_address, log_to_driver=False)
        killer.start()
        flags = ["--storage", str(given.storage), "--search-rounds", "40", "--num-workers", given.num_workers]
        return run_experiment(parser(), tiny_config, flags)
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
