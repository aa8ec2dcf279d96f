"""Notices that the cloud is about to take this node back, from the instance's metadata. Without Ray and torch.

AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html (two minutes' notice;
AWS recommends to look every 5 seconds), read in sessions (IMDSv2):
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

from multinas_ray.settings import checked

URL_VARIABLE = "MULTINAS_METADATA_URL"
"""Environment variable of a worker: the URL of the metadata, in place of `METADATA_URL`. If it is empty, the metadata
are not read."""

METADATA_URL = "http://169.254.169.254"
"""The address of both clouds' metadata, which can be reached only from the instance itself."""

POLL_SECONDS = 5.0
"""Time between two requests."""

ANSWER_SECONDS = 5.0
"""Longest wait for an answer. It comes from the machine's own host, so that only a busy node makes it late."""

AWS_NOTICE_SECONDS, GOOGLE_NOTICE_SECONDS = 120.0, 30.0
"""The time that each cloud promises, for notices that do not name a time."""

LAST_CHECKPOINT_SECONDS = 40.0
"""Besides the checkpoint at the notice, a second one is saved this long before the node is taken away, if the notice
leaves at least twice this time. [ours]: one checkpoint alone would lose all weight steps between the notice and the
end, which are nearly two minutes on AWS."""

Cloud = Callable[[str], float | None]
"""Reads the metadata at a URL; returns the seconds until the instance is taken away, None if there is no notice."""

_UNANSWERED = (OSError, HTTPException, ValueError)


@checked
@dataclass(frozen=True)
class SpotNotice:
    """A node will be taken away."""

    node: str
    """Its address."""
    seconds_left: float
    """Time between the notice and that moment; at least 0."""

    @property
    def checkpoint_delays(self) -> list[float]:
        """Seconds from the notice to each checkpoint that it calls for, ascending."""
        if self.seconds_left < 2 * LAST_CHECKPOINT_SECONDS:
            return [0.0]
        return [0.0, self.seconds_left - LAST_CHECKPOINT_SECONDS]

    def __str__(self) -> str:
        return (
            f"Spot notice: the cloud takes the node {self.node} back in {self.seconds_left:.0f} s; "
            "a checkpoint is saved now."
        )


def aws_notice(url: str) -> float | None:
    """Ask AWS for a notice. Each request has a session of its own, so that none can expire.

    Raises:
        OSError, HTTPException, ValueError: This is not AWS, or it does not answer.
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
    """Seconds until the time of `{"action": "terminate", "time": "2026-01-01T00:00:00Z"}`; any action counts."""
    notice = json.loads(answer)
    if not isinstance(notice, dict) or "action" not in notice:
        raise ValueError(f"this is not an answer of AWS: {answer[:80]!r}")
    try:
        at = datetime.strptime(str(notice.get("time")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return AWS_NOTICE_SECONDS
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())


def google_notice(url: str) -> float | None:
    """Ask Google for a notice.

    Raises:
        OSError, HTTPException, ValueError: This is not Google, or it does not answer.
    """
    answer = _ask(f"{url}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"}).strip()
    if answer not in ("TRUE", "FALSE"):
        raise ValueError(f"this is not an answer of Google: {answer[:80]!r}")
    return GOOGLE_NOTICE_SECONDS if answer == "TRUE" else None


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer for another machine
    with direct.open(request, timeout=ANSWER_SECONDS) as response:
        return str(response.read(1024).decode())


def find_cloud(url: str) -> Cloud | None:
    """The cloud whose metadata are at `url`; None if there are none, since this is a node of neither cloud."""
    for cloud in (aws_notice, google_notice):
        try:
            cloud(url)
        except _UNANSWERED:
            continue
        return cloud
    return None


class SpotWatch(threading.Thread):
    """Waits in the background for this node's notice, reports it once and ends; ends at once if there is no cloud.

    Start it for as long as the process lives, or use it as a context manager, which ends it with the context.

    Args:
        tell: called in this thread with the seconds until the node is taken away.
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
        """Ask until there is a notice or the context ends."""
        url = os.environ.get(URL_VARIABLE, METADATA_URL)
        cloud = find_cloud(url) if url else None
        if cloud is None:
            return
        while not self._is_over.is_set():
            seconds_left = self._ask(cloud, url)
            if seconds_left is not None:
                if not self._is_over.is_set():  # the context may have ended during the request
                    self._tell(seconds_left)
                return
            self._is_over.wait(POLL_SECONDS)

    @staticmethod
    def _ask(cloud: Cloud, url: str) -> float | None:
        """Ask once. No answer counts as no notice, since the question is repeated."""
        try:
            return cloud(url)
        except _UNANSWERED:
            return None
