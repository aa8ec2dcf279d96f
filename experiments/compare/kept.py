"""The rows of all results so far. What they tell need not be done again, even where the work behind it is gone."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.compare.methods import Method, methods_of_kind
from experiments.compare.pieces import Piece
from experiments.parts.rows import load_rows, save_rows


@dataclass(frozen=True)
class Rows:
    """The results, a row each."""

    networks: pd.DataFrame
    """See `report.collect`."""
    rankings: pd.DataFrame
    """See `report.collect_rankings`."""

    @classmethod
    def load(cls, out: Path) -> "Rows":
        """Read what is kept in a folder; no rows where there is nothing."""
        networks, rankings = (load_rows(path) for path in _files(out))
        if rankings is not None:
            rankings = rankings.assign(**{name: rankings[name].map(np.asarray) for name in ("tau", "regret")})
        return cls(_or_none(networks, "method", "seed"), _or_none(rankings, "ranking", "kind", "seed"))

    def save(self, out: Path) -> None:
        """Write them into a folder."""
        lists = {name: self.rankings[name].map(list) for name in ("tau", "regret")}
        for frame, path in zip((self.networks, self.rankings.assign(**lists)), _files(out), strict=True):
            save_rows(frame, path)

    def of(self, methods: Container[str], seeds: Container[int]) -> "Rows":
        """Those of some methods and seeds, and the rankings of their supernets."""
        networks, rankings = (
            _where(frame, "seed", lambda seed: seed < 0 or seed in seeds) for frame in (self.networks, self.rankings)
        )
        return Rows(_where(networks, "method", lambda name: name in methods), rankings)

    def joined(self, newer: "Rows") -> "Rows":
        """These and newer rows, which replace those that they repeat."""
        return Rows(
            _joined(self.networks, newer.networks, ["method", "seed"]),
            _joined(self.rankings, newer.rankings, ["ranking", "seed"]),
        )

    def pieces(self, methods: Mapping[str, Method]) -> set[Piece]:
        """The pieces of work whose results these are; those of a kind need a row for each of its methods."""
        found: set[Piece] = set()
        for seed in self.networks["seed"].unique().tolist():
            names = set(self.networks.loc[self.networks["seed"] == seed, "method"])
            kinds = [kind for kind, of_kind in methods_of_kind(methods).items() if names.issuperset(of_kind)]
            found |= {Piece("networks", kind, seed) for kind in kinds}
        for kind, seed in self.rankings[["kind", "seed"]].itertuples(index=False):
            found.add(Piece("ranking", kind, seed))
        return found


def _files(out: Path) -> tuple[Path, Path]:
    return out / "compare.parquet", out / "rankings.parquet"


def _or_none(frame: pd.DataFrame | None, *columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns)) if frame is None else frame


def _where(frame: pd.DataFrame, column: str, is_wanted: Callable[[Any], bool]) -> pd.DataFrame:
    wanted = np.array([is_wanted(value) for value in frame[column]], dtype=bool)  # without a row too, a mask of rows
    return frame[wanted]


def _joined(older: pd.DataFrame, newer: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    frames = [frame for frame in (older, newer) if len(frame)]
    return pd.concat(frames, ignore_index=True).drop_duplicates(key, keep="last") if frames else older
