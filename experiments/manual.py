"""English text: the reference of Python's language, which comes with Python, as windows of characters.

The most frequent character, the space, is 20 % of it.
"""

from pydoc_data.topics import topics
from typing import Any

import torch
from torch.utils.data import Dataset, TensorDataset

from multinas_ray.data import register_dataset

WINDOW, CHARACTERS = 64, 128


@register_dataset
def manual(window: int = WINDOW) -> list[Dataset[Any]]:
    """Windows (window,) of ASCII codes, and the code that follows each of them; by place in the text 70:15:15."""
    text = "".join(topics[name] for name in sorted(topics))
    codes = torch.tensor(list(text.encode("ascii", "replace")))
    validation, test = int(0.7 * len(codes)), int(0.85 * len(codes))
    parts: list[Dataset[Any]] = []
    for part in codes.tensor_split((validation, test)):
        number = (len(part) - 1) // window
        inputs, following = part[: number * window], part[1 : number * window + 1]
        parts.append(TensorDataset(inputs.view(number, window), following.view(number, window)))
    return parts
