"""The made-up evaluator: its best networks, by enumeration of a small space."""

import numpy as np
import pytest

from experiments.large_space.made_up import NUM_BINS, MadeUpLosses, made_up_problem
from multinas_ray.spaces import digits_space, nas_bench_macro_space


@pytest.mark.parametrize("space", [nas_bench_macro_space(width_multiplier=0.25), digits_space()])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_within_each_target_is_found_exactly(space, seed):
    losses, cost, equivalence = MadeUpLosses(space, seed), space.costs["flops"], space.equivalence
    networks = np.unique(equivalence.canonical(space.search_space.enumerate()), axis=0)
    found, costs = losses(networks), cost(networks)
    targets = tuple(np.quantile(costs, (0.02, 0.2, 0.5, 0.85)).tolist())
    bins = len(cost.num_categories) * (cost.maximum - cost.minimum) / NUM_BINS  # what rounding may add to a target
    best = losses.best_within(cost, equivalence, targets)
    assert (best <= [found[costs <= target].min() + 1e-12 for target in targets]).all()
    assert (best >= [found[costs <= target + bins].min() - 1e-12 for target in targets]).all()


def test_problems_of_one_seed_are_equal_and_of_others_not():
    one, again, other = made_up_problem(3), made_up_problem(3), made_up_problem(4)
    rows = one.space.search_space.random(20, np.random.default_rng(0))
    np.testing.assert_array_equal(one.losses_of(rows), again.losses_of(rows))
    assert (one.losses_of(rows) != other.losses_of(rows)).all()
    assert one.targets == other.targets == tuple(sorted(one.targets))
