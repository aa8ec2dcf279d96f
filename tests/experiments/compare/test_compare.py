import os
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.compare import __main__ as compare
from experiments.compare.evolution import evolve, random_within
from experiments.compare.images import write_images
from experiments.compare.methods import evaluations_per_target, expected_budget, methods_of, search_fixed
from experiments.compare.pieces import Piece, carry_out, load_piece, pieces_of, run_piece
from experiments.compare.report import Judge, collect, draw, markdown, summarise
from experiments.compare.settings import Budget, Settings, config_of, images_folder
from experiments.compare.truth import SOURCE, best_front, best_within, load_truth, matched_within
from experiments.parts.rows import save_rows
from experiments.parts.tables import Table
from multinas_ray.data import ImageSet
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.supernets import Supernet, write_supernet
from tests.support.narrow import present

# A toy of 4**5 architectures that can be enumerated: its loss is smallest far from the random architectures
CATEGORIES = (4,) * 5
ALL = np.stack(np.unravel_index(np.arange(4**5), CATEGORIES), axis=1)
LIMIT = 8


def _loss(rows: np.ndarray) -> np.ndarray:
    return -(rows * [1.0, 1.1, 1.3, 1.7, 2.0]).sum(axis=1)


def _keeps(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1) <= LIMIT


def test_evolution_finds_the_optimum_within_the_limit_and_evaluates_nothing_twice():
    best = _loss(ALL[_keeps(ALL)]).min()
    seen: list[tuple[int, ...]] = []

    def losses_of(rows: np.ndarray) -> np.ndarray:
        seen.extend(map(tuple, rows.tolist()))
        return _loss(rows)

    for seed in range(5):
        seen.clear()
        found = evolve(losses_of, _keeps, CATEGORIES, 400, np.random.default_rng(seed))
        assert len(seen) == len(set(seen)) == len(found) == 400
        assert _keeps(np.array(seen)).all()
        assert _loss(np.array(found[:1]))[0] == best
        assert (np.diff(_loss(np.array(found))) >= 0).all()


def test_evolution_needs_its_children():
    # random draws alone find the optimum within 400 of 781 with probability 0.51, so not with all of 5 seeds
    best, found = _loss(ALL[_keeps(ALL)]).min(), []
    for seed in range(5):
        drawn = random_within(_keeps, CATEGORIES, 400, (), np.random.default_rng(seed))
        found.append(_loss(np.array(drawn)).min() == best)
    assert not all(found)


def test_evolution_ends_where_the_limit_leaves_too_few():
    found = evolve(_loss, lambda rows: rows.sum(axis=1) <= 1, CATEGORIES, 50, np.random.default_rng(0))
    assert len(found) == 6


def test_random_draws_are_uniform_among_the_allowed():
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(1000):
        (one,) = random_within(lambda rows: rows.sum(axis=1) <= 1, CATEGORIES, 1, (), np.random.default_rng(seed))
        counts[one] = counts.get(one, 0) + 1
    # 6 architectures, expected 166.7 each: chi-square with 5 degrees of freedom below its 0.1 % quantile
    assert sum((count - 1000 / 6) ** 2 / (1000 / 6) for count in counts.values()) < 20.5
    assert len(counts) == 6


@pytest.mark.parametrize("settings", [Settings(), Settings(images=1500, epochs=3), Settings(epochs=1)])
def test_all_methods_have_one_budget(settings, tmp_path):
    methods = methods_of(settings.num_targets)
    for name in ("ours", "separate", "spos", "random"):
        assert expected_budget(methods[name], settings, tmp_path) == settings.budget, name
    full = Budget(
        weight_steps=settings.num_targets * settings.budget.weight_steps,
        evaluations=settings.num_targets * settings.budget.evaluations,
    )
    assert expected_budget(methods["separate-full"], settings, tmp_path) == full
    assert evaluations_per_target(settings) * settings.num_targets == settings.budget.evaluations


