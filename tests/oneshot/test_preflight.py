import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from multinas_ray.cluster import NodeFacts
from multinas_ray.data import DataConfig, load_splits
from multinas_ray.errors import ConfigError, DataError, RunError, StateError, StorageError
from multinas_ray.oneshot import preflight
from multinas_ray.oneshot.memory_estimate import estimate_memory
from multinas_ray.oneshot.preflight import (
    check_cluster,
    check_data,
    check_gpus,
    check_resources,
    check_run_folder,
    needs_of,
    tell_images,
)
from multinas_ray.runs import RunSession, gigabytes, write_config
from multinas_ray.spaces import digits_space
from multinas_ray.supernets import WeightTraining
from tests.support.image_trees import write_tree


@pytest.fixture
def started(make_config):
    """A configuration whose run was started before."""
    config = make_config()
    write_config(config.run_path, config.to_dict())
    RunSession.begin(config.run_path)
    return config


def test_a_run_that_never_came_to_a_session_leaves_its_name_free(make_config):
    config = make_config()
    write_config(config.run_path, config.to_dict())
    check_run_folder(config, resume=False)
    check_run_folder(config, resume=True)


def test_a_new_run_needs_a_free_name(started):
    with pytest.raises(ConfigError) as caught:
        check_run_folder(started, resume=False)
    assert str(caught.value) == (
        f"the name of a new run must be free, {started.storage_path} has a run 'small': go on with it with --resume, "
        "or choose another --name"
    )


def test_another_name_is_free(started):
    check_run_folder(replace(started, name="other"), resume=False)


def test_there_must_be_a_run_to_resume(make_config):
    config = make_config()
    with pytest.raises(RunError) as caught:
        check_run_folder(config, resume=True)
    assert str(caught.value) == (f"there is no run to resume at {config.run_path}: leave out --resume to start it")


def test_the_same_search_can_be_resumed(started):
    check_run_folder(started, resume=True)
    check_run_folder(replace(started, rounds_ahead=1, num_workers=2), resume=True)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"seed": 7}, ["seed: recorded 0, now 7"]),
        (
            {"coefficients": (0.0, 0.1, 0.3)},
            ["optimizer.coefficients: recorded [0.0, 0.3], now [0.0, 0.1, 0.3]"],
        ),
        ({"space": digits_space()}, ["space: recorded '", "now 'digits (", "complexity.scale: recorded "]),
        ({"search_rounds": 99}, ["plan.search_rounds: recorded 12, now 99"]),
        ({"complexity": "flops"}, ["complexity.name: recorded 'params', now 'flops'"]),
        (
            {"training": WeightTraining(batch_size=96, validation_batch_size=128, norm_batch_size=32)},
            ["training.batch_size: recorded 64, now 96"],
        ),
        (
            {"data": DataConfig(source="digits", validation_fraction=0.5)},
            ["data.validation_fraction: recorded 0.25, now 0.5"],
        ),
    ],
)
def test_another_search_is_not_resumed_and_the_difference_is_named(started, changes, shown):
    with pytest.raises(StateError) as caught:
        check_run_folder(replace(started, **changes), resume=True)
    text = str(caught.value)
    assert text.startswith(f"a resumed search must have its own settings, those of {started.run_path} differ (")
    assert text.endswith("resume it with the settings of its config.json, or start a new run under another --name")
    for part in shown:
        assert part in text


def test_of_many_differences_a_few_are_shown_and_each_is_short(started):
    changes = {"seed": 1, "coefficients": tuple(float(k) for k in range(40)), "memory": 3, "margin_scale": 0.5}
    with pytest.raises(StateError) as caught:
        check_run_folder(replace(started, search_rounds=20, warmup_rounds=3, **changes), resume=True)
    differences = str(caught.value).split(" differ (")[1].split("): resume it")[0].split("; ")
    assert len(differences) == preflight.DIFFERENCES_SHOWN
    assert all(len(difference) < 200 for difference in differences)


