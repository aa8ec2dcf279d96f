"""Saving, loading and going on: bit for bit, and strict about what is loaded."""

import copy
import json

import numpy as np
import pytest

from multinas_ray import MultiDistributionOptimizer, Proposals, StateError

OPTIONS = {
    "num_categories": [4, 3, 1, 5],
    "coefficients": [0.0, 0.2, 0.9],
    "samples_per_update": 6,
    "memory": 2,
    "margin_scale": 0.5,
}


def new_optimizer(seed=29, **options):
    return MultiDistributionOptimizer(**{**OPTIONS, "seed": seed, **options})


def tell(optimizer, proposals):
    complexities = proposals.architectures.sum(axis=1) / 9
    losses = np.sin(proposals.architectures @ [1.0, 2.0, 3.0, 4.0]) - complexities
    losses[proposals.ids % 11 == 5] = np.nan
    complexities[proposals.ids % 11 == 5] = np.nan
    optimizer.tell(proposals, losses, complexities)


def steps(optimizer, waiting, count, seed):
    """Asks and tells in uneven parts, with some results outstanding; returns those."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        waiting = Proposals.concatenate([waiting, optimizer.ask(int(rng.integers(1, 6)))])
        optimizer.sample(2)
        order = rng.permutation(len(waiting))
        num_told = int(rng.integers(0, 5))
        tell(optimizer, waiting[order[:num_told]])
        waiting = waiting[order[num_told:]]
    return waiting


def through_json(state):
    """Carries a state through JSON text, arrays as dtype, shape and values."""

    def encode(value):
        if isinstance(value, dict):
            return {name: encode(item) for name, item in value.items()}
        if isinstance(value, np.ndarray):
            return {"__array__": value.dtype.str, "shape": value.shape, "values": value.ravel().tolist()}
        return value

    def decode(item):
        if "__array__" not in item:
            return item
        return np.array(item["values"], dtype=item["__array__"]).reshape(item["shape"])

    return json.loads(json.dumps(encode(state)), object_hook=decode)


def assert_equal_states(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_equal_states(found[name], expected[name])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 13, 40, 90])
def test_round_trip_goes_on_bit_for_bit(count):
    optimizer = new_optimizer()
    waiting = steps(optimizer, optimizer.ask(9), count, seed=30)
    saved = through_json(optimizer.state_dict())
    restored = new_optimizer(seed=12345)
    restored.load_state_dict(saved)
    assert_equal_states(restored.state_dict(), optimizer.state_dict())
    np.testing.assert_array_equal(np.sort(restored.pending().ids), np.sort(waiting.ids))
    for each in (optimizer, restored):
        steps(each, each.pending(), 25, seed=31)
    assert_equal_states(restored.state_dict(), optimizer.state_dict())
    np.testing.assert_array_equal(restored.ask(20).architectures, optimizer.ask(20).architectures)


def test_the_round_trips_meet_every_part_of_the_state():
    optimizer = new_optimizer()
    steps(optimizer, optimizer.ask(9), 40, seed=30)
    state = optimizer.state_dict()
    assert state["settled"]["above"].size
    for part in ("queue", "pending", "batch", "memory"):
        assert len(state[part]["ids"]), part


def test_the_plain_parts_are_strict_json():
    state = new_optimizer().state_dict()
    assert state["settings"]["delta_max"] is None
    assert new_optimizer(delta_max=2.0).state_dict()["settings"]["delta_max"] == 2.0
    json.dumps({name: state[name] for name in ("version", "settings", "counters", "rng")}, allow_nan=False)


def test_a_loaded_state_is_copied():
    optimizer, restored = new_optimizer(), new_optimizer()
    steps(optimizer, optimizer.ask(9), 20, seed=32)
    state = optimizer.state_dict()
    restored.load_state_dict(state)
    kept = restored.state_dict()

    def scramble(item):
        for value in item.values():
            if isinstance(value, dict):
                scramble(value)
            elif isinstance(value, np.ndarray):
                value[...] = 0

    scramble(state)
    assert_equal_states(restored.state_dict(), kept)


def replaced(path, value):
    """Returns a change of one entry of a state; DELETE removes it."""

    def change(state):
        *parents, name = path.split(".")
        for parent in parents:
            state = state[parent]
        if value is DELETE:
            del state[name]
        else:
            state[name] = value(state[name]) if callable(value) else value

    return change


DELETE = object()


def with_entry(value, index=0):
    """Returns a change of one entry of an array."""

    def change(array):
        array.reshape(-1)[index] = value
        return array

    return change


DAMAGES = [
    ("version", 2, r"state\.version: expected 6, found int 2"),
    ("version", True, r"state\.version: expected 6, found bool True"),
    ("version", DELETE, r"state\.version is missing"),
    ("extra", 1, r"state: expected only .*, found also \['extra'\]"),
    ("counters.extra", 1, r"state\.counters: expected only .*, found also \['extra'\]"),
    ("rng", [1], r"state\.rng: expected a dict, found list \[1\]"),
    (
        "settings.coefficients",
        [0.0, 0.2, 0.8],
        r"state\.settings\.coefficients: expected \[0\.0, 0\.2, 0\.9\], found",
    ),
    ("settings.coefficients", [0.0, 0.2], r"state\.settings\.coefficients: expected"),
    ("settings.num_categories", [4, 3, 1, 4], r"state\.settings\.num_categories: expected \[4, 3, 1, 5\], found"),
    ("settings.samples_per_update", 9, r"state\.settings\.samples_per_update: expected 6, found int 9"),
    ("settings.memory", 0, r"state\.settings\.memory: expected 2, found int 0"),
    ("settings.margin_scale", 1.0, r"state\.settings\.margin_scale: expected 0\.5, found float 1\.0"),
    ("counters.num_told", -1, r"state\.counters\.num_told: expected a whole number from 0, found int -1"),
    (
        "counters.num_told",
        1.5,
        r"state\.counters\.num_told: expected a whole number from 0, found float 1\.5",
    ),
    ("counters.num_told", lambda n: n + 1, r"state\.batch: expected \d rows, those told after update \d+"),
    ("counters.next_id", 3, r"state\.counters\.next_id: expected at least \d+, found 3"),
    (
        "distributions.probs",
        lambda a: a[:2],
        r"state\.distributions\.probs: expected an array of float64 of shape "
        r"\(3, 4, 5\), found an array of float64 of shape \(2, 4, 5\)",
    ),
    ("distributions.probs", lambda a: a.tolist(), r"state\.distributions\.probs: expected an array"),
    ("distributions.probs", lambda a: a.astype(np.float32), r"found an array of float32"),
    (
        "distributions.probs",
        with_entry(np.nan),
        r"state\.distributions\.probs: expected finite numbers, found nan",
    ),
    ("distributions.probs", with_entry(0.9), r"state\.distributions\.probs: expected positive probabilities"),
    ("distributions.probs", lambda a: np.roll(a, 1, axis=2), r"zeros in the padding, found other values"),
    (
        "distributions.path",
        with_entry(np.inf),
        r"state\.distributions\.path: expected finite numbers, found inf",
    ),
    ("distributions.step_divisor", with_entry(0.0), r"state\.distributions\.step_divisor: expected at least"),
    ("rng.bit_generator", "MT19937", r"state\.rng\.bit_generator: expected 'PCG64', found str 'MT19937'"),
    ("rng.state", "-5", r"state\.rng\.state: expected the digits of a number, found str '-5'"),
    ("rng.state", str(2**128), r"state\.rng\.state: expected the digits of a number"),
    (
        "rng.has_uint32",
        2,
        r"state\.rng\.has_uint32: expected a whole number from 0 and less than 2, found int 2",
    ),
    ("settled.above", lambda a: a[::-1].copy(), r"state\.settled\.above: expected increasing ids above"),
    ("settled.watermark", 10**6, r"state\.settled\.above: expected increasing ids above 1000000"),
    ("pending.ids", lambda a: np.full_like(a, a[0]), r"state\.pending\.ids: expected distinct ids"),
    (
        "pending.ids",
        with_entry(0),
        r"state\.pending\.ids: expected distinct ids that state\.settled does not hold",
    ),
    ("pending.ids", with_entry(-1), r"state\.pending: ids must be from 0 .* got -1"),
    ("pending.log_q", with_entry(np.nan), r"state\.pending\.log_q: expected finite numbers, found nan"),
    ("pending.log_q", with_entry(1.0), r"state\.pending: log_q must be finite and at most 0"),
    ("pending.sources", lambda a: a[:-1], r"state\.pending\.sources: expected an array of int64 of shape"),
    (
        "queue.architectures",
        with_entry(4),
        r"state\.queue\.architectures: expected categories below \(4, 3, 1, 5\)",
    ),
    ("queue.architectures", with_entry(-1), r"state\.queue\.architectures: expected categories below"),
    ("batch.losses", lambda a: a[:0], r"state\.batch\.losses: expected an array of float64 of shape"),
    ("batch.complexities", with_entry(-1.0), r"state\.batch\.complexities: expected at least 0"),
    ("memory.probs", lambda a: a[:-1], r"state\.memory\.probs: expected an array of float64 of shape"),
    ("memory.ids", DELETE, r"state\.memory\.ids is missing"),
    ("last_update.mean_loss", lambda a: a[:1], r"state\.last_update\.mean_loss: expected an array"),
]


@pytest.mark.parametrize(("path", "value", "message"), DAMAGES, ids=[f"{d[0]}-{i}" for i, d in enumerate(DAMAGES)])
def test_damaged_states_are_refused_and_change_nothing(path, value, message):
    optimizer, target = new_optimizer(), new_optimizer(seed=33)
    steps(optimizer, optimizer.ask(9), 40, seed=30)
    steps(target, target.ask(3), 5, seed=34)
    before = target.state_dict()
    state = copy.deepcopy(optimizer.state_dict())
    replaced(path, value)(state)
    with pytest.raises(StateError, match=message):
        target.load_state_dict(state)
    assert_equal_states(target.state_dict(), before)


@pytest.mark.parametrize("state", [None, [], "state", 3])
def test_what_is_no_dict_is_refused(state):
    with pytest.raises(StateError, match="state: expected a dict"):
        new_optimizer().load_state_dict(state)


def test_remembered_samples_must_be_all_there():
    optimizer = new_optimizer()
    steps(optimizer, optimizer.ask(9), 40, seed=30)
    state = optimizer.state_dict()
    state["memory"] = {name: array[1:] if name != "probs" else array for name, array in state["memory"].items()}
    with pytest.raises(StateError, match=r"state\.memory: expected 12 remembered samples, found 11"):
        new_optimizer().load_state_dict(state)


def test_seed_and_cost_table_are_not_part_of_the_state():
    optimizer = new_optimizer()
    other = new_optimizer(seed=1, cost_table=np.zeros((4, 5)))
    other.load_state_dict(optimizer.state_dict())
    assert (other.diagnostics()["expected_complexity"] == 0.0).all()
