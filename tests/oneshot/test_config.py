import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from multinas_ray.core import make_optimizer, settings_from_dict
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError
from multinas_ray.runs import config_metadata, load_run, write_config
from multinas_ray.spaces import AdditiveCost, NetworkSpace, Position, digits_space
from multinas_ray.supernets import WeightTraining

TRAINING = WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32)  # as in conftest.py


def new_optimizer(config):
    return make_optimizer(config.optimizer_settings, seed=config.seed)


def space_without_choices():
    space = digits_space()
    positions = (Position("empty", ()), *space.positions[1:])
    return NetworkSpace("broken", space.input_shape, space.stem, positions, space.head)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"coefficients": ()},
            "coefficients must have at least 1 items or None, got ()",
        ),
        (
            {"coefficients": (-0.1, 0.3)},
            "coefficients[0] must be at least 0, got -0.1",
        ),
        (
            {"coefficients": (0.0, float("nan"))},
            "coefficients[1] must be finite, got nan",
        ),
        (
            {"coefficients": (0.3, 0.1)},
            "coefficients must be strictly increasing, got 0.3 then 0.1 at 1; sort them and drop repeats",
        ),
        (
            {"coefficients": (0.0, 0.1, 0.1)},
            "coefficients must be strictly increasing, got 0.1 then 0.1 at 2; sort them and drop repeats",
        ),
        (
            {"samples_per_update": 5},
            "samples_per_update must be a positive multiple of the number of distributions, 2, got 5; use 6",
        ),
        ({"targets": (5e3, 9e3)}, "a search must have either coefficients or targets: give one of the two"),
        ({"coefficients": None}, "a search must have either coefficients or targets: give one of the two"),
        (
            {"coefficients": None, "targets": (9e3, 5e3)},
            "targets must be one or more complexities in rising order, got (9000.0, 5000.0)",
        ),
        (
            {"coefficients": None, "targets": (9e3,), "target_weight": 0.0},
            "target_weight must be positive, got 0.0",
        ),
        (
            {"coefficients": None, "targets": (9e3, 9e9)},
            "targets must lie within what networks of the space have, 3058 to 28434 params, got 9000000000",
        ),
        ({"complexity": "latency"}, "complexity must be one of params, flops, got 'latency'"),
        ({"name": ""}, "name must be a plain folder name, which can be printed, got ''"),
        ({"name": "a/b"}, "name must be a plain folder name, which can be printed, got 'a/b'"),
        ({"name": ".."}, "name must be a plain folder name, which can be printed, got '..'"),
        ({"name": "a\nb"}, "name must be a plain folder name, which can be printed, got 'a\\nb'"),
        ({"name": "\x1b[31m"}, "name must be a plain folder name, which can be printed, got '\\x1b[31m'"),
        ({"num_workers": 0}, "num_workers must be at least 1, got 0"),
        ({"num_workers": 2, "min_workers": 3}, "min_workers must be from 1 to num_workers=2, got 3"),
        ({"num_workers": 2, "min_workers": 0}, "min_workers must be at least 1 or None, got 0"),
        ({"node_wait_seconds": -1.0}, "node_wait_seconds must be at least 0, got -1.0"),
        (
            {"num_workers": 3},
            "batch_size=64 is 2 groups of norm_batch_size=32, fewer than num_workers=3: set batch_size to at least 96",
        ),
        ({"blocks_in_flight": 0}, "blocks_in_flight must be at least 1, got 0"),
        ({"max_worker_failures": -2}, "max_worker_failures must be at least -1, got -2"),
        ({"rounds_per_block": 0}, "rounds_per_block must be at least 1 or None, got 0"),
        ({"threads_per_worker": 0}, "threads_per_worker must be at least 1 or None, got 0"),
        ({"cpus_per_worker": 0}, "cpus_per_worker must be positive, got 0"),
        ({"cpus_per_worker": float("nan")}, "cpus_per_worker must be finite, got nan"),
        ({"checkpoint_interval_seconds": 0.0}, "checkpoint_interval_seconds must be positive, got 0.0"),
        ({"optimizer_options": {"alpha": 0}}, "alpha must be positive, got 0"),
        (
            {"optimizer": "screened"},
            "the optimiser must accept losses that change, as those of a supernet in training do, 'screened' does not: "
            "choose another, or train_during_search=False",
        ),
        (
            {"optimizer": "asng"},
            "no kind of optimiser is registered by the name 'asng'; known are distributions, screened. Import the "
            "module that registers your own (on the command line: --import my_module.py)",
        ),
        (
            {"optimizer_options": {"memory": 2, "start": "targets"}},
            "optimizer_options must be settings that only the optimiser has, got memory, start: set them as "
            "settings of the search",
        ),
        (
            {"start": "prior", "prior": ()},
            "start='prior' needs a prior, got an empty one: name its parts, or choose another start",
        ),
        (
            {"start": "prior"},
            "start='prior' needs targets, since it puts each distribution near promising networks of its target: give "
            "targets, or start='uniform'",
        ),
        ({"start": "near"}, "start must be one of uniform, targets, prior or None, got 'near'"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"memory": -1}, "memory must be at least 0 or None, got -1"),
        ({"margin_scale": 0.0}, "margin_scale must be positive, got 0.0"),
        ({"warmup_rounds": -1}, "warmup_rounds must be at least 0, got -1"),
        ({"search_rounds": 0}, "search_rounds must be at least 1, got 0"),
        ({"rounds_ahead": 0}, "rounds_ahead must be at least 1, got 0"),
        ({"num_train_architectures": -1}, "num_train_architectures must be at least 1 or None, got -1"),
        ({"use_gpu": "no"}, "use_gpu must be True or False, got 'no'"),
        ({"warmup_rounds": 2.5}, "warmup_rounds must be a whole number, got 2.5"),
        ({"num_workers": True}, "num_workers must be a whole number, got True"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"space": "digits"}, "space must be a Space, got 'digits'"),
        ({"data": None}, "data must be a DataConfig, got None"),
        ({"extra_costs": ["latency"]}, "extra_costs[0] must be a Cost, got 'latency'"),
        ({"coefficients": 0.1}, "coefficients must be a list or None, got 0.1"),
        ({"warm_up_rounds": 3}, "warm_up_rounds is unknown; is warmup_rounds meant?"),
        (
            {"train_during_search": False, "warmup_rounds": 0},
            "the supernet must be trained, train_during_search=False with warmup_rounds=0 never does it: "
            "set warmup_rounds to the number of weight steps, or train_during_search=True",
        ),
    ],
)
def test_a_setting_that_breaks_a_rule_says_which_and_what_to_do(make_config, changes, text):
    with pytest.raises(ConfigError) as caught:
        make_config(**changes)
    assert str(caught.value) == f"OneShotSearchConfig: {text}"