def test_a_damaged_run_is_not_resumed(started):
    Path(started.run_path, "config.json").write_text("{")
    with pytest.raises(StateError, match=r"config\.json is damaged \(it is not JSON"):
        check_run_folder(started, resume=True)


def test_a_run_that_lost_its_configuration_is_neither_resumed_nor_started_anew(started):
    Path(started.run_path, "config.json").unlink()
    with pytest.raises(StateError, match=r"has no config\.json: .* if the file was lost, restore a copy of it"):
        check_run_folder(started, resume=True)
    with pytest.raises(ConfigError, match="the name of a new run must be free"):
        check_run_folder(started, resume=False)


def test_a_storage_that_cannot_be_written_is_named(make_config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    config = make_config(storage_path=str(tmp_path / "file" / "runs"))
    for resume in (False, True):
        with pytest.raises(StorageError) as caught:
            check_run_folder(config, resume=resume)
        text = str(caught.value)
        assert text.startswith(f"{tmp_path}/file/runs cannot be created (")
        assert "choose a place in a folder" in text


def test_a_check_leaves_nothing_behind(make_config, tmp_path):
    check_run_folder(make_config(), resume=False)
    assert list((tmp_path / "runs").iterdir()) == []


def test_images_that_fit_are_given_back(make_config):
    splits = check_data(make_config())
    assert splits.image_shape == (1, 8, 8)


def test_a_table_is_printed_of_ones_own_images_only(make_config, tmp_path):
    write_tree(tmp_path / "tree", {"[red] ants": 6, "bees": 6})
    (tmp_path / "tree" / "bees" / "notes.txt").write_text("")
    own = load_splits(DataConfig(source="folder", path=str(tmp_path / "tree")))
    for splits, told in (
        (check_data(make_config()), []),
        (own, ["[red] ants", "1 of kind .txt", "exif_rotation=True"]),
    ):
        printed = io.StringIO()
        tell_images(splits, Console(width=100, file=printed))
        assert all(text in printed.getvalue() for text in told)
        assert bool(printed.getvalue()) == bool(told)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"space": digits_space(image_size=16)},
            "the space takes images of shape (1, 16, 16) (channels, height, width), got (1, 8, 8): "
            "build the space for these images, or set image_size",
        ),
        (
            {"space": digits_space(num_classes=7)},
            "networks of the space have 7 classes, the images have 10: build the space with the number of classes of "
            "the images",
        ),
        (
            {"training": WeightTraining(batch_size=1088, validation_batch_size=64, norm_batch_size=32)},
            "batch_size must be at most the 1078 train images, got 1088: set batch_size to 1056",
        ),
        (
            {"training": WeightTraining(batch_size=64, validation_batch_size=384, norm_batch_size=32)},
            "validation_batch_size must be at most the 360 validation images, got 384: set validation_batch_size to "
            "352",
        ),
    ],
)
def test_images_that_do_not_fit_say_why(make_config, changes, text):
    with pytest.raises(DataError) as caught:
        check_data(make_config(**changes))
    assert str(caught.value) == text


def test_a_cluster_that_has_enough_is_fine(make_config, cluster):
    cluster((2.0, 0.0))
    check_resources(make_config(num_workers=2), Console())
    cluster((2.0, 1.0), (2.0, 1.0))
    check_resources(make_config(num_workers=2, use_gpu=True), Console())


def test_fewer_workers_are_enough_where_the_search_may_go_on_with_them(make_config, cluster):
    cluster((1.0, 0.0))
    check_resources(make_config(num_workers=2, min_workers=1), Console())
    with pytest.raises(RunError, match="num_workers=2 workers of 1 CPU do not fit"):
        check_resources(make_config(num_workers=2), Console())


