"""Stand-ins for the device, the broker and the worker, for tests of the worker loop without Ray."""

from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.rounds import Traffic
from multinas_ray.oneshot.worker import Outbox, Underway


class Event:
    """A stand-in for a CUDA event."""

    def __init__(self, stream, position):
        self._stream, self._position = stream, position

    def query(self):
        return self._stream.num_done >= self._position

    def synchronize(self):
        self._stream.num_done = max(self._stream.num_done, self._position)


class Stream:
    """A device that does its work in order: `num_done` of its events have happened."""

    def __init__(self):
        self.num_events = self.num_done = 0

    def event(self):
        self.num_events += 1
        return Event(self, self.num_events)


class SlowOutbox(Outbox):
    """An outbox of a device on which nothing is done before somebody waits for it."""

    def __init__(self):
        super().__init__()
        self.stream = Stream()

    def add(self, work, packed, started_seconds, traffic):
        self._waiting.append(Underway(work, packed, self.stream.event(), started_seconds, traffic))


def packed_of(number):
    """A packed round: its training loss, two losses, two accuracies."""
    return torch.tensor([number + 0.5, 1.0, 2.0, 0.25, 0.75])


def rounds_of(*numbers, checkpoint=()):
    return [
        Round(number=number, train_architectures=None, architectures=None, checkpoint=number in checkpoint)
        for number in numbers
    ]


def call(function):
    return SimpleNamespace(remote=function)


def made_up_store() -> Any:
    """A store of torch within this process."""
    return dist.HashStore()  # type: ignore[attr-defined]  # exported without a word


class FakeBroker:
    """Hands out prepared work; every call is noted in one list."""

    def __init__(self, work, start=0):
        self.work, self.calls = list(work), []
        self.begin_attempt = call(lambda attempt, worker: self.note("begin", attempt, worker) or start)
        self.take = call(lambda next_round: self.note("take", next_round) or self.work.pop(0))
        self.post = call(self._post)
        self.tell = call(lambda note: self.note("tell", note))
        self.spot_notice = call(lambda notice: self.note("notice", notice))
        self.results = []

    def _post(self, attempt, results):
        self.results += results
        self.note("post", attempt, [each.round for each in results])

    def note(self, *what):
        self.calls.append(what)

    def notes(self, kind):
        return [what[1:] for what in self.calls if what[0] == kind]

    def posted(self):
        return [number for _, numbers in self.notes("post") for number in numbers]


class FakeWorker:
    """Carries rounds out by noting them beside the broker's calls."""

    def __init__(self, broker, job, rank=0, world_size=1):
        self._broker, self.job, self.rank, self.world_size = broker, job, rank, world_size
        self.supernet = "the weights"
        self.damaged_images = ()
        self.traffic = Traffic()

    def run(self, work):
        self._broker.note("run", work.number)
        self.traffic = Traffic(reduced_bytes=work.number, saved_bytes=10 * work.number)
        return packed_of(work.number)
