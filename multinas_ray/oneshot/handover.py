"""How the work that rank 0 takes from the broker reaches the other ranks: beside the collectives of their devices.

So the broker is called once for each batch of rounds, however many workers there are. A broadcast through NCCL would
make the host wait for the device; a store of torch, which every process group begins with too, does not.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import timedelta
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from multinas_ray.oneshot.messages import Ending, Round

LONGEST_WAIT = timedelta(days=365)
"""Longest wait of a rank for work. A driver may pause for long, and the end of rank 0 ends the wait at once."""

_open_stores: list[Any] = []
"""Stores live as long as their process, since other ranks may read from them after rank 0 has returned."""


class Handover:
    """Hands work from rank 0 to the other ranks, in the order of its rounds.

    Args:
        store: where it lies until all ranks have read it; None: there are no others.
    """

    def __init__(self, store: Any = None) -> None:
        self._store = store
        self._lying: deque[int] = deque()

    def give(self, next_round: int, work: list[Round] | Ending) -> None:
        """On rank 0: hand out what follows the rounds before `next_round`."""
        if self._store is not None:
            self._store.set(str(next_round), _as_text(work))
            self._lying.append(next_round)

    def receive(self, next_round: int) -> list[Round] | Ending:
        """On the others: wait for what follows the rounds before `next_round`."""
        assert self._store is not None
        return _from_text(self._store.get(str(next_round)).decode())

    def forget_before(self, done_round: int) -> None:
        """On rank 0: drop what began at or before a round that is done, which all ranks have read."""
        while self._store is not None and self._lying and self._lying[0] <= done_round:
            self._store.delete_key(str(self._lying.popleft()))


def open_store(host: str) -> Any:
    """On rank 0: start a TCPStore of torch at an address by which the other ranks reach this node."""
    return _connected(host, 0, is_server=True)


def join_store(host: str, port: int) -> Any:
    """On the other ranks: reach the store of rank 0."""
    return _connected(host, port, is_server=False)


def _connected(host: str, port: int, *, is_server: bool) -> Any:
    store = dist.TCPStore(host, port, is_master=is_server, wait_for_workers=False)  # type: ignore[attr-defined]  # exported without a word
    store.set_timeout(LONGEST_WAIT)
    _open_stores.append(store)
    return store


def _as_text(work: list[Round] | Ending) -> str:
    if isinstance(work, Ending):
        return json.dumps({"ending": vars(work)})
    return json.dumps({"rounds": [vars(each) for each in work]}, default=np.ndarray.tolist)


def _from_text(text: str) -> list[Round] | Ending:
    told = json.loads(text)
    if "ending" in told:
        return Ending(**told["ending"])
    return [
        Round(
            number=each["number"],
            train_architectures=_rows(each["train_architectures"]),
            architectures=_rows(each["architectures"]),
            checkpoint=each["checkpoint"],
        )
        for each in told["rounds"]
    ]


def _rows(values: list[list[int]] | None) -> NDArray[np.int64] | None:
    return None if values is None else np.array(values, np.int64)