def test_separate_searches_differ_from_ours_in_targets_and_length_only(tmp_path):
    settings = Settings()
    ours = config_of("ours", 3, settings, tmp_path, 1)
    targets = present(ours.targets)
    for place in range(4):
        one = config_of(f"separate-{place}", 3, settings, tmp_path, 1)
        assert one.targets == (targets[place],)
        assert 4 * one.search_rounds == ours.search_rounds
        assert 4 * one.warmup_rounds == ours.warmup_rounds
        assert (one.space, one.data, one.training, one.seed) == (ours.space, ours.data, ours.training, ours.seed)


def test_the_uniform_supernet_trains_before_it_evaluates(tmp_path):
    plan = config_of("uniform", 0, Settings(), tmp_path, 1).plan
    assert plan.num_weight_steps == plan.warmup_rounds == Settings().budget.weight_steps
    assert not plan.train_during_search


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 100}, "^Settings: images must be at least 128, got 100$"),
        ({"images": 128, "epochs": 1}, "too few for 4 searches"),
        ({"evaluation_images": 100}, "evaluation_images must be a multiple of 64, got 100"),
        ({"validation_images": 128}, "validation_images must be at least evaluation_images=256, got 128"),
        ({"recalibration_images": 1}, "recalibration_images must be at least 128"),
        ({"ranked": 2}, "ranked must be at least 10"),
    ],
)
def test_settings_too_small(changes, message):
    with pytest.raises(ConfigError, match=message):
        Settings(**changes)


