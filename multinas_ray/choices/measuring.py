"""The costs of a model's networks, found by running them on an example without computing anything.

Notation: D variables, N architectures.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from multinas_ray.choices.memory import PeakMemory
from multinas_ray.choices.models import Places, parts_used
from multinas_ray.choices.networks import MakeModel
from multinas_ray.choices.places import Place
from multinas_ray.choices.remembered import RememberedCalls
from multinas_ray.choices.width import Elastic
from multinas_ray.data import batch_of, call, tensors_of
from multinas_ray.errors import FAILURES, ConfigError, first_line
from multinas_ray.spaces import Structure

COMPARED = 10
"""Networks whose memory is found without remembered calls too; where one differs, these are not used. [ours]"""


class Measured(NamedTuple):
    """Costs of one network."""

    params: int
    """Trainable values; those that are used twice count once."""
    flops: int
    """Multiply-adds for one sample, by torch's own counter: those of convolutions, products and attention."""


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """Keep torch from printing a trace for each operation that fails; the error that is raised tells all."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _in_countable_operations() -> Iterator[None]:
    """Keep torch from computing whole layers in one operation, whose multiply-adds its counter does not know."""
    before = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # torch's own layers of transformers
    torch._C._set_mkldnn_enabled(False)  # LSTM; torch.backends.mkldnn.flags sets more, and warns
    try:
        with sdpa_kernel(SDPBackend.MATH):  # attention on a CPU
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before[0])
        torch._C._set_mkldnn_enabled(before[1])


class _Copies(TorchFunctionMode):
    """Lets modules with fake tensors be copied, as many models do while they are made; torch itself cannot."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            copy = tensor.detach().clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
        return memo[id(tensor)]


