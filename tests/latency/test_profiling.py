import dataclasses
import time

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.latency import ProfileSettings, profile_space, timing, validate_table
from multinas_ray.latency.profiling import covering_architectures, distinct_architectures
from multinas_ray.latency.table import describe_block
from multinas_ray.latency.timing import clock_timer, relative_error, repeat_until_steady, robust_spread
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, mbconv, skip
from multinas_ray.supernets import build_block

KEEP = (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 3), skip())
SPACE = NetworkSpace(
    "tiny",
    (3, 8, 8),
    Block("stem", (ConvLayer(3, 8, 3),)),
    (
        Position("a", KEEP),
        Position("b", (mbconv(8, 8, 3, 2, stride=2), mbconv(8, 8, 5, 2, stride=2))),
        Position("c", KEEP),
        Position("d", KEEP),
    ),
    Head(8, 3),
)
SETTINGS = ProfileSettings(batch_size=2, least_passes=8, most_passes=40)


def seconds_of(module: nn.Module) -> float:
    """A module's made-up time, the sum of its parts': its parameters in milliseconds, and one more."""
    return 1e-3 * (1 + sum(parameter.numel() for parameter in module.parameters()))


class FakeTimer:
    """Reports made-up times; a share of the calls meets an outlier, a hundred times as long. Counts its calls."""

    def __init__(self, outliers=0.0, noise=0.0, time_of=seconds_of):
        self.rng, self.outliers, self.noise, self.time_of = np.random.default_rng(5), outliers, noise, time_of
        self.calls = 0

    def __call__(self, modules, images):
        assert images.shape == (2, 3, 8, 8)
        assert not any(module.training for module in modules)
        assert torch.is_inference_mode_enabled()
        self.calls += 1
        factors = 1 + self.noise * self.rng.standard_normal(len(modules))
        factors[self.rng.random(len(modules)) < self.outliers] *= 100
        return [factor * self.time_of(module) for factor, module in zip(factors, modules, strict=True)]


def made_up_milliseconds(block):
    return 1e3 * seconds_of(build_block(block, nn.BatchNorm2d))


def test_each_distinct_block_and_input_is_measured_once_stem_and_head_included():
    timer = FakeTimer()
    table = profile_space(SPACE, SETTINGS, timer=timer)
    shapes = [(8, 8, 8)] * 5 + [(8, 4, 4)] * 4
    blocks = [*KEEP, *SPACE.positions[1].blocks, *KEEP, SPACE.head]
    expected = [(SPACE.stem, (3, 8, 8)), *zip(blocks, shapes, strict=True)]
    assert [(row.description, row.input_shape) for row in table.rows] == [(describe_block(b), s) for b, s in expected]
    assert [row.median_ms for row in table.rows] == pytest.approx([made_up_milliseconds(b) for b, _ in expected])
    assert all(row.spread_ms == 0 for row in table.rows)
    assert [row.repeats for row in table.rows] == [8] * 10  # passes
    assert timer.calls == (1 + 8) * 3 * (1 + 2)  # 3 networks a pass; one pass and one run of each warm up


def test_conditions_are_recorded():
    conditions = profile_space(SPACE, SETTINGS, timer=FakeTimer()).conditions
    assert (conditions.batch_size, conditions.precision, conditions.threads) == (2, "float32", 1)
    assert (conditions.clock, conditions.runtime) == ("cpu", f"torch {torch.__version__}")
    assert (conditions.space_name, conditions.space_fingerprint) == ("tiny", SPACE.fingerprint)
    assert conditions.device
    assert conditions.measured_on is not None


def test_outliers_move_the_mean_and_not_the_median():
    """A tenth of all laps a hundred times too long, 1 % of noise otherwise; the stem's pass has six laps."""
    settings = dataclasses.replace(SETTINGS, most_passes=100)
    table = profile_space(SPACE, settings, timer=FakeTimer(outliers=0.1, noise=0.01))
    exact = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    for row, truth in zip(table.rows, exact.rows, strict=True):
        assert row.median_ms == pytest.approx(truth.median_ms, rel=0.01)
        assert row.spread_ms < 0.05 * truth.median_ms
    assert max(row.mean_ms / row.median_ms for row in table.rows) > 5


def test_a_table_of_additive_times_predicts_whole_networks():
    table = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    # A block's 1 ms counts once for each of stem, four blocks and head; a whole network's once.
    validation = validate_table(
        table, SPACE, SETTINGS, num_networks=20, timer=FakeTimer(time_of=lambda network: seconds_of(network) + 5e-3)
    )
    assert len({tuple(row) for row in validation.architectures.tolist()}) == 20
    assert validation.measured_ms == pytest.approx(validation.predicted_ms)
    assert validation.predicted_ms == pytest.approx(table.cost(SPACE)(validation.architectures))
    assert validation.verdict == "good"
    assert validation.readable[0] == SPACE.search_space.describe(validation.architectures[0])


def test_a_machine_that_slows_networks_by_chance_is_noisy():
    table = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    validation = validate_table(table, SPACE, SETTINGS, timer=FakeTimer(noise=0.8, outliers=0.3))
    assert validation.verdict == "noisy"
    assert (validation.spread_ms > 0.3 * validation.measured_ms).all()


def test_a_machine_whose_times_are_no_sums_makes_a_poor_table():
    table = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    validation = validate_table(table, SPACE, SETTINGS, timer=FakeTimer(time_of=lambda net: 1 / seconds_of(net)))
    assert validation.verdict == "poor"
    assert validation.repeat_tau == pytest.approx(1)


