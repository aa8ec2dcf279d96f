"""What few seeds tell: intervals."""

import numpy as np
from scipy.stats import bootstrap

from multinas_ray.spaces import FloatArray

FEWEST_SEEDS = 5
"""Seeds from which on an interval is told."""
RESAMPLES = 10_000


def interval(values: FloatArray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over seeds, by percentiles; NaN with fewer than FEWEST_SEEDS."""
    if len(values) < FEWEST_SEEDS:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    rng = np.random.default_rng(0)
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
