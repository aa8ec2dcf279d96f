import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from multinas_ray.__main__ import main
from multinas_ray.errors import StateError
from multinas_ray.runs import RunSession, load_run, lost_steps, repair_damage, verify_run
from tests.support.calls import calls_of
from tests.support.records import edit_document, rewrite_table


@pytest.fixture
def copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "copy")


def rewrite(run, table, change):
    rewrite_table(run / table, change)


def set_value(row, name, value):
    def change(rows):
        rows[row][name] = value(rows[row][name]) if callable(value) else value
        return rows

    return change


def without(*gone):
    return lambda rows: [row for number, row in enumerate(rows) if number not in {g % len(rows) for g in gone}]


def nudge_prob(rows):
    rows[90]["probs"][1][2] += 1e-6
    return rows


def swap_orders(rows):
    rows[7]["tell_order"], rows[8]["tell_order"] = rows[8]["tell_order"], rows[7]["tell_order"]
    rows[7]["update"], rows[8]["update"] = rows[8]["update"], rows[7]["update"]
    return rows


def test_a_whole_run_holds(finished_run):
    result = verify_run(finished_run)
    assert result.holds
    assert result.problems == ()
    assert result.notes == ()
    assert (result.num_evaluations, result.num_updates, result.num_compared) == (320, 40, 40)
    assert result.largest_difference < 1e-12


@pytest.mark.parametrize("memory", [0, 3])
def test_a_running_record_holds_and_tells_what_is_missing_yet(make_run, tmp_path, memory):
    recorder = make_run(tmp_path / "run", memory=memory).start()
    for number in range(10):
        recorder.step(number)
        if number == 6:
            recorder.record.flush()
    result = verify_run(tmp_path / "run")
    assert result.holds
    assert result.num_compared == 7
    assert "80 of 320 planned evaluations so far" in result.notes
    assert "the newest updates are not recorded yet: 8, 9, 10" in result.notes


def test_a_run_without_any_round_holds(make_run, tmp_path):
    make_run(tmp_path / "run").start()
    result = verify_run(tmp_path / "run")
    assert result.holds
    assert result.num_updates == 0


OUTSIDE = r"part-00000.parquet: row 50 has architecture \[0 9 0 0 0 0\], which must be numbers from 0 and below \[3, 4"
NO_PROBS = r"part-00000.parquet: row 90 has probs .*, which must be a list of probabilities for each variable, of \[3"

EVALUATIONS = [
    (set_value(50, "loss", lambda value: value * (1 + 1e-6)), "update 7 in the replay differs .* expected_loss"),
    (set_value(50, "loss", 0.0), "update 7 in the replay differs from the record in"),
    (
        set_value(50, "complexity", lambda value: value * 1.001),
        "ids whose complexity is not the sum of the cost table: 50",
    ),
    (set_value(50, "complexity", lambda value: value * 1.001), "ids whose complexity is not params / .*: 50"),
    (set_value(50, "params", lambda value: value * 1.001), "ids whose complexity is not params / .*: 50"),
    (set_value(50, "log_q", lambda value: value - 1e-6), "ids whose log_q is not the density at the draw: 50"),
    (set_value(319, "log_q", lambda value: value - 1e-6), "ids whose log_q is not the density at the draw: 319"),
    (set_value(50, "architecture", [0, 0, 0, 0, 0, 0]), "update 7 in the replay differs"),
    (
        set_value(50, "architecture", [0, 9, 0, 0, 0, 0]),
        OUTSIDE,
    ),
    (
        set_value(50, "complexity", -1.0),
        "row 50 has complexity -1.0, which must be finite and at least 0",
    ),
    (set_value(50, "id", 49), "ids recorded more than once: 49"),
    (set_value(50, "id", 1000), "ids that were drawn but never recorded: 50, 320, 321, 322, 323 and 676 more"),
    (set_value(50, "tell_order", 51), "tell_order is not 0, 1, 2, ... without gap or repeat: 51 at place 50"),
    (set_value(50, "update", 8), "ids with a wrong `update`: 50"),
    (set_value(50, "drawn_at_update", 7), "ids drawn after the update that used them: 50"),
    (swap_orders, "update 1 in the replay differs"),
    (without(50), "ids that were drawn but never recorded: 50"),
    (without(50), "tell_order is not 0, 1, 2"),
    (without(50), "the run ended with 320 evaluations, 319 are recorded"),
    (without(50), "319 of 320 planned evaluations"),
    (without(50), "rounds of fewer than 8 evaluations: 6"),
    (without(-1), "updates without their evaluations: 40"),
    (lambda rows: [*rows, rows[50]], "ids recorded more than once: 50"),
    (lambda rows: [*rows, rows[50]], "rounds of more than 8 evaluations: 6"),
    (lambda rows: [], "the run ended with 320 evaluations, 0 are recorded"),
]


