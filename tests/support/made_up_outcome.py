"""The outcome of a search that never ran: a space of 18 architectures, made-up losses, two distributions."""

import numpy as np
import pandas as pd

from multinas_ray.runs import Run
from multinas_ray.selection import SearchOutcome
from multinas_ray.spaces import AdditiveCost, Equivalence, SearchSpace, Variable

SPACE = SearchSpace((Variable("a", (0, 1, 2)), Variable("b", (0, 1)), Variable("c", (0, 1, 2))))
PARAMS = AdditiveCost.from_rows("params", [[0, 10, 20], [0, 100], [0, 1, 2]], base=1000.0)
FLOPS = AdditiveCost.from_rows("flops", [[7, 0, 0], [1, 0], [0, 0, 3]])
COSTS = {"params": PARAMS, "flops": FLOPS}
SMALL = [[0.8, 0.1, 0.1], [0.9, 0.1], [0.8, 0.1, 0.1]]
LARGE = [[0.1, 0.1, 0.8], [0.1, 0.9], [0.1, 0.1, 0.8]]
ALL_DIFFER = Equivalence(SPACE.num_categories, ())


def run_of(evaluations, *, probs=(LARGE, SMALL), while_training=False):
    """A run of (architecture, loss) in tell order, with ids from 100, and two distributions at update 7."""
    count = len(evaluations)
    older = [[[0.4, 0.3, 0.3], [0.5, 0.5], [0.4, 0.3, 0.3]]] * len(probs)
    return Run(
        path="somewhere",
        config={
            "plan": {"train_during_search": while_training},
            "optimizer": {"coefficients": [0.0, 0.5]},
            "complexity": {"name": "params", "scale": PARAMS.maximum},
        },
        evaluations=pd.DataFrame(
            {
                "id": np.arange(100, 100 + count),
                "tell_order": np.arange(count),
                "architecture": pd.Series([architecture for architecture, _ in evaluations], dtype=object),
                "loss": [loss for _, loss in evaluations],
            }
        ),
        distributions=pd.DataFrame(
            {
                "update": [6] * len(probs) + [7] * len(probs),
                "distribution": [*range(len(probs)), *range(len(probs))][::-1],
                "probs": [*older, *probs[::-1]],
            }
        ),
        rounds=pd.DataFrame(),
        architectures=pd.DataFrame(),
        finished=None,
    )


def outcome_of(evaluations, *, equivalence=ALL_DIFFER, **changes):
    """The outcome of `run_of`."""
    return SearchOutcome.of(run_of(evaluations, **changes), SPACE, COSTS, equivalence)


def whole_space(loss=lambda row: 1.0):
    """Every architecture with its loss."""
    return [(tuple(row), loss(row)) for row in SPACE.enumerate().tolist()]
