"""Layers whose width is chosen: a narrow one has the first channels of the widest.

Yu et al., Slimmable Neural Networks, ICLR 2019; Cai et al., Once-for-All, ICLR 2020. Scale and shift of normalisation
are shared too, since a supernet normalises by the statistics of its batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from multinas_ray.choices.places import Place
from multinas_ray.errors import ConfigError


class Width(nn.Module):
    """A number of channels that is not chosen (any more)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class WidthChoice(Place):
    """A number of channels, for the layers of this module that it is given to. Its options are named by the numbers.

    Keep it as a member of the model where forward needs the number (`self.hidden.width`); the layers keep it too.

    Args:
        name: name of the variable, unique in the model.
        widths: numbers of channels, positive and in rising order.

    Raises:
        ConfigError: the widths are not positive or not in rising order.
    """

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        widths = tuple(widths)
        is_rising = all(low < high for low, high in pairwise(widths))
        if not widths or widths[0] < 1 or not is_rising:
            raise ConfigError(f"the widths of the choice {name!r} must be positive and rise, got {widths}")
        super().__init__(name, [str(width) for width in widths])
        self.widths = widths

    @property
    def width(self) -> int:
        """The active number."""
        return self.widths[self.active]

    @property
    def largest(self) -> int:
        """The largest number with which it was built."""
        return self.widths[self.built[-1]]

    def alone(self) -> nn.Module:
        """The active number."""
        return Width(self.width)

    def options_with(self, child: str) -> frozenset[int]:  # it has no modules
        """All options."""
        return frozenset(range(len(self.labels)))


Channels = int | WidthChoice
"""A number of channels, or the choice of one."""


def _largest(channels: Channels) -> int:
    return channels.largest if isinstance(channels, WidthChoice) else channels


def _now(channels: Channels) -> int:
    return channels.width if isinstance(channels, WidthChoice) else channels


class Elastic(ABC):
    """A layer of chosen width."""

    @abstractmethod
    def alone(self) -> nn.Module:
        """The ordinary layer of the active width, with the first weights of this one."""

    @abstractmethod
    def parts(self) -> dict[str, tuple[slice, ...]]:
        """The part of each parameter that the active width uses, by the parameter's name."""


class ElasticLinear(nn.Linear, Elastic):
    """`nn.Linear` whose numbers of features may be chosen.

    Args:
        in_features: features of the input.
        out_features: features of the output.
        bias: whether a bias is added.
    """

    def __init__(self, in_features: Channels, out_features: Channels, bias: bool = True) -> None:  # as nn.Linear
        super().__init__(_largest(in_features), _largest(out_features), bias=bias)
        self.inputs, self.outputs = in_features, out_features

    def parts(self) -> dict[str, tuple[slice, ...]]:
        """The part of each parameter that the active width uses."""
        out = slice(_now(self.outputs))
        return {"weight": (out, slice(_now(self.inputs))), "bias": (out,)}

    def forward(self, input: Tensor) -> Tensor:
        """(..., active inputs) to (..., active outputs)."""
        return functional.linear(input, *_active(self))

    def alone(self) -> nn.Module:
        """`nn.Linear` of the active width."""
        layer = nn.Linear(_now(self.inputs), _now(self.outputs), bias=self.bias is not None, device="meta")
        return _with_weights(layer, self)


