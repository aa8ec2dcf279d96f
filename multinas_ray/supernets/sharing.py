"""Blocks of a position that share weights: in a supernet, a part of a block uses the leading channels of the whole.

Yu et al., Slimmable Neural Networks, ICLR 2019; Cai et al., Once-for-All, ICLR 2020. As in the latter, the parts share
the scale and shift of batch normalisation too. Statistics of their own are not needed, since a supernet's normalisation
uses those of the batch. Channels are not sorted by importance. [ours]
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import BlockDescription, PartialBlock
from multinas_ray.supernets.blocks import NormBuilder, build_block


class PartOfBlock(nn.Module):
    """Computes a block with the leading weights of a larger one.

    Args:
        whole: the module of the larger block, which has the weights.
        form: a module of the block; its own parameters are removed.
        name: name of the block in messages.

    Raises:
        ConfigError: A parameter of the form has no counterpart in the whole that is at least as large.
    """

    def __init__(self, whole: nn.Module, form: nn.Module, name: str) -> None:
        super().__init__()
        self.whole = whole
        self.form = form
        shapes = {key: each.shape for key, each in form.named_parameters(remove_duplicate=False)}
        _check_parts(name, shapes, {key: each.shape for key, each in whole.named_parameters(remove_duplicate=False)})
        self._slices = {key: tuple(map(slice, shape)) for key, shape in shapes.items()}
        for module in form.modules():
            for key, _ in list(module.named_parameters(recurse=False)):
                module.register_parameter(key, None)

    def parts(self) -> list[tuple[nn.Parameter, tuple[slice, ...]]]:
        """Each parameter of the whole that the block uses, and the part of it."""
        return [(self.whole.get_parameter(key), part) for key, part in self._slices.items()]

    def weights(self) -> dict[str, Tensor]:
        """The parameters of the block, as views of those of the whole."""
        return {key: self.whole.get_parameter(key)[part] for key, part in self._slices.items()}

    def forward(self, input: Tensor) -> Tensor:
        """The block's output, (B, channels, height, width)."""
        output: Tensor = functional_call(self.form, self.weights(), (input,), tie_weights=False)
        return output


def build_candidates(blocks: Sequence[BlockDescription], norm: NormBuilder) -> list[nn.Module]:
    """Modules of the candidate blocks of one position, in order; parts of equal blocks share the weights.

    Args:
        blocks: the descriptions.
        norm: makes the normalisation for a number of channels.

    Raises:
        ConfigError: A block cannot be built, or a part does not fit into its whole.
    """
    modules: list[nn.Module] = []
    wholes: dict[BlockDescription, nn.Module] = {}
    for block in blocks:
        if not isinstance(block, PartialBlock):
            modules.append(build_block(block, norm))
            continue
        if block.within not in wholes:
            wholes[block.within] = build_block(block.within, norm)
        with torch.random.fork_rng(devices=[]):  # so that the form draws nothing that others would get
            form = build_block(block, norm)
        modules.append(PartOfBlock(wholes[block.within], form, block.name))
    return modules


def state_alone(module: nn.Module) -> dict[str, Tensor]:
    """State of a supernet's block as a network of its own has it, without copies."""
    if isinstance(module, PartOfBlock):
        return {**module.form.state_dict(), **module.weights()}
    return dict(module.state_dict())


def parameters_used(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that a block of a supernet computes with, wholly or in part."""
    if isinstance(module, PartOfBlock):
        return [parameter for parameter, _ in module.parts()]
    return list(module.parameters())


def masks_of_used(modules: Sequence[nn.Module]) -> dict[nn.Parameter, Tensor]:
    """Which entries of a shared parameter the blocks use, as bool, for each of which they use only a part."""
    masks: dict[nn.Parameter, Tensor] = {}
    used_whole: set[nn.Parameter] = set()
    for module in modules:
        for parameter, part in module.parts() if isinstance(module, PartOfBlock) else ():
            if parameter[part].shape == parameter.shape:
                used_whole.add(parameter)
                continue
            mask = masks.setdefault(parameter, torch.zeros_like(parameter, dtype=torch.bool))
            mask[part] = True
    return {parameter: mask for parameter, mask in masks.items() if parameter not in used_whole}


def _check_parts(name: str, parts: Mapping[str, torch.Size], wholes: Mapping[str, torch.Size]) -> None:
    for key, part in parts.items():
        whole = wholes.get(key, torch.Size())
        if len(part) != len(whole) or any(few > many for few, many in zip(part, whole, strict=True)):
            raise ConfigError(
                f"each weight of a block must fit into that of the block it is within, {key} of block {name!r} has "
                f"the shape {tuple(part)} and there {tuple(whole)}: give both the same layers, with fewer channels"
            )