class ModelMeter:
    """Measures the networks of a model. Its tensors are fake, so that a model of any size takes no memory.

    Args:
        make: makes the model.
        inputs: what the model takes for one sample.

    Raises:
        ConfigError: the model cannot be made, has no choices, or has two of one name.
    """

    def __init__(self, make: MakeModel, inputs: Structure) -> None:
        self._mode = FakeTensorMode()
        try:
            with self._mode, _Copies():
                self.model, self._example = make(), batch_of(inputs, 1)
        except ConfigError:
            raise
        except FAILURES as error:  # the model is the user's and may raise anything
            raise ConfigError(
                f"the model cannot be made ({_text(error)}): correct the function that makes it"
            ) from error
        if not isinstance(self.model, nn.Module):
            raise ConfigError(f"the function that makes the model must return a module, it gave {self.model!r}")
        self.model.eval()
        self.places = Places.of(self.model)
        """The places of the model."""
        self._calls, self._compared, self._remembers = RememberedCalls(self.model), [0, 0], True
        self._weights = [*self.model.parameters(), *self.model.buffers()]
        self._called: set[str] = set()
        for name, place in self.places.by_name.items():
            for module in _called_with(place, self.model):
                module.register_forward_pre_hook(functools.partial(self._note, name))

    def measure(self, architecture: Sequence[int]) -> Measured:
        """The costs of one network.

        Raises:
            ConfigError: it cannot be run; the message says what was chosen.
        """
        counter = FlopCounterMode(display=False)
        self._run(architecture, counter)
        params = sum(_size(part, each) for each, part in parts_used(self.model).items() if each.requires_grad)
        return Measured(params, counter.get_total_flops() // 2)

    def peak_memory(self, architecture: Sequence[int]) -> int:
        """Bytes of activations that are alive at once while one network computes one sample, with its inputs.

        Raises:
            ConfigError: as `measure`.
        """
        known, is_sum = self._remembered_memory(architecture) if self._remembers else (0, False)
        if not self._remembers or self._compared[is_sum] < COMPARED:
            memory = self._counter_of_memory()
            self._run(architecture, memory)
            self._remembers = self._remembers and known == memory.bytes
            self._compared[is_sum] += self._remembers
            return memory.bytes
        return known

    def _remembered_memory(self, architecture: Sequence[int]) -> tuple[int, bool]:
        """The same, with calls of modules that were run before left out, and whether all of them were."""
        memory = self._counter_of_memory()
        self.places.activate(architecture)
        added = self._calls.added(self.model, self._example)
        if added is not None:
            return memory.bytes + added, True
        with self._calls.counted_by(memory):
            self._run(architecture, memory)
        return memory.bytes, False

    def _counter_of_memory(self) -> PeakMemory:
        return PeakMemory(self._weights, tensors_of(self._example))

    def _run(self, architecture: Sequence[int], counter: TorchDispatchMode | FlopCounterMode) -> None:
        before = self._versions()
        try:
            with counter:
                self._call(architecture)
        except FAILURES as error:  # the model is the user's and may raise anything
            raise ConfigError(
                f"every network of a model must run on its example, {self.blamed(architecture, self._fails)} does not "
                f"({_text(error)}): let the options of a choice give what the next modules take, let forward take the "
                "inputs as they are, and let no value of a tensor decide what is computed"
            ) from error
        if self._versions() != before:
            raise ConfigError(
                f"a model must not change its inputs in place, {self.blamed(architecture, self._changes_inputs)} "
                "does: set inplace=False in its first module, or let it compute on a copy"
            )

    def _call(self, architecture: Sequence[int]) -> Any:
        self.places.activate(architecture)
        with self._mode, torch.no_grad(), _without_traces(), _in_countable_operations():
            return call(self.model, self._example)

    def _versions(self) -> list[int]:
        """How often each tensor of the example has been changed in place."""
        return [each._version for each in tensors_of(self._example)]

    def _fails(self, architecture: Sequence[int]) -> bool:
        try:
            self._call(architecture)
        except FAILURES:  # as above
            return True
        return False

    def _changes_inputs(self, architecture: Sequence[int]) -> bool:
        before = self._versions()
        return self._fails(architecture) or self._versions() != before

    def blamed(self, architecture: Sequence[int], is_faulty: Callable[[Sequence[int]], bool]) -> str:
        """The option of one choice with which a network becomes faulty; all its options if it is not one alone."""
        sound = [0] * len(architecture)
        if is_faulty(sound):
            return f"the one with {self._chosen(sound)}"
        for d, place in enumerate(self.places.by_name.values()):
            other = [*sound[:d], architecture[d], *sound[d + 1 :]]
            if other != sound and is_faulty(other):
                return f"the one with the option {place.labels[int(architecture[d])]!r} of the choice {place.name!r}"
        return f"the one with {self._chosen(architecture)}"

    def output(self, architecture: Sequence[int]) -> Any:
        """What one network, which was measured, gives for the example: fake tensors of the true shapes."""
        return self._call(architecture)

    def check_gradient(self, architecture: Sequence[int]) -> None:
        """Check that the outputs of one network, which runs, have a gradient for its weights.

        Raises:
            ConfigError: they have none; the message says what was chosen.
        """
        error = self._gradient_fault(architecture)
        if error is not None:
            raise ConfigError(
                "the outputs of every network must depend on its weights in a way that can be trained, those of "
                f"{self.blamed(architecture, lambda row: self._gradient_fault(row) is not None)} do not ({error}): "
                "leave detach, argmax and no_grad out of forward, and set inplace=False in its modules"
            )

    def _gradient_fault(self, architecture: Sequence[int]) -> str | None:
        """Why the outputs of a network have no gradient; None: they have."""
        self.places.activate(architecture)
        weights = [each for each in self.model.parameters() if each.requires_grad]
        with self._mode, torch.enable_grad():
            outputs = [each for each in tensors_of(call(self.model, self._example)) if each.requires_grad]
            if not outputs:
                return "they have no gradient"
            try:
                torch.autograd.grad(outputs, weights, list(map(torch.ones_like, outputs)), allow_unused=True)
            except RuntimeError as error:  # such as a value that was changed in place
                return _text(error)
        return None

    @property
    def total_params(self) -> int:
        """Trainable values of the model with all its choices."""
        return sum(each.numel() for each in self.model.parameters() if each.requires_grad)

    def own_flops(self, architecture: Sequence[int]) -> dict[nn.Module, int]:
        """Multiply-adds of each module that one network uses, without those of modules within it.

        Raises:
            ConfigError: as `measure`.
        """
        counter, own = FlopCounterMode(display=False), Counter[nn.Module]()
        started: list[tuple[int, int]] = []  # what was counted when a module began, and what was within it so far

        def enter(*_: object) -> None:
            started.append((counter.get_total_flops(), 0))

        def leave(module: nn.Module, *_: object) -> None:
            before, within = started.pop()
            whole = counter.get_total_flops() - before
            own[module] += (whole - within) // 2
            if started:
                started[-1] = (started[-1][0], started[-1][1] + whole)

        with contextlib.ExitStack() as hooks:
            for module in self.model.modules():
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave).remove)
            self._run(architecture, counter)
        return dict(own)

    def _note(self, name: str, *_: object) -> None:
        self._called.add(name)

    def check_calls(self) -> None:
        """Check that every place was used by some network that was measured.

        Raises:
            ConfigError: one was not; the message names it.
        """
        if unused := [name for name in self.places.by_name if name not in self._called]:
            raise ConfigError(
                f"every choice must be used when the model is called, {', '.join(map(repr, unused))} is not: use it "
                "in forward, or leave it out"
            )

    def _chosen(self, architecture: Sequence[int]) -> str:
        space = self.places.search_space
        return ", ".join(f"{name}={label}" for name, label in space.decode(architecture).items())


def _called_with(place: Place, model: nn.Module) -> list[nn.Module]:
    """The modules whose call shows that a place is used: the place, or the layers of its width where it has some."""
    layers = [each for each in model.modules() if isinstance(each, Elastic) and place in each.children()]
    return [each for each in layers if isinstance(each, nn.Module)] or [place]


def _size(part: tuple[slice, ...], parameter: nn.Parameter) -> int:
    return prod(len(range(*each.indices(size))) for each, size in zip(part, parameter.shape, strict=True))


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
