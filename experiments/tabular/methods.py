"""The methods that are compared, each behind the same ask and tell.

All get the same information: losses as shares of 1 and complexities as shares of the largest, of architectures
that they name. None is told which architectures are equivalent.
"""

# n architectures, D variables, K distributions

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from experiments.parts.tables import Table
from experiments.tabular.measures import NUM_ANSWERS
from multinas_ray.core import Proposals, default_coefficients, make_optimizer, optimizer_kind
from multinas_ray.spaces import FloatArray, IntArray

POPULATION = 40
"""Population of pymoo's NSGA-II. Optuna's samplers keep their own defaults."""


class Searcher(Protocol):
    """One search in progress."""

    def ask(self) -> IntArray:
        """Returns the next (n, D) architectures to evaluate; none when it has no more."""

    def tell(self, losses: FloatArray, complexities: FloatArray) -> None:
        """Takes the (n,) results of the last request."""

    def modes(self) -> IntArray | None:
        """Returns the (K, D) modes of the distributions; None for a method that has none."""

    def coefficients(self) -> FloatArray | None:
        """Returns the (K,) coefficients of the distributions; None for a method that has none."""


class Distributions:
    """K distributions in any number of optimisers: one with all K, or K with one each.

    The coefficients are `default_coefficients` of the first round's results. At the start all distributions are
    uniform, so these were valid draws for any coefficients.
    """

    def __init__(self, optimizers: Sequence[Any]) -> None:
        self._optimizers = optimizers
        self._asked: list[Proposals] = []
        self._coefficients_K: FloatArray | None = None

    def ask(self) -> IntArray:
        """One update's samples of every optimiser."""
        self._asked = [optimizer.ask(optimizer.samples_per_update) for optimizer in self._optimizers]
        return np.concatenate([proposals.architectures for proposals in self._asked])

    def tell(self, losses: FloatArray, complexities: FloatArray) -> None:
        """Lets every optimiser learn from the results that it asked for itself."""
        if self._coefficients_K is None:
            self._set_coefficients(losses, complexities)
        start = 0
        for optimizer, proposals in zip(self._optimizers, self._asked, strict=True):
            part = slice(start, start + len(proposals))
            optimizer.tell(proposals, losses[part], complexities[part])
            start += len(proposals)

    def modes(self) -> IntArray:
        """By ascending coefficient."""
        return np.concatenate([optimizer.modes() for optimizer in self._optimizers])

    def coefficients(self) -> FloatArray | None:
        """Known after the first round."""
        return self._coefficients_K

    def _set_coefficients(self, losses: FloatArray, complexities: FloatArray) -> None:
        self._coefficients_K = np.array(default_coefficients(losses, complexities, NUM_ANSWERS))
        start = 0
        for optimizer in self._optimizers:
            count = optimizer.num_distributions
            optimizer.set_coefficients(self._coefficients_K[start : start + count])
            start += count


class WithoutDistributions:
    """The base of methods without distributions."""

    def modes(self) -> None:
        """None."""
        return

    def coefficients(self) -> None:
        """None."""
        return


class RandomSearch(WithoutDistributions):
    """Every architecture once, in random order."""

    def __init__(self, table: Table, seed: int) -> None:
        self._left = np.random.default_rng(seed).permutation(len(table))
        self._table = table

    def ask(self) -> IntArray:
        """The next one."""
        asked, self._left = self._left[:1], self._left[1:]
        return self._table.architectures[asked]

    def tell(self, losses: FloatArray, complexities: FloatArray) -> None:
        """Learns nothing."""


class OptunaSampler(WithoutDistributions):
    """An Optuna sampler with two objectives and a categorical parameter for each variable."""

    def __init__(self, table: Table, sampler: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        self._domains: dict[str, Any] = {
            f"x{d:02}": optuna.distributions.CategoricalDistribution(tuple(range(count)))
            for d, count in enumerate(table.num_categories)
        }

    def ask(self) -> IntArray:
        """One trial."""
        self._trial = self._study.ask(self._domains)
        return np.array([[self._trial.params[name] for name in self._domains]], dtype=np.int64)

    def tell(self, losses: FloatArray, complexities: FloatArray) -> None:
        """Its two values."""
        self._study.tell(self._trial, [float(losses[0]), float(complexities[0])])


class PymooNSGA2(WithoutDistributions):
    """pymoo's NSGA-II on whole numbers: uniform crossover, a variable drawn anew with probability 1 / D."""

    def __init__(self, table: Table, seed: int) -> None:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.mutation import Mutation
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.operators.crossover.ux import UX
        from pymoo.operators.sampling.rnd import IntegerRandomSampling

        highest_D = np.array(table.num_categories) - 1

        class DrawAnew(Mutation):  # type: ignore[misc]  # pymoo has no types
            def _do(self, problem: Any, X: IntArray, random_state: Any = None, **_: Any) -> IntArray:  # noqa: N803
                drawn = random_state.integers(0, highest_D + 1, size=X.shape)
                return np.where(random_state.random(X.shape) < 1.0 / X.shape[1], drawn, X)

        self._problem = Problem(n_var=len(highest_D), n_obj=2, xl=np.zeros_like(highest_D), xu=highest_D, vtype=int)
        self._algorithm = NSGA2(
            pop_size=POPULATION,
            sampling=IntegerRandomSampling(),
            crossover=UX(),
            mutation=DrawAnew(),
            eliminate_duplicates=True,
        )
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=seed)

    def ask(self) -> IntArray:
        """A generation; none when no new offspring could be made."""
        self._asked = self._algorithm.ask()
        if self._asked is None:
            return np.zeros((0, self._problem.n_var), dtype=np.int64)
        asked: IntArray = self._asked.get("X").astype(np.int64)
        return asked

    def tell(self, losses: FloatArray, complexities: FloatArray) -> None:
        """The generation's two objectives."""
        from pymoo.problems.static import StaticProblem

        self._algorithm.evaluator.eval(StaticProblem(self._problem, F=np.stack([losses, complexities], 1)), self._asked)
        self._algorithm.tell(infills=self._asked)


