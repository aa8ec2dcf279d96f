"""The same searches through Ray Tune, where a trial is one lookup in the table.

Ray's own searchers are used as a user would: OptunaSearch with two metrics, BasicVariantGenerator for random choices.
Trials run one at a time, since a lookup takes no time, and Tune would start an actor (in seconds) for each of several
short trials.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.search import BasicVariantGenerator

from experiments.parts.tables import Table
from experiments.tabular.measures import Measures, Trace
from experiments.tabular.runs import Task, frame_of
from multinas_ray.errors import RunError
from multinas_ray.tune import MultiNASSearch

NUM_IN_FLIGHT = 1
"""Number of concurrent trials. With more, short trials end before Tune can reuse their actors."""

METRIC, COMPLEXITY = "loss", "complexity"


class TableTrial(tune.Trainable):
    """Looks up a configuration; its actor serves one trial after another."""

    def setup(self, config: dict[str, Any], table: Table) -> None:  # type: ignore[override]  # Ray hands more on
        """Keeps the table."""
        self._table = table

    def step(self) -> dict[str, Any]:
        """The only result."""
        architecture = np.array([[self.config[name] for name in sorted(self.config)]])
        (row,) = self._table.rows(architecture)
        loss, complexity = float(self._table.losses[row]), float(self._table.complexities[row])
        return {METRIC: loss, COMPLEXITY: complexity, "row": int(row), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the configuration of the next trial."""
        return True


class _Rows(tune.Callback):
    """The rows of finished trials, in the order in which they ended."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.rows.append(int(trial.last_result["row"]))


def _optuna(name: str) -> Callable[[int, str], Any]:
    def make(seed: int, record: str) -> Any:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = getattr(optuna.samplers, name)(seed=seed)
        return OptunaSearch(metric=[METRIC, COMPLEXITY], mode=["min", "min"], sampler=sampler)

    return make


def _ours(**options: Any) -> Callable[[int, str], Any]:
    return lambda seed, record: MultiNASSearch(
        metric=METRIC, mode="min", complexity=COMPLEXITY, seed=seed, record_path=record, **options
    )


SEARCHES: dict[str, Callable[[int, str], Any]] = {
    "multinas": _ours(),
    "multinas-reuse": _ours(reuse_results=True),
    "multinas-screened": _ours(optimizer="screened"),
    "optuna-nsga2": _optuna("NSGAIISampler"),
    "optuna-tpe": _optuna("TPESampler"),
    "random": lambda seed, record: BasicVariantGenerator(random_state=seed),
}
"""Name of the method -> a function of a seed and a folder for the record that returns its searcher."""


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """Starts Ray on this machine only, without output, and stops it at the end."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = (
        "1"  # BasicVariantGenerator's waiting trials start no actors of their own
    )
    here = str(Path(__file__).resolve().parents[2])  # the workers import this package too
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    try:
        yield
    finally:
        ray.shutdown()


def run_tune_task(task: Task, table: Table, folder: Path) -> None:
    """Makes one search of `task.evaluations` trials and writes its rows.

    Raises:
        RunError: Trials are missing at the end.
    """
    watch = _Rows()
    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(TableTrial, table=table), {"cpu": 0.01}),
            param_space={f"x{d:02}": tune.choice(list(range(count))) for d, count in enumerate(table.num_categories)},
            tune_config=tune.TuneConfig(
                search_alg=SEARCHES[task.method](task.seed, str(Path(scratch) / "record")),
                num_samples=task.evaluations,
                max_concurrent_trials=NUM_IN_FLIGHT,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="trials",
                callbacks=[watch],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    if len(watch.rows) < min(task.evaluations, len(table)):
        raise RunError(f"{task.method} on {task.table} ended after {len(watch.rows)} of {task.evaluations} trials")
    distinct = np.array(list(dict.fromkeys(watch.rows)), dtype=np.int64)
    trace = Trace(rows_E=distinct, modes_EK=None, coefficients_K=None, num_asked=len(watch.rows))
    task.save(frame_of(task, trace, Measures(table)), table, folder)
