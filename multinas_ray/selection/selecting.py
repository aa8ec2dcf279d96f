"""Choosing the networks of a trained supernet: at the end of a search, and later for any other budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from multinas_ray.cluster import check_room, counted_progress, ray_session
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import ARCHITECTURES_FILE, architectures_schema, network_path, read_table
from multinas_ray.selection.choice import choose
from multinas_ray.selection.evaluation import CandidateJob, EvaluatorGroup
from multinas_ray.selection.families import Family, family_path, load_family
from multinas_ray.selection.family_writing import FamilyWriter
from multinas_ray.selection.kept_scores import KeptScores
from multinas_ray.selection.opening import OpenedRun, open_run
from multinas_ray.selection.pool import (
    CANDIDATES_PER_NETWORK,
    Architecture,
    Candidate,
    Goal,
    SearchOutcome,
    check_limits,
    goals_of_run,
)
from multinas_ray.selection.tables import candidate_tables
from multinas_ray.storage import below, resolve
from multinas_ray.supernets import check_supernet

SELECTION_STREAM = 7
"""Keeps the draws of a selection apart from the search's, which come from the same seed."""

Limits = Mapping[str, float | Sequence[float]]


def select_networks(
    run_path: str,
    *,
    limits: Limits | None = None,
    label: str | None = None,
    candidates_per_network: int = CANDIDATES_PER_NETWORK,
    num_workers: int = 1,
    use_gpu: bool = False,
    threads_per_worker: int | None = None,
    overwrite: bool = False,
    data_path: str | None = None,
    imports: Sequence[str] = (),
    console: Console | None = None,
) -> Family:
    """Choose networks of a finished search again, for its own coefficients or for any budgets. No search is run.

    Candidates come from the distributions and the record; they are evaluated with the supernet's weights on all
    validation images, and one within the budget becomes the network, see `selection.choice.choose`.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        limits: largest allowed costs, such as {"params": 2e6, "flops": [1e8, 3e8]}: one network for each value;
            lists are of one length and taken together, a single value holds for all. Never exceeded. None: the
            run's own coefficients.
        label: name of the new family, and of its folder in `<run>/families`. None: the family is named after the
            limits; where there are none, it is the run's own.
        candidates_per_network: how many are looked at for each network; more where further modes are in the budget.
        num_workers: Ray actors that share the candidates.
        use_gpu: one GPU each.
        threads_per_worker: CPU threads of each; None: its node's cores shared by them.
        overwrite: let networks be replaced that have been retrained.
        data_path: where the images lie now; None: where they lay when the search ran.
        imports: modules or .py files that define blocks of one's own.
        console: where progress and the candidates are printed; the standard output by default.

    Returns:
        The networks and all candidates, as they are on disk.

    Raises:
        ConfigError: a limit names no cost or lies outside what the space has, lists differ in length, or
            threads_per_worker is below 1.
        StateError: the run is not a finished supernet search, or retrained networks would be lost.
        RunError: the cluster has too little, or an evaluation failed.
    """
    opened = open_run(run_path, data_path=data_path, imports=imports)
    if not opened.run.is_finished:
        raise StateError(f"{run_path} is not finished: go on with its search by --resume, which ends with a selection")
    goals = goals_of_run(opened.run) if limits is None else goals_of_limits(limits)
    for goal in goals:
        check_limits(goal.limits, opened.costs)
    if limits is not None and label is None:
        label = label_of(limits)
    selection = Selection(
        opened=opened,
        run_path=run_path,
        supernet=check_supernet(run_path, opened.space, opened.training.norm_batch_size),
        label=label,
        goals=goals,
        candidates_per_network=candidates_per_network,
        num_workers=num_workers,
        use_gpu=use_gpu,
        threads_per_worker=threads_per_worker,
        overwrite=overwrite,
        console=console or Console(),
    )
    with ray_session():
        check_room(num_workers, cpus_per_worker=selection.cpus_per_worker, use_gpu=use_gpu)
        return selection.run()


def goals_of_limits(limits: Limits) -> list[Goal]:
    """One goal for each value of the limits; lists are taken together, a single value holds for all.

    Raises:
        ConfigError: there are no limits, or lists of different lengths.
    """
    values = {
        name: [float(v) for v in ([each] if isinstance(each, int | float) else each)] for name, each in limits.items()
    }
    lengths = {len(each) for each in values.values()} - {1}
    if not values or len(lengths) > 1 or 0 in lengths:
        told = ", ".join(f"{len(each)} of {name}" for name, each in values.items()) or "none"
        raise ConfigError(f"give limits as single values or as lists of one length; got {told}")
    number = lengths.pop() if lengths else 1
    return [
        Goal(limits={name: each[0 if len(each) == 1 else place] for name, each in values.items()})
        for place in range(number)
    ]


