"""One settings object for every kind of optimiser, and kinds of one's own."""

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from annotated_types import Gt

from multinas_ray import ConfigError, MultiDistributionOptimizer, ScreenedOptimizer
from multinas_ray.core import (
    DistributionSettings,
    Optimizer,
    OptimizerSettings,
    ScreenedSettings,
    make_optimizer,
    optimizer_kind,
    register_optimizer,
    settings_from_dict,
)
from multinas_ray.core.settings import _kinds as kinds
from multinas_ray.settings import checked

OPTIONS: dict[str, Any] = {"num_categories": (4, 3, 1, 5), "margin_scale": 0.5}
COEFFICIENTS = (0.0, 0.2, 0.9)
FROM_A_PRIOR: dict[str, Any] = {
    "num_categories": (3, 2),
    "targets": (0.5,),
    "start": "prior",
    "start_architectures": [[[2, 0], [1, 1]]],
}


def tell(optimizer: Optimizer, count: int) -> None:
    """Asks and tells losses that follow from the architectures."""
    for _ in range(count):
        proposals = optimizer.ask()
        complexities = proposals.architectures.sum(axis=1) / 9
        optimizer.tell(proposals, np.sin(proposals.architectures @ [1.0, 2.0, 3.0, 4.0]) - complexities, complexities)


@pytest.mark.parametrize(
    "settings",
    [
        DistributionSettings(coefficients=COEFFICIENTS, memory=2, delta_max=8.0, **OPTIONS),
        DistributionSettings(targets=(0.2, 0.7), cost_table=np.ones((4, 6)), base_cost=0.5, **OPTIONS),
        DistributionSettings(num_distributions=3, **OPTIONS),
        ScreenedSettings(coefficients=COEFFICIENTS, **OPTIONS),
    ],
)
def test_settings_go_through_json(settings: OptimizerSettings) -> None:
    again = settings_from_dict(json.loads(json.dumps(settings.to_dict(), allow_nan=False)))
    assert again == settings
    assert type(again) is type(settings)
    assert hash(again) == hash(settings)
    first, second = make_optimizer(settings, seed=3), make_optimizer(again, seed=3)
    np.testing.assert_array_equal(first.ask(20).architectures, second.ask(20).architectures)


def test_a_kind_is_known_by_its_name() -> None:
    settings = {"coefficients": COEFFICIENTS, **OPTIONS}
    plain = make_optimizer(optimizer_kind("distributions")(**settings), seed=0)
    screened = make_optimizer(optimizer_kind("screened")(**settings), seed=0)
    assert type(plain) is MultiDistributionOptimizer
    assert type(screened) is ScreenedOptimizer
    assert (plain.samples_per_update, screened.samples_per_update) == (6, 3)
    with pytest.raises(ConfigError, match="no kind of optimiser is registered by the name 'asng'; known are dist"):
        optimizer_kind("asng")
    with pytest.raises(ConfigError, match="registered by the name ''"):
        settings_from_dict(settings)


@pytest.mark.parametrize("kind", ["distributions", "screened"])
def test_coefficients_may_come_before_the_first_result(kind: str) -> None:
    known = make_optimizer(optimizer_kind(kind)(coefficients=COEFFICIENTS, **OPTIONS), seed=1)
    later = make_optimizer(optimizer_kind(kind)(num_distributions=3, **OPTIONS), seed=1)
    asked, same = known.ask(4), later.ask(4)
    np.testing.assert_array_equal(same.architectures, asked.architectures)
    assert np.isnan(later.diagnostics()["coefficient"]).all()
    with pytest.raises(ConfigError, match="coefficients must be known before results are told: call set_coefficients"):
        later.tell(same, np.zeros(4), np.zeros(4))
    assert (later.num_told, len(later.pending())) == (0, 4)
    later.set_coefficients(COEFFICIENTS)
    for optimizer in (known, later):
        optimizer.tell(asked, np.arange(4.0), np.arange(4.0) / 4)
        tell(optimizer, 5)
    np.testing.assert_array_equal(later.probs, known.probs)


def test_a_state_is_of_its_settings_but_for_the_costs_of_reports() -> None:
    settings = DistributionSettings(coefficients=COEFFICIENTS, **OPTIONS)
    state = make_optimizer(settings, seed=0).state_dict()
    make_optimizer(replace(settings, base_cost=2.0), seed=0).load_state_dict(state)
    with pytest.raises(ValueError, match=r"state\.settings\.alpha: expected 2\.0, found float 1\.5"):
        make_optimizer(replace(settings, alpha=2.0), seed=0).load_state_dict(state)


@pytest.mark.parametrize("goals", [{"coefficients": (0.1, 0.4), "cost_table": np.ones((2, 3))}, {"targets": (0.5,)}])
def test_a_start_near_the_targets_needs_targets_and_costs(goals: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="start='targets' needs targets and a cost_table"):
        DistributionSettings(num_categories=(3, 2), start="targets", **goals)