class GSEMO(WithoutDistributions):
    """A random member of the front of all evaluations, each variable drawn anew with probability 1 / D.

    The global simple evolutionary multi-objective optimiser (Giel, CEC 2003), for variables of any number of values.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._counts_D = np.array(table.num_categories)
        self._front: list[tuple[IntArray, float, float]] = []
        self._asked: IntArray = self._rng.integers(0, self._counts_D)

    def ask(self) -> IntArray:
        """The next one."""
        if self._front:
            parent_D = self._front[int(self._rng.integers(len(self._front)))][0]
            is_new_D = self._rng.random(len(parent_D)) < 1.0 / len(parent_D)
            self._asked = np.where(is_new_D, self._rng.integers(0, self._counts_D), parent_D)
        return self._asked[None]

    def tell(self, losses: FloatArray, complexities: FloatArray) -> None:
        """Takes it into the front, unless a member is better in one value and as good in the other."""
        loss, cost = float(losses[0]), float(complexities[0])
        if any(a <= loss and b <= cost and (a < loss or b < cost) for _, a, b in self._front):
            return
        kept = [member for member in self._front if not (loss <= member[1] and cost <= member[2])]
        self._front = [*kept, (self._asked, loss, cost)]


@dataclass(frozen=True)
class Method:
    """A row of the comparison."""

    title: str
    start: Callable[[Table, int], Searcher]
    """Begins a search of a table with a seed."""
    seconds: float
    """Rough time of 1,000 evaluations on one core, used only to estimate the remaining time."""
    settings: str
    """Its settings, in words; runs with other settings are not read again."""
    packages: tuple[str, ...] = ()
    """Packages of multinas_ray on which it depends."""
    libraries: tuple[str, ...] = ()
    """Libraries on which it depends, besides those of all methods."""
    asks_per_evaluation: float = 10.0
    """A search ends when it has asked for this many times its budget of evaluations, since it then repeats itself."""


def _ours(**settings: Any) -> Callable[[Table, int], Searcher]:
    return lambda table, seed: Distributions([_optimizer(table, NUM_ANSWERS, seed, **settings)])


def _separate(table: Table, seed: int) -> Searcher:
    return Distributions([_optimizer(table, 1, [seed, k]) for k in range(NUM_ANSWERS)])


def _optimizer(
    table: Table, num_distributions: int, seed: int | list[int], kind: str = "distributions", **settings: Any
) -> Any:
    fields = {"num_categories": table.num_categories, "num_distributions": num_distributions, **settings}
    return make_optimizer(optimizer_kind(kind)(**fields), seed=seed)


def _optuna(name: str) -> Callable[[Table, int], Searcher]:
    def start(table: Table, seed: int) -> Searcher:
        import optuna

        return OptunaSampler(table, getattr(optuna.samplers, name)(seed=seed))

    return start


CORE = ("core",)
# The variants of this method have the settings that MultiNASSearch takes by default.
METHODS = {
    "multinas": Method("MultiNAS, plain", _ours(), 0.5, "the paper's: memory 0, margin 1", CORE),
    "multinas-reuse": Method(
        "MultiNAS, reuse", _ours(memory=4, margin_scale=0.5), 0.5, "memory 4, margin 0.5, fixed losses", CORE
    ),
    "multinas-screened": Method(
        "MultiNAS, screened", _ours(kind="screened", margin_scale=0.5), 2.0, "surrogate, margin 0.5", CORE
    ),
    "separate-asng": Method("8 separate ASNG runs", _separate, 2.0, "K = 1, 2 samples an update, round robin", CORE),
    "pymoo-nsga2": Method(
        "NSGA-II (pymoo)", PymooNSGA2, 1.0, f"population {POPULATION}, uniform crossover", libraries=("pymoo",)
    ),
    "optuna-nsga2": Method(
        "NSGA-II (Optuna)",
        _optuna("NSGAIISampler"),
        5.0,
        "defaults",
        libraries=("optuna",),
        asks_per_evaluation=2.0,
    ),
    "optuna-tpe": Method(
        "TPE (Optuna)", _optuna("TPESampler"), 40.0, "defaults", libraries=("optuna",), asks_per_evaluation=0.5
    ),
    "optuna-gp": Method(
        "GP (Optuna)", _optuna("GPSampler"), 900.0, "defaults", libraries=("optuna",), asks_per_evaluation=0.15
    ),
    "gsemo": Method("GSEMO", GSEMO, 0.3, "a member of the front, each variable anew with probability 1 / D"),
    "random": Method("random, no repeats", RandomSearch, 0.2, "without replacement"),
}
