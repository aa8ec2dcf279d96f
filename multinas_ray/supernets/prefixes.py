"""The tree of the architectures' prefixes, whose nodes are modules: what begins alike is computed once.

Notation: N architectures, D positions, B images.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

Prefix = tuple[int, ...]
"""The blocks chosen at the first positions."""
ModuleOf = Callable[[int, Prefix], nn.Module]
"""The module at a depth (0: stem, d: block at position d - 1, D + 1: head), after and with the blocks chosen so far."""


def logits_by_prefix(module_of: ModuleOf, images: Tensor, architectures: Sequence[Prefix]) -> list[Tensor]:
    """Logits of all architectures for the same images.

    Architectures that begin with the same blocks share the computation of these blocks, forward and backward, and equal
    architectures share all of it. The tree is traversed depth first, so that without gradients a feature map lives only
    until its last branch has been computed.

    Args:
        module_of: the modules of the tree.
        images: (B, channels, height, width).
        architectures: N rows of D indices.

    Returns:
        N tensors (B, num_classes), in the order of the architectures.
    """
    logits: list[Tensor] = [images] * len(architectures)
    # Nodes of the tree whose parent was computed: (input, depth, rows that pass through it).
    pending = [(images, 0, list(range(len(architectures))))]
    while pending:
        inputs, depth, members = pending.pop()
        path = architectures[members[0]]
        outputs = module_of(depth, path[:depth])(inputs)
        if depth > len(path):
            for row in members:
                logits[row] = outputs
        elif depth == len(path):
            pending.append((outputs, depth + 1, members))
        else:
            branches: dict[int, list[int]] = {}
            for row in members:
                branches.setdefault(architectures[row][depth], []).append(row)
            pending.extend((outputs, depth + 1, branch) for branch in branches.values())
    return logits
