import shlex
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pandas as pd
import pytest

from multinas_ray.commands.experiment import Experiment, ExperimentOptions, _started
from multinas_ray.errors import ConfigError, DataError, RunError, StateError
from multinas_ray.runs import Run

ROOT = Path(__file__).parents[2]


def networks():
    """Two final networks, as architectures.parquet holds them."""
    return pd.DataFrame(
        {
            "network": [0, 1],
            "origin": ["mode", "drawn"],
            "coefficient": [0.3, 0.0],
            "limits": [None, None],
            "architecture": [(4, 0), (3, 2)],
            "architecture_readable": ["skip k3e2", "k5e4 k3e4"],
            "params": [1200.0, 34_567.0],
            "flops": [56_000.0, 1_234_567.0],
            "complexity": [0.03, 1.0],
            "supernet_loss": [0.25, 0.125],
            "supernet_accuracy": [0.9, 0.98765],
            "supernet_test_accuracy": [0.89, 0.9754],
        }
    )


def run_of(config, *, finished):
    return Run(
        path=config.run_path,
        config=config.to_dict(),
        evaluations=pd.DataFrame({"id": range(20)}),
        distributions=pd.DataFrame(),
        rounds=pd.DataFrame(),
        architectures=networks() if finished else pd.DataFrame(),
        finished={"num_evaluations": 20} if finished else None,
    )


@pytest.fixture
def experiment(make_config, monkeypatch, tmp_path):
    """Runs an experiment whose search is replaced by `search(config, resume)`; returns its exit status.

    `as_program`: its flags are those of the process, and not given by a caller.
    """

    tested = Experiment(description="", config_of=lambda options: make_config(), options=ExperimentOptions)

    def run(search, *flags, as_program=False, complete=None, is_recorded=True):
        argv = ["--storage", str(tmp_path), *flags]

        def run_search(config, resume, trackers, console):
            if is_recorded:
                Path(config.run_path).mkdir(exist_ok=True)
                Path(config.run_path, "config.json").touch()
            return search(config, resume)

        monkeypatch.setattr("multinas_ray.oneshot.run_search", run_search)
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # not so under python -m pytest
        monkeypatch.setattr(sys, "argv", ["experiment.py", *(argv if as_program else ["--of-the-caller"])])
        return tested.run(None if as_program else argv, complete=complete)

    return run


def fail_with(error):
    def search(config, resume):
        raise error

    return search


@pytest.mark.parametrize("kind", [ConfigError, DataError, StateError, RunError])
def test_an_error_is_one_line_on_standard_error(experiment, capsys, kind):
    text = "num_workers=2 needs [bold]3 CPUs[/bold] " + "and says so at length " * 12 + "; add nodes"
    assert experiment(fail_with(kind(text))) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {text}\n"
    assert captured.out.count("--resume") == (2 if kind is RunError else 1)  # the first at the start of each search


@pytest.mark.parametrize("error", [RunError("no run to resume: leave out --resume"), KeyboardInterrupt()])
def test_where_nothing_is_recorded_nothing_is_resumed(experiment, capsys, error):
    assert experiment(fail_with(error), is_recorded=False) in (2, 130)
    out = capsys.readouterr().out
    assert commands_in(out) == []
    assert "kept" not in out


def test_an_interrupt_before_the_search_has_nothing_to_go_on_with(experiment, capsys, monkeypatch):
    monkeypatch.setattr(Experiment, "_settings", fail_with(KeyboardInterrupt()))
    assert experiment(lambda config, resume: None) == 130
    assert capsys.readouterr().out == "Interrupted; nothing was begun.\n"


def test_a_wrong_setting_is_told_in_the_same_way(experiment, capsys):
    assert experiment(lambda config, resume: None, "--num-workers", "3") == 2
    assert capsys.readouterr().err.startswith(
        "error: OneShotSearchConfig: batch_size=64 is 2 groups of norm_batch_size=32, fewer "
    )


