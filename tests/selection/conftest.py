"""Searches that have come to their end, with stand-ins for the actors that evaluate candidates."""

import contextlib
import io
import shutil
from typing import ClassVar

import pytest
from rich.console import Console

from multinas_ray.oneshot import choose_and_finish, ending
from multinas_ray.selection import CandidateJob, plan_rungs
from multinas_ray.selection import selecting as select_module
from multinas_ray.selection.scores import Score
from multinas_ray.spaces import AdditiveCost
from multinas_ray.supernets import BlockSupernet, write_supernet
from tests.oneshot.recorded_search import RecordedSearch
from tests.support.small_search import small_config


class Actors:
    """Stands in for the actors: the loss falls with the size. Notes what it was asked for."""

    jobs: ClassVar[list[CandidateJob]]
    evaluated: ClassVar[list[tuple[int, list[tuple[int, ...]]]]]
    finished: ClassVar[list[list[tuple[tuple[int, ...], list[str]]]]]
    priors: ClassVar[list[list[str]]]
    cost: ClassVar[AdditiveCost]

    def __init__(self, job, cpus_per_worker):
        assert job.num_workers >= 1
        self.jobs.append(job)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def rungs(self, candidates):
        return plan_rungs(
            candidates, images=500, batch_images=64, recalibration_images=2000, few_recalibration_images=256
        )

    def evaluate(self, rung, architectures):
        self.evaluated.append((rung.number, list(architectures)))
        for start in range(0, len(architectures), 3):
            yield [self.score(rung, row) for row in architectures[start : start + 3]]

    def score(self, rung, row):
        return Score(1.0 - 0.3 * float(self.cost([row])[0]) / self.cost.maximum, 0.5, images=rung.images)

    def prior(self, names, architectures):
        self.priors.append(list(names))
        for start in range(0, len(architectures), 5):
            part = architectures[start : start + 5]
            yield [[float(self.cost([row])[0]) for row in part] for _ in names]

    def finish(self, work):
        self.finished.append([(architecture, list(folders)) for architecture, folders in work])
        return iter([0.25] * len(work))


def replace_ray(monkeypatch):
    """Put a stand-in in the place of the actors; returns its class."""

    class Fresh(Actors):
        jobs: ClassVar = []
        evaluated: ClassVar = []
        finished: ClassVar = []
        priors: ClassVar = []

    monkeypatch.setattr(select_module, "EvaluatorGroup", Fresh)
    monkeypatch.setattr(select_module, "ray_session", contextlib.nullcontext)
    monkeypatch.setattr(select_module, "check_room", lambda *room, **more: None)
    monkeypatch.setattr(select_module, "check_workers", lambda *places: None)
    monkeypatch.setattr(ending, "room_for", lambda *wanted: 1)
    return Fresh


@pytest.fixture
def actors(monkeypatch):
    return replace_ray(monkeypatch)


def quiet():
    return Console(file=io.StringIO(), width=200)


COEFFICIENTS = (0.0, 0.2, 2.0)


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """A search that has come to its end, before and after its networks were chosen."""
    folder = tmp_path_factory.mktemp("templates")
    config = small_config(folder / "searched", coefficients=COEFFICIENTS)
    session = RecordedSearch(config, 0)
    session.record._record._started_seconds -= 1000.0  # as if it had taken so long
    session.run()
    session.record.save(session.schedule.next_round)
    write_supernet(BlockSupernet(config.space, norm_batch_size=2, seed=0), config.run_path)
    shutil.copytree(folder / "searched", folder / "finished")
    with pytest.MonkeyPatch.context() as patches:
        replace_ray(patches).cost = config.cost
        choose_and_finish(small_config(folder / "finished", coefficients=COEFFICIENTS), quiet(), restarts=2)
    return folder


@pytest.fixture
def copy(templates, tmp_path, actors):
    def copy(name):
        shutil.copytree(templates / name, tmp_path / name)
        config = small_config(tmp_path / name, coefficients=COEFFICIENTS)
        actors.cost = config.cost
        return config

    return copy


@pytest.fixture
def searched(copy):
    """The configuration of a search that has come to its end; its networks are not chosen."""
    return copy("searched")


@pytest.fixture
def finished(copy):
    """The configuration of a search whose networks are chosen."""
    return copy("finished")
