"""A time series: the potential of a nerve cell, a recording that comes with matplotlib, forecast from its past.

A linear forecast of the value 8 steps ahead from the last 32 values explains 70 % of the variance.
"""

from typing import Any

import numpy as np
import torch
from matplotlib import cbook
from torch.utils.data import Dataset, TensorDataset

from multinas_ray.data import register_dataset

WINDOW = 64


@register_dataset
def membrane(window: int = WINDOW, ahead: int = 8) -> list[Dataset[Any]]:
    """Windows (1, window) of two traces of 6,000 values, and the value so many steps after each; by time 70:15:15."""
    file = cbook.get_sample_data("membrane.dat", asfileobj=False)
    traces = np.fromfile(str(file), np.float32).reshape(-1, 2)
    traces = (traces - traces[:4200].mean()) / traces[:4200].std()
    parts: list[Dataset[Any]] = []
    for first, last in ((0, 4200), (4200, 5100), (5100, 6000)):
        values = torch.from_numpy(traces[first:last].T.copy())
        windows = values[:, :-ahead].unfold(1, window, 1).reshape(-1, 1, window)
        parts.append(TensorDataset(windows, values[:, window + ahead - 1 :].reshape(-1)))
    return parts