def test_other_errors_keep_their_traceback(experiment):
    with pytest.raises(ZeroDivisionError):
        experiment(fail_with(ZeroDivisionError()))


def commands_in(text):
    """The commands that go on, split as a shell does, without the one that every search prints at its start."""
    at_start, *further = [shlex.split(line) for line in text.splitlines() if "--resume" in line]
    assert not further or further[-1] == at_start
    return further


@pytest.mark.parametrize("as_program", [True, False])
def test_an_interrupted_search_says_how_to_go_on(experiment, capsys, tmp_path, as_program):
    argv = ["--name", "my run", "--seed", "3"]
    assert experiment(lambda config, resume: run_of(config, finished=False), *argv, as_program=as_program) == 130
    out = capsys.readouterr().out
    assert "Stopped after 20 evaluations. Nothing is lost. Go on with:" in out.splitlines()
    assert commands_in(out) == [[sys.executable, "experiment.py", "--storage", str(tmp_path), *argv, "--resume"]]


@pytest.mark.parametrize("as_program", [True, False])
def test_a_resumed_search_that_is_interrupted_asks_for_one_resume(experiment, capsys, tmp_path, as_program):
    argv = ["--resume", "--seed", "3"]
    assert experiment(lambda config, resume: run_of(config, finished=False), *argv, as_program=as_program) == 130
    expected = [sys.executable, "experiment.py", "--storage", str(tmp_path), "--seed", "3", "--resume"]
    assert commands_in(capsys.readouterr().out) == [expected]


def test_a_long_command_stays_on_one_line(experiment, capsys):
    argv = ["--name", "long-name-" * 30]
    assert experiment(lambda config, resume: run_of(config, finished=False), *argv, is_recorded=False) == 130
    ((*_, name, _),) = commands_in(capsys.readouterr().out)
    assert name == argv[1]