@pytest.mark.parametrize(("change", "problem"), EVALUATIONS)
def test_a_changed_evaluation_is_found(copy, change, problem):
    rewrite(copy, "evaluations", change)
    result = verify_run(copy)
    assert not result.holds
    assert any(_matches(problem, found) for found in result.problems), result.problems


DISTRIBUTIONS = [
    (nudge_prob, "update 23 in the replay differs from the record in probs"),
    (set_value(90, "mode", [0, 0, 0, 0, 0, 0]), "update 23 in the replay differs from the record in mode"),
    (set_value(90, "coefficient", 0.31), "update 23 in the replay differs from the record in coefficient"),
    (set_value(90, "target", 0.31), "update 23 in the replay differs from the record in target"),
    (set_value(90, "entropy", lambda value: value + 1e-6), "differs from the record in entropy"),
    (set_value(90, "step_size", lambda value: value * 1.001), "differs from the record in step_size"),
    (set_value(90, "expected_complexity", float("nan")), "differs from the record in expected_complexity"),
    (set_value(90, "distribution", 7), "updates of distributions that do not exist: 23"),
    (set_value(90, "distribution", 1), "updates recorded more than once: 23"),
    (
        set_value(90, "probs", [[1.0]] * 5),
        NO_PROBS,
    ),
    (
        set_value(90, "probs", [[0.2] * 5] * 6),
        NO_PROBS,
    ),
    (without(90), "updates that lack distributions: 23"),
    (without(88, 89, 90, 91), "updates that were not recorded: 23"),
    (without(-1, -2, -3, -4), "updates that were not recorded: 40"),
    (lambda rows: [*rows, rows[90]], "updates recorded more than once: 23"),
    (lambda rows: [], "updates that were not recorded: 1, 2, 3, 4, 5 and 35 more"),
]


@pytest.mark.parametrize(("change", "problem"), DISTRIBUTIONS)
def test_a_changed_distribution_is_found(copy, change, problem):
    rewrite(copy, "distributions", change)
    result = verify_run(copy)
    assert not result.holds
    assert any(_matches(problem, found) for found in result.problems), result.problems


def _matches(pattern, text):
    import re

    return re.search(pattern, text) is not None


