import copy
import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.data import Augmentation
from multinas_ray.errors import ConfigError, DataError, RunError
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining.mixing import Mixing
from multinas_ray.retraining.network_training import NetworkTraining, moving_average, number_format, schedule, sgd
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import Task
from tests.retraining.two_ranks import NOTICED_STEP, scores, without_normalisation, work_on_a_rank
from tests.support.narrow import present
from tests.support.numerics import WHOLE, Seen, tensor_float_asked_for
from tests.support.ranks import run_ranks
from tests.support.tiny_search import tiny_space

CROPS = Augmentation(crop_padding=1, horizontal_flip=False)
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def few(splits):
    """The splits with 96 training, 32 validation and 64 test images."""
    return dataclasses.replace(
        splits,
        train=splits.train.select(np.arange(96)),
        validation=splits.validation.select(np.arange(32)),
        test=splits.test.select(np.arange(64)),
    )


@pytest.fixture
def make_training(few):
    def make(network=None, splits=few, **settings):
        config = RetrainConfig(**{"epochs": 4, "batch_size": 32, **settings})
        network = network or build_subnet(tiny_space(), (1, 0, 1), seed=config.seed)
        loss = config.training_loss.start(tiny_space(), Task(), "", CPU)
        return NetworkTraining(network, config, loss, splits, CROPS, CPU)

    return make


def test_a_training_in_float32_computes_in_whole_float32(make_training):
    for precision in ("float32", "bfloat16"):
        training, seen = make_training(epochs=1, precision=precision), Seen()
        with tensor_float_asked_for():
            seen.look_at(nn.ModuleList([training.network, training.trained]))
            training.run_epoch()
            assert set(seen.backward_passes) == {WHOLE}
            assert (set(seen.forward_passes) == {WHOLE}) == (precision == "float32")
            seen.forward_passes.clear()
            training.score(training.splits.test)
        assert set(seen.forward_passes) == {WHOLE}


def states_of(training):
    return {
        f"{name}/{key}": v
        for name, part in (("now", training.network), ("kept", training.trained))
        for key, v in part.state_dict().items()
    }


def assert_equal_states(first, second):
    first, second = states_of(first), states_of(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_weight_decay_spares_biases_and_normalisation():
    network = build_subnet(tiny_space(), (1, 0, 1))
    rates = {
        id(p): group["weight_decay"] for group in sgd(network, RetrainConfig()).param_groups for p in group["params"]
    }
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            spared = isinstance(module, nn.BatchNorm2d) or name == "bias"
            assert rates.pop(id(parameter)) == (0.0 if spared else 1e-4)
    assert not rates


def test_the_learning_rate_rises_linearly_and_falls_on_a_half_cosine():
    config = RetrainConfig(epochs=10, warmup_epochs=2, batch_size=512)
    optimizer = sgd(nn.Linear(2, 2), config)
    lr = schedule(optimizer, config, steps_per_epoch=5)
    for step in range(50):
        lr.step_update(step)
        rising, falling = (step + 1) / 11, 0.5 * (1 + math.cos(math.pi * (step - 10) / 40))
        expected = 0.2 * (rising if step < 10 else falling)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected] * 2)


def test_the_average_follows_its_law():
    network = nn.Linear(1, 1, bias=False)
    ema = present(moving_average(network, RetrainConfig(ema_decay=0.9, ema_warmup_power=0.5)))
    expected, rng = float(network.weight.detach()), np.random.default_rng(0)
    for step in range(1, 201):
        value = rng.normal()
        nn.init.constant_(network.weight, value)
        ema.update(network, step)
        decay = min(0.9, 1 - step**-0.5)
        expected = decay * expected + (1 - decay) * value
        assert float(ema.module.weight.detach()) == pytest.approx(expected, abs=1e-5)


