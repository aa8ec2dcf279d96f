"""How files of tests are shared by processes."""

from pathlib import Path
from types import SimpleNamespace

from tests.support.sharing import FromBothEnds, longest_first


class Process:
    """Stands in for a process of xdist; notes the tests that it is given."""

    shutting_down = False
    gateway = SimpleNamespace(id="a process")

    def __init__(self):
        self.given = []

    def send_runtest_some(self, numbers):
        self.given += numbers

    def shutdown(self):
        self.shutting_down = True


def test_two_processes_begin_with_the_long_files_and_the_others_with_the_quick_ones():
    log = SimpleNamespace(loadscopesched=None, loadfilesched=lambda *text: None)
    option = SimpleNamespace(loadscopereorder=False)
    config = SimpleNamespace(option=option, getvalue=lambda name: {"tx": ["4*popen"]}[name])
    tests = [f"{file}.py::test_{number}" for file in "abcdefg" for number in range(4)]
    scheduler, processes = FromBothEnds(config, log), [Process() for _ in range(4)]
    for each in processes:
        scheduler.add_node(each)
        scheduler.add_node_collection(each, tests)
    scheduler.schedule()
    files = ["".join(tests[number][0] for number in each.given) for each in processes]
    assert files == ["aaaa", "bbbb", "gggg", "ffff"]
    for number in processes[2].given[:2]:
        scheduler.mark_test_complete(processes[2], number)
    for number in processes[0].given[:2]:
        scheduler.mark_test_complete(processes[0], number)
    assert [tests[each.given[-1]][0] for each in processes] == ["c", "b", "e", "f"]


def test_files_with_a_ray_come_first_and_stay_whole():
    def item(file, *marks, timeout=None):
        marked: dict[str, object] = dict.fromkeys(marks, True)
        if timeout is not None:
            marked["timeout"] = SimpleNamespace(args=(timeout,))
        return SimpleNamespace(path=Path(file), get_closest_marker=marked.get)

    items = [item("a"), item("b"), item("b", "slow"), item("c"), item("c", "cluster"), item("d", "slow")]
    items += [item("e", "slow", timeout=60), item("f", "cluster", timeout=500), item("f")]
    items += [item("g", "cluster", timeout=600)]
    assert "".join(each.path.name for each in longest_first(items)) == "gffccebbda"