@pytest.mark.parametrize(
    "changes",
    [
        {"max_worker_failures": -1},
        {"max_worker_failures": 0},
        {"cpus_per_worker": 0.5},
        {"threads_per_worker": 1},
        {"rounds_per_block": 1},
        {"blocks_in_flight": 1},
    ],
)
def test_the_borders_of_the_rules_are_allowed(make_config, changes):
    config = make_config(**changes)
    assert {name: getattr(config, name) for name in changes} == changes


@pytest.mark.parametrize("name", ["samples_per_update", "num_train_architectures"])
def test_nought_is_not_the_default(make_config, name):
    with pytest.raises(ConfigError, match=f"{name} must be"):
        make_config(**{name: 0})


def test_a_space_whose_variable_has_no_choices_is_refused():
    with pytest.raises(ConfigError, match="'empty'"):
        space_without_choices()


def test_a_config_without_its_needed_settings_is_no_config(make_config):
    fields = {field.name: field for field in dataclasses.fields(make_config())}
    needed = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    assert needed == {"space", "data", "name", "warmup_rounds", "search_rounds"}


def test_defaults_follow_the_number_of_distributions(make_config):
    config = make_config(coefficients=[0, 0.5, 1])
    assert config.coefficients == (0.0, 0.5, 1.0)
    assert config.plan.num_train_architectures == 3
    assert new_optimizer(config).samples_per_update == 6
    assert new_optimizer(make_config(samples_per_update=8)).samples_per_update == 8
    assert make_config(num_train_architectures=5).plan.num_train_architectures == 5


