import numpy as np
import pyarrow.parquet as pq
import pytest

from multinas_ray.__main__ import main
from multinas_ray.commands.experiment import Experiment, ExperimentOptions, keep_latency_table
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency import BlockLatency, LatencyConditions, LatencyTable, blocks_of, describe_block
from multinas_ray.spaces import cost_from_dict


def table_of(space):
    """A table in which a block takes as many milliseconds as its name has letters."""
    rows = {
        (describe_block(block), shape): BlockLatency(
            block=block.name,
            description=describe_block(block),
            input_shape=shape,
            median_ms=len(block.name),
            mean_ms=1.0,
            spread_ms=0.0,
            repeats=1,
        )
        for _, block, shape in blocks_of(space)
    }
    conditions = LatencyConditions(device="a chip", batch_size=1, precision="float32")
    return LatencyTable(tuple(rows.values()), conditions)


def configured(config, *flags):
    experiment = Experiment(description="", config_of=lambda options: config, options=ExperimentOptions)
    return experiment.config(experiment.parser().parse_args(flags))


@pytest.fixture
def file(make_config, tmp_path):
    path = tmp_path / "mine.parquet"
    table_of(make_config().space).write(path)
    return path


def test_latency_drives_the_search_and_is_recorded(make_config, file):
    config = configured(make_config(), "--complexity", "latency", "--latency-table", str(file))
    expected = table_of(config.space).cost(config.space)
    assert config.complexity == "latency"
    assert (config.cost.name, config.cost.unit) == ("latency", "ms")
    assert config.cost.table.tolist() == expected.table.tolist()
    assert config.complexity_scale == expected.maximum
    assert config.to_dict()["extra_costs"] == [expected.to_dict()]


def test_a_table_alone_is_recorded_and_drives_nothing(make_config, file):
    before = make_config(extra_costs=[cost_from_dict(make_config().space.costs["params"].to_dict() | {"name": "mine"})])
    config = configured(before, "--latency-table", str(file))
    assert config.complexity == before.complexity != "latency"
    assert [cost.name for cost in config.extra_costs] == ["mine", "latency"]


def test_every_cost_can_be_named(make_config):
    assert configured(make_config(), "--complexity", "flops").complexity == "flops"
    assert configured(make_config(complexity="flops")).complexity == "flops"
    with pytest.raises(ConfigError, match=r"complexity must be one of params, flops, got 'size'"):
        configured(make_config(), "--complexity", "size")


def test_latency_needs_a_table_of_this_space(make_config, file):
    with pytest.raises(ConfigError, match=r"make one with `multinas-ray profile` and give it by --latency-table FILE"):
        configured(make_config(), "--complexity", "latency")
    LatencyTable((), LatencyConditions(device="a chip", batch_size=1, precision="float32")).write(file)
    with pytest.raises(ConfigError, match=r"must have all blocks of the space .* lacks"):
        configured(make_config(), "--latency-table", str(file))
    with pytest.raises(StateError, match="cannot be read"):
        configured(make_config(), "--latency-table", f"{file}.absent")


def test_a_run_keeps_its_table_and_what_is_known_of_it(file, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    keep_latency_table(str(file), str(run))
    assert [each.name for each in run.iterdir()] == ["latency.parquet"]
    assert LatencyTable.read(run / "latency.parquet") == LatencyTable.read(file)
    pq.write_table(pq.read_table(file).select(["block"]), tmp_path / "mine_validation.parquet")
    keep_latency_table(str(file), str(run))
    assert pq.read_table(run / "latency_validation.parquet").column_names == ["block"]


def test_targets_keep_their_places_between_the_least_and_the_most_of_another_cost(make_config, file):
    params, flops = make_config().space.costs["params"], make_config().space.costs["flops"]
    places = np.array([0.0, 0.25, 1.0])
    targets = params.minimum + places * (params.maximum - params.minimum)
    config = make_config(coefficients=None, targets=targets, complexity="params")
    assert configured(config).targets == config.targets
    other = configured(config, "--complexity", "flops").targets
    np.testing.assert_allclose(other, flops.minimum + places * (flops.maximum - flops.minimum))
    latency = configured(config, "--complexity", "latency", "--latency-table", str(file))
    np.testing.assert_allclose(latency.targets[::2], [latency.cost.minimum, latency.cost.maximum])


def test_flags_name_other_targets_or_coefficients(make_config):
    weighed, targeted = make_config(), make_config(coefficients=None, targets=[9e3, 2e4])
    for config in (weighed, targeted):
        wanted = configured(config, "--targets", "5e3", "12e3")
        assert (wanted.targets, wanted.coefficients) == ((5e3, 12e3), None)
        wanted = configured(config, "--coefficients", "0", "0.5", "2")
        assert (wanted.targets, wanted.coefficients) == (None, (0.0, 0.5, 2.0))
        assert configured(config).targets == config.targets
    with pytest.raises(ConfigError, match="targets must lie within"):
        configured(targeted, "--targets", "9e3", "2e4", "--complexity", "flops")


def test_samples_follow_another_number_of_networks(make_config):
    config = make_config(samples_per_update=16)
    assert configured(config, "--targets", "5e3", "8e3", "12e3").samples_per_update == 18
    assert configured(config, "--coefficients", "0", "1").samples_per_update == 16


def test_targets_and_coefficients_exclude_each_other(make_config):
    with pytest.raises(ConfigError, match="either coefficients or targets: give one of the two"):
        configured(make_config(), "--targets", "1", "--coefficients", "0")


@pytest.mark.parametrize("text", ["params", "params=", "=3", "params=3,,4", "params=many"])
def test_a_limit_is_a_name_and_numbers(text, capsys):
    with pytest.raises(SystemExit):
        main(["select", "RUN", "--max", text])
    assert f"give NAME=VALUE or NAME=VALUE,VALUE, such as params=2e6, not '{text}'" in capsys.readouterr().err
