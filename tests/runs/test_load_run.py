import dataclasses
import json
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import load_run, write_config, write_document, write_finished
from multinas_ray.runs.recorded_tables import consuming_update
from multinas_ray.runs.schema import SCHEMA_VERSION, architectures_schema, distributions_schema, evaluations_schema
from multinas_ray.runs.snapshots import encode_snapshot, load_snapshot, write_snapshot
from multinas_ray.storage import make_folder, write_atomic
from tests.support.narrow import present
from tests.support.records import BARE_CONFIG
from tests.support.stores import place_in_memory


def test_a_finished_run_comes_back_whole(finished_run):
    run = load_run(finished_run)
    assert run.is_finished
    assert present(run.finished)["num_evaluations"] == 320
    assert len(run.evaluations) == 320
    assert len(run.distributions) == 40 * 4
    assert len(run.architectures) == 4
    assert run.complexity_cost == ("params", run.config["complexity"]["scale"])
    assert "schema_version" not in run.config
    np.testing.assert_array_equal(run.evaluations["tell_order"], np.arange(320))
    assert run.evaluations["id"].is_unique
    assert set(run.evaluations["architecture"].map(type)) == {tuple}
    assert set(run.distributions["mode"].map(type)) == {tuple}
    assert run.architectures["architecture"].map(len).eq(6).all()
    assert np.isinf(run.evaluations["loss"]).sum() == 1


def test_the_configs_arrays_come_back_exactly(tmp_path):
    table = np.array([[0.1, 1 / 3], [np.pi, 0.0]])
    write_config(tmp_path / "run", {**BARE_CONFIG, "optimizer": {"cost_table": table, "coefficients": (0.1, 0.3)}})
    config = load_run(tmp_path / "run").config
    np.testing.assert_array_equal(config["optimizer"]["cost_table"], table)
    assert config["optimizer"]["coefficients"] == [0.1, 0.3]


