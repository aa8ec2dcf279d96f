"""Cutting a round's architectures into groups whose activations fit into memory together.

Notation: N architectures, D positions.
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import IntArray, NetworkSpace


def group_by_memory(
    architectures: npt.ArrayLike,
    network_space: NetworkSpace,
    batch_size: int,
    limit_bytes: int | None,
    bytes_per_element: int,
) -> list[IntArray]:
    """Groups of neighbours in lexicographic order, so that prefixes are shared within a group.

    A group's memory is the sum of what autograd keeps for a backward pass over the distinct nodes of its prefix
    tree (stem, blocks, heads). Gradients and workspaces come on top, so leave room for them. An architecture that
    exceeds the limit alone makes a group of its own; no error is raised.

    Args:
        architectures: (N, D) indices.
        network_space: their space.
        batch_size: images of a step.
        limit_bytes: bound of a group's activations; None for one group.
        bytes_per_element: size of an activation, 4 for float32.

    Returns:
        Index arrays that together have each of 0..N-1 once.

    Raises:
        ConfigError: `limit_bytes` is below 1, or an architecture is not of the space.
    """
    if limit_bytes is not None and limit_bytes < 1:
        raise ConfigError(f"limit_bytes must be at least 1, or None for no limit, got {limit_bytes}")
    rows_ND = network_space.search_space.check(architectures)
    order = np.lexsort(rows_ND.T[::-1])
    if limit_bytes is None or not len(order):
        return [order] if len(order) else []
    limit = limit_bytes / (batch_size * bytes_per_element)
    choice_costs_DC, base = network_space.activations.table, network_space.activations.base
    stem = network_space.stem.activations(network_space.input_shape)
    columns = np.arange(rows_ND.shape[1])
    groups: list[list[int]] = []
    used = 0.0
    for index in order:
        row = rows_ND[index]
        block_costs = choice_costs_DC[columns, row]
        if groups:
            # Since they are sorted, the longest prefix shared with the group is that shared with its last member.
            differs = rows_ND[groups[-1][-1]] != row
            own = block_costs[differs.argmax() :].sum() + base - stem if differs.any() else 0.0
            if used + own <= limit:
                groups[-1].append(int(index))
                used += own
                continue
        groups.append([int(index)])
        used = base + block_costs.sum()
    return [np.asarray(group, dtype=np.int64) for group in groups]
