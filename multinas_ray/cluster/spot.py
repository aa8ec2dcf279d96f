"""Notices of the cloud that it takes this node back, from the instance's own metadata. No Ray, no torch.

AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html (two minutes' notice; to
be looked for every 5 seconds), read by sessions (IMDSv2):
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html.
Google: https://cloud.google.com/compute/docs/instances/create-use-spot (half a minute's notice).
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from http.client import HTTPException

URL_VARIABLE = "MULTINAS_METADATA_URL"
"""Environment variable of a worker: where the metadata is, in place of `METADATA_URL`; empty: nobody asks."""

METADATA_URL = "http://169.254.169.254"
"""The address of both clouds' metadata, reached from the instance itself only."""

POLL_SECONDS = 5.0
"""Time between two questions."""

ANSWER_SECONDS = 5.0
"""Longest wait for an answer. It comes from the machine's own host; late, on a busy node, is this process."""

AWS_NOTICE_SECONDS, GOOGLE_NOTICE_SECONDS = 120.0, 30.0
"""What the clouds promise, where the notice itself names no time."""

LAST_CHECKPOINT_SECONDS = 40.0
"""How long before a node goes a second checkpoint follows the one at its notice, where the notice leaves twice this
time. [ours]: one checkpoint alone would lose all weight steps between notice and end, nearly two minutes on AWS."""

Cloud = Callable[[str], float | None]
"""Asks the metadata at a URL for the seconds until the instance goes; None: there is no notice."""

_UNANSWERED = (OSError, HTTPException, ValueError)


@dataclass(frozen=True)
class SpotNotice:
    """A node will be taken away."""

    node: str
    """Its address."""
    seconds_left: float
    """Time until then, at the notice; 0 or more."""

    @property
    def checkpoint_delays(self) -> list[float]:
        """Seconds from the notice to each checkpoint that it asks for, ascending."""
        if self.seconds_left < 2 * LAST_CHECKPOINT_SECONDS:
            return [0.0]
        return [0.0, self.seconds_left - LAST_CHECKPOINT_SECONDS]

    def __str__(self) -> str:
        return (
            f"Spot notice: the cloud takes the node {self.node} back in {self.seconds_left:.0f} s; "
            "a checkpoint is saved now."
        )


def aws_notice(url: str) -> float | None:
    """Ask AWS. Each question has a session of its own, so none can expire.

    Raises:
        OSError, HTTPException, ValueError: this is not AWS, or it does not answer.
    """
    token = _ask(f"{url}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
    try:
        answer = _ask(f"{url}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    return _seconds_until(answer)


def _seconds_until(answer: str) -> float:
    """Seconds until the time of `{"action": "terminate", "time": "2026-01-01T00:00:00Z"}`; any action ends the work."""
    notice = json.loads(answer)
    if not isinstance(notice, dict) or "action" not in notice:
        raise ValueError(f"not an answer of AWS's: {answer[:80]!r}")
    try:
        at = datetime.strptime(str(notice.get("time")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return AWS_NOTICE_SECONDS
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())


def google_notice(url: str) -> float | None:
    """Ask Google.

    Raises:
        OSError, HTTPException, ValueError: this is not Google, or it does not answer.
    """
    answer = _ask(f"{url}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"}).strip()
    if answer not in ("TRUE", "FALSE"):
        raise ValueError(f"not an answer of Google's: {answer[:80]!r}")
    return GOOGLE_NOTICE_SECONDS if answer == "TRUE" else None


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer for another machine
    with direct.open(request, timeout=ANSWER_SECONDS) as response:
        return str(response.read(1024).decode())


def find_cloud(url: str) -> Cloud | None:
    """Whose metadata is at `url`; None where nobody's is: then this is no node of these clouds."""
    for cloud in (aws_notice, google_notice):
        try:
            cloud(url)
        except _UNANSWERED:
            continue
        return cloud
    return None


class SpotWatch(threading.Thread):
    """Looks for this node's notice in the background, tells it once and ends; ends at once where there is no cloud.

    Start it for as long as the process lives, or use it as a context manager: it then looks within the context only.

    Args:
        tell: called in this thread with the seconds until the node goes.
    """

    def __init__(self, tell: Callable[[float], object]) -> None:
        super().__init__(name="spot-watch", daemon=True)
        self._tell = tell
        self._is_over = threading.Event()

    def __enter__(self) -> SpotWatch:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()

    def run(self) -> None:
        """Ask until there is a notice, or the context is left."""
        url = os.environ.get(URL_VARIABLE, METADATA_URL)
        cloud = find_cloud(url) if url else None
        if cloud is None:
            return
        while not self._is_over.is_set():
            seconds_left = self._ask(cloud, url)
            if seconds_left is not None:
                if not self._is_over.is_set():  # it may have been left while the answer was awaited
                    self._tell(seconds_left)
                return
            self._is_over.wait(POLL_SECONDS)

    @staticmethod
    def _ask(cloud: Cloud, url: str) -> float | None:
        """One question; one that is not answered is asked again later."""
        try:
            return cloud(url)
        except _UNANSWERED:
            return None
