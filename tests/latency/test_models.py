"""The latency of a model's networks, by modules that say how long they take."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.choices import Choice, DepthChoice, ElasticLinear, WidthChoice, model_space
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency import ModelLatency, ModelLatencyTable, ProfileSettings, profile_model, read_latency_table
from multinas_ray.spaces import ModelSpace, cost_from_dict, register_model
from multinas_ray.storage import read_parquet, write_parquet

NOW = [0.0]
SETTINGS = ProfileSettings(batch_size=2, least_passes=2, most_passes=3)


class Takes(nn.Module):
    """Takes so many seconds before and after the module within it."""

    def __init__(self, seconds: float, within: nn.Module | None = None) -> None:
        super().__init__()
        self.seconds, self.within = seconds, within or nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        NOW[0] += self.seconds
        output: torch.Tensor = self.within(features)
        NOW[0] += self.seconds
        return output


class Wide(nn.Module):
    """Takes as many seconds as the width that is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.width = WidthChoice("width", [2, 5])
        self.layers = nn.Sequential(ElasticLinear(3, self.width), ElasticLinear(self.width, 3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        NOW[0] += self.width.width
        output: torch.Tensor = self.layers(features)
        return output


@register_model
def of_known_time() -> nn.Module:
    inner = Choice("inner", {"slow": Takes(4), "fast": Takes(1)})
    outer = Choice("outer", {"with": Takes(0.5, inner), "without": nn.Identity()})
    return nn.Sequential(outer, DepthChoice("depth", [Takes(10), Takes(20)], [0, 1, 2]), Wide())


def known_space() -> ModelSpace:
    return model_space(of_known_time, (3,))


@pytest.fixture(scope="module")
def space() -> ModelSpace:
    return known_space()


@pytest.fixture(scope="module")
def measured(space) -> ModelLatency:
    return profile_model(space, SETTINGS, clock=lambda: NOW[0])


def test_the_latency_is_the_sum_of_what_modules_take_where_they_are_used(space, measured) -> None:
    rows = space.search_space.enumerate()
    labels = [space.search_space.decode(row) for row in rows]
    expected = [
        (each["outer"] == "with") * (1 + {"slow": 8, "fast": 2}[str(each["inner"])])
        + [0, 20, 60][int(str(each["depth"]))]
        + int(str(each["width"]))
        for each in labels
    ]
    assert measured.cost(rows) == pytest.approx(1000 * np.array(expected, dtype=float))
    assert (measured.cost.name, measured.cost.unit) == ("latency", "ms")
    assert cost_from_dict(measured.cost.to_dict())(rows) == pytest.approx(measured.cost(rows))
    assert measured.validation.measured_ms == pytest.approx(measured.validation.predicted_ms)
    assert len(measured.validation.readable) == len(rows)


def test_a_table_that_was_written_gives_the_same_cost(space, measured, tmp_path) -> None:
    measured.table.write(tmp_path / "latency.parquet")
    table = read_latency_table(tmp_path / "latency.parquet")
    assert isinstance(table, ModelLatencyTable)
    assert table == measured.table
    rows = space.search_space.enumerate()
    cost = table.cost(space, "mine")
    assert (cost.name, cost.unit) == ("mine", "ms")
    assert cost(rows) == pytest.approx(measured.cost(rows))
    assert (table.conditions.space_name, table.conditions.batch_size) == ("of_known_time", 2)
    (both,) = (row for row in table.rows if row.options == ("with", "slow"))
    assert both.choices == ("outer", "inner")
    assert both.milliseconds == pytest.approx(8000)


def test_a_table_of_another_model_or_a_damaged_one_is_told(space, measured, tmp_path) -> None:
    other = model_space(of_known_time, (3,), name="other")
    with pytest.raises(
        ConfigError, match=r"measured for 'of_known_time' and not for 'other'.* by multinas-ray profile"
    ):
        measured.table.cost(other)
    rows = measured.table.to_arrow()
    unknown = [["x"] * len(options) for options in rows["options"].to_pylist()]
    for column, changed, error in (("milliseconds", [-1.0] * len(rows), StateError), ("options", unknown, ConfigError)):
        at, damaged = rows.column_names.index(column), tmp_path / f"{column}.parquet"
        write_parquet(damaged, rows.set_column(at, rows.schema.field(at), [changed]))
        with pytest.raises(error, match=r"damaged|has others"):
            ModelLatencyTable.from_arrow(read_parquet(damaged), "it").cost(space)


def test_a_machine_measures_any_inputs() -> None:
    space = model_space(of_known_time, torch.zeros(3))
    assert profile_model(space, SETTINGS).validation.measured_ms.min() > 0


def test_a_backend_that_runs_no_modules_is_told() -> None:
    with pytest.raises(ConfigError, match="backend must be 'torch' for a model with choices"):
        profile_model(model_space(of_known_time, (3,)), ProfileSettings(backend="onnxruntime"))


def test_the_batch_of_a_space_without_multiply_adds_is_one_sample(space) -> None:
    without: Any = SimpleNamespace(costs={name: cost for name, cost in space.costs.items() if name != "flops"})
    assert ProfileSettings().sized_for(without).batch_size == 1
    assert ProfileSettings().sized_for(space).batch_size != 1