def test_the_average_is_what_is_kept_unless_there_is_none(make_training):
    averaged, plain = make_training(), make_training(ema_decay=0)
    assert averaged.trained is not averaged.network
    assert plain.trained is plain.network
    for training in (averaged, plain):
        training.run_epoch()
    for name, value in plain.network.state_dict().items():
        assert torch.equal(value, averaged.network.state_dict()[name]), "the average does not change the training"
    assert averaged.score(averaged.splits.test) != plain.score(plain.splits.test)


def test_label_smoothing_mixes_in_the_mean_over_classes(make_training):
    smoothing = 0.3
    common = {"batch_size": 128, "augmentation": "none", "warmup_epochs": 0, "epochs": 1}  # one step of all 128 images
    hard = make_training(**common, label_smoothing=0.0).run_epoch()["train_loss"]
    smooth = make_training(**common, label_smoothing=smoothing)
    images, labels = smooth._batches.batch(0)
    log_probs = build_subnet(tiny_space(), (1, 0, 1), seed=0)(images).log_softmax(1).detach()
    assert hard == pytest.approx(float(-log_probs[torch.arange(128), labels].mean()), rel=1e-5)
    uniform = float(-log_probs.mean())
    assert smooth.run_epoch()["train_loss"] == pytest.approx((1 - smoothing) * hard + smoothing * uniform, rel=1e-5)


@pytest.mark.parametrize("augmentation", ["none", "cutout", "randaugment"])
def test_going_on_from_a_saved_state_gives_the_training_that_was_never_stopped(make_training, augmentation):
    def dropping():
        network = build_subnet(tiny_space(), (1, 0, 1), seed=0)
        return nn.Sequential(nn.Dropout(0.2), network)

    whole = make_training(dropping(), augmentation=augmentation)
    while not whole.is_finished:
        whole.run_epoch()
    first = make_training(dropping(), augmentation=augmentation)
    for _ in range(2):
        first.run_epoch()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    second = make_training(
        nn.Sequential(nn.Dropout(0.2), build_subnet(tiny_space(), (1, 0, 1), seed=5)), augmentation=augmentation
    )
    second.load_state_dict(torch.load(file, weights_only=True))
    while not second.is_finished:
        second.run_epoch()
    assert_equal_states(whole, second)
    told = ("epoch", "learning_rate", "train_loss")
    assert [[row[name] for name in told] for row in whole.history] == [
        [row[name] for name in told] for row in second.history
    ]
    assert [row["epoch"] for row in second.history] == [1, 2, 3, 4]


@pytest.mark.parametrize("augmentation", ["none", "cutout", "randaugment"])
@pytest.mark.parametrize("num_steps", [5, 7, 8])  # an epoch has four
def test_going_on_from_a_step_of_an_epoch_gives_the_training_that_was_never_stopped(
    make_training, augmentation, num_steps
):
    def make(seed=0):
        network = nn.Sequential(nn.Dropout(0.2), build_subnet(tiny_space(), (1, 0, 1), seed=seed))
        return make_training(network, augmentation=augmentation, epochs=3, train_on="all")

    whole = make()
    while not whole.is_finished:
        whole.run_epoch()
    first, asked = make(), []

    def is_pause_wanted():
        asked.append((first.epoch, first.step))
        return len(asked) == num_steps

    assert [first.run_epoch(is_pause_wanted) is None for _ in range(2)] == [False, True]
    assert asked == [(each // 4, each % 4 + 1) for each in range(num_steps)]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    second, steps = make(seed=5), []
    second.load_state_dict(torch.load(file, weights_only=True))

    def count() -> bool:
        steps.append(second.step)
        return False

    while not second.is_finished:
        second.run_epoch(count)
    assert len(steps) == 12 - num_steps, "no step is trained twice"
    assert_equal_states(whole, second)
    for name in ("epoch", "learning_rate", "train_loss"):
        assert [row[name] for row in second.history] == pytest.approx([row[name] for row in whole.history], rel=1e-6)


def test_a_paused_epochs_time_is_that_of_its_parts(make_training, monkeypatch):
    clock = iter([100.0, 103.0, 500.0, 504.0])
    monkeypatch.setattr("multinas_ray.retraining.network_training.time.perf_counter", lambda: next(clock))
    first, second = make_training(), make_training()
    assert first.run_epoch(lambda: True) is None
    second.load_state_dict(first.state_dict())
    row = second.run_epoch()
    assert (row["seconds"], row["images_per_second"]) == (7.0, 128 / 7)


def test_an_epoch_leaves_torchs_generator_as_it_was(make_training):
    training = make_training(nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 10)))
    before = torch.random.get_rng_state()
    training.run_epoch()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_validation_images_are_trained_on_unless_kept_apart(make_training, few):
    everything, apart = make_training(), make_training(train_on="train")
    assert everything._batches.batches_per_epoch == (96 + 32) // 32
    assert apart._batches.batches_per_epoch == 96 // 32
    assert everything.run_epoch()["validation_loss"] is None
    row = apart.run_epoch()
    assert (row["validation_loss"], row["validation_accuracy"]) == scores(apart, few.validation)
    wider = dataclasses.replace(few, validation=few.validation.select(np.arange(16)))
    other = make_training(splits=wider, train_on="train")
    other.run_epoch()
    assert_equal_states(apart, other)


