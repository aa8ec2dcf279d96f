import json
from pathlib import Path

import numpy as np
import pytest

from multinas_ray.__main__ import main
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.oneshot import choose_and_finish
from multinas_ray.runs import format_count, load_run
from multinas_ray.selection import SelectConfig, load_family, rung_counts, select_networks
from multinas_ray.selection import selecting as select_module
from multinas_ray.supernets import BlockSupernet, write_supernet
from tests.selection.conftest import quiet
from tests.support.narrow import present
from tests.support.pipeline import Pipeline


def test_the_end_of_a_search_leaves_its_family_and_the_finished_mark(finished):
    run = load_run(finished.run_path)
    end = present(run.finished)
    assert end["num_restarts"] == 2
    assert end["num_evaluations"] == len(run.evaluations)
    assert end["num_updates"] == run.distributions["update"].max()
    assert 1000 < end["elapsed_seconds"] < 2000
    assert len(run.architectures) == 3
    assert run.architectures["complexity"].is_monotonic_increasing
    family = load_family(finished.run_path)
    for row in family.architectures.to_dict("records"):
        rows = family.candidates[family.candidates["network"] == row["network"]]
        assert len(rows) == 300
        assert set(rows["images"]) == {64, 500}
        rows = rows[rows["rung"] == 3]
        assert len(rows) == 11
        objectives = rows["loss"] + row["coefficient"] * rows["complexity"]
        np.testing.assert_allclose(rows["objective"], objectives)
        assert rows[rows["chosen"]]["architecture"].tolist() == [row["architecture"]]
        assert rows[rows["chosen"]]["combined_rank"].iloc[0] == rows["combined_rank"].min()
    assert (Path(finished.run_path) / "pareto.png").exists()