def test_recorded_values_are_those_that_were_told(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    told = [recorder.step(number) for number in range(3)]
    recorder.record.flush()
    run = load_run(tmp_path / "run")
    assert run.evaluations["loss"].tolist() == [value for one in told for value in one.losses]
    assert run.evaluations["complexity"].tolist() == [value for one in told for value in one.complexities]
    assert run.evaluations["params"].tolist() == [value for one in told for value in one.costs["params"]]
    assert run.evaluations["accuracy"].tolist() == [value for one in told for value in one.accuracies]
    assert run.evaluations["log_q"].tolist() == [value for one in told for value in one.draws.log_q]
    rows = run.evaluations["architecture"].tolist()
    assert rows == [tuple(row) for one in told for row in one.architectures]
    assert run.evaluations["update"].tolist() == [1] * 8 + [2] * 8 + [3] * 8
    last = run.distributions[run.distributions["update"] == 3]
    for k, probs in enumerate(last["probs"]):
        for d, given in enumerate(probs):
            np.testing.assert_array_equal(given, recorder.optimizer.probs[k, d, : len(given)])
    assert [len(given) for given in last["probs"].iloc[0]] == [3, 4, 2, 4, 3, 4]


def test_a_run_is_read_while_it_goes_on(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    assert load_run(tmp_path / "run").evaluations.empty
    for number in range(20):
        recorder.step(number)
        run = load_run(tmp_path / "run")
        assert len(run.evaluations) == 8 * (number + 1)
        assert not run.is_finished
        assert run.distributions["update"].max() <= run.evaluations["update"].max() or run.distributions.empty
        assert run.architectures.empty
    assert list(run.distributions.columns) == distributions_schema().names
    assert list(run.architectures.columns) == architectures_schema(()).names


def test_temporary_files_are_ignored(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    recorder.step(0)
    for name in (".part-00001.parquet.1-ab.tmp", "_part-00001.parquet", "part-00001.parquet.tmp"):
        (tmp_path / "run" / "evaluations" / name).write_bytes(b"half")
    assert len(load_run(tmp_path / "run").evaluations) == 8


def test_other_tools_read_the_folders_alone(finished_run):
    frame = pd.read_parquet(finished_run / "evaluations")
    assert len(frame) == 320
    assert frame["timestamp"].dt.tz is not None
    metadata = pq.read_schema(finished_run / "evaluations" / "part-00000.parquet").metadata
    assert metadata[b"multinas_ray.schema_version"] == str(SCHEMA_VERSION).encode()
    assert metadata[b"multinas_ray.table"] == b"evaluations"
    assert json.loads(metadata[b"multinas_ray.config"])["optimizer"]["samples_per_update"] == 8
    assert len(pd.read_parquet(finished_run / "distributions")) == 160


def test_runs_on_object_stores_are_read_alike(finished_run):
    stored = place_in_memory("run")
    for file in finished_run.rglob("*"):
        place = stored.join(*file.relative_to(finished_run).parts)
        make_folder(place if file.is_dir() else place.parent)
        if file.is_file():
            write_atomic(place, file.read_bytes())
    run = load_run(stored)
    pd.testing.assert_frame_equal(run.evaluations, load_run(finished_run).evaluations)
    assert run.is_finished


def test_a_file_uri_names_the_same_run(finished_run):
    assert len(load_run(f"file://{finished_run}").evaluations) == 320


@pytest.mark.parametrize("told", [None, "params", {"name": "watts", "scale": 2.0}, {"name": "params", "scale": 0}])
def test_a_config_need_not_tell_the_cost_of_its_complexity(finished_run, told):
    run = load_run(finished_run)
    assert dataclasses.replace(run, config={"complexity": told}).complexity_cost is None


def test_no_run_is_told(tmp_path):
    with pytest.raises(StateError, match=r"there is no run at .*nowhere: give the folder <storage_path>/<run>"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(StateError, match=r"is not a run, since it has no config.json: give the folder"):
        load_run(tmp_path)


@pytest.fixture
def copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "copy")


def test_another_schema_version_is_told(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "schema_version": 99}))
    with pytest.raises(StateError, match=r"config.json has schema version 99, this package reads version 2: use"):
        load_run(copy)
    del config["schema_version"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(StateError, match="has schema version None"):
        load_run(copy)


@pytest.mark.parametrize("version", [b"1", None, b"x"])
def test_a_table_of_another_version_is_told(copy, version):
    file = copy / "distributions" / "part-00000.parquet"
    metadata = {} if version is None else {b"multinas_ray.schema_version": version}
    pq.write_table(pq.read_table(file).replace_schema_metadata(metadata), file)
    with pytest.raises(StateError, match=r"part-00000.parquet has schema version (1|none|x), this package"):
        load_run(copy)


def test_damaged_files_are_named(copy):
    (copy / "finished.json").write_text("[1]")
    with pytest.raises(StateError, match=r"finished.json must contain a JSON object, it contains a list"):
        load_run(copy)
    (copy / "finished.json").write_text("{")
    with pytest.raises(
        StateError,
        match=r"finished.json is damaged \(it is not JSON.*verify RUN --repair` rebuilds it",
    ):
        load_run(copy)
    (copy / "finished.json").unlink()
    (copy / "evaluations" / "part-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(StateError, match=r"part-00001.parquet is not a readable Parquet file .*restore a copy"):
        load_run(copy)


def test_parts_of_two_runs_are_told(copy):
    file = copy / "evaluations" / "part-00001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["flops"]), file)
    with pytest.raises(StateError, match="must have the columns of evaluations, these differ: flops: restore"):
        load_run(copy)


def test_the_version_key_is_ours(tmp_path):
    with pytest.raises(StateError, match=r"the key 'schema_version' of config\.json is written by this package"):
        write_config(tmp_path, {**BARE_CONFIG, "schema_version": 1})
    with pytest.raises(StateError, match="not plain data"):
        write_config(tmp_path, {**BARE_CONFIG, "versions": object()})
    assert not (tmp_path / "config.json").exists()


def test_the_finished_mark_holds_the_totals(tmp_path):
    write_config(tmp_path, BARE_CONFIG)
    write_finished(tmp_path, {"num_evaluations": 7, "num_restarts": 2})
    assert load_run(tmp_path).finished == {"num_evaluations": 7, "num_restarts": 2}


@pytest.mark.parametrize("name", ["loss", "Params", "1st", "a b", "", "complexity", "tell_order"])
def test_cost_names_must_be_fresh_identifiers(name):
    with pytest.raises(ConfigError, match=f"the cost name '{name}' cannot be a column of evaluations"):
        evaluations_schema([name])


def test_cost_names_come_once():
    with pytest.raises(ConfigError, match="the cost name 'flops' cannot be a column of architectures"):
        architectures_schema(["flops", "params", "flops"])


def test_results_are_consumed_in_the_order_told():
    assert [consuming_update(order, 3) for order in range(7)] == [1, 1, 1, 2, 2, 2, 3]


def test_schemas_are_pinned():
    """Other programs read these columns: a change needs a new SCHEMA_VERSION."""
    names = (
        "id round block trial_id source architecture architecture_readable loss accuracy params complexity "
        "log_q drawn_at_update tell_order update reused_id wall_time_seconds timestamp"
    )
    assert evaluations_schema(["params"]).names == names.split()
    names = (
        "update round distribution coefficient target expected_complexity expected_loss entropy step_size "
        "effective_sample_size mode mode_readable mode_probability probs"
    )
    assert distributions_schema().names == names.split()
    assert distributions_schema().field("probs").type == pa.list_(pa.list_(pa.float64()))
    names = (
        "network origin distribution coefficient target limits architecture architecture_readable params complexity "
        "mode_probability evaluation_id supernet_loss supernet_accuracy supernet_test_accuracy weights_path "
        "retrained_loss retrained_accuracy retrained_epochs retrained_path"
    )
    assert architectures_schema(["params"]).names == names.split()
    assert SCHEMA_VERSION == 2


def test_snapshots_continue_an_optimiser_exactly(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    assert load_snapshot(tmp_path / "run") is None
    for number in range(5):
        recorder.step(number)
    state = {"elapsed_seconds": 1.0, "optimizer": recorder.optimizer.state_dict()}
    write_snapshot(tmp_path / "run", encode_snapshot(state))
    other = make_run(tmp_path / "other").optimizer
    other.load_state_dict(present(load_snapshot(tmp_path / "run"))["optimizer"])
    np.testing.assert_array_equal(other.probs, recorder.optimizer.probs)
    np.testing.assert_array_equal(other.ask(20).architectures, recorder.optimizer.ask(20).architectures)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{}", r"state.json has schema version None"),
        ("[]", "must contain a JSON object, it contains a list"),
        ('{"schema_version": 2, "state": {}}', "has changed since it was written, its checksum differs"),
        ("{", r"state.json is damaged \(it is not JSON"),
    ],
)
def test_damaged_snapshots_are_refused(tmp_path, content, text):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(StateError, match=text) as caught:
        load_snapshot(tmp_path)
    remedy = "delete it, and the search computes it again from the evaluations when it resumes"
    assert remedy in str(caught.value) or "use the version of multinas-ray that wrote it" in str(caught.value)


def test_a_person_may_change_a_file_and_say_so(tmp_path):
    write_config(tmp_path, {**BARE_CONFIG, "seed": 1})
    text = (tmp_path / "config.json").read_text().replace('"seed": 1', '"seed": 2')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        StateError, match=r'config.json has changed since it was written.* set its "checksum" to "edited"'
    ):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text(re.sub(r'"checksum": "\w+"', '"checksum": "edited"', text))
    assert load_run(tmp_path).config["seed"] == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "pipeline"}, "kind must be one of oneshot, tune, got 'pipeline'"),
        ({"kind": None}, "kind must be one of"),
        ({"costs": 3}, "costs must be a list, got 3"),
        ({"seed": "x"}, "seed must be a whole number or None, got 'x'"),
        ({"optimizer": []}, r"optimizer must be a mapping or None, got \(\)"),
        (
            {"optimizer": {"num_categories": ["a"]}},
            r"num_categories\[0\] must be a whole number.* in its section",
        ),
        ({"complexity": {"name": 1}}, "name must be text, got 1 in its section 'complexity'"),
        ({"kind": "tune"}, "metric is missing"),
    ],
)
def test_a_configuration_of_another_form_is_told(tmp_path, changes, text):
    write_document(tmp_path / "config.json", {**BARE_CONFIG, **changes})
    with pytest.raises(StateError, match=f"config.json is not a run's configuration, {text}.*: restore a copy"):
        load_run(tmp_path)


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path):
    state = {"elapsed_seconds": 1.0, "optimizer": {"a": 1}}
    write_snapshot(tmp_path, encode_snapshot(state))
    with pytest.raises(StateError, match="not plain data"):
        write_snapshot(tmp_path, encode_snapshot({"a": object()}))
    assert load_snapshot(tmp_path) == state
