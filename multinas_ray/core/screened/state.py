"""The screened optimiser's changing state, and its strict reading from plain data.

Notation: D variables, A distinct architectures evaluated.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from multinas_ray.core.checks import are_complexities
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.optimizer import MultiDistributionOptimizer
from multinas_ray.core.outstanding import Outstanding
from multinas_ray.core.proposals import Proposals
from multinas_ray.core.reader import StateReader
from multinas_ray.core.screened.archive import Archive
from multinas_ray.core.screened.surrogate import KERNELS
from multinas_ray.core.seeds import plain_generator, read_generator
from multinas_ray.core.state import plain_outstanding, plain_proposals, read_outstanding, read_proposals
from multinas_ray.errors import StateError

VERSION = 4
COUNTERS = ("update_seed", "kernel_number", "kernel_known", "fit_size", "fit_told", "num_told")


@dataclass(eq=False)
class ScreenedState:
    """Everything that changes but the distributions, which are in the inner optimiser."""

    rng: np.random.Generator
    """Of the proposals."""
    update_seed: int
    """Together with the number of an update, the seed of its samples."""
    archive: Archive
    outstanding: Outstanding
    queue: Proposals
    """Chosen ahead and not asked for yet; they get their ids when they are asked for."""
    kernel_number: int = 1
    """Which of the surrogate's KERNELS was the likeliest when the kernel was last chosen."""
    kernel_known: int = 0
    """Number of distinct architectures that were known at that time."""
    fit_size: int = 0
    """The surrogate is fitted on this many rows of the archive's support, the oldest."""
    fit_told: int = 0
    """`num_told` at the time of the last fit."""
    num_told: int = 0

    @classmethod
    def start(cls, layout: CategoryLayout, rng: np.random.Generator, update_seed: int) -> "ScreenedState":
        """Returns the state before anything was asked or told."""
        none = Proposals.empty(len(layout.num_categories))
        return cls(rng, update_seed, Archive(layout), Outstanding(none), none)


def write_screened(state: ScreenedState, inner: MultiDistributionOptimizer, samples_per_update: int) -> dict[str, Any]:
    """Returns the state as nested dicts of plain values and freshly copied numpy arrays."""
    archive = state.archive
    return {
        "version": VERSION,
        "samples_per_update": samples_per_update,
        **plain_outstanding(state.outstanding, {name: getattr(state, name) for name in COUNTERS}),
        "distributions": inner.state_dict(),
        "rng": plain_generator(state.rng),
        "queue": plain_proposals(state.queue),
        "archive": {
            "architectures": archive.architectures(),
            "losses": archive.losses.copy(),
            "complexities": archive.complexities.copy(),
            "support": np.array(archive.support, dtype=np.int64),
            "front": np.array(archive.front, dtype=np.int64),
        },
    }


def read_screened(
    data: object, inner: MultiDistributionOptimizer, layout: CategoryLayout, samples_per_update: int
) -> ScreenedState:
    """Builds the state from what `write_screened` returned, and loads `inner` after everything else was read.

    Raises:
        StateError: Something is missing, unknown, of another version or configuration, or damaged; names the
            path. `inner` is then unchanged.
    """
    root = StateReader(data, "state")
    root.expect("version", VERSION)
    root.expect("samples_per_update", samples_per_update)
    outstanding, counts = read_outstanding(root, layout, COUNTERS)
    state = ScreenedState(
        rng=read_generator(root.section("rng")),
        archive=_read_archive(root.section("archive"), layout),
        outstanding=outstanding,
        queue=read_proposals(root.section("queue"), layout),
        **counts,
    )
    distributions = root.plain("distributions")
    root.finish()
    _check_together(state)
    inner.load_state_dict(distributions)
    return state


def _check_together(state: ScreenedState) -> None:
    """Checks that the parts agree with each other."""
    if state.kernel_number >= len(KERNELS):
        raise StateError(
            f"state.counters.kernel_number: expected less than {len(KERNELS)}, found {state.kernel_number}"
        )
    if state.num_told < len(state.archive):
        raise StateError(
            f"state.counters.num_told: expected at least {len(state.archive)}, the archive's rows, "
            f"found {state.num_told}"
        )
    largest = {"fit_size": len(state.archive.support), "fit_told": state.num_told, "kernel_known": len(state.archive)}
    fitted = state.archive.support[: state.fit_size]
    if state.archive.front and not np.isfinite(state.archive.losses[fitted]).any():
        raise StateError(f"state.counters.fit_size: expected rows with a finite loss, found {state.fit_size}")
    for name, most in largest.items():
        if getattr(state, name) > most:
            raise StateError(f"state.counters.{name}: expected at most {most}, found {getattr(state, name)}")


def _read_archive(reader: StateReader, layout: CategoryLayout) -> Archive:
    architectures_AD = reader.integers("architectures", (None, len(layout.num_categories)))
    shape_A = (len(architectures_AD),)
    losses_A = reader.floats("losses", shape_A, finite=False)
    complexities_A = reader.floats("complexities", shape_A)
    members = {name: reader.integers(name, (None,)) for name in ("support", "front")}
    reader.finish()
    if layout.outside(architectures_AD).any() or len(np.unique(architectures_AD, axis=0)) != len(architectures_AD):
        raise StateError(f"{reader.path}.architectures: expected distinct ones of the space, found other values")
    if np.isnan(losses_A).any() or not are_complexities(complexities_A).all():
        raise StateError(f"{reader.path}: expected losses that are numbers and complexities from 0, found other values")
    for name, rows in members.items():
        if len(np.unique(rows)) != len(rows) or not np.isin(rows, np.arange(len(losses_A))).all():
            raise StateError(f"{reader.path}.{name}: expected distinct rows of the archive, found other values")
    return Archive.from_columns(
        layout, architectures_AD, losses_A, complexities_A, members["support"].tolist(), members["front"].tolist()
    )
