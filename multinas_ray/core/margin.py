"""The margin: no category's probability falls below a share of its prior, so that everything can still be drawn.

Notation: K distributions, D variables, C categories (padded). docs/METHOD.md step 8.
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.layout import CategoryLayout


def margin_floors(layout: CategoryLayout, scale: float) -> FloatArray:
    """Returns (D,): theta_min of each variable at the start, 1 for a fixed one.

    METHOD step 8: `scale / (n_var (C_d - 1))`, where n_var is the number of variables that are not fixed. A `scale`
    other than 1 is ours. Where this leaves no room, the floor is `1 / (2 C_d)` [ours].
    """
    count_D = layout.last_D + 1.0
    num_free = max(int(layout.free_D.sum()), 1)
    floor_D = scale / (num_free * np.maximum(layout.last_D, 1))
    floor_D = np.where(count_D * floor_D >= 1.0, 0.5 / count_D, floor_D)
    return np.where(layout.free_D, floor_D, 1.0)


def apply_margin(values_KDC: FloatArray, floor_D: FloatArray, layout: CategoryLayout) -> FloatArray:
    """Maps (K, D, C) values near the simplex onto probabilities of at least the floors  # METHOD step 8.

    A category's floor is theta_min times its prior probability, as a multiple of 1 / C_d; so halves of a cell that was
    split have half of its floor each. [ours]
    """
    floor_DC = floor_D[:, None] * layout.prior_DC
    clipped_KDC = np.where(layout.valid_DC, np.maximum(values_KDC, floor_DC), 0.0)
    total_KD = clipped_KDC.sum(axis=2, keepdims=True)
    room_KD = np.where(layout.free_D[:, None], total_KD - floor_DC.sum(axis=1, keepdims=True), 1.0)
    moved_KDC = clipped_KDC - (total_KD - 1.0) * (clipped_KDC - floor_DC) / room_KD
    probs_KDC: FloatArray = moved_KDC / moved_KDC.sum(axis=2, keepdims=True)
    return probs_KDC
