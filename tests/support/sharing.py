"""How the files of tests are shared by several processes: the long ones first, and few Rays at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

RAYS_AT_ONCE = 2
"""Processes that begin with the files which start a Ray; each Ray has some ten processes of its own."""


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests in the order in which their files begin.

    Those that start a Ray are first, then other slow ones, then the rest; among equal ones, those whose own timeout is
    the longest.
    """
    ranks: dict[Path, tuple[int, float]] = {}
    for item in items:
        rank = 0 if item.get_closest_marker("cluster") else 1 if item.get_closest_marker("slow") else 2
        mark = item.get_closest_marker("timeout")
        known = ranks.get(item.path, (rank, 0.0))
        ranks[item.path] = min(rank, known[0]), min(-float(mark.args[0]) if mark else 0.0, known[1])
    return sorted(items, key=lambda item: ranks[item.path])


class FromBothEnds(LoadFileScheduling):  # type: ignore[misc]  # xdist is untyped for mypy
    """Files go whole to a process, in their order; further processes begin with the last files.

    So quick files fill the cores where those with a Ray wait for its processes, and a long one never runs alone at the
    end. The option --no-loadscope-reorder keeps the order of the files.
    """

    def _assign_work_unit(self, node: Any) -> None:
        if self.nodes.index(node) >= RAYS_AT_ONCE:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
