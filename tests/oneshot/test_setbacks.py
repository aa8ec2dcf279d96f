import math

import numpy as np
import pytest

from multinas_ray.oneshot.setbacks import WINDOW, SetbackCheck


def falling(number, noise=0.0):
    rng = np.random.default_rng(3)
    return 2.3 * np.exp(-np.arange(number) / 40) + 0.3 + rng.normal(0, noise, number)


def told_by(check, losses):
    return [text for loss in losses if (text := check.check(float(loss))) is not None]


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_a_noisy_training_that_goes_well_is_not_disturbed(noise):
    assert told_by(SetbackCheck(()), falling(300, noise)) == []


def test_weights_that_are_lost_are_told_once(caplog):
    (text,) = told_by(SetbackCheck(()), [*falling(100, 0.1), *falling(60, 0.1)])
    assert text.startswith("The training loss has jumped back: its mean over the last 10 rounds is ")


def test_losses_of_earlier_sessions_count_and_rounds_without_a_loss_do_not():
    check = SetbackCheck(falling(100))
    assert told_by(check, [math.nan] * 30) == []
    assert len(told_by(check, falling(WINDOW))) == 1


def test_a_loss_that_is_not_finite_is_a_setback():
    assert len(told_by(SetbackCheck(falling(100)), [math.inf] * 3)) == 1
