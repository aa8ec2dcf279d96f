import pytest

from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import write_config
from multinas_ray.selection.opening import open_run
from multinas_ray.spaces import cifar10_mobile_space
from tests.support.pipeline import Pipeline

OWN_BLOCK = """
from dataclasses import asdict, dataclass
from multinas_ray.spaces import register_block

@register_block
@dataclass(frozen=True)
class {name}:
    name: str
    params = 0
    def output_shape(self, input_shape): return input_shape
    def flops(self, input_shape): return 0
    def activations(self, input_shape): return 0
    def to_dict(self): return {{"type": "{name}", **asdict(self)}}
"""


def test_a_run_is_opened_as_it_was_configured(make_config):
    space = make_config().space
    latency = space.additive_cost("latency", lambda block, shape: block.flops(shape) / 1e4, unit="ms")
    config = make_config(extra_costs=[latency], complexity="latency")
    write_config(config.run_path, config.to_dict())
    opened = open_run(config.run_path)
    assert (opened.space, opened.data, opened.training) == (config.space, config.data, config.training)
    assert opened.seed == config.seed
    assert {name: cost.to_dict() for name, cost in opened.costs.items()} == {
        name: cost.to_dict() for name, cost in config.costs.items()
    }


def test_the_images_may_lie_elsewhere_now(make_config, tmp_path):
    config = make_config(space=cifar10_mobile_space(0.25), data=DataConfig(source="cifar10", path="/then"))
    write_config(config.run_path, config.to_dict())
    assert open_run(config.run_path).data.path == "/then"
    assert open_run(config.run_path, data_path=str(tmp_path)).data.path == str(tmp_path)


def test_a_run_of_another_space_is_refused(make_config):
    config = make_config()
    description = config.to_dict()
    description["space"]["positions"][0]["blocks"].pop()
    write_config(config.run_path, description)
    with pytest.raises(StateError, match="fingerprint differs"):
        open_run(config.run_path)


def test_a_run_without_a_supernet_is_told_apart(tmp_path):
    Pipeline(tmp_path / "run").run(1)
    with pytest.raises(StateError, match=r"best_configs.*own trainable"):
        open_run(tmp_path / "run")


def test_settings_of_another_version_are_refused(make_config):
    config = make_config()
    description = config.to_dict()
    description["training"]["dropout"] = 0.1
    write_config(config.run_path, description)
    with pytest.raises(StateError, match=r"WeightTraining.*dropout"):
        open_run(config.run_path)


def test_own_blocks_are_imported_by_file(make_config, tmp_path):
    file = tmp_path / "own_blocks_of_test_opened.py"
    file.write_text(OWN_BLOCK.format(name="Nothing"))
    config = make_config()
    description = config.to_dict()
    description["space"]["positions"][0]["blocks"][0] = {"type": "Nothing", "name": "nothing"}
    write_config(config.run_path, description)
    with pytest.raises(ConfigError, match="--import"):
        open_run(config.run_path)
    with pytest.raises(StateError, match="fingerprint differs"):  # read, and seen to be another space
        open_run(config.run_path, imports=[str(file)])
