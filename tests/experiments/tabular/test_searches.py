import dataclasses
from pathlib import Path

import moocore
import numpy as np
import pandas as pd
import pytest

from experiments.parts import tables
from experiments.parts.tables import Table
from experiments.tabular import __main__ as tabular
from experiments.tabular import methods, plots, report, searching, versions, working
from experiments.tabular import options as options_module
from experiments.tabular.measures import NUM_ANSWERS, Measures, Trace
from experiments.tabular.runs import Task, frame_of, run_searcher, run_task
from multinas_ray import MultiDistributionOptimizer
from multinas_ray.commands.flags import read_settings
from multinas_ray.core import default_coefficients


class Scripted:
    """Asks for given rounds of rows, and says modes that change with each tell."""

    def __init__(self, table: Table, rounds: list[list[int]]) -> None:
        self._table, self._rounds, self._told = table, iter(rounds), 0
        self.losses: list[float] = []

    def ask(self) -> np.ndarray:
        return self._table.architectures[next(self._rounds, [])]

    def tell(self, losses: np.ndarray, complexities: np.ndarray) -> None:
        self.losses += losses.tolist()
        self._told += 1

    def modes(self) -> np.ndarray:
        return self._table.architectures[[self._told]]

    def coefficients(self) -> np.ndarray:
        return np.array([0.5])


def test_only_distinct_architectures_count_and_repeats_are_answered(table: Table) -> None:
    searcher = Scripted(table, [[7, 3, 7], [3, 7], [5, 3], []])
    trace = run_searcher(searcher, table, evaluations=50, max_asked=100)
    assert trace.rows_E.tolist() == [7, 3, 5]
    assert trace.num_asked == 7
    assert searcher.losses == table.losses[[7, 3, 7, 3, 7, 5, 3]].tolist()
    # after the first evaluation the distributions have learned nothing; a round of repeats teaches for free
    assert trace.modes_EK is not None
    assert trace.modes_EK.tolist() == [[0], [2], [3]]


def test_a_search_ends_at_its_budget_or_when_it_asked_for_too_much(table: Table) -> None:
    assert run_searcher(Scripted(table, [[1, 2, 3], [4, 5]]), table, 4, 100).rows_E.tolist() == [1, 2, 3, 4]
    assert run_searcher(Scripted(table, [[1], [1], [1], [2]]), table, 4, 3).rows_E.tolist() == [1]


@pytest.mark.parametrize("name", [name for name in methods.METHODS if name not in ("multinas-screened", "optuna-gp")])
def test_every_method_searches_the_space_within_its_budget_and_again_alike(table: Table, name: str) -> None:
    method = methods.METHODS[name]
    first, again, other = (run_searcher(method.start(table, seed), table, 30, 120) for seed in (1, 1, 2))
    assert 10 <= len(first.rows_E) <= 30
    assert len(set(first.rows_E.tolist())) == len(first.rows_E)
    np.testing.assert_array_equal(first.rows_E, again.rows_E)
    assert first.rows_E.tolist() != other.rows_E.tolist()
    assert (first.modes_EK is not None) == (first.coefficients_K is not None) == name.startswith(("multinas", "sep"))


def test_screened_method_searches_without_repeats(table: Table) -> None:
    trace = run_searcher(methods.METHODS["multinas-screened"].start(table, 1), table, 24, 24)
    assert len(trace.rows_E) == trace.num_asked == 24


def test_a_gaussian_process_takes_over_after_ten_random_trials(table: Table) -> None:
    trace = run_searcher(methods.METHODS["optuna-gp"].start(table, 1), table, 12, 14)
    assert 10 < len(trace.rows_E) <= 12


def test_gsemo_changes_one_variable_of_a_member_on_average() -> None:
    """2,000 draws from a front of one member; a variable of 4 values changes with probability 1 / 6 * 3 / 4."""
    all_of_them = np.stack(np.unravel_index(np.arange(4**6), (4,) * 6), axis=1)
    table = Table("flat", "E", (4,) * 6, all_of_them, np.ones(4**6), np.ones(4**6))
    searcher = methods.GSEMO(table, 0)
    parent = searcher.ask()
    searcher.tell(np.zeros(1), np.zeros(1))
    changed = []
    for _ in range(2000):
        changed.append(searcher.ask()[0] != parent[0])
        searcher.tell(np.ones(1), np.ones(1))  # it is beaten by the first
    assert np.mean(changed) == pytest.approx(1 / 8, abs=4 * np.sqrt(1 / 8 * 7 / 8 / 12_000))


def test_gsemo_keeps_the_front(table: Table) -> None:
    searcher = methods.GSEMO(table, 0)
    points: list[tuple[float, float]] = []
    for _ in range(200):
        row = table.rows(searcher.ask())
        points.append((float(table.losses[row][0]), float(table.complexities[row][0])))
        searcher.tell(table.losses[row], table.complexities[row])
    front = {points[i] for i in np.flatnonzero(moocore.is_nondominated(np.array(points)))}
    assert {(loss, cost) for _, loss, cost in searcher._front} == front


