import copy
import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from multinas_ray.oneshot import rounds as rounds_module
from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.rounds import RoundWorker, Traffic, average_gradients
from multinas_ray.spaces import Position, elastic_blocks
from multinas_ray.supernets import BlockSupernet
from tests.support.narrow import present
from tests.support.ranks import run_ranks


def round_of(number, space, *, trains=True, evaluates=True, num_samples=4):
    rng = np.random.default_rng((1, number))
    return Round(
        number=number,
        train_architectures=space.random(2, rng) if trains else None,
        architectures=space.random(num_samples, rng) if evaluates else None,
    )


@pytest.fixture
def draw(make_job):
    space = make_job().space.search_space
    return lambda number, **changes: round_of(number, space, **changes)


def weights_of(worker):
    return {name: value.detach().clone() for name, value in worker.supernet.named_parameters()}


def logits_of(supernet, images, architecture):
    return supernet(images, np.array([architecture]))[0]


def test_a_round_packs_the_training_loss_the_losses_and_the_accuracies(make_worker, draw):
    worker, work = make_worker(gradient_clip_norm=1e9), draw(5)
    by_hand = copy.deepcopy(worker)
    packed = worker.run(work)
    assert packed.shape == (1 + 2 * 4,)
    assert packed.dtype == torch.float32
    images, labels = by_hand.training_batches.batch(5)
    losses = [
        functional.cross_entropy(logits_of(by_hand.supernet, images, row), labels) for row in work.train_architectures
    ]
    assert packed[0].item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    images, labels = worker.validation_batches.batch(5)
    with torch.no_grad():  # the losses are those after the weight step
        logits = [logits_of(worker.supernet, images, row) for row in work.architectures]
    expected = [functional.cross_entropy(each, labels).item() for each in logits]
    assert packed[1:5].tolist() == pytest.approx(expected, rel=1e-5)
    accuracies = [(each.argmax(1) == labels).float().mean().item() for each in logits]
    assert packed[5:].tolist() == pytest.approx(accuracies, abs=1e-6)


def test_with_weights_first_all_rounds_have_one_validation_batch(make_worker, make_job, draw):
    job = make_job()
    assert job.weights_first is False
    work = draw(7, trains=False)
    moving, fixed = make_worker(), make_worker()
    fixed.job = replace(fixed.job, weights_first=True, num_weight_steps=3)
    same = [fixed.run(replace(work, number=number)).tolist()[1:] for number in (3, 4, 9)]
    assert same[0] == same[1] == same[2] == moving.run(replace(work, number=3)).tolist()[1:]
    assert moving.run(replace(work, number=4)).tolist()[1:] != same[0]


def test_a_weight_step_is_clipped_nesterov_sgd_with_decay_on_the_weights_alone(make_worker, draw):
    worker = make_worker(gradient_clip_norm=0.1, weight_decay=0.01, momentum=0.9, learning_rate=0.2)
    by_hand = copy.deepcopy(worker)
    momenta: dict[str, torch.Tensor] = {}
    for number in range(3):
        work = draw(number, evaluates=False)
        worker.run(work)
        images, labels = by_hand.training_batches.batch(number)
        by_hand.supernet.zero_grad(set_to_none=True)
        losses = [
            functional.cross_entropy(logits_of(by_hand.supernet, images, row), labels)
            for row in work.train_architectures
        ]
        torch.stack(losses).mean().backward()
        touched = {name: p for name, p in by_hand.supernet.named_parameters() if p.grad is not None}
        norm = torch.sqrt(sum((p.grad**2).sum() for p in touched.values()))
        assert norm > 0.1
        rate = worker.job.training.learning_rate_at(number, 40)
        for name, parameter in touched.items():
            gradient = parameter.grad * (0.1 / norm)
            if parameter.ndim > 1:
                gradient = gradient + 0.01 * parameter.detach()
            momenta[name] = gradient if name not in momenta else 0.9 * momenta[name] + gradient
            parameter.data -= rate * (gradient + 0.9 * momenta[name])
    for (name, one), (_, other) in zip(
        worker.supernet.named_parameters(), by_hand.supernet.named_parameters(), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5), name


