"""The start from the prior in the record of a search: computed once, and the same for resume and verify."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from multinas_ray.errors import StateError
from multinas_ray.oneshot import start
from multinas_ray.runs import load_run, make_recorded_optimizer, proposals_of, verify_run
from tests.oneshot.recorded_search import Crash, RecordedSearch


def test_a_start_from_the_prior_is_recorded_once_and_holds_across_crashes(make_config, monkeypatch):
    """The promising networks are those of the record, whatever a resumed driver would compute."""
    config = make_config(coefficients=None, targets=[9e3, 2e4], start="prior", prior=("early_depth",))
    with suppress(Crash):
        RecordedSearch(config, 0, crash_at=("after append", 6)).run()
    monkeypatch.setattr(start, "promising_networks", None)  # nobody may compute them again
    run = load_run(config.run_path)
    promising = [np.array(rows) for rows in run.config["optimizer"]["start_architectures"]]
    for target, rows in zip([9e3, 2e4], promising, strict=True):
        assert ((config.cost(rows) <= target) & (config.cost(rows) > 0.9 * target)).all()
    first_KDC = make_recorded_optimizer(run.path, run.config).probs
    for probs_DC, rows in zip(first_KDC, promising, strict=True):
        for d, count in enumerate(config.space.search_space.num_categories):
            shares_C = np.bincount(rows[:, d], minlength=count) / len(rows)
            np.testing.assert_allclose(probs_DC[d, :count], 0.2 / count + 0.8 * shares_C, atol=0.03)
    with suppress(Crash):
        RecordedSearch(config, 1, crash_at=("before append", 9)).run()
    last = RecordedSearch(config, 2).run()
    last.finish()
    run = load_run(config.run_path)
    replayed, table = make_recorded_optimizer(run.path, run.config), run.evaluations
    replayed.tell(proposals_of(table), table["loss"].to_numpy(), table["complexity"].to_numpy())
    assert np.array_equal(last.optimizer.probs, replayed.probs)
    found = verify_run(config.run_path)
    assert found.holds, found.summary()
    assert found.num_compared == 12
    with pytest.raises(StateError, match=r"optimizer\.start: recorded 'prior', now 'uniform'"):
        RecordedSearch(replace(config, start="uniform"), 3)