def test_random_search_sees_every_architecture_once(table: Table) -> None:
    trace = run_searcher(methods.METHODS["random"].start(table, 0), table, 10_000, 10_000)
    assert sorted(trace.rows_E.tolist()) == list(range(len(table)))
    assert trace.num_asked == len(table)


@pytest.mark.parametrize(
    ("name", "num_rounds"), [("multinas", 40), ("separate-asng", 40), ("pymoo-nsga2", 5), ("gsemo", 200)]
)
def test_methods_learn_from_the_loss(name: str, num_rounds: int) -> None:
    """A loss that only the first variable decides: late rounds hold far more of its best value than a third."""
    architectures = np.stack(np.unravel_index(np.arange(3**6), (3,) * 6), axis=1)
    errors = np.where(architectures[:, 0] == 2, 1.0, 40.0)
    easy = Table("easy", "E", (3,) * 6, architectures, errors, np.ones(len(errors)))
    searcher, late = methods.METHODS[name].start(easy, 0), np.zeros(0)
    for _ in range(num_rounds):
        rows = easy.rows(searcher.ask())
        searcher.tell(easy.losses[rows], easy.complexities[rows])
        late = np.append(late, easy.architectures[rows, 0] == 2)[-40:]
    assert late.mean() > 0.6


def test_separate_runs_are_one_optimiser_for_each_coefficient(table: Table) -> None:
    optimizers = [
        MultiDistributionOptimizer(num_categories=table.num_categories, num_distributions=1, seed=k)
        for k in range(NUM_ANSWERS)
    ]
    searcher = methods.Distributions(optimizers)
    rows = table.rows(searcher.ask())
    assert len(rows) == 2 * NUM_ANSWERS
    searcher.tell(table.losses[rows], table.complexities[rows])
    wanted = default_coefficients(table.losses[rows], table.complexities[rows], NUM_ANSWERS)
    np.testing.assert_array_equal(searcher.coefficients(), wanted)
    given = [optimizer.diagnostics()["coefficient"][0] for optimizer in optimizers]
    assert given == list(wanted)
    assert searcher.modes().shape == (NUM_ANSWERS, len(table.num_categories))


