"""Where float32 is promised it is computed, whatever a process asks for; and the settings of a repeatable process."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from multinas_ray.supernets import (
    Separate,
    accumulate_gradients,
    accumulate_sandwich_gradients,
    build_subnet,
    compute_deterministically,
    evaluate,
    make_supernet,
    recalibrate_batch_norm,
    sample_scores,
    summed_score,
    whole_float32,
)
from multinas_ray.supernets.precision import CUBLAS_WORKSPACE
from multinas_ray.tasks import Scorer, Task
from tests.support.numerics import WHOLE, Seen, float32_kinds, settings_kept, tensor_float_asked_for

ROWS_ND = np.array([[0, 0, 0], [1, 1, 2]])


@pytest.fixture
def fast() -> Iterator[None]:
    with tensor_float_asked_for():
        yield


def batch(space: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, *space.input_shape), torch.arange(4) % space.num_classes


@pytest.mark.usefixtures("fast")
def test_float32_is_whole_within_and_as_before_after():
    before = float32_kinds()
    assert before != WHOLE
    with whole_float32():
        assert float32_kinds() == WHOLE
        assert not torch.backends.cudnn.allow_tf32  # PyTorch tells it, so that the two names of it agree
        assert not torch.backends.cuda.matmul.allow_tf32
    assert float32_kinds() == before
    assert torch.backends.cuda.matmul.allow_tf32
    with suppress(KeyError), whole_float32():
        raise KeyError
    assert float32_kinds() == before


def test_a_process_that_uses_the_newer_names_keeps_what_it_has_set():
    backends: Any = torch.backends
    conv = backends.cudnn.conv
    before = conv.fp32_precision
    try:
        conv.fp32_precision = "ieee"  # PyTorch no longer tells torch.backends.cudnn.allow_tf32
        with whole_float32():
            assert float32_kinds() == WHOLE
        assert conv.fp32_precision == "ieee"
    finally:
        conv.fp32_precision = before
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("compute", [accumulate_gradients, accumulate_sandwich_gradients, evaluate])
def test_rounds_compute_in_whole_float32(tiny_space, compute):
    net, seen = make_supernet(tiny_space, 2, 0), Seen()
    seen.look_at(net)
    compute(net, *batch(tiny_space), ROWS_ND)
    assert set(seen.forward_passes) == {WHOLE}
    assert set(seen.backward_passes) == (set() if compute is evaluate else {WHOLE})
    seen.forward_passes.clear()
    compute(net, *batch(tiny_space), ROWS_ND, autocast_dtype=torch.bfloat16)
    assert WHOLE not in seen.forward_passes


@pytest.mark.usefixtures("fast")
def test_scores_of_networks_are_computed_in_whole_float32(tiny_space):
    network, seen, scorer = build_subnet(tiny_space, (0, 1, 2)), Seen(), Scorer(Task())
    seen.look_at(network)
    images, labels = batch(tiny_space)
    recalibrate_batch_norm(network, [images])
    summed_score(network, [(images, labels)], scorer)
    sample_scores(Separate([network]), [(images, labels)], scorer)
    assert len(seen.forward_passes) % 3 == 0
    assert set(seen.forward_passes) == {WHOLE}


def test_a_process_that_computes_deterministically_says_so_to_torch():
    with settings_kept():
        torch.backends.cudnn.benchmark = True
        compute_deterministically()
        assert torch.are_deterministic_algorithms_enabled()
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
        assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
        os.environ[CUBLAS_WORKSPACE] = ":16:8"
        compute_deterministically()
        assert os.environ[CUBLAS_WORKSPACE] == ":16:8"  # one's own choice
    assert not torch.are_deterministic_algorithms_enabled()
