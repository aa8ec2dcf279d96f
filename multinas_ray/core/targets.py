"""Coefficients that follow targets: from wanted complexities to the eps_k that bring them about.

Notation: K distributions. docs/METHOD.md, "Targets instead of coefficients".
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray

COEFFICIENT_LIMITS = (1e-6, 1e6)
"""Bounds of an adapted coefficient, for complexities of at most 1: a target that no coefficient reaches would drive
it out of sight, from where it could not come back when the losses change. [ours]"""


def adapted_coefficients(
    coefficients: FloatArray, expected_complexities: FloatArray, targets: npt.ArrayLike, rate: float
) -> FloatArray:
    """One step of dual ascent: ``log eps_k += rate * (E_pk[R] - T_k) / T_k``.

    A complexity above its target makes it dearer, one below cheaper. It depends on the distributions alone, so the
    record of a search gives its coefficients again.

    Args:
        coefficients: (K,) positive eps_k.
        expected_complexities: (K,) E_pk[R]; one that is not finite leaves its coefficient as it is.
        targets: (K,) positive T_k, in the same unit.
        rate: step size; smaller is slower and swings less where the front is concave.

    Returns:
        (K,) the coefficients of the next update, within `COEFFICIENT_LIMITS`.
    """
    targets_K = np.asarray(targets, dtype=np.float64)
    excess_K = np.where(np.isfinite(expected_complexities), expected_complexities / targets_K - 1.0, 0.0)
    adapted_K: FloatArray = np.clip(coefficients * np.exp(rate * excess_K), *COEFFICIENT_LIMITS)
    return adapted_K
