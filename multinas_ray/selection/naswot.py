"""NASWOT: how differently an untrained network switches its activations on for different images.

Mellor et al., Neural Architecture Search without Training, ICML 2021. Each image has a code, one bit for each unit of
each activation: whether its input is positive. The kernel of two images is the number of bits in which their codes
agree, and the figure of a network is the logarithm of the determinant of the kernel of some images. The paper's code
looks at ReLU alone; here any activation that rises from the negative to the positive half counts by the sign of its
input. No library that is kept up offers it.

Notation: N architectures, D positions, B images, U units of an activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multinas_ray.data import batch_of, cpu_threads, map_tensors, noise
from multinas_ray.selection.prior import PriorPart, register_prior
from multinas_ray.spaces import FloatArray, IntArray, Space
from multinas_ray.supernets import BlockSupernet, ModelSupernet, make_supernet, whole_float32

NUM_IMAGES = 32
"""Images of noise, as standard normal as normalised images are on average. [ours]"""
SEED = 0
PART = 64
"""Networks of a model that take one walk, whose outputs are held together. [ours]"""
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Softplus,
)
"""Modules whose inputs give the codes. An activation that is a mere function in a module's `forward` is not seen."""


@register_prior
class Naswot(PriorPart):
    """The logarithm of the determinant of the kernel of activation codes, of an untrained network.

    The networks are paths through one untrained supernet, so that equal blocks have equal weights in all of them. The
    kernel of a path is the sum of the kernels of its blocks, and paths that begin alike share what they begin with: the
    figures of all networks take one walk through them in lexicographic order. So do those of a model with choices that
    is a chain; another one runs once for each network. A network without any activation module has -inf. [ours]
    """

    name = "naswot"

    def __init__(self, space: Space, device: str = "cpu") -> None:
        super().__init__(space, device)
        supernet = make_supernet(space, NUM_IMAGES, SEED)
        self._supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone
        generator = torch.Generator().manual_seed(SEED)
        inputs = batch_of(space.inputs, NUM_IMAGES, noise(generator))
        self._inputs = map_tensors(lambda each: each.to(device, **_layout(each)), inputs)
        self._threads = min(torch.get_num_threads(), cpu_threads(NUM_IMAGES * space.costs["flops"].maximum))
        self._kernel: Tensor = self._no_kernel()
        for module in self._supernet.modules():
            if isinstance(module, ACTIVATIONS):
                module.register_forward_pre_hook(self._add_codes)

    @torch.no_grad()
    def __call__(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) logarithms of determinants."""
        kernels = torch.empty((len(architectures_ND), NUM_IMAGES, NUM_IMAGES), dtype=torch.float64)
        with whole_float32(), _with_threads(self._threads):
            for n, kernel in self._kernels(architectures_ND):
                kernels[n] = kernel
        signs_N, logarithms_N = np.linalg.slogdet(kernels.numpy())
        figures_N: FloatArray = np.where(signs_N > 0, logarithms_N, -np.inf)
        return figures_N

    def _kernels(self, architectures_ND: IntArray) -> Iterator[tuple[int, Tensor]]:
        """The number and the kernel of each network."""
        order = np.lexsort(architectures_ND.T[::-1]).tolist()
        if isinstance(self._supernet, ModelSupernet):
            for start in range(0, len(order), PART):
                part, first = order[start : start + PART], (self._inputs, self._no_kernel())
                states = self._supernet.walk(
                    first, architectures_ND[part], lambda link, state: self._apply(link, *state)
                )
                yield from zip(part, (kernel for _, kernel in states), strict=True)
        elif isinstance(self._supernet, BlockSupernet):
            yield from self._kernels_of_blocks(self._supernet, order, architectures_ND)

    def _kernels_of_blocks(
        self, supernet: BlockSupernet, order: Sequence[int], architectures_ND: IntArray
    ) -> Iterator[tuple[int, Tensor]]:
        """The same for networks of blocks, in an order in which neighbours begin alike."""
        states = [self._apply(supernet.stem, self._inputs)]
        before: list[int] = []
        for n in order:
            row: list[int] = architectures_ND[n].tolist()
            common = next(
                (d for d, pair in enumerate(zip(row, before, strict=False)) if pair[0] != pair[1]), len(before)
            )
            del states[common + 1 :]
            for d in range(common, len(row)):
                states.append(self._apply(supernet.block(d, row[d]), *states[-1]))
            yield n, self._apply(supernet.head, *states[-1])[1]
            before = row

    def _apply(
        self, module: Callable[[Tensor], Tensor], features: Tensor, kernel: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The output of a module, and the kernel up to there; None: nothing came before."""
        self._kernel = self._no_kernel() if kernel is None else kernel
        return module(features), self._kernel

    def _no_kernel(self) -> Tensor:
        return torch.zeros((NUM_IMAGES, NUM_IMAGES), dtype=torch.float64, device=self.device)

    def _add_codes(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Add the number of units in which the codes of each two images agree."""
        codes_BU = (inputs[0] > 0).flatten(1).float()
        both_BB = (codes_BU @ codes_BU.T).double()
        ones_B = both_BB.diagonal()
        self._kernel = self._kernel + 2 * both_BB - ones_B - ones_B[:, None] + codes_BU.shape[1]


@contextmanager
def _with_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _layout(inputs: Tensor) -> dict[str, Any]:
    """How images are laid out in memory."""
    return {"memory_format": torch.channels_last} if inputs.ndim == 4 else {}
