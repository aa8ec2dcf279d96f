"""Processes that start as workers do: where they are started, what they find, and what becomes of failures. No Ray."""

import pytest
import ray
import torch

from multinas_ray.cluster import NodeNeeds, check_ranks, ranks
from multinas_ray.cluster.ranks import Rank, ranks_on
from multinas_ray.errors import RunError


def node(number: int, cpus: float, gpus: float = 0.0, alive: bool = True) -> dict[str, object]:
    return {
        "NodeID": f"{number:056x}",
        "NodeManagerAddress": f"10.0.0.{number}",
        "Alive": alive,
        "Resources": {"CPU": cpus, "GPU": gpus},
    }


@pytest.mark.parametrize(
    ("needs", "numbers"),
    [
        (NodeNeeds(num_workers=8, use_gpu=True), [2, 2, 2, 3, 3, 3, 3]),
        (NodeNeeds(num_workers=1, use_gpu=True), [2, 3]),
        (NodeNeeds(num_workers=64, use_gpu=True), [2, 2, 2, 3, 3, 3, 3]),
        (NodeNeeds(num_workers=8), [1, 2, 3]),
        (NodeNeeds(num_workers=8, cpus_per_worker=8.0), [2, 3]),
    ],
)
def test_a_process_starts_on_every_node_with_room_and_an_even_share_of_gpus(needs, numbers) -> None:
    nodes = [node(1, 2.0), node(2, 16.0, 3.0), node(3, 16.0, 4.0), node(4, 16.0, 4.0, alive=False)]
    assert [each["NodeManagerAddress"] for each in ranks_on(nodes, needs)] == [f"10.0.0.{each}" for each in numbers]


@pytest.fixture
def first(monkeypatch) -> Rank:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    return Rank()


def test_a_process_looks_for_its_gpu_and_averages(first, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "TIMED_ELEMENTS", 8)
    found = first.look()
    assert (found.address, found.has_gpu) == ("127.0.0.1", torch.cuda.is_available())
    host, port = first.serve()
    second = Rank()
    second.join(host, port)
    assert 0 < first.average(0, 1, "gloo") < 10
    assert not torch.distributed.is_initialized()


def test_a_process_that_does_not_reach_the_first_says_so(first, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "JOIN_SECONDS", 0.2)
    _, port = first.serve()
    first._store = None  # its port is closed
    with pytest.raises(Exception, match=f"{port}|[Tt]ime"):
        Rank().join("127.0.0.1", port)


class Answers:
    """Stands for Ray: calls of fake actors are answered at once, never, or by an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, object]]) -> None:
        self.called: list[str] = []
        self.killed = 0
        self.of: dict[str, object] = {}
        """Answer of a method; of `method rank` for one process."""
        self._started = 0
        monkeypatch.setattr(ray, "nodes", lambda: nodes)
        monkeypatch.setattr(ray, "remote", lambda **asked: lambda cls: self)
        monkeypatch.setattr(ray, "wait", lambda waiting, **_: ([e for e in waiting if self._answer(e) is not None], []))
        monkeypatch.setattr(ray, "get", self._get)
        monkeypatch.setattr(ray, "kill", self._kill)

    def options(self, **asked: object) -> "Answers":
        return self

    def remote(self) -> "FakeActor":
        self._started += 1
        return FakeActor(self, self._started - 1)

    def _answer(self, call: tuple[str, int]) -> object:
        name, number = call
        return self.of[f"{name} {number}"] if f"{name} {number}" in self.of else self.of[name]

    def _get(self, call: tuple[str, int]) -> object:
        answer = self._answer(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _kill(self, actor: object) -> None:
        self.killed += 1


class FakeActor:
    def __init__(self, answers: Answers, number: int) -> None:
        self._answers, self._number = answers, number

    def __getattr__(self, name: str) -> object:
        answers, number = self._answers, self._number

        class Method:
            @staticmethod
            def remote(*given: object) -> tuple[str, int]:
                answers.called.append(name)
                return name, number

        return Method


GROUP = NodeNeeds(num_workers=3, is_group=True)


@pytest.fixture
def cluster(monkeypatch) -> Answers:
    answers = Answers(monkeypatch, [node(1, 1.0), node(2, 1.0), node(3, 1.0)])
    facts = Rank.look(Rank())
    answers.of = {"look": facts, "serve": ("10.0.0.1", 4000), "join": "joined", "average": 0.5, "average 2": 2.0}
    return answers


def test_the_rate_of_the_network_is_that_of_the_slowest(cluster) -> None:
    assert check_ranks(GROUP) == pytest.approx(2 * 2 / 3 * 4 * ranks.TIMED_ELEMENTS / 2.0)
    assert cluster.called.count("join") == 2  # the first one has the store
    assert cluster.called.count("average") == 3
    assert cluster.killed == 3


def test_workers_without_a_group_only_look(cluster) -> None:
    assert check_ranks(NodeNeeds(num_workers=3)) is None
    assert set(cluster.called) == {"look"}


@pytest.mark.parametrize(
    ("failed", "answer", "text"),
    [
        (
            "look 1",
            None,
            "a worker must start on every node with room for one, on 10.0.0.2 it did not (no answer within",
        ),
        ("join 2", None, "10.0.0.3 did not reach 10.0.0.1:4000 (no answer within 45 s)"),
        ("average 1", ray.exceptions.RayError("refused"), "it failed on 10.0.0.2 (refused)"),
    ],
)
def test_a_node_that_fails_is_named_and_every_process_is_ended(cluster, failed, answer, text) -> None:
    cluster.of[failed] = answer
    with pytest.raises(RunError) as caught:
        check_ranks(GROUP)
    assert text in str(caught.value)
    assert cluster.killed == 3