def test_a_gap_in_a_running_record_is_a_problem(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    for number in range(5):
        recorder.step(number)
    recorder.record.flush()
    rewrite(tmp_path / "run", "distributions", without(4, 5, 6, 7))
    assert verify_run(tmp_path / "run").problems == ("updates that were not recorded: 2",)


def test_lost_ids_are_forgiven_after_a_restart_only(make_run, tmp_path):
    recorder = make_run(tmp_path / "run", num_rounds=6).start()
    for number in range(3):
        recorder.step(number)
    recorder.optimizer.ask(16)  # in flight when the driver dies
    recorder.optimizer.restart(first_id=24, seed=(3, 1))
    for number in range(3, 6):
        recorder.step(number)
    lost = "ids that were drawn but never recorded: 24, 25, 26, 27, 28 and 11 more"
    assert f"{lost} (in flight, or lost with a killed driver)" in verify_run(tmp_path / "run").notes
    recorder.finish(num_restarts=1)
    result = verify_run(tmp_path / "run")
    assert result.holds
    assert result.notes == (f"{lost} (in flight when the driver was restarted)",)
    edit_document(tmp_path / "run" / "finished.json", num_restarts=0)
    assert verify_run(tmp_path / "run").problems == (lost,)


def test_an_early_end_needs_its_reason(copy):
    edit_document(copy / "config.json", num_evaluations=400)
    assert verify_run(copy).problems == ("320 of 400 planned evaluations (no stop_reason)",)
    edit_document(copy / "finished.json", stop_reason="time is up")
    result = verify_run(copy)
    assert result.holds
    assert result.notes == ("320 of 400 planned evaluations (time is up)",)


def test_more_evaluations_than_planned_are_a_problem(make_run, tmp_path):
    recorder = make_run(tmp_path / "run", num_rounds=2).start()
    for number in range(3):
        recorder.step(number)
    assert "24 evaluations are more than the 16 planned" in verify_run(tmp_path / "run").problems


@pytest.mark.parametrize(
    ("section", "text"),
    [
        (None, "config.json must have a section 'optimizer', it has none: restore a copy"),
        ({"num_categories": [3]}, "does not describe an optimiser .*registered by the name ''.*: restore a copy"),
        ({"kind": "distributions", "num_categories": [3], "colour": 1}, "colour is unknown"),
        (
            {"kind": "distributions", "num_categories": [3]},
            "does not describe an optimiser .*coefficients, targets or",
        ),
        (
            {"kind": "distributions", "num_categories": [0], "coefficients": [0.0]},
            r"does not describe an optimiser \(DistributionSettings: num_categories\[0\] must be at least 1",
        ),
    ],
)
def test_unusable_settings_are_told(copy, section, text):
    edit_document(copy / "config.json", optimizer=section)
    with pytest.raises(StateError, match=text):
        verify_run(copy)


def test_the_command_line_tells_a_whole_run(finished_run, capsys):
    assert main(["verify", str(finished_run)]) == 0
    output = capsys.readouterr().out
    assert f"{finished_run} (finished)" in output
    assert "320 evaluations, each recorded once, make 40 updates" in output
    assert "The record holds." in output


def test_the_command_line_fails_on_a_broken_record(copy, capsys):
    rewrite(copy, "evaluations", without(50))
    assert main(["verify", str(copy)]) == 1
    output = capsys.readouterr().out
    assert "PROBLEM: ids that were drawn but never recorded: 50" in output
    assert output.endswith("The record does NOT hold.\n")


def test_wrong_paths_are_one_line_without_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "multinas_ray", "verify", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    expected = f"there is no run at {tmp_path}/nowhere: give the folder <storage_path>/<run>"
    assert done.stderr == f"multinas-ray: error: {expected}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["plot", "--help"]])
def test_help_explains_itself(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    output = " ".join(capsys.readouterr().out.split())
    expected = {
        "--help": "which finds K networks",
        "verify": "2 if there is no readable run.",
        "plot": "--cost NAME",
    }
    assert expected[arguments[0]] in output


def test_without_a_command_it_is_asked_for(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "arguments are required: COMMAND" in capsys.readouterr().err


def test_the_command_line_draws_the_pictures(finished_run, tmp_path, capsys):
    assert main(["plot", str(finished_run), "--output", str(tmp_path / "new")]) == 0
    names = capsys.readouterr().out.split()
    assert names == [str(tmp_path / "new" / name) for name in ("pareto.png", "distributions.png")]
    for name in ("pareto.png", "distributions.png"):
        assert (tmp_path / "new" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unknown_cost_is_one_line(finished_run, tmp_path, capsys):
    assert main(["plot", str(finished_run), "--output", str(tmp_path), "--cost", "watts"]) == 2
    assert "the evaluations have no cost 'watts': choose from" in capsys.readouterr().err


def test_looking_at_a_record_needs_neither_torch_nor_ray(finished_run):
    script = (
        "import sys; from multinas_ray.__main__ import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'ray'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, "verify", str(finished_run)], check=False)
    assert done.returncode == 0


def test_config_and_finished_are_readable_json(finished_run):
    assert json.loads((finished_run / "config.json").read_text())["num_evaluations"] == 320
    assert json.loads((finished_run / "finished.json").read_text())["num_evaluations"] == 320


@pytest.mark.slow
def test_the_work_of_verifying_a_record_grows_with_its_length_and_no_faster(make_run, tmp_path):
    calls = []
    for rounds in (40, 160):
        recorder = make_run(tmp_path / f"{rounds}", num_rounds=rounds).start()
        for number in range(rounds):
            recorder.step(number)
        recorder.finish()
        calls.append(calls_of(lambda: verify_run(tmp_path / f"{rounds}")))  # noqa: B023 - called at once
    assert calls[1] < 4 * calls[0]
    verified = verify_run(tmp_path / "160")
    assert verified.holds
    assert np.isfinite(verified.largest_difference)


def test_every_round_must_be_recorded_once(make_run, tmp_path):
    recorder = make_run(tmp_path / "run", num_rounds=6).start()
    for number in range(6):
        recorder.step(number)
    recorder.finish()
    assert verify_run(tmp_path / "run").holds
    rewrite(tmp_path / "run", "rounds", without(1, 3))
    text = "rounds that are not recorded: 1, 3; `multinas-ray verify RUN --repair` rebuilds them"
    assert verify_run(tmp_path / "run").problems == (text,)
    (told,) = repair_damage(tmp_path / "run")
    assert "must hold each round of the evaluations once, 2 are missing: it was rebuilt from the evaluations" in told
    assert verify_run(tmp_path / "run").holds
    rounds = load_run(tmp_path / "run").rounds
    assert rounds["round"].tolist() == list(range(6))
    assert rounds["compute_seconds"].isna().tolist() == [False, True, False, True, False, False]


def test_lost_weight_steps_are_noted_and_add_up_over_the_sessions(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    recorder.step(0)
    recorder.session.add_lost_steps(3)
    recorder.session.add_lost_steps(4)
    RunSession.begin(tmp_path / "run").add_lost_steps(5)
    assert lost_steps(tmp_path / "run") == 12
    result = verify_run(tmp_path / "run")
    assert result.holds
    assert "12 weight steps since the last checkpoint were lost by restarts" in result.notes