def test_a_finished_search_shows_its_networks_and_where_they_are(experiment, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    assert experiment(lambda config, resume: run_of(config, finished=True)) == 0
    out = capsys.readouterr().out
    assert "2 networks, from small to large" in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert rows == [
        ["0", "1.2 k", "56 k", "0.2500", "90.00%", "89.00%", "mode"],
        ["1", "34.6 k", "1.23 M", "0.1250", "98.77%", "97.54%", "drawn"],
    ]
    assert [line.split() for line in out.splitlines() if line.startswith("#")] == [
        ["#0", "for", "coefficient", "0.3:", "skip", "k3e2"],
        ["#1", "for", "coefficient", "0:", "k5e4", "k3e4"],
    ]
    lines = out.splitlines()
    assert f"Picture: {tmp_path}/small/pareto.png" in lines
    assert f"Curves: {tmp_path}/small/tensorboard" in lines
    assert any(line.startswith(f"Results: {tmp_path}/small") for line in lines)


def test_what_comes_next_can_be_pasted(experiment, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("multinas_ray.cluster.load_module", lambda name: None)
    flags = ("--name", "my run", "--import", "my_package.blocks")
    assert experiment(lambda config, resume: run_of(config, finished=True), *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    own = ["--import", "my_package.blocks"]
    expected = [["multinas-ray", verb, f"{tmp_path}/my run", *own] for verb in ("retrain", "export")]
    expected.append(["multinas-ray", "report", f"{tmp_path}/my run"])
    assert [shlex.split(line) for line in lines[lines.index("Next:") + 1 :]] == expected


def test_what_follows_a_finished_search_is_done(experiment, capsys):
    done = []
    status = experiment(
        lambda config, resume: run_of(config, finished=True),
        "--seed",
        "5",
        complete=lambda config, arguments, console: done.append((config.name, arguments.seed)),
    )
    assert (status, done) == (0, [("small", 5)])
    assert "Next:" not in capsys.readouterr().out


def test_nothing_follows_an_interrupted_search(experiment):
    done = []
    unfinished = experiment(lambda config, resume: run_of(config, finished=False), complete=lambda *all: done.append(1))
    assert (unfinished, done) == (130, [])


def test_an_interrupt_afterwards_says_how_to_go_on(experiment, capsys, tmp_path):
    def interrupted(config, arguments, console):
        raise KeyboardInterrupt

    assert experiment(lambda config, resume: run_of(config, finished=True), complete=interrupted) == 130
    expected = [sys.executable, "experiment.py", "--storage", str(tmp_path), "--resume"]
    assert commands_in(capsys.readouterr().out) == [expected]


def test_an_error_afterwards_is_one_line(experiment, capsys):
    def failing(config, arguments, console):
        raise RunError("no room")

    assert experiment(lambda config, resume: run_of(config, finished=True), complete=failing) == 2
    assert capsys.readouterr().err == "error: no room\n"


def test_damaged_images_are_told(experiment, capsys, tmp_path):
    folder = tmp_path / "small" / "damaged_images"
    folder.mkdir(parents=True)
    told = f"Damaged images, each of which was replaced by another image of its class: {folder}"
    for file, is_told in ((None, False), ("0.txt", True)):
        if file is not None:
            (folder / file).write_text("n01/a.jpg\n")
        assert experiment(lambda config, resume: run_of(config, finished=True)) == 0
        assert (told in capsys.readouterr().out.splitlines()) == is_told


def test_flags_reach_the_configuration(experiment, tmp_path):
    seen = []

    def search(config, resume):
        seen.append((config, resume))
        return run_of(config, finished=True)

    argv = ["--name", "x", "--seed", "5", "--num-workers", "2", "--threads-per-worker", "3", "--use-gpu", "--resume"]
    assert experiment(search, *argv) == 0
    ((config, resume),) = seen
    assert (config.name, config.seed, config.num_workers, config.use_gpu, resume) == ("x", 5, 2, True, True)
    assert config.threads_per_worker == 3
    assert config.run_path == f"{tmp_path}/x"


def test_flags_left_out_are_those_of_the_experiment(experiment):
    seen = []

    def search(config, resume):
        seen.append((config.name, config.seed, config.num_workers, config.use_gpu, resume))
        return run_of(config, finished=True)

    experiment(search)
    assert seen == [("small", 0, 1, False, False)]


def test_the_quickstart_explains_itself():
    command = [sys.executable, str(ROOT / "experiments" / "quickstart.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "nothing is downloaded" in done.stdout
    for flag in ("--storage", "--name", "--seed", "--num-workers", "--threads-per-worker", "--use-gpu", "--resume"):
        assert flag in done.stdout


def config_of(config, *flags):
    experiment = Experiment(description="", config_of=lambda options: config, options=ExperimentOptions)
    return experiment.config(experiment.parser().parse_args(flags))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], (1, 1, 0.0)),
        (["--num-workers", "2"], (2, 2, 0.0)),
        (["--num-workers", "1:2"], (2, 1, 0.0)),
        (["--num-workers=2", "--node-wait-seconds", "90"], (2, 2, 90.0)),
    ],
)
def test_workers_and_the_fewest_of_them(make_config, flags, expected):
    config = config_of(make_config(), *flags)
    assert (config.num_workers, config.fewest_workers, config.node_wait_seconds) == expected


@pytest.mark.parametrize("given", ["two", ":2", "1:", "1:2:3", "-1"])
def test_a_number_of_workers_that_is_none_is_told(make_config, capsys, given):
    with pytest.raises(SystemExit):
        config_of(make_config(), f"--num-workers={given}")
    assert f"give a number of workers, or MIN:MAX as 4:8, not '{given}'" in capsys.readouterr().err


def test_a_module_is_told_as_it_was_started(monkeypatch):
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["/there/own.py", "--seed", "1"])
    main.__spec__ = None
    assert _started() == ["/there/own.py", "--seed", "1"]
    main.__spec__ = ModuleSpec("experiments.own", None)
    assert _started() == ["-m", "experiments.own", "--seed", "1"]
