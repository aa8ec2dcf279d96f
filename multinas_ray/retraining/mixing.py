"""Mixup and CutMix: images of a batch are mixed with others of it, and so are their losses."""

# B images of a batch, C channels, H height, W width

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multinas_ray.errors import ConfigError

_MIXING = 4
"""Keeps the draws independent of those of the data (order and crops) and of the other variations."""


@dataclass(frozen=True)
class Mixed:
    """A batch in which each image has a share of another one: that of the row before, the last one for the first.

    The images of a batch are in a random order, so the other one is random too [ours].
    """

    inputs: Any
    """What the network is given."""
    own_share: float
    """The share of an image's own loss; the other one's has the rest."""

    def others(self, targets: Any) -> Any:
        """The labels of the images that those of these labels were mixed with."""
        return targets if self.own_share == 1.0 else targets.roll(1, 0)

    def loss(self, loss_of: Callable[[Any], Tensor], targets: Any, others: Any) -> Tensor:
        """The mixed loss. For cross-entropy it is that of the mixed labels, since it is linear in them.

        Args:
            loss_of: maps targets to the loss of the network's outputs.
            targets: labels of the images.
            others: labels of the images that they were mixed with.
        """
        if self.own_share == 1.0:
            return loss_of(targets)
        return self.own_share * loss_of(targets) + (1.0 - self.own_share) * loss_of(others)


class Mixing:
    """Mixes batches, as a pure function of (seed, step, rank) and the batch; the host never waits for the device.

    Args:
        mixup_alpha: of the Beta distribution of mixup; 0: no mixup.
        cutmix_alpha: of that of CutMix; 0: no CutMix. With both, each batch takes one of them, either as likely [ours].
        seed: of the draws.
        rank: number of this worker.
    """

    def __init__(self, mixup_alpha: float, cutmix_alpha: float, seed: int, rank: int) -> None:
        self._alphas, self._seed, self._rank = (mixup_alpha, cutmix_alpha), seed, rank

    def __call__(self, inputs: Any, step: int) -> Mixed:
        """Return the mixed batch of (B, C, H, W) images; the given one is left as it is.

        Raises:
            ConfigError: the inputs are no images.
        """
        kinds = [kind for kind, alpha in zip(("mixup", "cutmix"), self._alphas, strict=True) if alpha]
        if not kinds:
            return Mixed(inputs, 1.0)
        if not isinstance(inputs, Tensor):
            raise ConfigError(
                f"mixup_alpha and cutmix_alpha are for images, got inputs of the type {type(inputs).__name__}: leave "
                "them out"
            )
        rng = np.random.default_rng((self._seed, step, self._rank, _MIXING))
        kind = kinds[int(rng.integers(len(kinds)))]
        alpha = self._alphas[kind == "cutmix"]
        share = float(rng.beta(alpha, alpha))
        if kind == "mixup":
            return Mixed(torch.lerp(inputs.roll(1, 0), inputs, share), share)
        return _cut_and_mixed(inputs, share, rng)


def _cut_and_mixed(images: Tensor, share: float, rng: np.random.Generator) -> Mixed:
    """A rectangle around a uniformly drawn pixel, clipped at the border, comes from the other image (1905.04899)."""
    height, width = images.shape[-2:]
    side, ends = math.sqrt(1.0 - share), []
    for size in (height, width):
        length, centre = int(size * side), int(rng.integers(size))
        ends.append((max(0, centre - length // 2), min(size, centre + length // 2)))
    (top, bottom), (left, right) = ends
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
    return Mixed(mixed, 1.0 - (bottom - top) * (right - left) / (height * width))
