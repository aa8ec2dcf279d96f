import numpy as np
import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import digits_space
from multinas_ray.supernets.grouping import group_by_memory

SPACE = digits_space()


def activations_of_group(space, rows) -> int:
    """Reference: every distinct prefix, walked block by block."""
    nodes = {(): space.stem.activations(space.input_shape)}
    for row in rows.tolist():
        for depth, choice in enumerate(row):
            block = space.positions[depth].blocks[choice]
            nodes[tuple(row[: depth + 1])] = block.activations(space.input_shapes[depth])
        nodes[(*row, "head")] = space.head.activations(space.input_shapes[-1])
    return sum(nodes.values())


@pytest.mark.parametrize("limit_elements", [61_000, 100_000, 200_000, 10**9])
@pytest.mark.parametrize("seed", range(5))
def test_groups_are_full_fit_and_hold_everything_once(limit_elements, seed) -> None:
    rng = np.random.default_rng(seed)
    rows = SPACE.search_space.random(20, rng)
    rows[rng.integers(20, size=8)] = rows[0]
    rows[10:, :3] = rows[5, :3]
    batch_size, bytes_per_element = 16, 2
    limit_bytes = limit_elements * batch_size * bytes_per_element
    groups = group_by_memory(rows, SPACE, batch_size, limit_bytes, bytes_per_element)
    order = np.concatenate(groups)
    assert sorted(order.tolist()) == list(range(20))
    assert rows[order].tolist() == sorted(rows.tolist())
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        assert activations_of_group(SPACE, rows[group]) <= limit_elements
        if following is not None:  # full: the next architecture would not have fitted
            assert activations_of_group(SPACE, rows[[*group, following[0]]]) > limit_elements


def test_an_architecture_over_the_limit_is_alone_and_equal_ones_cost_nothing() -> None:
    rows = np.array([[3] * 6, [0] * 6, [3] * 6])
    groups = group_by_memory(rows, SPACE, 1, 4, 4)
    assert [group.tolist() for group in groups] == [[1], [0], [2]]
    largest = int(SPACE.activations(rows[:1])[0])
    groups = group_by_memory(rows, SPACE, 1, largest * 4, 4)
    assert [group.tolist() for group in groups] == [[1], [0, 2]]


def test_without_a_limit_there_is_one_group() -> None:
    rows = SPACE.search_space.random(7, np.random.default_rng(0))
    (group,) = group_by_memory(rows, SPACE, 64, None, 4)
    assert sorted(group.tolist()) == list(range(7))
    assert group_by_memory(rows[:0], SPACE, 64, None, 4) == []


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="limit_bytes must be at least 1, or None for no limit, got 0"):
        group_by_memory([[0] * 6], SPACE, 64, 0, 4)