class ElasticConv2d(nn.Conv2d, Elastic):
    """`nn.Conv2d` whose numbers of channels may be chosen.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: as in `nn.Conv2d`.
        depthwise: whether each channel is convolved by itself; then both numbers must be the same.
        **settings: others of `nn.Conv2d`, except groups.

    Raises:
        ConfigError: a depthwise convolution has other channels in the output, or groups are given.
    """

    def __init__(
        self,
        in_channels: Channels,
        out_channels: Channels,
        kernel_size: int | tuple[int, int],
        *,
        depthwise: bool = False,
        **settings: Any,
    ) -> None:
        if "groups" in settings or (depthwise and in_channels is not out_channels and in_channels != out_channels):
            raise ConfigError(
                "a convolution of chosen width has one group, or with depthwise=True as many as channels, which are "
                "the same for input and output; give no groups"
            )
        groups = _largest(in_channels) if depthwise else 1
        super().__init__(_largest(in_channels), _largest(out_channels), kernel_size, groups=groups, **settings)
        self.inputs, self.outputs, self.depthwise = in_channels, out_channels, depthwise

    def parts(self) -> dict[str, tuple[slice, ...]]:
        """The part of each parameter that the active width uses."""
        out = slice(_now(self.outputs))
        return {"weight": (out, slice(1 if self.depthwise else _now(self.inputs))), "bias": (out,)}

    @property
    def _active_groups(self) -> int:
        return _now(self.inputs) if self.depthwise else 1

    def forward(self, input: Tensor) -> Tensor:
        """(B, active inputs, H, W) to (B, active outputs, H', W')."""
        weight, bias = _active(self)
        if self.padding_mode != "zeros":
            padded = functional.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return functional.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self._active_groups)
        return functional.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self._active_groups)

    def alone(self) -> nn.Module:
        """`nn.Conv2d` of the active width."""
        layer = nn.Conv2d(
            _now(self.inputs),
            _now(self.outputs),
            self.kernel_size,  # type: ignore[arg-type]  # a tuple of two
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            self._active_groups,
            bias=self.bias is not None,
            padding_mode=self.padding_mode,
            device="meta",
        )
        return _with_weights(layer, self)


class ElasticBatchNorm2d(nn.BatchNorm2d, Elastic):
    """`nn.BatchNorm2d` whose number of channels may be chosen.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: share of a batch in the running statistics; None: their exact average.
    """

    def __init__(self, num_features: Channels, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(_largest(num_features), eps=eps, momentum=momentum)
        self.channels = num_features

    def parts(self) -> dict[str, tuple[slice, ...]]:
        """The part of each parameter that the active width uses."""
        return dict.fromkeys(("weight", "bias"), (slice(_now(self.channels)),))

    def forward(self, input: Tensor) -> Tensor:
        """Normalised (B, active channels, H, W)."""
        (weight, bias), now = _active(self), _now(self.channels)
        mean, variance = (None if each is None else each[:now] for each in (self.running_mean, self.running_var))
        uses_batch = self.training or mean is None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 0.0 if self.num_batches_tracked is None else 1.0 / float(self.num_batches_tracked)
        return functional.batch_norm(input, mean, variance, weight, bias, uses_batch, momentum, self.eps)

    def alone(self) -> nn.Module:
        """`nn.BatchNorm2d` of the active width."""
        now = _now(self.channels)
        layer = nn.BatchNorm2d(now, self.eps, self.momentum, device=self.weight.device, dtype=self.weight.dtype)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            layer.running_mean, layer.running_var = self.running_mean[:now].clone(), self.running_var[:now].clone()
            layer.num_batches_tracked = self.num_batches_tracked.clone()
        return _with_weights(layer, self)


class ElasticLayerNorm(nn.LayerNorm, Elastic):
    """`nn.LayerNorm` over one dimension whose size may be chosen.

    Args:
        features: size of the last dimension.
        eps: added to the variance.
    """

    def __init__(self, features: Channels, eps: float = 1e-5) -> None:
        super().__init__(_largest(features), eps=eps)
        self.features = features

    def parts(self) -> dict[str, tuple[slice, ...]]:
        """The part of each parameter that the active size uses."""
        return dict.fromkeys(("weight", "bias"), (slice(_now(self.features)),))

    def forward(self, input: Tensor) -> Tensor:
        """Normalised (..., active features)."""
        return functional.layer_norm(input, (_now(self.features),), *_active(self), self.eps)

    def alone(self) -> nn.Module:
        """`nn.LayerNorm` of the active size."""
        return _with_weights(nn.LayerNorm(_now(self.features), self.eps, device="meta"), self)


def _active(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the active width, as views."""
    assert isinstance(layer, Elastic)
    weight, bias = (layer._parameters.get(name) for name in ("weight", "bias"))
    assert weight is not None
    parts = layer.parts()
    return weight[parts["weight"]], None if bias is None else bias[parts["bias"]]


def _with_weights(layer: nn.Module, source: nn.Module) -> nn.Module:
    """The layer with copies of the active weights, in the mode of its source."""
    for name, value in zip(("weight", "bias"), _active(source), strict=True):
        if value is not None:
            trained = bool(source.get_parameter(name).requires_grad)
            layer.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=trained))
    return layer.train(source.training)
