"""The networks that a method finds once its supernets are trained. The last choice is the same for all methods."""

# K targets, N networks
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.compare.evolution import Architecture, LossesOf, evolve
from experiments.compare.methods import Method, evaluations_per_target, methods_of, methods_of_kind
from experiments.compare.scoring import BatchLosses, open_evaluator
from experiments.compare.settings import CANDIDATES, Settings, config_of, spent_by
from experiments.compare.truth import slice_of
from multinas_ray.data import load_splits
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import load_run
from multinas_ray.selection import (
    SLICE_SHARE,
    Candidate,
    Goal,
    Ranking,
    Rung,
    Score,
    SearchOutcome,
    SuccessiveHalving,
    candidates_for,
    choose,
    goals_of_run,
    prior_weight,
    scaled_ranks,
)
from multinas_ray.spaces import FloatArray, IntArray

SELECTION_STREAM = 11
"""Keeps these draws apart from the search's, which come from the same seed."""

Figures = Mapping[str, Mapping[Architecture, float]]
"""The figure of every network by each part of the prior."""


def find_networks(
    kind: str, seed: int, settings: Settings, out: Path, num_threads: int, figures: Figures
) -> pd.DataFrame:
    """The networks of all methods of a kind, whose supernets are trained.

    Args:
        kind: What the methods train, see `Method.kind`. Each supernet scores a network once for all of them.
        seed: The repetition.
        settings: The comparison.
        out: Its folder.
        num_threads: CPU threads.
        figures: The prior of every network.

    Returns:
        A row for each network of each method, from small to large: `method`, `target`, `architecture` and `flops` of
        the searched space, and `evaluations` that the method spent before the last choice.
    """
    methods = methods_of_kind(methods_of(settings.num_targets))[kind]
    supernets = next(iter(methods.values())).supernets
    scored = [ScoredSupernet(config_of(name, seed, settings, out, num_threads), settings) for name in supernets]
    frames = []
    for name, method in methods.items():
        if scored:
            found, evaluations = _found(method, scored, settings, figures)
        else:
            found = {each: _best_untrained(method, settings, each, figures, seed) for each in settings.targets}
            evaluations = 0
        flops = settings.space.costs["flops"](np.array(list(found.values()))).tolist()
        columns = {"method": name, "target": list(found), "architecture": list(found.values()), "flops": flops}
        frames.append(pd.DataFrame({**columns, "evaluations": evaluations}))
    return pd.concat(frames, ignore_index=True)


class ScoredSupernet:
    """A trained supernet and all scores that it has given. Each is computed once.

    Args:
        config: the search that trained it.
        settings: the comparison.
    """

    def __init__(self, config: OneShotSearchConfig, settings: Settings) -> None:
        self.config = config
        self._evaluator = open_evaluator(config, settings)
        self._scores: dict[tuple[int, int], dict[Architecture, Score]] = {}

    def rungs(self, candidates: int) -> list[Rung]:
        """The rungs for a number of candidates."""
        return self._evaluator.rungs(candidates)

    def evaluate(self, rung: Rung, networks: Sequence[Architecture]) -> list[Score]:
        """The score of each network in a rung."""
        known = self._scores.setdefault((rung.images, rung.recalibration_images), {})
        new = [each for each in networks if each not in known]
        known.update(zip(new, self._evaluator.evaluate(rung, new) if new else (), strict=True))
        return [known[each] for each in networks]


def _found(
    method: Method, scored: Sequence[ScoredSupernet], settings: Settings, figures: Figures
) -> tuple[dict[float, Architecture], int]:
    """The network of each target, and the evaluations spent before the last choice."""
    found: dict[float, Architecture] = {}
    evaluations = 0
    for supernet in scored:
        goals, candidates, spent = _candidates(method, supernet.config, settings)
        found |= _choose(method, supernet, goals, candidates, figures)
        evaluations += spent
    return found, evaluations


