import ray

from multinas_ray.cluster import SpotNotice
from multinas_ray.oneshot.group import NoteReader
from tests.oneshot.fakes import call


class FakeBroker:
    """Has some notices; a question for one beyond them is not answered."""

    def __init__(self):
        self.notices: list[SpotNotice] = []
        self.next_note = call(lambda number: number)
        self.notes_from = call(lambda number: self.notices[number:])


def test_notices_are_read_in_turn_and_never_waited_for(monkeypatch):
    broker = FakeBroker()

    def wait(questions, timeout):
        assert timeout == 0
        is_there = questions[0] < len(broker.notices)
        return (questions, []) if is_there else ([], questions)

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(
        ray, "get", lambda asked, timeout=None: asked if isinstance(asked, list) else broker.notices[asked]
    )
    reader = NoteReader(broker)
    assert reader.read() is None
    broker.notices = [SpotNotice("10.0.0.7", 120.0), SpotNotice("10.0.0.8", 30.0)]
    assert [reader.read(), reader.read(), reader.read()] == [*broker.notices, None]
    broker.notices.append(SpotNotice("10.0.0.9", 30.0))
    assert reader.read_rest(1.0) == broker.notices[2:]
    assert reader.read_rest(1.0) == []
