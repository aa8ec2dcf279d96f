"""States with absurd values: each is refused by its path, or the optimiser goes on with it in order."""

import copy
import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from multinas_ray import MultiDistributionOptimizer, ScreenedOptimizer, StateError
from tests.inputs.answers import RETURNED, TOLD, answer

OPTIONS: dict[str, Any] = {"num_categories": [3, 2, 4], "coefficients": [0.0, 0.5], "samples_per_update": 4}
NUMBERS: tuple[Any, ...] = (
    -1,
    0,
    1,
    2**31,
    2**53,
    2**62,
    2**63,
    10**30,
    10**5000,
    True,
    1.5,
    "1",
    "9" * 5000,
    None,
    [],
    {},
)
SAMPLED = 80
ENTRIES = (-1, 0, 7, 2**40, 2**62, -(2**62), 2**63 - 1, 0.5, -1e6, 1e300, -1e300, 5e-324, np.nan, np.inf)


def started(kind: Any) -> Any:
    optimizer = kind(**OPTIONS, memory=1 if kind is MultiDistributionOptimizer else 0, seed=1)
    tell(optimizer, optimizer.ask(10)[:9])
    optimizer.restart(first_id=20, seed=2, keep=optimizer.pending())
    tell(optimizer, optimizer.ask(6)[1:3])
    return optimizer


def tell(optimizer: Any, proposals: Any) -> None:
    complexities = proposals.architectures.sum(axis=1) / 6
    optimizer.tell(proposals, np.cos(proposals.architectures @ [1.0, 2.0, 3.0]), complexities)


def changed_states(state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths(state):
        value = at(state, path)
        for number, new in enumerate(ENTRIES if isinstance(value, np.ndarray) else NUMBERS):
            changed = copy.deepcopy(state)
            if isinstance(value, np.ndarray):
                if not value.size or (value.dtype.kind == "i" and not isinstance(new, int)):
                    continue
                at(changed, path).flat[number % value.size] = new
            else:
                at(changed, path[:-1])[path[-1]] = new
            yield f"{'.'.join(path)} = {str(new)[:20] if not isinstance(new, int) else hex(new)[:20]}", changed


def sampled(states: Iterable[Any]) -> list[Any]:
    """Some of the states, always the same; all in a campaign."""
    every = list(states)
    if "MULTINAS_INPUTS" in os.environ:
        return every
    return [every[each] for each in np.random.default_rng(0).permutation(len(every))[:SAMPLED]]


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(value, dict):
        yield path
        return
    for key, each in value.items():
        yield from paths(each, (*path, key))


def at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("kind", [MultiDistributionOptimizer, ScreenedOptimizer])
def test_a_state_is_refused_or_works(kind: Any) -> None:
    state, faults, told = started(kind).state_dict(), [], 0
    for name, changed in sampled(changed_states(state)):
        optimizer = started(kind)
        before = optimizer.probs

        def go_on(optimizer: Any = optimizer, changed: Any = changed) -> None:
            optimizer.load_state_dict(changed)
            for _ in range(2):
                tell(optimizer, optimizer.ask(4))
            optimizer.load_state_dict(optimizer.state_dict())
            assert np.allclose(optimizer.probs.sum(axis=2), 1.0)

        found = answer(go_on, ["state"])
        told += found.kind == TOLD
        if found.kind not in (RETURNED, TOLD):
            faults.append(f"{name}: {found.kind}, {found.text}")
        elif found.kind == TOLD and not np.array_equal(optimizer.probs, before) and "state." in found.text:
            faults.append(f"{name}: refused, and the optimiser has changed")
    assert faults == []
    assert told > SAMPLED / 2


@pytest.mark.parametrize("kind", [MultiDistributionOptimizer, ScreenedOptimizer])
def test_a_restart_far_ahead_costs_nothing(kind: Any) -> None:
    optimizer = kind(num_categories=[3, 2, 4], coefficients=[0.0, 0.5], samples_per_update=4, seed=1)
    asked = optimizer.ask(6)
    tell(optimizer, asked[:4])
    kept = asked[4:]
    assert answer(lambda: optimizer.restart(first_id=10**15, seed=2, keep=kept)).kind == RETURNED
    again = kind(num_categories=[3, 2, 4], coefficients=[0.0, 0.5], samples_per_update=4, seed=3)
    again.load_state_dict(optimizer.state_dict())
    for each in (optimizer, again):
        tell(each, asked)
        assert (each.num_told, each.num_ignored) == (6, 4)
        assert each.ask(1).ids.tolist() == [10**15]
        assert each.pending().ids.tolist() == [10**15]


def test_ids_that_no_array_holds_are_refused() -> None:
    optimizer = started(MultiDistributionOptimizer)
    wrong: tuple[Any, ...] = (2**62, 10**30, -1, 1.0, None)
    for first_id in wrong:
        found = answer(functools.partial(optimizer.restart, first_id=first_id, seed=1), ["first_id"])
        assert found.kind == TOLD, found
    with pytest.raises(StateError, match=r"^state: expected a dict, found list \[\]$"):
        optimizer.load_state_dict([])
