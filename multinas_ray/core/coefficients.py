"""Default coefficients eps_k, for a search that was given only their number.

Notation: K distributions, N results.
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.proposals import column_of, real_numbers
from multinas_ray.errors import ConfigError

SMALLEST_TRADE = 0.03
LARGEST_TRADE = 10.0
"""Bounds of eps_k in units of (spread of the losses) / (spread of the complexities). On six pairs of objectives of two
tables, with scales from 16 random results, the exact minimisers of eight weighted sums within these bounds had 0.94 to
0.99 of the front's hypervolume; bounds three times narrower or wider changed the mean by 0.002. [ours]"""

SCALE_LIMITS = (1e-150, 1e150)


def default_coefficients(
    losses: npt.ArrayLike, complexities: npt.ArrayLike, num_distributions: int
) -> tuple[float, ...]:
    """Chooses coefficients from the scales of a search's first results [ours].

    Along a front, loss is traded for complexity at rates near the ratio of the two spreads, that of the losses
    divided by that of the complexities. A spread is an interquartile range, which single outliers do not move. Where
    it is zero, the whole range is taken, and where that is zero too (or no result is finite), 1. The coefficients
    are log-spaced around the ratio.

    Args:
        losses: (N,) minimised; results whose loss or complexity is not finite are left out.
        complexities: (N,) normalised.
        num_distributions: K, at least 1.

    Returns:
        K finite, positive, strictly increasing numbers; for K = 1 the geometric mean of the bounds.

    Raises:
        ConfigError: The lengths differ, or K is not a whole number from 1.
    """
    if isinstance(num_distributions, bool) or not isinstance(num_distributions, int | np.integer):
        raise ConfigError(f"num_distributions must be a whole number from 1, got {num_distributions!r}")
    if num_distributions < 1:
        raise ConfigError(f"num_distributions must be a whole number from 1, got {num_distributions}")
    losses_N = real_numbers(losses, "losses")
    complexities_N = column_of(real_numbers(complexities, "complexities"), "complexities", len(losses_N))
    finite_N = np.isfinite(losses_N) & np.isfinite(complexities_N)
    scale = float(np.clip(_spread(losses_N[finite_N]) / _spread(complexities_N[finite_N]), *SCALE_LIMITS))
    if num_distributions == 1:
        return (scale * float(np.sqrt(SMALLEST_TRADE * LARGEST_TRADE)),)
    trades_K = np.geomspace(SMALLEST_TRADE, LARGEST_TRADE, num_distributions)
    return tuple(float(scale * trade) for trade in trades_K)


def _spread(values_N: FloatArray) -> float:
    """Returns the interquartile range, else the range, else 1; always positive and finite."""
    if not len(values_N):
        return 1.0
    unit = max(float(np.abs(values_N).max()), SCALE_LIMITS[0])
    least, low, high, most = np.quantile(values_N / unit, [0.0, 0.25, 0.75, 1.0])  # no difference can overflow
    share = high - low if high > low else most - least
    return float(np.clip(share * unit, *SCALE_LIMITS)) if share > 0.0 else 1.0


def small_to_large(coefficients_K: npt.ArrayLike, targets_K: npt.ArrayLike) -> list[int]:
    """The distributions in the order of the networks that they are to find, which is the one that people see.

    Args:
        coefficients_K: The weight of the complexity in each distribution's goal; larger ones ask for smaller networks.
        targets_K: Their targets; NaN where there are none.

    Returns:
        The (K,) indices of the distributions, that of the smallest goal first. Its place is a network's number.
    """
    coefficients, targets = np.asarray(coefficients_K, dtype=float), np.asarray(targets_K, dtype=float)
    keys = -coefficients if np.isnan(targets).any() else targets
    order: list[int] = np.argsort(keys, kind="stable").tolist()
    return order