def test_nodes_that_are_waited_for_count(make_config, cluster, monkeypatch):
    def wait(num_workers, *, wait_seconds, **asked):
        assert (num_workers, wait_seconds) == (2, 30.0)
        cluster((2.0, 0.0))

    monkeypatch.setattr(preflight, "wait_for_room", wait)
    cluster((1.0, 0.0))
    check_resources(make_config(num_workers=2, node_wait_seconds=30.0), Console())


def node_with(*gpu_bytes, free_bytes=None):
    """What a node with GPUs of these sizes tells of itself."""
    return NodeFacts(
        address="10.0.0.1",
        versions={},
        storage_problem=None,
        sees_images=True,
        gpu_bytes=list(gpu_bytes),
        free_bytes=free_bytes,
        cores=2,
        ray_cpus=4.0,
        ray_gpus=2.0,
        shared_bytes=None,
        driver=None,
        driver_cuda=None,
        wheel_cuda="13.0",
    )


def test_a_gpu_too_small_for_one_subnet_is_told_what_it_needs(make_config, monkeypatch):
    config = make_config(use_gpu=True, num_workers=2, min_workers=1)
    needed = estimate_memory(config.space, config.training, 1).least
    large, small = (node_with(2 * needed, memory) for memory in (needed, needed - 1))
    check_gpus(config, [large])
    monkeypatch.setattr(preflight, "check_nodes", lambda *paths: [large, replace(small, address="10.0.0.2")])
    with pytest.raises(RunError, match=re.escape(f"1 worker(s) need {gigabytes(needed)} each, a GPU of")):
        check_cluster(config, Console())


def test_what_workers_need_follows_from_the_search(make_config, tmp_path):
    needs = needs_of(make_config(num_workers=2, cpus_per_worker=3.0))
    assert (needs.num_workers, needs.cpus_per_worker, needs.is_group) == (2, 3.0, True)
    assert (needs.use_gpu, needs.bfloat16, needs.decoded_bytes) == (False, False, 0)
    training = WeightTraining(batch_size=96, validation_batch_size=64, norm_batch_size=32, precision="bfloat16")
    data = DataConfig(source="folder", path=str(tmp_path), in_memory=False, decode_processes=5)
    needs = needs_of(make_config(training=training, data=data, num_workers=2, use_gpu=True))
    assert needs.bfloat16
    assert needs.use_gpu
    assert needs.decoded_bytes == 3 * (64 + 32) * 64  # three batches of both shards, of 8 x 8 pixels
    assert needs.decode_processes == 5
    in_process = replace(data, decode_processes=0)
    assert needs_of(make_config(training=training, data=in_process)).decoded_bytes == 0


def test_a_cluster_averages_where_there_are_other_nodes_and_tells_what_is_slow(make_config, monkeypatch):
    printed = io.StringIO()
    console = Console(file=printed, width=300)
    facts = [replace(node_with(), cores=1)]
    monkeypatch.setattr(preflight, "check_nodes", lambda *given: facts)
    monkeypatch.setattr(preflight, "check_ranks", lambda needs: 1e9)
    assert check_cluster(make_config(num_workers=2), console) == (facts, None)
    assert "may start 2 workers there" in printed.getvalue()
    facts.append(replace(node_with(), address="10.0.0.2"))
    assert check_cluster(make_config(num_workers=2), console)[1] == 1e9


def test_a_node_whose_memory_does_not_hold_the_supernet_is_told_what_it_needs(make_config, monkeypatch):
    config = make_config(num_workers=2, min_workers=1)
    needed = 3 * 4 * config.space.supernet_params
    monkeypatch.setattr(preflight, "check_ranks", lambda needs: None)
    monkeypatch.setattr(preflight, "check_nodes", lambda *paths: [node_with(free_bytes=needed), node_with()])
    assert len(check_cluster(config, Console())[0]) == 2
    monkeypatch.setattr(preflight, "check_nodes", lambda *paths: [node_with(), node_with(free_bytes=needed - 1)])
    with pytest.raises(RunError, match=r"optimiser, which take .*; 10\.0\.0\.1 has .* free: use a smaller"):
        check_cluster(config, Console())
