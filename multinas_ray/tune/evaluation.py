"""One architecture and the result of its evaluation, in a search whose trials are its evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from multinas_ray.core import Proposals
from multinas_ray.errors import StateError
from multinas_ray.runs import Results


@dataclass(frozen=True)
class Evaluation:
    """One architecture and the result of its evaluation."""

    number: int
    """Id: at least 0 for a draw, negative for an architecture that was not drawn with a known density."""
    architecture: tuple[int, ...]
    """(D,) index of each variable's choice."""
    proposal: Proposals | None
    """The draw, with one row; None if no update may use it."""

    drawn: Mapping[str, Any] | None = None
    """Values that are not the architecture's, by name: drawn and not searched, or given between those of a variable;
    None: there are none, or they are not known yet."""
    trial_id: str = ""
    """Tune's id of the trial that ran it."""
    loss: float = float("inf")
    """Minimised; inf for a failed evaluation."""
    costs: dict[str, float | None] | None = None
    """Raw complexities by column."""
    reused_id: int | None = None
    """Id of the evaluation whose result this one repeats."""

    def raw(self, column: str) -> float:
        """A complexity; NaN if it is not known."""
        value = (self.costs or {}).get(column)
        return float("nan") if value is None else value

    def complexity(self, scales: Mapping[str, float]) -> float:
        """The normalised complexity, the largest of costs / scales; NaN for a failed evaluation."""
        if not np.isfinite(self.loss):
            return float("nan")
        return max(self.raw(column) / scale for column, scale in scales.items())

    def results(self, scales: Mapping[str, float] | None) -> Results:
        """The row of this evaluation in the record.

        Args:
            scales: column of each cost of the search -> the cost that counts as 1; None while unknown.
        """
        return Results.of_checked(
            ids=[self.number],
            architectures=[self.architecture],
            draws=self.proposal,
            trial_id=self.trial_id,
            losses=[self.loss],
            complexities=[None if scales is None else self.complexity(scales)],
            costs={name: [value] for name, value in (self.costs or {}).items()},
            drawn=[json.dumps(self.drawn) if self.drawn else None],
            reused_ids=[self.reused_id],
        )

    def to_plain(self) -> dict[str, Any]:
        """The evaluation of a running trial as plain data, from which it can be made again."""
        proposal, draw = self.proposal, None
        if proposal is not None:
            draw = {
                "log_q": float(proposal.log_q[0]),
                "source": int(proposal.sources[0]),
                "drawn_at": int(proposal.drawn_at[0]),
            }
        return {
            "trial_id": self.trial_id,
            "number": self.number,
            "architecture": list(self.architecture),
            "draw": draw,
        }

    @classmethod
    def from_plain(cls, plain: Any) -> Evaluation:
        """Read what `to_plain` gave.

        Raises:
            StateError: The data do not have this form.
        """
        try:
            draw, architecture = plain["draw"], tuple(plain["architecture"])
            proposal = None
            if draw is not None:
                proposal = Proposals(
                    architectures=np.array([architecture]),
                    log_q=np.array([draw["log_q"]]),
                    sources=np.array([draw["source"]]),
                    ids=np.array([plain["number"]]),
                    drawn_at=np.array([draw["drawn_at"]]),
                )
            return cls(int(plain["number"]), architecture, proposal, None, str(plain["trial_id"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"the description of a running trial is damaged ({error!r})") from error


def drawn_of(row: Any) -> dict[str, Any] | None:
    """The values of a recorded evaluation that were drawn and not searched; None if there are none."""
    text = row.get("drawn")
    return json.loads(text) if isinstance(text, str) else None
