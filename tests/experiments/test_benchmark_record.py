import pytest

from experiments import benchmark_record


def test_the_benchmark_prints_the_cost_of_a_round_and_of_reading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_record, "apart", lambda function, *arguments: function(*arguments))
    monkeypatch.delitem(benchmark_record.READERS, "report")
    assert benchmark_record.main(["--after", "0", "3", "--window", "2", "--evaluations", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [line.split("│")[1:-1] for line in lines if "│" in line]
    assert any(line.startswith("An append of 16 rows to a table: ") for line in lines)
    assert [row[0].strip() for row in cells] == ["0", "3", "load_run", "candidates of a choice", "resume"]
    assert all(float(cell) > 0.0 for row in cells[:2] for cell in row[1:])
    assert all(float(cell) >= 0.0 for row in cells[2:] for cell in row[1:])  # seconds with one place
    assert all(float(row[3]) > 0.0 for row in cells[2:])
