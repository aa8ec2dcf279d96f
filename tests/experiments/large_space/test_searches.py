"""The record of evaluations, the methods and the report of the large space, on a small one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from experiments.compare.evolution import evolve
from experiments.large_space import pieces as pieces_module
from experiments.large_space.__main__ import main
from experiments.large_space.made_up import MadeUpLosses
from experiments.large_space.methods import DEFAULTS, METHODS, SLICE, drawn_in_slice, first_by_prior
from experiments.large_space.pieces import Piece, carry_out, pieces_of
from experiments.large_space.problem import Problem, targets_of
from experiments.large_space.record import BudgetSpentError, Record, best_so_far, interleaved
from experiments.large_space.report import REFERENCES, collect, look_of, median_interval
from multinas_ray.spaces import nas_bench_macro_space


@pytest.fixture(scope="module")
def problem():
    space = nas_bench_macro_space(width_multiplier=0.25)
    losses = MadeUpLosses(space, 0)
    return Problem(space, losses, losses.best_within(space.costs["flops"], space.equivalence, targets_of(space)))


def test_equal_networks_count_once_and_the_budget_is_hard(problem):
    record = Record(problem, 3)
    first, same, other = [0, 0, 1, 2, 2, 1, 0, 2], [0, 0, 1, 2, 2, 1, 2, 0], [1] * 8
    losses = record.losses(np.array([first, same, other, first]))
    assert losses[0] == losses[1] == losses[3] != losses[2]
    assert (len(record), record.left) == (2, 1)
    with pytest.raises(BudgetSpentError):
        record.losses(np.array([[2] * 8, [0] * 8]))
    assert len(record) == 3
    assert record.architectures[-1].tolist() == [2] * 8
    np.testing.assert_array_equal(record.losses(np.array([first])), losses[:1])  # known ones stay free


def test_records_are_interleaved_by_turns(problem):
    rows = [np.array([[0] * 8, [1] * 8]), np.array([[2] * 8, [0] * 8, [2] * 7 + [1]])]
    records = [Record(problem, 4), Record(problem, 4)]
    for record, each in zip(records, rows, strict=True):
        record.losses(each)
    merged = interleaved(records, problem).architectures
    assert merged[:, 7].tolist() == [0, 2, 1, 1]
    assert merged[:, 0].tolist() == [0, 2, 1, 2]


def test_the_best_so_far_keeps_the_targets(problem):
    record = Record(problem, 50)
    record.losses(problem.space.search_space.random(40, np.random.default_rng(0)))
    best = best_so_far(record, problem)
    flops, losses = problem.cost(record.architectures), record.loss_E
    for row in (0, 10, len(record) - 1):
        within = [losses[: row + 1][flops[: row + 1] <= target] for target in problem.targets]
        assert best[row].tolist() == [each.min() if len(each) else np.inf for each in within]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_spends_its_budget_alone_and_the_same_for_one_seed(problem, name):
    record, again = (METHODS[name].search(problem, 80, 5) for _ in range(2))
    assert 70 <= len(record) <= 80
    np.testing.assert_array_equal(record.architectures, again.architectures)
    np.testing.assert_array_equal(record.architectures, problem.equivalence.canonical(record.architectures))


def test_with_a_prior_the_best_of_ten_times_as_many_come_first(problem):
    target, (depth,) = problem.targets[2], problem.prior_parts
    rows = first_by_prior(problem, target, 12, np.random.default_rng(0))
    drawn = drawn_in_slice(problem, target, 120, np.random.default_rng(0))
    flops = problem.cost(drawn)
    assert len(drawn) == 120
    assert ((flops <= target) & (flops > SLICE * target)).all()
    np.testing.assert_array_equal(depth(rows), np.sort(depth(drawn))[::-1][:12])
    assert {tuple(row) for row in rows.tolist()} <= {tuple(row) for row in drawn.tolist()}


def test_the_prior_decides_what_every_method_proposes_first(problem):
    """The first 40 networks, of all targets, are deeper than those of the same method without it."""
    (depth,) = problem.prior_parts
    for name in ("random", "evolution", "evolution-small", "ours-reuse", "ours"):
        with_it, without = (
            np.mean([depth(METHODS[each].search(problem, 40, seed).architectures).mean() for seed in range(4)])
            for each in (f"{name}-prior", name)
        )
        assert with_it > without + 0.1, name


def test_the_first_generation_of_evolution_may_be_given(problem):
    first = problem.equivalence.canonical(problem.space.search_space.random(6, np.random.default_rng(0)))
    asked = []

    def losses_of(rows):
        asked.append(rows)
        return problem.losses_of(rows)

    rng = np.random.default_rng(0)
    evolve(losses_of, lambda rows: rows[:, 0] >= 0, (3,) * 8, 10, rng, population=4, num_parents=2, first_ND=first)
    np.testing.assert_array_equal(asked[0], first)
    assert len(asked[1]) == 4


def test_every_default_method_has_a_twin_with_the_prior():
    plain = [name for name in DEFAULTS if not name.endswith("-prior")]
    assert sorted(DEFAULTS) == sorted([*plain, *(f"{name}-prior" for name in plain)])
    assert set(REFERENCES) <= set(DEFAULTS)


def test_median_intervals():
    values = np.random.default_rng(0).normal(3.0, 1.0, 400)
    middle, low, high = median_interval(values)
    assert middle == np.median(values)
    assert low < 3.0 < high
    assert high - low < 0.5
    assert np.isnan(median_interval(values[:1])[1:]).all()


def test_pieces_are_done_once_and_reported(problem, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pieces_module, "BUDGETS", (20, 40, 80))
    for module in ("report", "pieces"):
        monkeypatch.setattr(f"experiments.large_space.{module}.BUDGETS", (20, 40, 80))
    monkeypatch.setitem(pieces_module.PROBLEMS, "made-up", lambda seed, out: problem)
    methods, told = ["random", "evolution", "ours"], []
    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            carry_out(pieces_of("made-up", methods, [0, 1]), tmp_path, pool, lambda *each: told.append(each))
    assert [count for count, _ in told] == [0, 1, 2, 3, 4, 5, 6, 6]
    rows = collect("made-up", methods, [0, 1, 2], tmp_path)  # seed 2 is not done
    assert sorted(set(rows["seed"])) == [0, 1]
    last = rows[rows["evaluations"] == 80]
    assert (last["above"] >= -0.5).all()
    kept = Piece("made-up", "ours", 1).rows(tmp_path)
    assert kept is not None
    expected = 100 * (kept["loss"] / kept["best"] - 1)[kept["evaluations"] == 80].mean()
    assert last[(last["method"] == "ours") & (last["seed"] == 1)]["above"].item() == pytest.approx(expected)
    arguments = ["--seeds", "2", "--out", str(tmp_path), "--report-only", "--methods", *methods]
    assert main(arguments) == 0
    assert "Random" in capsys.readouterr().out
    text = (tmp_path / "made-up" / "large_space.md").read_text()
    assert "| Random in the slices | 2 |" in text
    assert "| after 20 | after 40 | after 80 |" in text
    assert "40 against 80" in text
    assert (tmp_path / "made-up" / "large_space.png").stat().st_size > 10_000


def test_no_two_methods_look_alike_in_the_picture() -> None:
    assert len({look_of(method) for method in METHODS}) == len(METHODS)