@pytest.mark.parametrize("storage", ["runs", "runs/", "./runs", "~/runs"])
def test_a_local_run_path_is_absolute(make_config, storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_config(storage_path=storage).run_path == f"{tmp_path}/runs/small"


def test_runs_may_lie_in_the_root_folder(make_config):
    assert make_config(storage_path="/").run_path == "/small"


@pytest.mark.parametrize("storage", ["s3://bucket/runs", "s3://bucket/runs/"])
def test_a_run_path_in_an_object_store_stays_a_uri(make_config, storage):
    assert make_config(storage_path=storage).run_path == "s3://bucket/runs/small"


@pytest.mark.parametrize("storage", ["runs", "~/runs"])
def test_curves_lie_in_the_runs_folder(make_config, storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_config(storage_path=storage).curves_path == f"{tmp_path}/runs/small/tensorboard"


def test_curves_of_a_run_in_an_object_store_lie_here(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make_config(storage_path="s3://bucket/runs/").curves_path == f"{tmp_path}/tensorboard/small"


@pytest.mark.parametrize("complexity", ["params", "flops"])
def test_the_complexity_is_one_for_the_largest_network(make_config, complexity):
    config = make_config(complexity=complexity)
    largest = config.space.costs[complexity].argmax()[None]
    assert config.cost(largest)[0] == config.complexity_scale
    assert config.cost.name == complexity


def test_expected_complexities_are_exact_from_the_start(make_config):
    config = make_config()
    every = config.space.search_space.enumerate()
    expected = config.cost(every).mean() / config.complexity_scale
    diagnostics = new_optimizer(config).diagnostics()
    assert diagnostics["expected_complexity"] == pytest.approx([expected] * 2)


def test_the_description_is_plain_json_and_rebuilds_the_optimizer(make_config, tmp_path):
    config = make_config(memory=2, margin_scale=0.5)
    description = json.loads(json.dumps(config.to_dict(), allow_nan=False))
    assert description == json.loads(json.dumps(description))
    rebuilt = make_optimizer(settings_from_dict(description["optimizer"]), seed=description["seed"])
    original = new_optimizer(config)
    for _ in range(3):
        ours, theirs = original.ask(), rebuilt.ask()
        assert np.array_equal(ours.architectures, theirs.architectures)
        complexities = config.cost(ours.architectures) / config.complexity_scale
        original.tell(ours, complexities**2, complexities)
        rebuilt.tell(theirs, complexities**2, complexities)
    assert np.array_equal(original.probs, rebuilt.probs)
    for name, values in original.diagnostics().items():
        np.testing.assert_array_equal(values, rebuilt.diagnostics()[name], err_msg=name)


@pytest.mark.parametrize(
    ("changes", "samples", "memory"),
    [
        ({}, 4, 0),
        ({"train_during_search": False}, 8, 4),
        ({"train_during_search": False, "memory": 0}, 8, 0),
        ({"train_during_search": False, "samples_per_update": 6, "memory": 1}, 6, 1),
        ({"train_during_search": False, "optimizer": "screened"}, 2, 0),
    ],
)
def test_fixed_losses_have_defaults_of_their_own(make_config, changes, samples, memory):
    settings = make_config(**{"samples_per_update": None, **changes}).optimizer_settings
    assert (settings.update_size, settings.memory) == (samples, memory)


def test_a_screened_search_for_targets_starts_near_them(make_config):
    goals = {"coefficients": None, "targets": (9e3, 2e4), "train_during_search": False}
    screened = make_config(**goals, optimizer="screened")
    assert screened.optimizer_settings.start == "targets"
    expected = new_optimizer(screened).diagnostics()["expected_complexity"] * screened.complexity_scale
    np.testing.assert_allclose(expected, (9e3, 2e4))
    uniform = make_config(**goals, optimizer="screened", start="uniform")
    assert uniform.optimizer_settings.start == "uniform"
    assert make_config(**goals).optimizer_settings.start == "uniform"


def test_the_description_names_what_a_reader_wants_to_know(make_config):
    description = make_config().to_dict()
    assert description["num_evaluations"] == 12 * 4
    assert description["complexity"]["name"] == "params"
    assert description["versions"]["ray"].startswith("2.")
    assert description["settings"]["rounds_ahead"] == 3
    assert description["plan"]["warmup_rounds"] == 2


def test_a_description_comes_back_from_disk(make_config):
    config = make_config(training=WeightTraining(gradient_clip_norm=float("inf")))
    write_config(config.run_path, config.to_dict())
    read = load_run(config.run_path).config
    assert read["optimizer"] == config.to_dict()["optimizer"]
    assert read["training"]["gradient_clip_norm"] == float("inf")
    assert config_metadata(config.to_dict())


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"rounds_ahead": 1}, True),
        ({"num_workers": 2}, True),
        ({"num_workers": 2, "min_workers": 1, "node_wait_seconds": 60.0}, True),
        ({"blocks_in_flight": 1}, True),
        ({"checkpoint_interval_seconds": 5.0}, True),
        ({"max_worker_failures": -1}, True),
        ({"cpus_per_worker": 2.0}, True),
        ({"threads_per_worker": 1}, True),
        ({"storage_path": "elsewhere", "name": "other"}, True),
        ({"training": replace(TRAINING, activation_bytes_limit=10**6)}, True),
        ({"training": replace(TRAINING, precision="bfloat16")}, False),
        ({"data": DataConfig(source="digits", validation_fraction=0.5)}, False),
        ({"train_during_search": False}, False),
        ({"seed": 1}, False),
        ({"coefficients": (0.0, 0.4)}, False),
        ({"coefficients": None, "targets": (9e3, 2e4)}, False),
        ({"complexity": "flops"}, False),
        ({"warmup_rounds": 3}, False),
        ({"warmup_draws": "uniform"}, False),
        ({"search_rounds": 13}, False),
        ({"samples_per_update": 8}, False),
        ({"memory": 1}, False),
        ({"space": digits_space()}, False),
        ({"training": replace(TRAINING, validation_batch_size=64)}, False),
    ],
)
def test_a_search_is_what_decides_its_result(make_config, changes, same):
    assert (make_config(**changes).identity() == make_config().identity()) is same


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"path": "there"}, True),
        ({"source": "cifar10", "download": True}, True),
        ({"strict": True}, True),
        ({"decode_processes": 3}, True),
        ({"in_memory": False}, False),
        ({"horizontal_flip": False}, False),
        ({"split_seed": 1}, False),
        ({"max_train_images": 100}, False),
        ({"image_size": 16}, False),
    ],
)
def test_the_same_images_may_lie_elsewhere(make_config, changes, same):
    data = DataConfig(source=changes.get("source", "folder"), path="/here")
    moved = make_config(data=replace(data, **changes))
    assert (moved.identity() == make_config(data=data).identity()) is same


