import math

import pytest

from multinas_ray.selection.kept_scores import EVALUATED_FILE, KeptScores
from multinas_ray.selection.scores import Score

CONDITIONS = {"supernet": "abc", "data": {"path": None, "sizes": (1, 2)}}


@pytest.fixture
def kept(tmp_path):
    first = KeptScores(tmp_path / "family", CONDITIONS)
    first.add((0, 1, 2), Score(0.1, 0.9, (0.05, 0.15)))
    first.add((2, 1, 0), Score(math.inf, 0.0))
    return tmp_path / "family"


def test_scores_come_back_bit_for_bit_and_grow(kept):
    results = {(0, 1, 2): Score(0.1, 0.9, (0.05, 0.15)), (2, 1, 0): Score(math.inf, 0.0)}
    again = KeptScores(kept, CONDITIONS)
    assert again.scores == results
    again.add((1, 1, 1), Score(0.3, 0.7))
    assert KeptScores(kept, CONDITIONS).scores == {**results, (1, 1, 1): Score(0.3, 0.7)}
    again.remove()
    assert list(kept.iterdir()) == []
    assert KeptScores(kept, CONDITIONS).scores == {}


def test_scores_under_other_conditions_are_dropped(kept):
    for other in ({**CONDITIONS, "supernet": "abd"}, {**CONDITIONS, "data": {"path": "elsewhere", "sizes": (1, 2)}}):
        assert KeptScores(kept, other).scores == {}
    KeptScores(kept, other).add((1, 1, 1), Score(0.3, 0.7))
    assert KeptScores(kept, CONDITIONS).scores == {}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"conditions": null, "scores": 3}', '"text"'])
def test_what_cannot_be_read_is_evaluated_again(kept, content):
    (kept / EVALUATED_FILE).write_text(content)
    assert KeptScores(kept, CONDITIONS).scores == {}
