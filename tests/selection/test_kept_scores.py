import itertools
import math

import pytest

from multinas_ray.selection.kept_scores import EVALUATED_FOLDER, KeptScores
from multinas_ray.selection.scores import Score

CONDITIONS = {"supernet": "abc", "data": {"path": None, "sizes": (1, 2)}}
FIRST = {(1, (0, 1, 2)): Score(0.1, 0.9, (0.05, 0.15), 40), (1, (2, 1, 0)): Score(math.inf, 0.0)}


@pytest.fixture
def kept(tmp_path):
    first = KeptScores(tmp_path / "family", CONDITIONS)
    first.add(1, [architecture for _, architecture in FIRST], list(FIRST.values()))
    return tmp_path / "family"


def test_scores_come_back_bit_for_bit_and_grow(kept):
    again = KeptScores(kept, CONDITIONS)
    assert again.scores == FIRST
    again.add(2, [(0, 1, 2)], [Score(0.3, 0.7)])
    again.add(2, [], [])
    third = KeptScores(kept, CONDITIONS)
    assert third.scores == {**FIRST, (2, (0, 1, 2)): Score(0.3, 0.7)}
    third.remove()
    assert list(kept.iterdir()) == []
    assert KeptScores(kept, CONDITIONS).scores == {}


def test_a_score_costs_one_line_however_many_there_are(kept):
    scores = KeptScores(kept, CONDITIONS)
    sizes = []
    for place in range(200):
        scores.add(1, [(place, 0, 0)], [Score(0.5, 0.5, images=10)])
        (journal,) = (kept / EVALUATED_FOLDER / "_journal").iterdir()
        sizes.append(journal.stat().st_size)
    assert max(after - before for before, after in itertools.pairwise(sizes)) < 200
    assert len(KeptScores(kept, CONDITIONS).scores) == 202


def test_scores_under_other_conditions_are_dropped(kept):
    for other in ({**CONDITIONS, "supernet": "abd"}, {**CONDITIONS, "data": {"path": "elsewhere", "sizes": (1, 2)}}):
        assert KeptScores(kept, other).scores == {}
        assert KeptScores(kept, CONDITIONS).scores == {}  # they are gone
        KeptScores(kept, CONDITIONS).add(1, [(1, 1, 1)], [Score(0.3, 0.7)])


def test_scores_that_were_gathered_under_other_conditions_are_dropped_too(kept):
    KeptScores(kept, CONDITIONS)  # gathers the journal
    assert list((kept / EVALUATED_FOLDER).glob("*.parquet"))
    assert KeptScores(kept, {**CONDITIONS, "supernet": "abd"}).scores == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"conditions": null, "scores": 3}', '"text"'])
def test_what_cannot_be_read_is_evaluated_again(kept, content):
    (journal,) = (kept / EVALUATED_FOLDER / "_journal").iterdir()
    journal.write_text(content + "\n")
    assert KeptScores(kept, CONDITIONS).scores == {}
    KeptScores(kept, CONDITIONS).add(1, [(1, 1, 1)], [Score(0.3, 0.7)])
    KeptScores(kept, CONDITIONS)
    (part,) = (kept / EVALUATED_FOLDER).glob("*.parquet")
    part.write_text(content)
    assert KeptScores(kept, CONDITIONS).scores == {}