def test_a_warm_up_round_gives_the_training_loss_alone(make_worker, draw):
    worker = make_worker()
    before = weights_of(worker)
    packed = worker.run(draw(0, evaluates=False))
    assert packed.shape == (1,)
    assert torch.isfinite(packed).all()
    assert any(not torch.equal(before[name], value) for name, value in weights_of(worker).items())


def test_a_round_without_a_weight_step_leaves_the_weights_and_momenta_alone(make_worker, draw):
    worker = make_worker()
    worker.run(draw(0))
    before, momenta = weights_of(worker), copy.deepcopy(worker.sgd.state_dict())
    packed = worker.run(draw(1, trains=False))
    assert torch.isnan(packed[0])
    assert torch.isfinite(packed[1:]).all()
    assert all(torch.equal(before[name], value) for name, value in weights_of(worker).items())
    assert str(momenta) == str(worker.sgd.state_dict())


def test_untouched_parameters_do_not_move_despite_momentum_and_decay(make_worker):
    worker = make_worker(weight_decay=0.05)
    first, second = np.array([[0, 0, 0, 0, 0, 0]]), np.array([[1, 1, 1, 1, 1, 1]])
    for number in range(2):
        worker.run(Round(number=number, train_architectures=first, architectures=None))
    once_touched = worker.supernet.touched_parameters(first)
    assert all(worker.sgd.state[p]["momentum_buffer"].abs().sum() > 0 for p in once_touched if p.ndim > 1)
    before = weights_of(worker)
    worker.run(Round(number=2, train_architectures=second, architectures=first))
    now_touched = set(map(id, worker.supernet.touched_parameters(second)))
    moved = {name for name, p in worker.supernet.named_parameters() if not torch.equal(before[name], p)}
    touched = {name for name, p in worker.supernet.named_parameters() if id(p) in now_touched}
    assert moved <= touched
    assert {name for name in touched if name.endswith("conv.weight")} <= moved
    assert any(id(p) not in now_touched for p in once_touched)


def elastic(space):
    """The space with its blocks of one kernel as parts of the widest."""
    positions = []
    for position in space.positions:
        widths = [[block for block in position.blocks if block.name.endswith(kernel)] for kernel in ("k3", "k5")]
        positions.append(Position(position.name, (*elastic_blocks(widths[0]), *elastic_blocks(widths[1]))))
    return replace(space, positions=tuple(positions))


def test_untouched_channels_of_elastic_blocks_do_not_move_despite_momentum_and_decay(make_job, splits):
    job = make_job(weight_decay=0.05)
    worker = RoundWorker(replace(job, space=elastic(job.space)), splits, torch.device("cpu"))
    narrow, wide = np.zeros((1, 6), dtype=np.int64), np.ones((1, 6), dtype=np.int64)
    for number in range(2):
        worker.run(Round(number=number, train_architectures=wide, architectures=None))
    weight = worker.supernet.get_parameter("positions.0.0.whole.0.conv.weight")
    half, before = len(weight) // 2, weight.detach().clone()
    assert worker.sgd.state[weight]["momentum_buffer"][half:].abs().sum() > 0
    worker.run(Round(number=2, train_architectures=narrow, architectures=wide))
    assert torch.equal(weight[half:], before[half:])
    assert not torch.equal(weight[:half], before[:half])


def test_the_result_of_a_round_depends_on_its_number_alone(make_worker, draw):
    worker, fresh = make_worker(), make_worker()
    for number in range(3):
        worker.run(draw(number, trains=False))
    assert torch.equal(worker.run(draw(7)), fresh.run(draw(7)))