def test_costs_that_the_start_follows_from_are_part_of_a_state() -> None:
    settings = DistributionSettings(
        num_categories=(3, 2), targets=(0.5,), cost_table=np.ones((2, 3)), base_cost=0.1, start="targets"
    )
    state = make_optimizer(settings, seed=0).state_dict()
    with pytest.raises(ValueError, match=r"state\.settings\.base_cost: expected 0\.2, found float 0\.1"):
        make_optimizer(replace(settings, base_cost=0.2), seed=0).load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"targets": None, "coefficients": (0.1,)}, "start='prior' needs targets"),
        (
            {"start": "uniform"},
            "start_architectures are for start='prior' alone, got start='uniform': leave one of the two out",
        ),
        ({"start_architectures": []}, "must be a list for each of the 1 distributions, got 0"),
        ({"start_architectures": [[[1, 0, 0]]]}, r"start_architectures\[0\] must be rows of 2 numbers"),
        ({"start_architectures": [[[1, 0], [1]]]}, r"start_architectures\[0\] must be rows of 2 numbers"),
        ({"start_architectures": [[[1, 2]]]}, r"start_architectures\[0\] must be architectures of the space"),
        ({"start_architectures": [[[-1, 0]]]}, r"start_architectures\[0\] must be architectures of the space"),
        ({"start_architectures": [[[0.5, 0]]]}, r"start_architectures\[0\] must be architectures of the space"),
    ],
)
def test_a_start_from_a_prior_needs_targets_and_architectures(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        DistributionSettings(**{**FROM_A_PRIOR, **changes})


def test_promising_architectures_may_come_later_but_before_the_optimiser() -> None:
    settings = DistributionSettings(**{**FROM_A_PRIOR, "start_architectures": None})
    with pytest.raises(ConfigError, match="start='prior' needs start_architectures before the optimiser is made"):
        make_optimizer(settings, seed=0)


def test_promising_architectures_are_part_of_the_settings_and_of_a_state() -> None:
    settings = DistributionSettings(**FROM_A_PRIOR)
    assert settings_from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    state = make_optimizer(settings, seed=0).state_dict()
    others = replace(settings, start_architectures=[[[0, 0]]])
    with pytest.raises(ValueError, match=r"state\.settings\.start_architectures: expected"):
        make_optimizer(others, seed=0).load_state_dict(state)


class SlowOptimizer(MultiDistributionOptimizer):
    """Takes small steps."""

    def __init__(self, settings: "SlowSettings", seed: Any) -> None:
        fields = {name: value for name, value in settings.fields().items() if name != "slowness"}
        super().__init__(delta_init=1 / settings.slowness, **fields, seed=seed)


@checked
@dataclass(frozen=True, kw_only=True)
class SlowSettings(OptimizerSettings):
    kind: ClassVar[str] = "slow"
    slowness: Annotated[float, Gt(0)] = 4.0

    def make(self, seed: Any) -> Optimizer:
        return SlowOptimizer(self, seed)


def test_a_kind_of_ones_own_is_made_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_classes", dict(kinds._classes))
    assert register_optimizer(SlowSettings) is SlowSettings
    slow_settings: Any = optimizer_kind("slow")
    settings = slow_settings(coefficients=COEFFICIENTS, slowness=5, **OPTIONS)
    assert settings_from_dict(settings.to_dict()) == settings
    slow = make_optimizer(settings, seed=0)
    usual = MultiDistributionOptimizer(coefficients=COEFFICIENTS, **OPTIONS, seed=0)
    for optimizer in (slow, usual):
        tell(optimizer, 1)
    assert (slow.diagnostics()["step_size"] < usual.diagnostics()["step_size"]).all()
    with pytest.raises(ConfigError, match="SlowSettings: slowness must be positive, got -1"):
        slow_settings(coefficients=COEFFICIENTS, slowness=-1, **OPTIONS)
    with pytest.raises(ConfigError, match="SlowSettings: alpha is unknown"):
        slow_settings(coefficients=COEFFICIENTS, alpha=1.0, **OPTIONS)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ConfigError, match=r"a kind of optimiser distributions is registered already, by multinas_ray"):

        @register_optimizer
        @dataclass(frozen=True, kw_only=True)
        class Mine(OptimizerSettings):
            kind: ClassVar[str] = "distributions"


def test_a_kind_must_make_its_optimiser() -> None:
    @checked
    @dataclass(frozen=True, kw_only=True)
    class Half(OptimizerSettings):
        kind: ClassVar[str] = "half"

    with pytest.raises(NotImplementedError, match="Half must have a method `make`"):
        make_optimizer(Half(coefficients=COEFFICIENTS, **OPTIONS), seed=0)