@pytest.fixture
def small_world(table: Table, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setitem(tables.SOURCES, "tiny", dataclasses.replace(tables.SOURCES["macro"], title="tiny"))
    for module in (working, searching):
        monkeypatch.setattr(module, "table_of", lambda name, data: table)
    return table


def run_main(out: Path, *more: str) -> int:
    fixed = ["--jobs", "1", "--data", str(out), "--evaluations", "40", "--seeds", "2", "--out", str(out)]
    return tabular.main([*fixed, "--tables", "macro", *more])


def test_the_command_writes_rows_summary_and_picture_and_reads_what_is_there(
    small_world: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--methods", "multinas", "separate-asng", "random"]
    assert run_main(tmp_path, *chosen) == 0
    rows = pd.read_parquet(tmp_path / "evaluations.parquet")
    assert set(rows["method"]) == {"multinas", "separate-asng", "random"}
    assert rows.groupby(["method", "seed"])["evaluation"].max().max() == 40
    for name in ("comparison.png", "answers.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    summary = pd.read_parquet(tmp_path / "summary.parquet")
    assert set(summary["seeds"]) == {2}
    assert "99 %" in capsys.readouterr().out

    def refuse(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(searching, "run_task", refuse)
    assert run_main(tmp_path, *chosen) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "evaluations.parquet"), rows)


def test_rows_of_other_settings_or_damaged_ones_are_made_again(table: Table, tmp_path: Path) -> None:
    task = Task("tiny", "random", 3, 12)
    run_task(task, table, tmp_path)
    frame = task.load(table, tmp_path)
    assert frame is not None
    assert len(frame) == 12
    assert dataclasses.replace(task, evaluations=13).load(table, tmp_path) is None
    path = task.path(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    assert task.load(table, tmp_path) is None


@pytest.mark.parametrize("changed", ["core/asng.py", "core/screened/surrogate.py"])
def test_rows_made_by_other_code_are_made_again(
    changed: str, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task("tiny", "multinas", 3, 12)
    before = task.settings(table)
    run_task(task, table, tmp_path)
    versions.code_key.cache_clear()
    assert task.load(table, tmp_path) is not None
    assert dataclasses.replace(task, method="separate-asng").settings(table) != before
    assert dataclasses.replace(task, through_tune=True).settings(table) != before
    meaning = versions._meaning
    monkeypatch.setattr(versions, "_meaning", lambda file: meaning(file) + "changed" * file.match(changed))
    random_before = dataclasses.replace(task, method="random").settings(table)
    versions.code_key.cache_clear()
    assert task.load(table, tmp_path) is None
    assert dataclasses.replace(task, method="random").settings(table) == random_before  # it uses none of it
    versions.code_key.cache_clear()


def test_comments_docstrings_and_layout_are_not_the_code(tmp_path: Path) -> None:
    file, meanings = tmp_path / "a.py", []
    for text in ["def f(x):\n    return x + 1\n", '"""T."""\ndef f(x):  # c\n    """D."""\n    return (x\n  + 1)\n']:
        file.write_text(text)
        meanings.append(versions._meaning(file))
    file.write_text("def f(x):\n    return x + 2\n")
    assert meanings[0] == meanings[1] != versions._meaning(file)


def test_flags_override_the_file_of_a_quick_comparison(small_world: Table, tmp_path: Path) -> None:
    quick = str(Path(tabular.__file__).with_name("quick.yaml"))
    options = read_settings(tabular.TABULAR.parser().parse_args(["--config", quick]), options_module.TabularOptions)
    assert options.methods == tuple(name for name in methods.METHODS if name not in ("optuna-tpe", "optuna-gp"))
    assert (options.seeds, options.evaluations) == (3, 400)
    assert run_main(tmp_path, "--config", quick, "--methods", "random") == 0
    rows = pd.read_parquet(tmp_path / "evaluations.parquet")
    assert set(rows["method"]) == {"random"}
    assert (rows["evaluation"].max(), rows["seed"].nunique()) == (40, 2)


@pytest.mark.parametrize("more", [["--seeds", "0"], ["--evaluations", "-1"], ["--jobs", "0"]])
def test_bad_numbers_are_one_line_errors(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tabular.main(["--data", str(tmp_path), *more]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: TabularOptions: {more[0][2:]} must be at least 1")
    assert said.endswith(f", got {more[1]}\n")
    assert said.count("\n") == 1


def test_missing_data_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tabular.main(["--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "MULTINAS_DATA" in capsys.readouterr().err
    monkeypatch.delenv("MULTINAS_DATA", raising=False)
    assert tabular.main([]) == 2
    assert "--data DIR" in capsys.readouterr().err


def searches_of(table: Table, shares: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Rows with these archive shares, a list per seed; the modes' shares are the same."""
    frames = []
    for method, seeds in shares.items():
        for seed, values in enumerate(seeds):
            trace = Trace(np.arange(len(values)), None, None, len(values))
            frame = frame_of(Task(table.name, method, seed, len(values)), trace, Measures(table))
            frames.append(frame.assign(archive_share=values, modes_share=values, chosen_share=values))
    return pd.concat(frames, ignore_index=True)


def test_summary_has_medians_over_seeds_and_evaluations_against_the_separate_runs(table: Table) -> None:
    rows = searches_of(
        table,
        {
            "multinas": [[0.5, 0.795, 0.995, 0.995], [0.5, 0.995, 1.0, 1.0], [0.1, 0.2, 0.3, 0.4]],
            "separate-asng": [[0.1, 0.2, 0.3, 0.8]] * 3,
        },
    )
    summary = report.summarise(rows, [table]).set_index(["method", "measure"])
    reached = [summary.loc[("multinas", "evaluations_to_99"), name] for name in ("low", "median", "high")]
    assert reached == [2.0, 3.0, np.inf]
    # 99 % of 0.8 is reached after 2, 2 and never; by the separate runs after 4
    assert summary.loc[("multinas", "modes_evaluations"), "median"] == 2.0
    assert summary.loc[("separate-asng", "modes_evaluations"), "median"] == 4.0


def test_answers_are_drawn_against_what_the_separate_runs_end_at(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {"multinas": [[0.2, 0.4, 0.4, 0.4], [0.1, 0.1, 0.4, 0.6]], "separate-asng": [[0.1, 0.2, 0.3, 0.4]] * 2}
    drawn: dict[str, np.ndarray] = {}
    draw = plots._draw_method
    monkeypatch.setattr(
        plots,
        "_draw_method",
        lambda axes, method, values: (drawn.update({method: values}), draw(axes, method, values))[1],
    )
    rows = searches_of(table, {**shares, "random": [[1.0, 1.0, 1.0, 1.0]]})
    assert plots.plot_answers(rows, [table], tmp_path / "answers.png")
    assert set(drawn) == {"multinas", "separate-asng"}
    np.testing.assert_allclose(drawn["multinas"], np.array(shares["multinas"]) / 0.4 * 100)
    assert plots._median_first(np.array(shares["multinas"]) / 0.4) == 2.0
    assert not plots.plot_answers(rows[rows["method"] == "multinas"], [table], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.cluster
def test_the_same_methods_run_through_ray_tune(table: Table, tmp_path: Path) -> None:
    tune_runs = pytest.importorskip("experiments.tabular.tune_runs")
    assert set(options_module.TUNE_METHODS) == set(tune_runs.SEARCHES)
    with tune_runs.local_ray():
        for method in ("multinas-screened", "optuna-nsga2"):
            task = Task("tiny", method, 1, 12)
            tune_runs.run_tune_task(task, table, tmp_path)
            rows = task.load(table, tmp_path)
            assert rows is not None
            assert rows["asked"].iloc[0] == 12
            np.testing.assert_allclose(rows["error"], table.points[rows["architecture"], 0])
            assert rows["architecture"].is_unique
            assert rows["modes_share"].isna().all()