def saved_and_loaded(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_state_goes_on_where_it_was_saved(make_worker, draw):
    worker = make_worker()
    for number in range(3):
        worker.run(draw(number))
    restored = make_worker()
    restored.load_state_dict(saved_and_loaded(worker.state_dict()))
    for number in range(3, 6):
        assert torch.equal(worker.run(draw(number)), restored.run(draw(number)))
    expected = weights_of(worker)
    assert all(torch.equal(expected[name], value) for name, value in weights_of(restored).items())


def test_a_state_without_its_momenta_goes_on_otherwise(make_worker, draw):
    worker = make_worker()
    worker.run(draw(0))
    half = make_worker()
    half.supernet.load_state_dict(worker.state_dict()["supernet"])
    worker.run(draw(1)), half.run(draw(1))
    assert not torch.equal(worker.run(draw(2)), half.run(draw(2)))


def test_a_state_of_another_space_is_refused(make_worker):
    worker = make_worker()
    state = worker.state_dict()
    del state["supernet"][
        "head.classifier.weight" if "head.classifier.weight" in state["supernet"] else next(iter(state["supernet"]))
    ]
    with pytest.raises(RuntimeError, match="Missing key"):
        make_worker().load_state_dict(state)


def test_autocast_gives_nearly_the_same_losses(make_worker, draw):
    exact, rough = make_worker().run(draw(0)), make_worker(precision="bfloat16").run(draw(0))
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert torch.allclose(exact[:5], rough[:5], rtol=0.05)


def test_a_memory_limit_changes_nothing_but_rounding(make_worker, draw):
    whole, parts = make_worker(), make_worker(activation_bytes_limit=1)
    for number in range(2):
        assert torch.allclose(whole.run(draw(number)), parts.run(draw(number)), rtol=1e-4, atol=1e-6)


NUM_ROUNDS = 10
SHARES = (1 / 3, 2 / 3)
"""Of two ranks that share three groups."""


def run_rounds(job, splits, rank, world_size):
    worker = RoundWorker(job, splits, torch.device("cpu"), rank, world_size)
    space = job.space.search_space
    packed, traffic = [], []
    for number in range(NUM_ROUNDS):
        packed.append(worker.run(round_of(number, space)))
        traffic.append((worker.traffic.reduced_bytes, worker.traffic.saved_bytes))
    return torch.stack(packed), worker, traffic


def run_rank(rank, world_size, job, splits, folder):
    """One process of a gloo group: ten rounds, then average_gradients with buckets of every size."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    packed, worker, traffic = run_rounds(job, splits, rank, world_size)
    averages = {}
    for elements in (1, 10, 25, 10**6):
        rounds_module.BUCKET_ELEMENTS = elements
        parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (7,), (2, 5, 2), ())]
        for index, parameter in enumerate(parameters):
            parameter.grad = gradient_of(index, rank, parameter.shape)
        average_gradients(parameters, SHARES[rank])
        averages[elements] = [parameter.grad for parameter in parameters]
    found = {"packed": packed, "averages": averages, "weights": weights_of(worker), "traffic": traffic}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def gradient_of(index, rank, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(10 * index + rank))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, splits):
    """A function that runs two processes once; what they saved."""
    results: dict[int, Any] = {}

    def run(job):
        if not results:
            folder = tmp_path_factory.mktemp("gloo")
            run_ranks(run_rank, 2, job, splits, str(folder))
            results.update({rank: torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)})
        return results

    return run


def job_of_two(make_job):
    """The quickstart's rise of the learning rate; at once at its peak, rounding would grow tenfold every round.

    Two ranks do not share the training batch's three groups equally.
    """
    return make_job(batch_size=96, validation_batch_size=128, norm_batch_size=32, num_weight_steps=800)


@pytest.mark.slow
def test_two_workers_give_the_losses_of_one(make_job, two_ranks, splits):
    job = job_of_two(make_job)
    both = two_ranks(job)
    alone, worker, traffic = run_rounds(job, splits, 0, 1)
    assert torch.equal(both[0]["packed"], both[1]["packed"])
    assert torch.allclose(both[0]["packed"][:, :5], alone[:, :5], rtol=1e-4)
    assert torch.allclose(both[0]["packed"][:, 5:], alone[:, 5:], atol=1.5 / 128)  # an image at the border
    for name, weight in both[0]["weights"].items():
        assert torch.equal(weight, both[1]["weights"][name]), name
        assert torch.allclose(weight, dict(worker.supernet.named_parameters())[name], rtol=1e-2, atol=1e-3), name
    assert traffic == [(0, 0)] * NUM_ROUNDS


@pytest.mark.slow
def test_the_bytes_of_a_round_are_those_of_what_its_subnets_touch(make_job, two_ranks):
    job = job_of_two(make_job)
    both, space = two_ranks(job), job.space.search_space
    supernet = BlockSupernet(job.space, norm_batch_size=32, seed=0)
    for number in range(NUM_ROUNDS):
        touched = supernet.touched_parameters(round_of(number, space).train_architectures)
        sent = 4 * sum(parameter.numel() for parameter in touched)
        saved = 4 * sum(parameter.numel() for parameter in supernet.parameters()) - sent
        assert saved > 0
        assert [both[rank]["traffic"][number] for rank in (0, 1)] == [(sent, saved)] * 2


def test_a_round_without_a_weight_step_sends_no_gradients(make_worker, draw):
    worker = make_worker()
    worker.traffic = Traffic(reduced_bytes=3, saved_bytes=4)  # of the round before
    worker.run(draw(1, trains=False))
    assert worker.traffic == Traffic()


@pytest.mark.slow
def test_gradients_are_averaged_whatever_the_buckets(make_job, two_ranks):
    both = two_ranks(job_of_two(make_job))
    for rank in (0, 1):
        for elements, gradients in both[rank]["averages"].items():
            for index, gradient in enumerate(gradients):
                expected = sum(share * gradient_of(index, r, gradient.shape) for r, share in enumerate(SHARES))
                assert torch.allclose(gradient, expected, rtol=1e-6, atol=1e-7), (elements, index)


def test_gradients_go_in_as_few_buckets_as_fit(monkeypatch):
    sent = []

    class Done:
        def wait(self):
            pass

    def all_reduce(flat, async_op):
        assert async_op
        sent.append(flat.numel())
        return Done()

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr(rounds_module, "BUCKET_ELEMENTS", 20)
    parameters = [nn.Parameter(torch.zeros(size)) for size in (12, 8, 1, 30, 5, 15, 1)]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 6.0)
    assert average_gradients(parameters, 1 / 3) == 4 * 72
    assert sent == [20, 1, 30, 20, 1]
    assert all(torch.allclose(present(parameter.grad), torch.tensor(2.0)) for parameter in parameters)


def test_a_round_like_an_earlier_one_walks_through_no_modules(make_worker, draw, monkeypatch):
    """Gradients of subnets that the round does not train are gone; sizes are summed once."""
    worker, first, other = make_worker(), draw(3), draw(4)
    worker.run(first)
    worker.run(replace(other, train_architectures=first.train_architectures))
    worker.world_size = 2
    total = sum(parameter.nbytes for parameter in worker.supernet.parameters())
    monkeypatch.setattr(rounds_module, "average_gradients", lambda parameters, share: 7)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: None)
    whole = nn.Module.parameters

    def first_alone(self, recurse=True):
        yield next(whole(self))
        pytest.fail("walked")

    monkeypatch.setattr(nn.Module, "parameters", first_alone)
    worker.run(replace(other, architectures=None, train_architectures=first.train_architectures))
    assert worker.traffic == Traffic(reduced_bytes=7, saved_bytes=total - 7)
    monkeypatch.undo()
    worker.world_size = 1
    worker.run(other)
    with_gradients = {each for each in worker.supernet.parameters() if each.grad is not None}
    assert with_gradients == set(worker.supernet.touched_parameters(other.train_architectures))
