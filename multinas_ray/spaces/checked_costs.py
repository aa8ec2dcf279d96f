"""Checking what kinds of costs give, those of a person's own included.

Notation: N architectures, D variables.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError, raised_by

Costs = npt.NDArray[np.float64]


def with_checked_costs(call: Callable[[Any, npt.ArrayLike], Any]) -> Callable[[Any, npt.ArrayLike], Costs]:
    """The function of a kind of cost, whose errors and values that are no costs are told with the cost's name."""

    @functools.wraps(call)
    def costs_of(cost: Any, architectures: npt.ArrayLike) -> Costs:
        name = getattr(cost, "name", type(cost).__qualname__)
        with raised_by(f"the cost {name!r} ({type(cost).__qualname__})"):
            costs_N = np.asarray(call(cost, architectures), dtype=np.float64)
            shape = (len(np.asarray(architectures)),)
        if costs_N.shape != shape or not np.isfinite(costs_N).all():
            told = costs_N.shape if costs_N.shape != shape else costs_N[~np.isfinite(costs_N)][0]
            raise ConfigError(
                f"the cost {name!r} must give a finite number for each of (N, D) architectures, got {told} for N = "
                f"{shape[0]}: correct {type(cost).__qualname__}.__call__"
            )
        return costs_N

    return costs_of