def _best_untrained(method: Method, settings: Settings, target: float, figures: Figures, seed: int) -> Architecture:
    """The network of a slice with the best prior, or the deepest one; equal ones are drawn."""
    space = settings.space
    networks_ND = slice_of(space, target)
    if method.prior:
        rows = list(map(tuple, networks_ND.tolist()))
        values_N: FloatArray = np.sum([scaled_ranks([-each[row] for row in rows]) for each in figures.values()], axis=0)
    else:
        is_block_DC = ~space.skips_DC
        values_N = -is_block_DC[np.arange(networks_ND.shape[1]), networks_ND].sum(axis=1, dtype=np.float64)
    best = np.flatnonzero(values_N == values_N.min())
    rng = np.random.default_rng((seed, SELECTION_STREAM))
    return tuple(networks_ND[rng.choice(best)].tolist())


def _candidates(
    method: Method, config: OneShotSearchConfig, settings: Settings
) -> tuple[list[Goal], list[Candidate], int]:
    """The goals, their pools, and the number of evaluations spent on these."""
    rng = np.random.default_rng((config.seed, SELECTION_STREAM))
    if method.pool == "record":
        run = load_run(config.run_path)
        outcome = SearchOutcome.of(run, config.space.search_space, config.costs, config.space.equivalence)
        goals = goals_of_run(run)
        return goals, candidates_for(outcome, goals, CANDIDATES, SLICE_SHARE, rng), len(run.evaluations)
    splits = load_splits(config.data) if method.pool == "evolution" else None
    goals, candidates, spent = [], [], 0
    for place, target in enumerate(settings.targets):
        if splits is not None:
            losses_of = BatchLosses(config, splits, place)
            networks_ND = evolved_networks(losses_of, config, target, evaluations_per_target(settings), rng)
            spent += losses_of.evaluations
        else:
            networks_ND = rng.permutation(slice_of(config.space, target))
            networks_ND = networks_ND[: CANDIDATES + evaluations_per_target(settings)]
            spent += evaluations_per_target(settings)
        goals.append(Goal(limits={"flops": target}))
        candidates += [_candidate(place, tuple(row), config) for row in networks_ND.tolist()]
    return goals, candidates, spent


def evolved_networks(
    losses_of: LossesOf, config: OneShotSearchConfig, target: float, evaluations: int, rng: np.random.Generator
) -> IntArray:
    """(N, D) the networks that an evolution within a target evaluated, the best first, at most CANDIDATES of them."""
    flops = config.costs["flops"]
    categories = config.space.search_space.num_categories
    found = evolve(losses_of, lambda rows_ND: flops(rows_ND) <= target, categories, evaluations, rng)
    canonical_ND = config.space.equivalence.canonical(np.array(found))
    return np.array(list(dict.fromkeys(map(tuple, canonical_ND.tolist())))[:CANDIDATES])


def _candidate(place: int, architecture: Architecture, config: OneShotSearchConfig) -> Candidate:
    costs = {name: float(cost(np.array([architecture]))[0]) for name, cost in config.costs.items()}
    return Candidate(
        goal=place,
        origin="slice",
        architecture=architecture,
        costs=costs,
        complexity=costs[config.complexity] / config.complexity_scale,
        evaluation_id=None,
        recorded_loss=None,
        within_budget=True,
    )


def _choose(
    method: Method,
    supernet: ScoredSupernet,
    goals: Sequence[Goal],
    candidates: Sequence[Candidate],
    figures: Figures,
) -> dict[float, Architecture]:
    """Choose the network of each target as at the end of a search: by successive halving of its pool."""
    ranking = Ranking(
        weight=prior_weight(spent_by(supernet.config).weight_steps),
        prior=figures if method.prior else {},
        skips_DC=supernet.config.space.skips_DC,
    )
    rungs = supernet.rungs(max(np.bincount([each.goal for each in candidates])))
    halving = SuccessiveHalving(candidates, goals, rungs, ranking)
    halving.run(supernet.evaluate)
    family = choose(halving.finalists, goals, halving.scores, ranking, rung=rungs[-1].number, left_out=halving.left_out)
    return {
        goal.limits["flops"]: each.candidate.architecture
        for goal, each in zip(family.goals, family.networks, strict=False)
    }