def test_the_halves_are_the_first_and_the_second_half_of_the_passes():
    """23 networks take 2 s each time; one takes 1, 2, ... 10 s."""
    settings = dataclasses.replace(SETTINGS, least_passes=10, most_passes=10)
    table = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    made_up = iter(np.repeat(np.arange(1.0, 11.0), 2))  # a warm-up and a run in each pass
    changing: list[nn.Module] = []

    def time_of(network):
        if not changing:
            changing.append(network)
        return next(made_up) if network is changing[0] else 2.0

    validation = validate_table(table, SPACE, settings, num_networks=24, timer=FakeTimer(time_of=time_of))
    for found, expected in (("first_half_ms", 3e3), ("second_half_ms", 8e3), ("measured_ms", 5.5e3)):
        assert sorted(getattr(validation, found)) == pytest.approx(sorted([2e3] * 23 + [expected]))


def test_a_machine_that_slows_down_for_a_while_changes_nothing():
    """Passes that take 2, 3, ... 9 times as long as they should: the rows keep their proportions, without a spread."""

    def slower(by_calls):
        def time_of(module):
            return seconds_of(module) * (1 + (slow.calls - 1) // by_calls)

        slow = FakeTimer(time_of=time_of)
        return slow

    table = profile_space(SPACE, SETTINGS, timer=slower(9))
    exact = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    ratios = [row.median_ms / truth.median_ms for row, truth in zip(table.rows, exact.rows, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert all(row.spread_ms == pytest.approx(0, abs=1e-9) for row in table.rows)


def test_a_table_is_validated_as_it_was_measured():
    table = profile_space(SPACE, SETTINGS, timer=FakeTimer())
    for change in ({"batch_size": 4}, {"precision": "bfloat16"}):
        with pytest.raises(ConfigError, match=": set batch_size=2, precision='float32'"):
            validate_table(table, SPACE, dataclasses.replace(SETTINGS, **change))


def test_a_pass_holds_every_choice_of_every_position():
    rng = np.random.default_rng(0)
    passes = [covering_architectures(SPACE, rng) for _ in range(50)]
    for rows in passes:
        assert rows.shape == (3, 4)
        for d, count in enumerate(SPACE.search_space.num_categories):
            assert set(rows[:, d].tolist()) == set(range(count))
    company = {(row[0], row[2]) for rows in passes for row in rows.tolist()}
    assert len(company) == 9


def test_validated_networks_differ_and_are_all_where_there_are_few():
    rng = np.random.default_rng(0)
    assert len(np.unique(distinct_architectures(SPACE, 53, rng), axis=0)) == 53
    np.testing.assert_array_equal(distinct_architectures(SPACE, 60, rng), SPACE.search_space.enumerate())


def test_passes_end_when_the_medians_are_steady_or_at_the_limits(monkeypatch):
    def passes(errors, **limits):
        done, errors = [], iter(errors)
        monkeypatch.setattr(timing, "relative_error", lambda times_PN: next(errors))
        settings = ProfileSettings(**({"least_passes": 3, "most_passes": 6, "tolerance": 0.1} | limits))
        times_PN = repeat_until_steady(lambda: np.ones(2), settings, lambda count, error: done.append(count))
        assert times_PN.shape == (len(done), 2)
        return done

    assert passes([0.1] * 6) == [1, 2, 3]
    assert passes([0.2, 0.2, 0.2, 0.11, 0.1, 0]) == [1, 2, 3, 4, 5]
    assert passes([0.2] * 6) == [1, 2, 3, 4, 5, 6]
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert passes([0.2] * 6, max_seconds=3.5) == [1, 2, 3, 4]
    assert passes([0.2] * 6, max_seconds=0.5) == [1, 2, 3]


def test_the_error_of_medians_is_their_standard_error():
    """Of 2,000 samples of 101 normal times the medians scatter as predicted, seed 0."""
    times_PN = 10 + np.random.default_rng(0).standard_normal((101, 2000))
    assert relative_error(times_PN) == pytest.approx(np.median(times_PN, axis=0).std() / 10, rel=0.05)
    assert robust_spread(times_PN).mean() == pytest.approx(1, rel=0.05)


def test_laps_are_read_between_modules():
    marks = iter([1.0, 1.5, 4.5])
    timer = clock_timer(lambda: next(marks))
    seen: list[float] = []

    class PlusOne(nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            seen.append(value.item())
            return value + 1

    assert timer([PlusOne(), PlusOne()], torch.tensor(3)) == [0.5, 3.0]
    assert seen == [3, 4]


def test_threads_are_as_before():
    before = torch.get_num_threads()
    settings = ProfileSettings(threads=before + 1)
    assert settings.clock == "wall"
    with timing.in_force(settings):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()


def test_a_real_measurement_gives_times():
    """Nothing is asked of the times but that they are there."""
    settings = ProfileSettings(least_passes=2, most_passes=2, precision="bfloat16")
    validation = validate_table(profile_space(SPACE, settings), SPACE, settings, num_networks=5)
    assert (validation.predicted_ms > 0).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1 or None, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"least_passes": 1}, "least_passes must be at least 2, got 1"),
        ({"least_passes": 500}, "least_passes must be at most most_passes=400, got 500"),
        ({"precision": "float16"}, "one of float32, bfloat16"),
        ({"device": "tpu"}, "device must be one of cpu, cuda, got 'tpu'"),
    ],
)
def test_settings_are_checked(change, text):
    with pytest.raises(ConfigError, match=text):
        ProfileSettings(**change)
