from types import SimpleNamespace

import benchmark_searcher
import pytest


@pytest.mark.parametrize("option", [[], ["--reuse-results"]])
def test_the_benchmark_prints_times_and_sizes(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--variables", "6", "--categories", "4", "--distributions", "2", "--after", "8", "40", "--window", "20"]
    assert benchmark_searcher.main([*sizes, *option]) == 0
    said = capsys.readouterr().out
    assert "K=2 D=6 C=4" in said
    assert "record on disk" in said


def test_the_window_is_timed_after_the_evaluations_asked_for() -> None:
    calls: list[float] = []

    def one() -> float:
        calls.append(float(len(calls)))
        return calls[-1]

    timings = benchmark_searcher.measure(one, SimpleNamespace(after=[3, 10], window=2), "t")
    assert [timing.seconds.tolist() for timing in timings] == [[3.0, 4.0], [10.0, 11.0]]