class _AtOnce(Executor):
    """Does everything where it stands."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future[object] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


SUPERNETS = {"ours": ("ours",), "separate": ("separate-0", "separate-1"), "spos": ("uniform",), "random": ("uniform",)}


def _finish(piece: Piece, out: Path) -> None:
    path = piece.path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    if piece.stage == "search":
        path.touch()
    else:
        save_rows(pd.DataFrame({"architecture": [(0, 1)]}), path)


def test_pieces_run_once_and_after_what_they_need(tmp_path):
    pieces = pieces_of(SUPERNETS, [0, 1])
    assert len(pieces) == len(set(pieces)) == 2 * (4 + 4 + 4)
    done: list[Piece] = []

    def run(piece: Piece) -> None:
        assert all(need in done for need in piece.needs)
        done.append(piece)
        _finish(piece, tmp_path)

    carry_out(pieces[::-1], tmp_path, run, _AtOnce(), 2)
    assert sorted(map(str, done)) == sorted(map(str, pieces))
    carry_out(pieces, tmp_path, run, _AtOnce(), 2)
    assert len(done) == len(pieces)


def test_a_restart_does_only_what_is_missing(tmp_path):
    pieces = pieces_of(SUPERNETS, [0])
    done: list[Piece] = []
    for piece in pieces[:3]:
        _finish(piece, tmp_path)

    def fail_at_fourth(piece: Piece) -> None:
        if len(done) == 3:
            raise ConfigError("killed here")
        done.append(piece)
        _finish(piece, tmp_path)

    with pytest.raises(ConfigError, match="killed here"):
        carry_out(pieces, tmp_path, fail_at_fourth, _AtOnce(), 1)
    shown: list[int] = []
    carry_out(pieces, tmp_path, lambda piece: done.append(piece), _AtOnce(), 1, lambda count, _: shown.append(count))
    assert shown[0] == 6
    assert len(done) == len(set(done)) == len(pieces) - 3


def test_the_first_seed_is_compared_before_the_second_begins():
    pieces = pieces_of(SUPERNETS, [0, 1])
    networks = [place for place, piece in enumerate(pieces) if piece.stage == "networks" and piece.seed == 0]
    searches = [place for place, piece in enumerate(pieces) if piece.stage == "search" and piece.seed == 1]
    assert max(networks) < min(searches)


def test_a_piece_whose_rows_are_damaged_is_not_done(tmp_path):
    piece = Piece("networks", "ours", 0)
    assert load_piece(piece.path(tmp_path)) is None
    frame = pd.DataFrame({"architecture": [(0, 1), (2, 1)], "loss": [0.5, 1.0]})
    save_rows(frame, piece.path(tmp_path))
    loaded = load_piece(piece.path(tmp_path))
    assert loaded is not None
    assert loaded["architecture"].tolist() == [(0, 1), (2, 1)]
    assert piece.is_done(tmp_path)
    piece.path(tmp_path).write_bytes(b"")
    assert not piece.is_done(tmp_path)


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    rows = np.stack(np.unravel_index(np.arange(3**8), (3,) * 8), axis=1)
    costs = Settings().space.costs["flops"](rows)
    errors = 6.0 + 8.0 * np.exp(-3 * costs / costs.max()) + rng.random(len(rows))
    return Judge(Table("toy", "A toy", (3,) * 8, rows, errors, costs), Settings())


def test_tau_is_one_for_the_truth_and_minus_one_for_its_reverse(judge):
    rows = np.random.default_rng(1).choice(len(judge.truth), 300, replace=False)
    architectures = [tuple(row) for row in judge.truth.architectures[rows].tolist()]
    losses = judge.truth.points[rows, 0] / 7
    assert judge.tau(pd.DataFrame({"architecture": architectures, "loss": losses})) == pytest.approx(1)
    assert judge.tau(pd.DataFrame({"architecture": architectures, "loss": -losses})) == pytest.approx(-1)
    # larger networks are better here, which FLOPs alone tell
    assert judge.tau_of_size(architectures) > 0.5


def test_hypervolume_of_two_networks_by_hand(judge):
    truth = Table("t", "T", (2,), np.array([[0], [1]]), np.array([4.0, 1.0]), np.array([1.0, 4.0]))
    truth.reference = np.array([5.0, 1.0])
    # cost 0.25: (1 - 0.25) * (5 - 4); the second has the largest cost and adds nothing
    assert truth.hypervolume(np.array([0, 1])) == pytest.approx(0.75)
    truth.reference = np.array([5.0, 2.0])
    assert truth.hypervolume(np.array([0, 1])) == pytest.approx(1.75 * 1 + 1 * 3)
    assert truth.hypervolume(np.array([], dtype=int)) == 0


def test_the_best_within_the_targets_beat_any_others_within_them(judge):
    assert judge.share(judge.best) == 1
    assert (judge.flops[judge.best] <= judge.settings.targets).all()
    for place, target in enumerate(judge.settings.targets):
        within = judge.flops <= target
        assert judge.truth.points[judge.best[place], 0] == judge.truth.points[within, 0].min()
    assert best_within(judge.truth, judge.flops, judge.settings.targets).tolist() == judge.best.tolist()
    assert judge.truth.hypervolume(best_front(judge.truth, 4)) >= judge.truth.hypervolume(judge.best)
    assert 0.5 < np.median(judge.random_families()) < 1


def test_matched_complexity(judge):
    rows = matched_within(judge.flops, judge.settings.targets[0], 0.9)
    assert len(rows)
    assert (judge.flops[rows] <= judge.settings.targets[0]).all()
    assert (judge.flops[rows] > 0.9 * judge.settings.targets[0]).all()


def _networks(judge: Judge, rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "target": judge.settings.targets,
            "architecture": [tuple(row) for row in judge.truth.architectures[rows].tolist()],
            "flops": judge.flops[rows],
            "loss": 1.0,
            "accuracy": 0.5,
            "evaluations": 1248,
        }
    )


def test_report_of_what_is_done(judge, tmp_path):
    methods = methods_of(4)
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        save_rows(_networks(judge, judge.best), Piece("networks", "ours", seed).path(tmp_path))
    worse = [rng.choice(matched_within(judge.flops, target, 0.9)) for target in judge.settings.targets]
    save_rows(_networks(judge, np.array(worse)), Piece("networks", "spos", 0).path(tmp_path))
    every = [tuple(row) for row in judge.truth.architectures[::50].tolist()]
    ranking = pd.DataFrame({"architecture": every, "loss": judge.truth.points[::50, 0]})
    save_rows(ranking, Piece("ranking", "ours", 0).path(tmp_path))
    rows = collect(methods, range(3), judge, tmp_path)
    assert rows[["method", "seed"]].to_numpy().tolist() == [["ours", 0], ["ours", 1], ["spos", 0]]
    assert rows["share"].tolist()[:2] == [1, 1]
    assert rows["share"][2] < 1
    assert rows["tau"][0] == pytest.approx(1)
    assert rows["tau"].isna().tolist() == [False, True, True]
    summary = summarise(rows, methods, judge, 0.5)
    assert summary["hypervolume"].tolist()[0] == "100.0% (100.0% to 100.0%)"
    assert summary["Kendall's tau"].tolist()[1] == "not yet"
    assert "| 100.0% (100.0% to 100.0%) |" in markdown(summary, "title", "caption")
    draw(rows, methods, judge, 0.5, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 10_000


def test_missing_table_and_images_are_named(tmp_path, capsys, monkeypatch):
    with pytest.raises(DataError, match="point --data or MULTINAS_DATA"):
        load_truth(tmp_path)
    assert compare.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "nasbench_macro.parquet" in capsys.readouterr().err
    monkeypatch.delenv("MULTINAS_DATA", raising=False)
    assert compare.main(["--out", str(tmp_path / "out")]) == 2
    assert "give --data DIR or set MULTINAS_DATA" in capsys.readouterr().err
    assert compare.main(["--seeds", "0"]) == 2
    assert "seeds must be at least 1, got 0" in capsys.readouterr().err


def test_random_architectures_are_matched_in_complexity(tmp_path):
    config, target = config_of("uniform", 0, Settings(), tmp_path, 1), Settings().targets[1]
    flops = config.costs["flops"]

    def losses_of(rows: np.ndarray) -> np.ndarray:
        return rows.sum(axis=1) % 5

    found = np.array(search_fixed("random", losses_of, config, target, 100, np.random.default_rng(0)))
    assert len(np.unique(found, axis=0)) == 100
    assert ((flops(found) <= target) & (flops(found) > 0.9 * target)).all()
    assert (np.diff(losses_of(found)) >= 0).all()


def test_a_fixed_supernet_is_searched_within_the_targets(tmp_path):
    settings = Settings(images=512, validation_images=256, epochs=3, recalibration_images=128, ranked=10)
    config = config_of("uniform", 0, settings, tmp_path, 1)
    rng = np.random.default_rng(0)
    pictures = ImageSet(rng.integers(0, 256, (768, 16, 16, 3), dtype=np.uint8), np.arange(768) % 10)
    images_folder(tmp_path).mkdir()
    for name in ("train", "test"):
        write_images([pictures], images_folder(tmp_path) / f"{name}.parquet")
    Path(config.run_path).mkdir(parents=True)
    write_supernet(Supernet(config.space, norm_batch_size=64, seed=0), config.run_path)
    piece = Piece("networks", "spos", 0)
    run_piece(piece, settings, tmp_path, 1)
    networks = present(load_piece(piece.path(tmp_path)))
    assert networks["target"].tolist() == sorted(settings.targets)
    assert (networks["flops"] <= networks["target"]).all()
    assert config.costs["flops"](np.array(networks["architecture"].tolist())).tolist() == networks["flops"].tolist()
    assert networks["evaluations"].tolist() == [settings.budget.evaluations] * 4
    # every candidate competes for every target: a larger limit cannot give a larger loss
    assert (np.diff(networks["loss"]) <= 0).all()


@pytest.mark.data
def test_the_table_is_that_of_the_searched_space():
    truth = load_truth(Path(os.environ["MULTINAS_DATA"]))
    flops = Settings().space.costs["flops"](truth.architectures)
    assert SOURCE.accuracy == "test_acc"
    assert np.corrcoef(flops, truth.complexities)[0, 1] > 0.998
