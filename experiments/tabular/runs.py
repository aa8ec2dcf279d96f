"""One search of one table by one method with one seed, and its Parquet file."""

# E distinct evaluations, K distributions

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.parts.rows import load_rows, save_rows
from experiments.parts.tables import Table
from experiments.tabular.measures import Measures, Trace
from experiments.tabular.methods import METHODS, Searcher
from experiments.tabular.versions import code_key


@dataclass(frozen=True)
class Task:
    """One search of the comparison."""

    table: str
    method: str
    seed: int
    evaluations: int
    """Budget: distinct architectures evaluated."""
    through_tune: bool = False
    """Whether it runs through Ray Tune."""

    def path(self, folder: Path) -> Path:
        """The file of its rows."""
        return folder / "searches" / self.table / self.method / f"seed_{self.seed}.parquet"

    def load(self, table: Table, folder: Path) -> pd.DataFrame | None:
        """Its rows; None if it was not made yet, or was made with other settings or by other code."""
        return load_rows(self.path(folder), self.settings(table))

    def save(self, frame: pd.DataFrame, table: Table, folder: Path) -> None:
        """Writes its rows."""
        save_rows(frame, self.path(folder), self.settings(table))

    def settings(self, table: Table) -> str:
        """Everything on which its rows depend, as JSON."""
        method = METHODS[self.method]
        budget = {"evaluations": self.evaluations, "asks_per_evaluation": method.asks_per_evaluation}
        data = hashlib.sha256(table.points.tobytes()).hexdigest()
        code = code_key(method.packages, method.libraries, self.through_tune)
        return json.dumps({**budget, "method": method.settings, "table": data, "code": code})


def run_searcher(searcher: Searcher, table: Table, evaluations: int, max_asked: float) -> Trace:
    """Lets a searcher evaluate `evaluations` distinct architectures, or fewer if it has asked for `max_asked`.

    For every method, an architecture that is asked for again is answered from memory and costs nothing. Modes count
    from the last evaluation of the round that led to them.
    """
    rows: list[int] = []
    modes: list[np.ndarray] = []
    known: set[int] = set()
    num_asked = 0
    while len(rows) < min(evaluations, len(table)) and num_asked < max_asked:
        asked = table.rows(searcher.ask())
        if not len(asked):
            break
        num_asked += len(asked)
        new = [row for row in dict.fromkeys(asked.tolist()) if row not in known]
        before = searcher.modes()
        searcher.tell(table.losses[asked], table.complexities[asked])
        known.update(new)
        rows += new
        after = searcher.modes()
        if before is not None and after is not None:
            modes += [table.rows(before)] * len(new)
            modes[-1] = table.rows(after)
    count = min(len(rows), evaluations)
    return Trace(
        rows_E=np.array(rows[:count], dtype=np.int64),
        modes_EK=np.array(modes[:count]) if modes else None,
        coefficients_K=searcher.coefficients(),
        num_asked=num_asked,
    )


def frame_of(task: Task, trace: Trace, measures: Measures) -> pd.DataFrame:
    """Returns a row per evaluation, with its architecture and the shares after it.

    Columns: `method`, `table`, `seed`, `evaluation` from 1, `architecture` (place in the table), `error` in percent,
    `complexity` as a share of the largest, `archive_share` of the exact front's hypervolume; of what the best eight
    points of the front have, `modes_share` of the distributions' modes and `chosen_share` of the best evaluated by
    each f_k, both empty for a method without distributions; `asked` (evaluations asked for in the whole search).
    """
    count = len(trace.rows_E)
    none = np.full(count, np.nan)
    has_modes = trace.modes_EK is not None
    return pd.DataFrame(
        {
            "method": task.method,
            "table": task.table,
            "seed": task.seed,
            "evaluation": np.arange(1, count + 1),
            "architecture": trace.rows_E,
            "error": measures.table.points[trace.rows_E, 0],
            "complexity": measures.table.points[trace.rows_E, 1],
            "archive_share": measures.archive_shares(trace.rows_E),
            "modes_share": measures.answer_shares(trace.modes_EK) if trace.modes_EK is not None else none,
            "chosen_share": measures.answer_shares(measures.chosen_EK(trace)) if has_modes else none,
            "asked": trace.num_asked,
        }
    )


def run_task(task: Task, table: Table, folder: Path) -> None:
    """Makes one search and writes its rows, completely or not at all."""
    method = METHODS[task.method]
    searcher = method.start(table, task.seed)
    trace = run_searcher(searcher, table, task.evaluations, method.asks_per_evaluation * task.evaluations)
    task.save(frame_of(task, trace, Measures(table)), table, folder)