def test_the_score_is_the_mean_over_every_image(make_training, few):
    training = make_training(batch_size=48)  # 64 test images: the last batch is smaller
    training.run_epoch()
    scale, shift = np.array(few.std), np.array(few.mean)
    pixels = ((few.test.images / 255 - shift) / scale).astype(np.float32).transpose(0, 3, 1, 2)
    labels = torch.from_numpy(few.test.labels)
    with torch.no_grad():
        logits = training.trained.eval()(torch.from_numpy(pixels))
    loss, accuracy = scores(training, few.test)
    assert loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert accuracy == float((logits.argmax(1) == labels).double().mean())


def test_a_diverged_training_is_told(make_training):
    linear = nn.Linear(64, 10)
    nn.init.constant_(linear.weight, math.nan)
    training = make_training(nn.Sequential(nn.Flatten(), linear))
    with pytest.raises(
        RunError, match=r"the training loss must stay finite, it is nan in epoch 1: lower learning_rate=0\.1, or raise"
    ):
        training.run_epoch()


def test_a_batch_larger_than_the_set_is_told(make_training):
    with pytest.raises(DataError, match="at most the number of images, 128"):
        make_training(batch_size=256)


@pytest.fixture(scope="module")
def two_ranks(few, tmp_path_factory):
    """The folder of what two ranks have written."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(work_on_a_rank, 2, few, folder)
    return folder


@pytest.mark.slow
def test_two_ranks_train_as_one_on_the_joined_batch(few, two_ranks):
    two = torch.load(two_ranks / "trained.pt", weights_only=True)
    one = without_normalisation(few)
    row = present(one.run_epoch())
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(two["state"][name], value, rtol=1e-4, atol=1e-6)
    assert two["row"] == pytest.approx((row["train_loss"], *scores(one, few.test)), rel=1e-5)


@pytest.mark.slow
def test_ranks_pause_after_the_same_step_whichever_has_the_notice(few, two_ranks):
    states = [torch.load(two_ranks / f"paused-{rank}.pt", weights_only=True) for rank in range(2)]
    assert [state["step"] for state in states] == [NOTICED_STEP] * 2
    whole, alone = without_normalisation(few), without_normalisation(few)
    expected = present(whole.run_epoch())["train_loss"]
    alone.load_state_dict(states[0])  # fewer workers go on with the first rank's state
    assert present(alone.run_epoch())["train_loss"] == pytest.approx(expected, rel=1e-5)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(alone.network.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def plain_network():
    """A network for digits without batch normalisation, always with the same weights."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    rng = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1, generator=rng)
    return network


