"""The networks of small spaces, one by one."""

# N networks, D positions

import numpy as np

from multinas_ray.spaces import IntArray, Space


def networks_of(space: Space) -> IntArray:
    """(N, D) every network of a small space once, by its canonical architecture."""
    counts = space.search_space.num_categories
    rows_ND = np.stack(np.unravel_index(np.arange(np.prod(counts)), counts), axis=1).astype(np.int64)
    networks_ND: IntArray = np.unique(space.equivalence.canonical(rows_ND), axis=0)
    return networks_ND
