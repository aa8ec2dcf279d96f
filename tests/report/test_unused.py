"""Choices that a network does not use are not told as if it used them."""

import json

import numpy as np
import pandas as pd

from multinas_ray.choices import model_space
from multinas_ray.export.description import used_choices
from multinas_ray.report.diagram import diagram_of
from multinas_ray.report.positions import positions_of
from multinas_ray.report.tables import _candidate_text
from multinas_ray.runs import Run
from multinas_ray.spaces import register_model
from tests.choices.every_place import EveryPlace
from tests.support.narrow import present

register_model(EveryPlace)
EMPTY = pd.DataFrame()


def test_the_report_leaves_unused_choices_out() -> None:
    space = model_space(EveryPlace, (3, 8, 8))
    counts = space.search_space.num_categories
    rows = space.search_space.random(40, np.random.default_rng(0))
    used = [space.equivalence.used(row) for row in rows]
    row, is_used = next((row.tolist(), each) for row, each in zip(rows, used, strict=True) if not all(each))
    names = [variable.name for variable in space.variables]
    unused = [name for name, each in zip(names, is_used, strict=True) if not each]
    plain = json.loads(json.dumps(space.to_dict()))
    positions = positions_of(
        Run("a", {"kind": "oneshot", "costs": [], "space": plain}, EMPTY, EMPTY, EMPTY, EMPTY, None)
    )
    networks = pd.DataFrame({"network": [0], "architecture": [tuple(row)]})
    boxes = present(diagram_of(networks, positions)).rows[0].boxes
    assert [box.label == "-" for box in boxes] == [not each for each in is_used]
    assert boxes[is_used.index(False)].title == f"{unused[0]}: not used by this network"
    assert sorted(used_choices(space, row)) == sorted(set(names) - set(unused))
    texts = space.search_space.describe(row, is_used).split(" ")
    assert [text == "-" for text in texts] == [not each for each in is_used]
    d = is_used.index(False)
    other = [*row[:d], (row[d] + 1) % counts[d], *row[d + 1 :]]
    told = {"architecture": other, "architecture_readable": "all", "chosen": False}
    assert _candidate_text(told, row, positions) == "the same architecture"