def test_what_the_identity_leaves_out_is_described_all_the_same(make_config):
    training = replace(TRAINING, activation_bytes_limit=10**6)
    description = make_config(data=DataConfig(source="cifar10", path="/here"), training=training).to_dict()
    assert description["settings"]["data_path"] == "/here"
    assert description["settings"]["activation_bytes_limit"] == 10**6


def test_targets_are_told_to_the_optimiser_as_shares_of_the_largest(make_config):
    config = make_config(coefficients=None, targets=[9e3, 1.2e4, 2e4])
    assert config.num_distributions == 3
    settings, scale = config.optimizer_settings, config.complexity_scale
    assert settings.targets == (9e3 / scale, 1.2e4 / scale, 2e4 / scale)
    assert settings.coefficients is None
    assert settings.update_size == 6
    assert config.plan.num_train_architectures == 3
    assert config.to_dict()["targets"] == [9e3, 1.2e4, 2e4]
    assert make_config().to_dict()["targets"] is None
    assert make_config().optimizer_settings.targets is None


def test_costs_of_ones_own_are_checked(make_config):
    space = make_config().space
    other = AdditiveCost.from_rows("latency", [[1.0, 2.0]])
    with pytest.raises(ConfigError, match="make it from this space"):
        make_config(extra_costs=[other])
    negative = space.additive_cost("latency", lambda block, shape: -1.0)
    with pytest.raises(ConfigError, match="a cost must be at least 0"):
        make_config(extra_costs=[negative])
    with pytest.raises(ConfigError, match="cannot be a column"):
        make_config(extra_costs=[space.additive_cost("params", lambda block, shape: 1.0)])
    nothing = space.additive_cost("watts", lambda block, shape: 0.0)
    with pytest.raises(ConfigError, match="the complexity must differ from 0 for some network"):
        make_config(extra_costs=[nothing], complexity="watts")
