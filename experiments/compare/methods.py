"""The methods of the comparison. They differ in what they train and in which networks they consider."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from experiments.compare.settings import Budget, Settings, config_of, spent_by


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to find K networks."""

    title: str
    supernets: tuple[str, ...] = ()
    """Names of the supernets it trains, see `config_of`; methods share supernets of the same name. None: it trains
    nothing."""
    pool: Literal["slice", "evolution", "record"] = "slice"
    """The pool of a target: "slice": uniform draws from its slice. "evolution": what an evolution evaluated. "record":
    as at the end of a search, from its record and distributions."""
    prior: bool = False
    """Whether the prior counts beside the losses, in the last choice. A method that trains nothing has the prior alone,
    or else the depth alone."""

    @property
    def kind(self) -> str:
        """What it trains: the kind of its supernets, or "untrained". Methods of a kind share all that is trained."""
        return self.supernets[0].partition("-")[0] if self.supernets else "untrained"


def methods_of(num_targets: int) -> dict[str, Method]:
    """All methods by name. Those with a supernet come twice, without and with the prior."""
    separate, full = (tuple(f"{name}-{k}" for k in range(num_targets)) for name in ("separate", "full"))
    trained = {
        "random": Method(title="Uniform supernet, best of random", supernets=("uniform",)),
        "spos": Method(title="Uniform supernet, then evolution (SPOS)", supernets=("uniform",), pool="evolution"),
        "ours": Method(title="MultiNAS, weights and distributions together", supernets=("ours",), pool="record"),
        "ours-first": Method(title="MultiNAS, weights first", supernets=("uniform",), pool="record"),
        "separate": Method(title=f"{num_targets} separate searches, same cost", supernets=separate, pool="record"),
        "full": Method(
            title=f"{num_targets} full searches, {num_targets} times the cost", supernets=full, pool="record"
        ),
    }
    with_prior = {
        f"{name}-prior": replace(method, title=f"{method.title}, with the prior", prior=True)
        for name, method in trained.items()
    }
    untrained = {
        "deepest": Method(title="The deepest network of the slice"),
        "prior": Method(title="The prior alone", prior=True),
    }
    return untrained | trained | with_prior


def methods_of_kind(methods: Mapping[str, Method]) -> dict[str, dict[str, Method]]:
    """The methods by kind, then by name."""
    kinds: dict[str, dict[str, Method]] = {}
    for name, method in methods.items():
        kinds.setdefault(method.kind, {})[name] = method
    return kinds


def expected_budget(method: Method, settings: Settings, out: Path) -> Budget:
    """What a method may spend before its last choice: its searches, or its evaluations with a fixed supernet.

    Random draws need no search; they have so many more networks in their pool.
    """
    total = Budget(weight_steps=0, evaluations=0)
    for supernet in method.supernets:
        total += spent_by(config_of(supernet, 0, settings, out, 1))
    if method.supernets and method.pool != "record":  # the weights alone are used
        return replace(total, evaluations=settings.num_targets * evaluations_per_target(settings))
    return total


def evaluations_per_target(settings: Settings) -> int:
    """Evaluations for each target where a fixed supernet is searched."""
    return settings.budget.evaluations // settings.num_targets
