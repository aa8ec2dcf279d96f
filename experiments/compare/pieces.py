"""The pieces of a comparison. Each is done once, kept completely or not at all, and begun when its inputs are there."""

import functools
import os
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments.compare.evolution import Architecture
from experiments.compare.methods import Method
from experiments.compare.settings import Settings, config_of
from experiments.parts.rows import load_rows, save_rows


@dataclass(frozen=True)
class Piece:
    """One piece of work."""

    stage: str
    """"prior": the figures of all untrained networks. "search": train a supernet. "networks": find the networks of all
    methods of a kind. "ranking": score every network in the slices with a supernet."""
    name: str
    """Name of the supernet; for "networks", the kind of the methods; for "prior", "untrained"."""
    seed: int
    needs: tuple["Piece", ...] = field(default=(), compare=False)

    def path(self, out: Path) -> Path:
        """The file or folder that exists when the piece is done."""
        if self.stage == "search":
            return out / "runs" / f"{self.name}-seed{self.seed}" / "finished.json"
        return out / self.stage / f"{self.name}-seed{self.seed}.parquet"

    def is_done(self, out: Path) -> bool:
        """Whether the piece is done."""
        path = self.path(out)
        return path.is_file() if self.stage == "search" else load_rows(path) is not None

    def __str__(self) -> str:
        return f"{self.stage} {self.name} seed {self.seed}"


PRIOR = Piece("prior", "untrained", 0)


def pieces_of(methods: Mapping[str, Method], seeds: Sequence[int]) -> list[Piece]:
    """All pieces, the most important first: seed by seed, so that an early end leaves complete comparisons.

    Args:
        methods: The methods by name.
        seeds: Seeds of the repetitions.
    """
    pieces: list[Piece] = [PRIOR]
    supernets_of = {method.kind: method.supernets for method in methods.values()}
    for seed in seeds:
        searches = {
            kind: [Piece("search", name, seed) for name in supernets] for kind, supernets in supernets_of.items()
        }
        pieces += [search for each in searches.values() for search in each]
        pieces += [Piece("networks", kind, seed, (PRIOR, *each)) for kind, each in searches.items()]
        pieces += [Piece("ranking", kind, seed, tuple(each)) for kind, each in searches.items() if len(each) == 1]
    return pieces


def settled(pieces: Sequence[Piece], out: Path, kept: Container[Piece] = frozenset()) -> set[Piece]:
    """The pieces that need not be done: those that are done or kept, and all that only those need.

    Args:
        pieces: all pieces.
        out: the comparison's folder.
        kept: pieces whose results are known otherwise.
    """
    done = {piece for piece in pieces if piece in kept or piece.is_done(out)}
    needed = {need for piece in pieces if piece not in done for need in piece.needs}
    inputs = {need for piece in pieces for need in piece.needs}
    return done | (inputs - needed)


def carry_out(
    pieces: Sequence[Piece],
    out: Path,
    run: Callable[[Piece], None],
    pool: Executor,
    jobs: int,
    show: Callable[[int, Sequence[Piece]], None] = lambda num_done, running: None,
    kept: Container[Piece] = frozenset(),
) -> None:
    """Carry out the pieces that are not done yet, `jobs` at a time.

    Args:
        pieces: all pieces, the most important first.
        out: the comparison's folder.
        run: does one piece, in a process of the pool.
        pool: the processes.
        jobs: number of pieces at a time.
        show: called after every change with the number of finished pieces and the running pieces.
        kept: pieces whose results are known otherwise.
    """
    done = settled(pieces, out, kept)
    waiting = [piece for piece in pieces if piece not in done]
    running: dict[Future[None], Piece] = {}
    while waiting or running:
        ready = [piece for piece in waiting if done.issuperset(piece.needs)]
        for piece in ready[: jobs - len(running)]:
            waiting.remove(piece)
            running[pool.submit(run, piece)] = piece
        show(len(done), list(running.values()))
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            piece = running.pop(future)
            future.result()
            done.add(piece)
    show(len(done), [])


def load_piece(path: Path) -> pd.DataFrame | None:
    """The rows of a piece, with architectures as tuples; None if it is not done."""
    frame = load_rows(path)
    if frame is None:
        return None
    return frame.assign(architecture=frame["architecture"].map(tuple))


def run_piece(piece: Piece, settings: Settings, out: Path, num_threads: int) -> None:
    """Do one piece in this process.

    Raises:
        MultiNASError: The piece failed.
        KeyboardInterrupt: A search was interrupted; it resumes the next time.
    """
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    if piece.stage == "search":
        _search(piece, settings, out, num_threads)
    else:
        save_rows(_rows_of(piece, settings, out, num_threads), piece.path(out))


def _rows_of(piece: Piece, settings: Settings, out: Path, num_threads: int) -> pd.DataFrame:
    from experiments.compare.finding import find_networks  # loads torch, in the pool's processes only
    from experiments.compare.scoring import score_slices, score_untrained

    if piece.stage == "prior":
        return score_untrained(settings, num_threads)
    if piece.stage == "ranking":
        config = config_of(piece.name, piece.seed, settings, out, num_threads)
        return score_slices(config, settings)
    return find_networks(piece.name, piece.seed, settings, out, num_threads, load_figures(out))


def load_figures(out: Path) -> dict[str, dict[Architecture, float]]:
    """The figure of every network by each part of the prior; empty if they are not there yet."""
    rows = load_piece(PRIOR.path(out))
    if rows is None:
        return {}
    names = [name for name in rows.columns if name != "architecture"]
    return {name: dict(zip(rows["architecture"], rows[name].tolist(), strict=True)) for name in names}


def _search(piece: Piece, settings: Settings, out: Path, num_threads: int) -> None:
    from multinas_ray.oneshot import run_search
    from multinas_ray.runs import was_started
    from multinas_ray.storage import exists

    config = config_of(piece.name, piece.seed, settings, out, num_threads)
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{config.name}.log").open("a") as log:
        resume = exists(f"{config.run_path}/config.json") and was_started(config.run_path)
        run = run_search(config, resume=resume, console=Console(file=log, width=120))
    if not run.is_finished:
        raise KeyboardInterrupt


def runner(settings: Settings, out: Path, num_threads: int) -> Callable[[Piece], None]:
    """The function that the pool's processes run."""
    return functools.partial(run_piece, settings=settings, out=out, num_threads=num_threads)
