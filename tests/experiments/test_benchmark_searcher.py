from pathlib import Path

import pytest

from experiments import benchmark_searcher
from experiments.benchmark_searcher import SearcherOptions


def test_the_benchmark_prints_times_and_sizes_of_each_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_searcher, "measure_apart", benchmark_searcher.measure_search)
    monkeypatch.setenv("COLUMNS", "160")
    sizes = ["--variables", "6", "--categories", "4", "--distributions", "2", "--after", "0", "40", "--window", "20"]
    assert benchmark_searcher.main(sizes) == 0
    said = capsys.readouterr().out
    assert "K=2 D=6 C=4" in said
    for name in benchmark_searcher.SEARCHES:
        rows = [line.split("│") for line in said.splitlines() if f" {name} " in line]
        assert [row[2].strip() for row in rows] == ["0", "40"]
        assert all(float(row[7]) >= 0.0 for row in rows)  # the record; blank for the optimiser alone


def test_the_window_is_timed_after_the_evaluations_asked_for(tmp_path: Path) -> None:
    calls: list[float] = []

    def one() -> float:
        calls.append(float(len(calls)))
        return calls[-1]

    timings = benchmark_searcher.measure(one, SearcherOptions(after=(3, 10), window=2), "t", tmp_path)
    assert [timing.seconds.tolist() for timing in timings] == [[3.0, 4.0], [10.0, 11.0]]
    (tmp_path / "row").write_bytes(bytes(7))
    assert benchmark_searcher.measure(one, SearcherOptions(after=(0,), window=1), "t", tmp_path)[0].record_bytes == 7
