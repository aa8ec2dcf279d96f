"""One architecture as an ordinary network, freshly initialised or with the supernet's weights."""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import IntArray, NetworkSpace
from multinas_ray.supernets.blocks import build_block
from multinas_ray.supernets.sharing import state_alone
from multinas_ray.supernets.supernet import Supernet

FloatArray = npt.NDArray[np.float64]

_RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@checked_arguments
def build_subnet(
    network_space: NetworkSpace, architecture: Sequence[int] | IntArray, *, seed: int = 0
) -> nn.Sequential:
    """Build a separate network, freshly initialised, with ordinary batch normalisation.

    Args:
        network_space: the space.
        architecture: (D,) indices.
        seed: seed of the initial weights; the global random generator is unchanged.

    Returns:
        ``Sequential(stem, blocks, head)`` in training mode, where `blocks` is a Sequential of D blocks.

    Raises:
        ConfigError: The architecture is not of the space.
    """
    indices = network_space.search_space.check(np.asarray(architecture)[None])[0].tolist()
    blocks = [position.blocks[index] for position, index in zip(network_space.positions, indices, strict=True)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        modules: dict[str, nn.Module] = {
            "stem": build_block(network_space.stem, nn.BatchNorm2d),
            "blocks": nn.Sequential(*(build_block(block, nn.BatchNorm2d) for block in blocks)),
            "head": build_block(network_space.head, nn.BatchNorm2d),
        }
    return nn.Sequential(OrderedDict(modules))


@checked_arguments
def extract_subnet(supernet: Supernet, architecture: Sequence[int] | IntArray) -> nn.Sequential:
    """Build a separate network with copies of the weights on the supernet's path.

    In training mode it computes the same as the supernet for a batch of one group. Its running statistics are
    still empty, so call `recalibrate_batch_norm` before using it in eval mode.

    Args:
        supernet: the supernet.
        architecture: (D,) indices.

    Returns:
        A network as that of `build_subnet`, on the supernet's device and with its dtype.

    Raises:
        ConfigError: The architecture is not of the space, or a block's module depends on its normalisation.
    """
    subnet = build_subnet(supernet.network_space, architecture)
    indices = np.asarray(architecture).tolist()
    blocks = {f"blocks.{d}": supernet.block(d, index) for d, index in enumerate(indices)}
    modules = {"stem": supernet.stem, **blocks, "head": supernet.head}
    weights = {f"{name}.{key}": value for name, module in modules.items() for key, value in state_alone(module).items()}
    example = next(supernet.parameters())
    subnet.to(device=example.device, dtype=example.dtype)
    missing, unexpected = subnet.load_state_dict(weights, strict=False)
    _check_weights(missing, unexpected)
    return subnet


def block_alone(description: object, shared: nn.Module) -> nn.Module:
    """Build a block with ordinary batch normalisation and the weights of a supernet's block, which are not copied.

    Args:
        description: of the block.
        shared: its module in the supernet.

    Raises:
        ConfigError: The block's module depends on its normalisation.
    """
    with torch.random.fork_rng(devices=[]):
        block = build_block(description, nn.BatchNorm2d)
    weights = state_alone(shared)
    for example in itertools.islice(weights.values(), 1):
        block.to(device=example.device, dtype=example.dtype)
    _check_weights(*block.load_state_dict(weights, strict=False, assign=True))
    return block


def _check_weights(missing: Sequence[str], unexpected: Sequence[str]) -> None:
    lost = [key for key in missing if not key.endswith(_RUNNING_STATISTICS)] + list(unexpected)
    if lost:
        raise ConfigError(
            f"a block must have the same weights for every normalisation, these differ: {lost}; "
            "make its builder use the given norm and nothing else that depends on it"
        )


def recalibrate_batch_norm(subnet: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics to the exact average over the batches, and the subnet to eval mode.

    Every batch has the same weight, so give batches of one size (as large as those of training). The mean and the
    unbiased variance of each batch are averaged.

    Args:
        subnet: a network with batch normalisation, changed in place.
        batches: images (B, channels, height, width), moved to the subnet's device.

    Raises:
        ConfigError: There are no batches.
    """
    counter = _Counter(batches)
    device = next(subnet.parameters()).device
    update_bn(counter, subnet, device)
    if not counter.count:
        raise ConfigError("batch normalisation must be recalibrated with at least one batch, got none")
    subnet.eval()


@torch.no_grad()
def summed_score(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum of cross-entropies and number of correct predictions over batches, without a host sync.

    Args:
        network: from images to logits, in eval mode.
        batches: images (B, channels, height, width) and labels (B,), on the network's device.

    Returns:
        (2,) float32 on that device; divided by the number of images: loss (minimised) and accuracy.
    """
    sums = torch.zeros(2, device=next(network.parameters()).device)
    for images, labels in batches:
        logits = network(images)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack([loss, (logits.argmax(1) == labels).sum()])
    return sums


@torch.no_grad()
def image_scores(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cross-entropy of every image, and whether its prediction is correct, with one host sync at the end.

    Args:
        network: from images to logits, in eval mode.
        batches: images (B, channels, height, width) and labels (B,), on the network's device; at least one.

    Returns:
        (N,) losses, minimised, and (N,) 1.0 for a correct prediction, 0.0 for a wrong one, in the order of the batches.
    """
    losses, hits = [], []
    for images, labels in batches:
        logits = network(images)
        losses.append(functional.cross_entropy(logits, labels, reduction="none"))
        hits.append(logits.argmax(1) == labels)
    return torch.cat(losses).double().cpu().numpy(), torch.cat(hits).double().cpu().numpy()


class _Counter:
    """Passes batches on and counts them."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.count = 0
        self._batches = batches

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self._batches:
            self.count += 1
            yield batch
