import numpy as np
import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.selection.goals import check_limits, goals_of_limits, label_of
from tests.support.made_up_outcome import COSTS, FLOPS, PARAMS


def test_limits_are_checked_against_the_space():
    check_limits({"params": PARAMS.minimum, "flops": FLOPS.maximum}, COSTS)
    with pytest.raises(
        ConfigError, match="a limit must name a cost of the run, got 'latency': choose from params, flops"
    ):
        check_limits({"latency": 1.0}, COSTS)
    for limit in (999.0, 1123.0, np.nan):
        with pytest.raises(ConfigError, match=r"a limit of params must lie within .* have, 1000 to 1122, got"):
            check_limits({"params": limit}, COSTS)


def test_lists_are_taken_together_and_single_values_hold_for_all():
    goals = goals_of_limits({"params": [1.0, 2.0], "flops": 7, "latency_ms": [3.0]})
    assert [dict(goal.limits) for goal in goals] == [
        {"params": 1.0, "flops": 7.0, "latency_ms": 3.0},
        {"params": 2.0, "flops": 7.0, "latency_ms": 3.0},
    ]
    assert all(goal.coefficient is None for goal in goals)


def test_labels_tell_the_limits_and_are_folder_names():
    assert label_of({"params": 2e6}) == "params-2000000"
    assert label_of({"params": [2e6, 4e6], "latency_ms": 1.5}) == "params-2000000-4000000_latency_ms-1.5"
    assert label_of({"flops": 1e30}) == "flops-1e30"
