"""The pieces of a comparison. Each is done once, kept completely or not at all, and begun when its inputs are there."""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments.compare.settings import Settings, config_of
from experiments.parts.rows import load_rows, save_rows


@dataclass(frozen=True)
class Piece:
    """One piece of work."""

    stage: str
    """"search": train a supernet. "networks": find a method's networks. "ranking": score random architectures."""
    name: str
    """Name of the supernet; for "networks", name of the method."""
    seed: int
    needs: tuple["Piece", ...] = ()

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


def pieces_of(supernets_of: dict[str, tuple[str, ...]], seeds: Sequence[int]) -> list[Piece]:
    """All pieces, the most important first: seed by seed, so that an early end leaves complete comparisons.

    The ranking of methods with several supernets comes last, since it is the most work for the least information.

    Args:
        supernets_of: names of the supernets of each method.
        seeds: seeds of the repetitions.
    """
    first: list[Piece] = []
    last: list[Piece] = []
    names = dict.fromkeys(name for supernets in supernets_of.values() for name in supernets)
    single = {supernets[0] for supernets in supernets_of.values() if len(supernets) == 1}
    for seed in seeds:
        searches = {name: Piece("search", name, seed) for name in names}
        first += searches.values()
        for method, supernets in supernets_of.items():
            first.append(Piece("networks", method, seed, tuple(searches[name] for name in supernets)))
        for name, search in searches.items():
            (first if name in single else last).append(Piece("ranking", name, seed, (search,)))
    return first + last


def carry_out(
    pieces: Sequence[Piece],
    out: Path,
    run: Callable[[Piece], None],
    pool: Executor,
    jobs: int,
    show: Callable[[int, Sequence[Piece]], None] = lambda num_done, running: None,
) -> None:
    """Carry out the pieces that are not done yet, `jobs` at a time.

    Args:
        pieces: all pieces, the most important first.
        out: the comparison's folder.
        run: does one piece, in a process of the pool.
        pool: the processes.
        jobs: number of pieces at a time.
        show: called after every change with the number of finished pieces and the running pieces.
    """
    done = {piece for piece in pieces if piece.is_done(out)}
    waiting = [piece for piece in pieces if piece not in done]
    running: dict[Future[None], Piece] = {}
    while waiting or running:
        ready = [piece for piece in waiting if done.issuperset(piece.needs)]
        for piece in ready[: jobs - len(running)]:
            waiting.remove(piece)
            running[pool.submit(run, piece)] = piece
        show(len(done), list(running.values()))
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
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
    elif piece.stage == "networks":
        from experiments.compare.methods import find_networks  # loads torch, in the pool's processes only

        save_rows(find_networks(piece.name, piece.seed, settings, out, num_threads), piece.path(out))
    else:
        save_rows(_ranking(piece, settings, out, num_threads), piece.path(out))


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


def _ranking(piece: Piece, settings: Settings, out: Path, num_threads: int) -> pd.DataFrame:
    """Rows of random architectures with their loss and accuracy under a supernet's weights."""
    from experiments.compare.scoring import open_evaluator, random_architectures

    config = config_of(piece.name, piece.seed, settings, out, num_threads)
    evaluator = open_evaluator(config, settings, num_threads)
    architectures = random_architectures(config, settings.ranked)
    scores = evaluator.evaluate(evaluator.rungs(1)[-1], architectures)  # all images, whole statistics
    return pd.DataFrame(
        {
            "architecture": architectures,
            "loss": [score.loss for score in scores],
            "accuracy": [score.accuracy for score in scores],
        }
    )


def runner(settings: Settings, out: Path, num_threads: int) -> Callable[[Piece], None]:
    """The function that the pool's processes run."""
    return functools.partial(run_piece, settings=settings, out=out, num_threads=num_threads)