@pytest.mark.parametrize("passes", [2, 4])
def test_passes_give_the_gradients_of_the_whole_batch(make_training, few, passes):
    """Without batch normalisation, which sees the images of one pass."""
    settings = {"augmentation": "none", "warmup_epochs": 0, "gradient_clip_norm": math.inf}
    trainings = [make_training(plain_network(), **settings, **more) for more in ({}, {"accumulated_passes": passes})]
    losses = [training._train_on_batch(0) for training in trainings]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
    for one, other in zip(*(training.network.parameters() for training in trainings), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-6)


def test_each_pass_takes_its_own_images(make_training):
    training, seen = make_training(accumulated_passes=4, augmentation="none"), []
    training.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    training._train_on_batch(0)
    assert [len(each) for each in seen] == [8] * 4
    assert torch.equal(torch.cat(seen), training._batches.batch(0)[0])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"accumulated_passes": 3}, "must cut the 32 images of a worker into equal passes of at least 2 images, got 3"),
        ({"accumulated_passes": 32}, "choose a divisor of 32"),
    ],
)
def test_passes_that_do_not_fit_the_batch_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        RetrainConfig(batch_size=32, **settings)


def test_a_batch_of_no_given_size_is_cut_into_equal_passes():
    assert RetrainConfig(accumulated_passes=3).sized_for(10_000).batch_size == 255


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixed_batch_has_the_loss_of_its_mixed_labels(make_training, kind, passes):
    settings = {f"{kind}_alpha": 1.0, "augmentation": "none", "accumulated_passes": passes, "label_smoothing": 0.0}
    training = make_training(plain_network(), **settings)
    images, labels = training._batches.batch(0)
    mixed = Mixing(*((1.0, 0.0) if kind == "mixup" else (0.0, 1.0)), 0, 0)(images, 0)
    assert 0.0 < mixed.own_share < 1.0
    one_hot = nn.functional.one_hot(labels, 10).float()
    labels = mixed.own_share * one_hot + (1.0 - mixed.own_share) * one_hot.roll(1, 0)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(training.network(mixed.inputs), labels)
    torch.testing.assert_close(training._train_on_batch(0), expected, rtol=1e-5, atol=0)


def test_mixing_is_refused_for_other_tasks(few):
    config = RetrainConfig(epochs=1, batch_size=32, mixup_alpha=0.2)

    def no_loss(inputs, outputs, targets):
        raise AssertionError

    with pytest.raises(ConfigError, match="mixup_alpha and cutmix_alpha are for classified images"):
        NetworkTraining(
            nn.Linear(2, 2), config, no_loss, few, CROPS, CPU, task=Task(loss="torch.nn.functional.mse_loss")
        )


def test_float16_scales_its_losses_and_goes_on_with_the_scale(make_training):
    training = make_training(precision="float16", epochs=2)
    training.run_epoch()
    state = training.state_dict()
    assert state["scaler"]["scale"] == 65536.0
    assert state["scaler"]["_growth_tracker"] == 4
    other = make_training(precision="float16", epochs=2)
    other.load_state_dict(copy.deepcopy(state))
    for each in (training, other):
        each.run_epoch()
    assert_equal_states(training, other)
    assert other.state_dict()["scaler"] == training.state_dict()["scaler"]


def test_a_step_whose_scaled_gradients_overflow_changes_nothing_but_the_scale(make_training):
    training = make_training(precision="float16", ema_decay=0)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    training._scaler.load_state_dict({**training._scaler.state_dict(), "scale": 2.0**120})
    training._train_on_batch(0)
    assert all(torch.equal(value, before[name]) for name, value in training.network.named_parameters())
    assert training._scaler.get_scale() == 2.0**119


@pytest.mark.parametrize(
    ("precision", "device", "has_bfloat16", "expected"),
    [
        ("auto", "cpu", True, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("bfloat16", "cuda", False, torch.bfloat16),
        ("float16", "cpu", True, torch.float16),
    ],
)
def test_the_number_format_is_what_the_device_has(monkeypatch, precision, device, has_bfloat16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    assert number_format(precision, torch.device(device)) == expected