def label_of(limits: Limits) -> str:
    """A folder's name that tells the limits, such as params-2000000_flops-100000000-300000000."""
    texts = []
    for name, each in limits.items():
        values = [each] if isinstance(each, int | float) else each
        texts.append("-".join([name, *(f"{float(value):.15g}".replace("+", "") for value in values)]))
    return "_".join(texts)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One choice of networks: proposes candidates, has them evaluated, chooses, and writes the family."""

    opened: OpenedRun
    run_path: str
    supernet: str
    """Digest of the shared weights, see `check_supernet`."""
    label: str | None
    goals: Sequence[Goal]
    candidates_per_network: int
    num_workers: int
    use_gpu: bool
    threads_per_worker: int | None
    cpus_per_worker: float = 1.0
    overwrite: bool = False
    explain: bool = True
    """Print every candidate and why it was chosen or not; the report shows them too."""
    console: Console

    def __post_init__(self) -> None:
        if self.threads_per_worker is not None and self.threads_per_worker < 1:
            raise ConfigError(f"threads_per_worker must be at least 1 or None, got {self.threads_per_worker}")

    def run(self) -> Family:
        """Choose and write; Ray must be running.

        Raises:
            StateError: networks that have been retrained would be lost.
            RunError: an evaluation failed.
        """
        config, space = self.opened.run.config, self.opened.space
        path = family_path(self.run_path, self.label)
        outcome = SearchOutcome.of(self.opened.run, space.search_space, self.opened.costs)
        rng = np.random.default_rng((int(config["seed"]), SELECTION_STREAM))
        candidates = outcome.candidates_for(self.goals, self.candidates_per_network, rng)
        conditions = {"supernet": self.supernet, "data": dataclasses.asdict(self.opened.data)}
        evaluated = KeptScores(path, conditions)
        with EvaluatorGroup(self._job(candidates), self.cpus_per_worker) as pool:
            self._evaluate(pool, candidates, evaluated)
            choice = choose(candidates, self.goals, evaluated.results)
            earlier = read_table(resolve(path).join(ARCHITECTURES_FILE), architectures_schema(()))
            writer = FamilyWriter(path, self.opened.run, outcome, space.name, choice, earlier)
            if not self.overwrite:
                self._check_retrained(writer.dropped())
            writer.clear()
            writer.write(self._finish(pool, path, choice.networks))
        evaluated.remove()
        family = load_family(self.run_path, self.label)
        if self.explain:
            self.console.print(candidate_tables(family))
        for message in choice.unmet:
            self.console.print(f"No network: {message}.", soft_wrap=True, highlight=False, markup=False)
        return family

    def _job(self, candidates: Sequence[Candidate]) -> CandidateJob:
        return CandidateJob(
            run_path=self.run_path,
            space=self.opened.space,
            data=self.opened.data,
            training=self.opened.training,
            seed=int(self.opened.run.config["seed"]),
            num_threads=self.threads_per_worker,
            num_workers=min(self.num_workers, len({each.architecture for each in candidates})),
            use_gpu=self.use_gpu,
        )

    def _evaluate(self, pool: EvaluatorGroup, candidates: Sequence[Candidate], evaluated: KeptScores) -> None:
        """Each architecture once, whatever it stands for; not those that an interrupted selection has evaluated."""
        missing = list(dict.fromkeys(each.architecture for each in candidates))
        missing = [each for each in missing if each not in evaluated.results]
        text = f"evaluating {len(missing)} candidates on all validation images"
        with counted_progress(self.console) as progress:
            results = progress.track(pool.evaluate(missing), len(missing), description=text)
            for architecture, result in zip(missing, results, strict=True):
                evaluated.add(architecture, result)

    def _finish(self, pool: EvaluatorGroup, path: str, networks: Sequence[Candidate]) -> list[float]:
        """Save the networks' weights; their accuracies on the test images, which have chosen nothing."""
        folders: dict[Architecture, list[str]] = {}
        for each in networks:
            folders.setdefault(each.architecture, []).append(below(path, network_path(each.network)))
        with counted_progress(self.console) as progress:
            text = f"testing and saving {len(folders)} chosen networks"
            accuracies = list(progress.track(pool.finish(list(folders.items())), len(folders), description=text))
        tested = dict(zip(folders, accuracies, strict=True))
        return [tested[each.architecture] for each in networks]

    def _check_retrained(self, dropped: Sequence[int]) -> None:
        if dropped:
            numbers = ", ".join(f"#{network}" for network in dropped)
            raise StateError(
                f"this selection would replace the networks {numbers} of {family_path(self.run_path, self.label)}, "
                "which have been retrained: give --label NAME to write it elsewhere, or --overwrite to lose them"
            )
