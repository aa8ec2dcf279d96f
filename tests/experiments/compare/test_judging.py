"""What the comparison measures by the true errors, and what its methods find."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.compare.__main__ import main
from experiments.compare.finding import evolved_networks, find_networks
from experiments.compare.images import write_images
from experiments.compare.judging import FIRST, Judge
from experiments.compare.kept import Rows
from experiments.compare.methods import methods_of
from experiments.compare.picture import draw, draw_costs
from experiments.compare.pieces import PRIOR, Piece, load_figures, load_piece, run_piece
from experiments.compare.report import collect, collect_rankings, markdown, summarise, summarise_rankings
from experiments.compare.scoring import BatchLosses, score_slices
from experiments.compare.settings import Settings, config_of, images_folder
from experiments.compare.statistics import interval
from experiments.compare.truth import best_front, best_within, slice_of
from experiments.parts.networks import networks_of
from experiments.parts.rows import save_rows
from experiments.parts.tables import Table
from multinas_ray.data import ImageSet, load_splits
from multinas_ray.supernets import make_supernet, write_supernet
from tests.support.narrow import present

SPACE = Settings().space


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    rows = np.stack(np.unravel_index(np.arange(3**8), (3,) * 8), axis=1)
    costs = SPACE.costs["flops"](rows)
    errors = 6.0 + 8.0 * np.exp(-3 * costs / costs.max()) + rng.random(len(rows))
    return Judge(Table("toy", "A toy", (3,) * 8, rows, errors, costs), Settings())


def test_a_slice_holds_each_network_of_the_last_tenth_once() -> None:
    networks_ND, target = networks_of(SPACE), Settings().targets[0]
    assert len(networks_ND) == 3969
    flops_N = SPACE.costs["flops"](networks_ND)
    rows = {tuple(row) for row in networks_ND[(flops_N <= target) & (flops_N > 0.9 * target)].tolist()}
    assert {tuple(row) for row in slice_of(SPACE, target).tolist()} == rows
    assert len(slice_of(SPACE, target)) == len(rows)


def test_the_best_within_the_targets_beat_any_others_within_them(judge: Judge) -> None:
    assert judge.share(judge.best) == 1
    assert (judge.flops[judge.best] <= judge.settings.targets).all()
    for place, target in enumerate(judge.settings.targets):
        within = judge.flops <= target
        assert judge.truth.points[judge.best[place], 0] == judge.truth.points[within, 0].min()
    assert best_within(judge.truth, judge.flops, judge.settings.targets).tolist() == judge.best.tolist()
    assert judge.truth.hypervolume(best_front(judge.truth, 4)) >= judge.truth.hypervolume(judge.best)
    assert 0.5 < np.median(judge.random_families()) < 1


def test_a_ranking_by_the_truth_and_by_its_reverse(judge: Judge) -> None:
    perfect = judge.perfect_ranking()
    assert perfect.tau_K == pytest.approx(1)
    for networks_ND, regret in zip(judge.slices, perfect.regret_K, strict=True):
        errors_N = np.sort(judge.errors(networks_ND))
        assert regret == pytest.approx(errors_N[:FIRST].mean() - errors_N[0])
    rows = np.concatenate(judge.slices)
    figures = dict(zip(map(tuple, rows.tolist()), judge.errors(rows), strict=True))
    reverse = {row: -error for row, error in figures.items()}
    assert judge.ranking(reverse).tau_K == pytest.approx(-1)
    assert (judge.ranking(reverse).regret_K > perfect.regret_K).all()
    assert judge.ranking(figures, reverse, weights=(2.0, 1.0)).tau_K == pytest.approx(1)
    assert judge.ranking(figures, reverse, weights=(1.0, 2.0)).tau_K == pytest.approx(-1)


def test_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(1.0, 2.0, 200)
    low, high = interval(values)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error)
    assert interval(np.full(6, 2.5)) == (2.5, 2.5)
    assert np.isnan(interval(values[:4])).all()


def _networks(judge: Judge, method: str, rows: np.ndarray) -> pd.DataFrame:
    columns = {
        "target": judge.settings.targets,
        "architecture": [tuple(row) for row in judge.truth.architectures[rows].tolist()],
        "flops": judge.flops[rows],
    }
    return pd.DataFrame({"method": method, **columns, "evaluations": 1248})


def _save_pieces(judge: Judge, out: Path) -> None:
    """Six seeds of one method, five of another, and a ranking."""
    rng = np.random.default_rng(0)
    for seed in range(6):
        worse = np.array([judge.truth.rows(rng.choice(each, 1))[0] for each in judge.slices])
        found = [_networks(judge, "ours-first-prior", judge.best), _networks(judge, "spos", worse)]
        save_rows(pd.concat(found[: 2 if seed < 5 else 1]), Piece("networks", "uniform", seed).path(out))
    every_ND = networks_of(SPACE)
    scores = pd.DataFrame({"architecture": list(map(tuple, every_ND.tolist())), "loss": judge.errors(every_ND)})
    save_rows(scores, Piece("ranking", "ours", 0).path(out))
    save_rows(scores.rename(columns={"loss": "part"}), PRIOR.path(out))  # the prior is wrong: the more, the better


def test_report_of_what_is_done(judge: Judge, tmp_path: Path) -> None:
    methods = methods_of(4)
    _save_pieces(judge, tmp_path)
    rows = collect(methods, range(7), judge, tmp_path)
    assert rows.groupby("method")["seed"].apply(list).to_dict() == {
        "ours-first-prior": [*range(6)],
        "spos": [*range(5)],
    }
    summary = summarise(rows, methods, judge).set_index("method")
    assert summary.loc[methods["ours-first-prior"].title, "hypervolume"] == "100.0% (100.0% to 100.0%)"
    difference = str(summary.loc[methods["spos"].title, "difference"])
    shares = rows.loc[rows["method"] == "spos", "share"]
    assert difference.startswith(f"{100 * (shares - 1).mean():+.1f} [-")
    rankings = collect_rankings(methods, range(7), judge, tmp_path)
    taus = rankings.set_index("ranking")["tau"].map(np.mean)
    assert taus["ours supernet"] == taus["the true errors"] == pytest.approx(1)
    assert taus["the prior alone"] == pytest.approx(-1)
    assert "1.00" in markdown(summarise_rankings(rankings), "title", "caption")
    Rows(rows, rankings).save(tmp_path)
    kept = Rows.load(tmp_path)
    assert len(kept.networks) == len(rows)
    assert kept.pieces(methods) == {Piece("ranking", "ours", 0), Piece("ranking", "", -1)}  # not all methods of a kind
    some = {name: methods[name] for name in ("ours-first-prior", "spos")}
    assert {piece.seed for piece in kept.pieces(some) if piece.stage == "networks"} == {*range(5)}
    again = kept.joined(Rows(rows[rows["seed"] == 0].assign(share=0.5), rankings))
    assert len(again.networks) == len(rows)
    assert again.of(methods, [0]).networks["share"].tolist() == [0.5, 0.5]
    assert len(again.of({"spos"}, range(7)).networks) == 5
    draw(rows, rankings, methods, judge, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 10_000
    untrained = rows.assign(method="deepest", weight_steps=0, share=0.86)
    draw_costs(
        pd.concat([rows, rows.assign(weight_steps=3120, share=0.97), untrained]), methods, tmp_path / "costs.png"
    )
    assert (tmp_path / "costs.png").stat().st_size > 10_000


def test_a_report_of_nothing_is_told(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("experiments.compare.working.load_truth", lambda folder: judge.truth)
    assert main(["--data", str(tmp_path), "--report-only", "--out", str(tmp_path / "out")]) == 0
    assert "No method has found its networks yet" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.png"))


def test_evolved_networks_keep_the_target_and_come_once() -> None:
    config, target = config_of("uniform", 0, Settings(), Path("/nowhere"), 1), Settings().targets[1]

    def losses_of(rows: np.ndarray) -> np.ndarray:
        return rows.sum(axis=1) % 5 * 1.0

    networks_ND = evolved_networks(losses_of, config, target, 120, np.random.default_rng(0))
    assert 60 < len(networks_ND) <= 120
    assert len(np.unique(networks_ND, axis=0)) == len(networks_ND)
    assert (config.costs["flops"](networks_ND) <= target).all()


def test_methods_that_train_nothing() -> None:
    settings = Settings()
    every_ND = networks_of(SPACE)
    values = (np.arange(len(every_ND)) % 97.0).tolist()
    figures = {"part": dict(zip(map(tuple, every_ND.tolist()), values, strict=True))}
    both = [find_networks("untrained", seed, settings, Path("/nowhere"), 1, figures) for seed in range(3)]
    deepest = [found[found["method"] == "deepest"] for found in both]
    for found in deepest:
        for target, architecture, flops in found[["target", "architecture", "flops"]].itertuples(index=False):
            depth_N = (slice_of(SPACE, target) != 0).sum(axis=1)
            assert sum(choice != 0 for choice in architecture) == depth_N.max()
            assert 0.9 * target < flops <= target
    assert len({tuple(found["architecture"]) for found in deepest}) > 1  # equal depths are drawn
    found = both[0][both[0]["method"] == "prior"]
    for target, architecture in zip(found["target"], found["architecture"], strict=True):
        assert figures["part"][architecture] == max(figures["part"][tuple(row)] for row in slice_of(SPACE, target))


@pytest.mark.slow
def test_a_fixed_supernet_is_searched_within_the_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.compare.finding.CANDIDATES", 14)
    settings = Settings(images=512, validation_images=256, epochs=3, recalibration_images=128)
    config = config_of("uniform", 0, settings, tmp_path, 1)
    rng = np.random.default_rng(0)
    pictures = ImageSet(rng.integers(0, 256, (768, 16, 16, 3), dtype=np.uint8), np.arange(768) % 10)
    images_folder(tmp_path).mkdir()
    for name in ("train", "test"):
        write_images([pictures], images_folder(tmp_path) / f"{name}.parquet")
    Path(config.run_path).mkdir(parents=True)
    write_supernet(make_supernet(config.space, 64, 0), config.run_path)
    figures = pd.DataFrame({"architecture": [tuple(row) for row in networks_of(SPACE).tolist()], "part": 1.0})
    save_rows(figures, PRIOR.path(tmp_path))
    assert list(load_figures(tmp_path)) == ["part"]
    some_ND = slice_of(SPACE, settings.targets[0])[:70]
    monkeypatch.setattr("experiments.compare.scoring.slice_of", lambda space, target: some_ND)
    scored = score_slices(config, settings)
    halves = [BatchLosses(config, load_splits(config.data), step, 128) for step in range(2)]
    last_N = np.mean([each(some_ND[-2:]) for each in halves], axis=0)
    assert scored["architecture"].tolist() == [tuple(row) for row in some_ND.tolist()]
    assert scored["loss"].to_numpy()[-2:] == pytest.approx(last_N, rel=1e-5)
    methods = {name: each for name, each in methods_of(4).items() if each.kind == "uniform" and each.pool != "record"}
    monkeypatch.setattr("experiments.compare.finding.methods_of", lambda num_targets: methods)
    piece = Piece("networks", "uniform", 0)
    run_piece(piece, settings, tmp_path, 1)
    found = present(load_piece(piece.path(tmp_path)))
    assert set(found["method"]) == set(methods)
    for _, networks in found.groupby("method"):
        assert sorted(networks["target"]) == sorted(settings.targets)
        assert (networks["flops"] <= networks["target"]).all()
        assert SPACE.costs["flops"](np.array(networks["architecture"].tolist())).tolist() == networks["flops"].tolist()
        assert networks["evaluations"].tolist() == [settings.budget.evaluations] * 4
