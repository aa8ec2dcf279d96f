import pytest
import torch

from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, mbconv, skip


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_space() -> NetworkSpace:
    """2 * 3 * 3 = 18 networks for images of 3x6x6, with stride, groups, shortcut, skip and head features."""
    reduce = (
        mbconv(8, 8, 3, 2, stride=2, activation="relu"),
        Block("conv", (ConvLayer(8, 8, 3, stride=2, activation="relu6"),)),
    )
    keep = (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 1), skip())
    return NetworkSpace(
        name="tiny",
        input_shape=(3, 6, 6),
        stem=Block("stem", (ConvLayer(3, 8, 3),)),
        positions=(Position("first", reduce), Position("second", keep), Position("third", keep)),
        head=Head(12, 5, Block("features", (ConvLayer(8, 12),))),
    )