def test_a_search_that_is_finished_already_is_chosen_before_it_is_marked(searched, monkeypatch):
    monkeypatch.setattr("multinas_ray.selection.selecting.EvaluatorGroup.finish", lambda self, work: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        choose_and_finish(searched, quiet(), restarts=0)
    assert not load_run(searched.run_path).is_finished


def test_each_network_is_evaluated_once_in_a_rung_and_only_the_chosen_see_the_test_images(finished, actors):
    family = select_networks(finished.run_path, console=quiet())
    (tested,) = actors.finished
    assert [rung for rung, _ in actors.evaluated] == [1, 2, 3]
    for rung, evaluated in actors.evaluated:
        assert len(set(evaluated)) == len(evaluated)
        rows = family.candidates[family.candidates["rung"] >= rung]
        assert set(evaluated) == set(rows["architecture"])
    assert len(actors.evaluated[0][1]) > 100
    assert {architecture for architecture, _ in tested} == set(family.architectures["architecture"])
    assert len(tested) == family.architectures["architecture"].nunique()
    folders = {folder: architecture for architecture, folders in tested for folder in folders}
    for row in family.architectures.to_dict("records"):
        assert folders[f"{finished.run_path}/networks/{row['network']}"] == row["architecture"]
    assert (family.architectures["supernet_test_accuracy"] == 0.25).all()


def test_any_budget_is_answered_apart_from_the_runs_own_family(finished, actors):
    before = load_family(finished.run_path).architectures
    cost = finished.cost
    budgets = [0.3 * cost.minimum + 0.7 * cost.maximum, 0.7 * cost.minimum + 0.3 * cost.maximum]
    family = select_networks(finished.run_path, SelectConfig(limits={"params": budgets}), label="mine", console=quiet())
    assert family.path == f"{finished.run_path}/families/mine"
    assert [json.loads(text) for text in family.architectures["limits"]] == [{"params": b} for b in budgets[::-1]]
    assert (family.architectures["params"].to_numpy() <= budgets[::-1]).all()
    for network, budget in enumerate(budgets[::-1]):
        rows = family.candidates[family.candidates["network"] == network]
        best = rows[rows["params"] <= budget]["loss"].min()
        assert family.architectures["supernet_loss"][network] == best
    assert actors.finished[-1][0][1][0].startswith(f"{family.path}/networks/")
    assert load_family(finished.run_path).architectures.equals(before)


def test_candidates_are_told_with_their_reasons_and_goals_nobody_meets(finished, actors):
    told = quiet()
    least = finished.space.costs["flops"].minimum
    limits = {"params": finished.cost.maximum, "flops": [least, finished.space.costs["flops"].maximum]}
    family = select_networks(finished.run_path, SelectConfig(limits=limits), console=told)
    text = " ".join(told.file.getvalue().split())
    finalists = family.candidates[family.candidates["rung"] == family.candidates["rung"].max()]
    assert len(finalists) < len(family.candidates)
    for reason in finalists["reason"]:
        assert reason in text
    assert "Evaluated for the choice: " in text
    counts = rung_counts(family.candidates)
    assert [networks for networks, _ in counts] == [len(networks) for _, networks in actors.evaluated]
    total = sum(networks * images for networks, images in counts)
    assert f"{format_count(total)} images in all" in text
    if len(family.architectures) < 2:
        assert "No network: no candidate is within" in text
    assert "Network #0, for params <= " in text


def test_runs_that_cannot_be_chosen_from_say_why(searched, tmp_path):
    with pytest.raises(StateError, match="is not finished: resume its search with --resume"):
        select_networks(searched.run_path)
    choose_and_finish(searched, quiet(), restarts=0)
    (Path(searched.run_path) / "supernet.pt").unlink()
    with pytest.raises(StateError, match=r"has no supernet\.pt: resume its search, .* or restore a copy"):
        select_networks(searched.run_path)
    Pipeline(tmp_path / "tuned").run(8)
    with pytest.raises(StateError, match=r"`multinas_ray\.tune\.best_configs` and `multinas_ray\.tune\.pareto_front`"):
        select_networks(str(tmp_path / "tuned"))


def test_a_damaged_supernet_is_one_line_before_anything_starts(finished, actors, capsys, monkeypatch):
    monkeypatch.setattr(select_module, "ray_session", lambda: 1 / 0)
    file = Path(finished.run_path) / "supernet.pt"
    file.write_bytes(file.read_bytes()[:-100])
    assert main(["select", finished.run_path]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "supernet.pt cannot be read (" in told.err
    assert "restore a copy" in told.err
    assert actors.evaluated == []


def interrupt(actors, monkeypatch, rung, number, **arguments):
    """A selection that ends in a rung after so many evaluations of it."""
    evaluate = actors.evaluate

    def cut_off(self, here, architectures):
        for done, part in enumerate(evaluate(self, here, architectures)):
            if here.number == rung and 3 * done >= number:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patches:
        patches.setattr(actors, "evaluate", cut_off)
        with pytest.raises(KeyboardInterrupt):
            select_networks(console=quiet(), **arguments)


def test_an_interrupted_selection_goes_on_with_the_candidates_that_are_missing(finished, actors, monkeypatch):
    config = SelectConfig(limits={"params": finished.cost.maximum}, candidates_per_network=60)
    arguments = {"run_path": finished.run_path, "config": config, "label": "cut"}
    interrupt(actors, monkeypatch, 1, 6, **arguments)
    interrupt(actors, monkeypatch, 3, 3, **arguments)
    cut = select_networks(console=quiet(), **arguments)
    (_, first), (_, rest), (_, middle), (_, last), *again = actors.evaluated
    assert rest == first[6:]
    assert [(rung, len(networks)) for rung, networks in again] == [(1, 0), (2, 0), (3, len(last) - 3)]
    assert again[2][1] == last[3:]
    actors.evaluated.clear()
    whole = select_networks(console=quiet(), **arguments)  # a finished selection leaves nothing behind
    assert [networks for _, networks in actors.evaluated] == [first, middle, last]
    assert whole.candidates.equals(cut.candidates)


def test_what_was_evaluated_under_other_conditions_is_evaluated_again(finished, actors, monkeypatch):
    arguments = {"run_path": finished.run_path, "label": "cut"}
    interrupt(actors, monkeypatch, 1, 6, **arguments)
    write_supernet(BlockSupernet(finished.space, norm_batch_size=2, seed=1), finished.run_path)
    interrupt(actors, monkeypatch, 1, 6, **arguments)
    (folder,) = (Path(finished.run_path) / "families" / "cut" / "evaluated" / "_journal").glob("*.jsonl")
    folder.write_text("{")
    select_networks(console=quiet(), **arguments)
    (_, first), (_, second), (_, third), *_ = actors.evaluated
    assert first == second == third


def test_wrong_budgets_are_told_before_anything_is_evaluated(finished, actors):
    for limits, message in (
        ({"latency": 3.0}, "a limit must name a cost of the run, got 'latency': choose from params, flops"),
        ({"params": 1.0}, r"a limit of params must lie within .*, got 1$"),
        ({"params": [1e4, 2e4], "flops": [1e5] * 3}, "lists of one length, got 2 of params, 3 of flops"),
        ({}, "lists of one length, got none"),
        ({"params": []}, "lists of one length, got 0 of params"),
    ):
        with pytest.raises(ConfigError, match=message):
            select_networks(finished.run_path, SelectConfig(limits=limits))
    assert actors.evaluated == []


def test_the_prior_of_the_settings_is_asked_for_and_counts(finished, actors):
    """The made-up prior rises with the size, and so the largest within the limit wins whatever the losses."""
    limits = {"params": 0.6 * finished.cost.maximum}
    arguments = {"run_path": finished.run_path, "console": quiet(), "label": "cut"}
    config = SelectConfig(limits=limits, prior=("depth", "naswot"), prior_weight=100.0)
    family = select_networks(config=config, **arguments)
    rows = family.candidates
    assert rows[rows["chosen"]]["params"].tolist() == [rows["params"].max()]
    assert rows["combined_rank"].notna().all()
    assert select_networks(config=SelectConfig(limits=limits), **arguments).candidates["combined_rank"].notna().all()
    assert main(["select", finished.run_path, "--prior"]) == 0
    assert actors.priors == [["depth", "naswot"], ["early_depth", "naswot"]]
    with pytest.raises(ConfigError, match="no part of a prior is registered by the name 'zen'"):
        select_networks(config=SelectConfig(prior=["zen"]), **arguments)


def test_the_threads_of_each_worker_reach_it_and_less_than_one_is_told(finished, actors, capsys):
    argv = ["select", finished.run_path, "--threads-per-worker"]
    assert main([*argv, "0"]) == 2
    assert "threads_per_worker must be at least 1 or None, got 0" in capsys.readouterr().err
    assert actors.jobs == []
    assert main([*argv, "3"]) == 0
    assert [job.num_threads for job in actors.jobs] == [3]


def test_the_command_line_reaches_the_call(monkeypatch, finished, capsys):
    seen: dict[str, object] = {}
    family = load_family(finished.run_path)
    monkeypatch.setattr(
        "multinas_ray.selection.select_networks", lambda *path, **more: seen.update(path=path, **more) or family
    )
    run = finished.run_path
    argv = ["select", run, "--max", "params=2e6,4e6", "--max", "flops=3e8", "--label", "x", "--candidates", "4"]
    argv += ["--slice-share", "0.2", "--prior", "depth", "--prior-weight", "0.5"]
    argv += ["--num-workers", "2", "--threads-per-worker", "3", "--use-gpu"]
    argv += ["--overwrite", "--data", "D", "--import", "M"]
    assert main(argv) == 0
    del seen["console"]
    assert seen == {
        "path": (
            run,
            SelectConfig(
                limits={"params": [2e6, 4e6], "flops": 3e8},
                candidates_per_network=4,
                slice_share=0.2,
                prior=["depth"],
                prior_weight=0.5,
                num_workers=2,
                threads_per_worker=3,
                use_gpu=True,
            ),
        ),
        "label": "x",
        "overwrite": True,
        "data_path": "D",
        "imports": ["M"],
    }
    assert "3 networks, from small to large" in capsys.readouterr().out
    assert main(["select", run]) == 0
    assert seen["path"] == (run, SelectConfig())
    assert main(["select", run, "--max", "params=1", "--max", "params=2"]) == 2
    assert "--max takes each name once: give several values as NAME=VALUE,VALUE" in capsys.readouterr().err
