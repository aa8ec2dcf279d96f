"""Goals: what each network is wanted for, a coefficient of the complexity or a budget of limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from multinas_ray.errors import ConfigError
from multinas_ray.runs import Run, format_count
from multinas_ray.selection.config import Limits
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces import Cost


@checked
@dataclass(frozen=True, kw_only=True)
class Goal:
    """What one network is wanted for: the least loss + coefficient * complexity, or the least loss within a budget."""

    coefficient: float | None = None
    """Weight of the complexity; None: the loss alone counts, within the limits."""
    distribution: int | None = None
    """The distribution that searched for this goal; None: the one whose expected costs are nearest to the limits."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The budget: the largest allowed value of each cost named, in its own unit. The network exceeds none of them."""

    @property
    def objective_text(self) -> str:
        """What is minimised for this goal, in words."""
        if self.coefficient:
            return f"loss + {self.coefficient:g} * complexity"
        return "validation loss" + (f" within {self.limits_text}" if self.limits else "")

    @property
    def limits_text(self) -> str:
        """The budget in words, such as ``params <= 2 M``."""
        return ", ".join(f"{name} <= {format_count(limit)}" for name, limit in self.limits.items())

    def excess(self, costs: Mapping[str, float]) -> float:
        """How far the worst of these costs lies above its limit, as a share of it; negative if it lies below."""
        return max((costs[name] - limit) / (abs(limit) or 1.0) for name, limit in self.limits.items())

    def is_kept_by(self, costs: Mapping[str, float]) -> bool:
        """Whether a network with these costs keeps the whole budget."""
        return all(costs[name] <= limit for name, limit in self.limits.items())


@checked_arguments
def goals_of_run(run: Run) -> list[Goal]:
    """The goals that a run searched for: its targets, each as the limit of the complexity, or its coefficients."""
    targets = run.config.get("targets")
    if targets is not None:
        name = run.config["complexity"]["name"]
        return [Goal(limits={name: float(target)}, distribution=k) for k, target in enumerate(targets)]
    return [
        Goal(coefficient=float(eps), distribution=k) for k, eps in enumerate(run.config["optimizer"]["coefficients"])
    ]


def goals_of_limits(limits: Limits) -> list[Goal]:
    """One goal for each value of the limits. Lists are taken together; a single value holds for all goals.

    Raises:
        ConfigError: there are no limits, or the lists differ in length.
    """
    values = {
        name: [float(v) for v in ([each] if isinstance(each, int | float) else each)] for name, each in limits.items()
    }
    lengths = {len(each) for each in values.values()} - {1}
    if not values or len(lengths) > 1 or 0 in lengths:
        given = ", ".join(f"{len(each)} of {name}" for name, each in values.items()) or "none"
        raise ConfigError(f"limits must be single values or lists of one length, got {given}: give one value for each")
    number = lengths.pop() if lengths else 1
    return [
        Goal(limits={name: each[0 if len(each) == 1 else place] for name, each in values.items()})
        for place in range(number)
    ]


def label_of(limits: Limits) -> str:
    """A label that names the limits, such as params-2000000_flops-100000000-300000000."""
    texts = []
    for name, each in limits.items():
        values = [each] if isinstance(each, int | float) else each
        texts.append("-".join([name, *(f"{float(value):.15g}".replace("+", "") for value in values)]))
    return "_".join(texts)


def check_limits(limits: Mapping[str, float], costs: Mapping[str, Cost]) -> None:
    """Check that limits name costs of the run and lie within what the networks of its space have.

    Raises:
        ConfigError: one does not; the message gives the names of the costs, or the range.
    """
    for name, limit in limits.items():
        if name not in costs:
            raise ConfigError(f"a limit must name a cost of the run, got {name!r}: choose from {', '.join(costs)}")
        least, most = costs[name].minimum, costs[name].maximum
        if not least <= limit <= most:
            span = f"{least:.10g} to {most:.10g} {costs[name].unit}".rstrip()
            raise ConfigError(
                f"a limit of {name} must lie within what networks of the space have, {span}, got {limit:.10g}"
            )
