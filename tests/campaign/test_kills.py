"""A campaign of faults at random moments: `pytest -s -m campaign tests/campaign`.

MULTINAS_FAULTS tells how many, MULTINAS_SEED draws them, and MULTINAS_FIRST leaves out those before. They come in rows
of four: a command is started again and again, each time with a fault, and at last without. Three rows of four befall
searches, the fourth what follows a search. Two rows of three run in a Ray that was there before. A line is printed for
each fault. It needs root, for small disks of its own.
"""

import os
import re
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.campaign.disks import disk_of_its_own
from tests.campaign.faults import LATER_WORKER, PROCESSES
from tests.campaign.own_ray import OwnRay, is_of_cluster
from tests.campaign.processes import Command, left_behind
from tests.campaign.subjects import ENVIRONMENT, Later, Search

FIRST, NUM_FAULTS = int(os.environ.get("MULTINAS_FIRST", "0")), int(os.environ.get("MULTINAS_FAULTS", "100"))
SEED, IN_A_ROW, RESUMES = int(os.environ.get("MULTINAS_SEED", "0")), 4, 3
ROWS = range(FIRST // IN_A_ROW, -(-(FIRST + NUM_FAULTS) // IN_A_ROW))

PHASES = {
    "start": (lambda command: True, 12.0),
    "workers": (lambda command: bool(command.processes("RayTrainWorker")), 5.0),
    "rounds": (lambda command: command.grows("rounds", "evaluations", "families"), 4.0),
    "choice": (lambda command: bool(command.processes("CandidateEvaluator")), 1.5),
    "ending": (lambda command: (command.folder / "architectures.parquet").exists(), 0.5),
}
CHOICE_PHASES = {name: PHASES[name] for name in ("start", "choice", "ending")}
LATER_PHASES = {name: PHASES[name] for name in ("start", "rounds")}
"""How the phases of a command are known, and the longest time from there to the fault."""
SHORT_LIVED = {
    **{f"kill {name}": 6.0 for name in ("worker", "broker", "trial")},
    **{"stop worker": 6.0, "kill evaluator": 2.0},
}
"""Faults of processes that are not always there: they befall up to so many seconds after these are."""

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3000)]


class Row:
    """Some faults in a row."""

    def __init__(self, number: int, subject: Search | Later, own_ray: OwnRay | None, rng: np.random.Generator) -> None:
        self.number, self.subject, self.own_ray, self.rng = number, subject, own_ray, rng
        self.outputs: list[str] = []
        self.failures: list[str] = []

    def fail_unless(self, holds: bool, problem: str) -> None:
        """Note a failure, after which the row goes on."""
        if not holds:
            print(f"FAILED {self.number}: {problem}\n{self.outputs[-1]}", flush=True)
            self.failures.append(problem)

    def kind(self, place: int) -> str:
        """The fault of this place: each kind comes once before any comes again."""
        kinds = [*self.subject.faults]
        is_later = isinstance(self.subject, Later)
        rows = self.number // 4 if is_later else self.number - self.number // 4
        cycle, index = divmod(rows * IN_A_ROW + place, len(kinds))
        return kinds[int(np.random.default_rng((SEED, cycle, is_later)).permutation(len(kinds))[index])]

    def befall(self, command: Command, kind: str) -> str | None:
        """Let a fault befall a command in a drawn phase. Returns the phase; None if the command ended before."""
        is_trained = (command.folder / "supernet.pt").exists()
        phases = LATER_PHASES if isinstance(self.subject, Later) else CHOICE_PHASES if is_trained else PHASES
        phase = [*phases][int(self.rng.integers(len(phases)))]
        has_come, longest = phases[phase]
        if kind in SHORT_LIVED:
            longest, name = SHORT_LIVED[kind], kind.split()[1]
            title = LATER_WORKER if isinstance(self.subject, Later) else PROCESSES[name]
            phase, has_come = f"with a {name}", lambda command: bool(command.processes(title))
        while not command.has_ended and not has_come(command):
            time.sleep(0.1)
        deadline = time.monotonic() + float(self.rng.uniform(0.0, longest))
        while not command.has_ended and time.monotonic() < deadline:
            time.sleep(0.05)
        return phase if self.subject.faults[kind](command, self.rng) else None

    def suffer(self, place: int) -> bool:
        """Start the command with a fault, or two; returns whether it has finished."""
        command, kind = self.subject.start(), self.kind(place)
        phase = self.befall(command, kind)
        second = None
        if self.rng.random() < 0.25 and not command.has_ended:
            second = [*self.subject.faults][int(self.rng.integers(len(self.subject.faults)))]
            time.sleep(float(self.rng.uniform(0.0, 5.0)))
            self.subject.faults[second](command, self.rng)
        since = time.monotonic()
        status, output = command.end()
        seconds = time.monotonic() - since
        self.outputs.append(output)
        where = "its own Ray" if self.own_ray is None else "the user's Ray"
        told = [line[:200] for line in output.splitlines() if "error: " in line or "Interrupted" in line]
        print(
            f"\nFAULT {self.number}.{place} | {kind}{'' if second is None else f', {second}'} | {self.subject} | "
            f"{phase or 'missed'} | {where} | exit {status} after {seconds:.0f} s | {told}",
            flush=True,
        )
        self.check_told(status, output)
        if self.own_ray is not None:
            self.own_ray.mend()
        if self.rng.random() < 0.75:  # else the next start meets what is still running
            self.check_gone()
        return status == 0

    def finish(self) -> None:
        """Start the command without a fault until it is finished."""
        for _ in range(RESUMES):
            command = self.subject.start()
            status, output = command.end()
            self.outputs.append(output)
            self.check_told(status, output)
            if status == 0:
                return
        raise AssertionError(f"not finished after {RESUMES} starts")

    def check_told(self, status: int, output: str) -> None:
        """One line that names the cause, without a trace, unless it was killed or interrupted.

        Before Python has come to the command, and after its end, signals end it as they end any program.
        """
        self.fail_unless("Traceback" not in output, "a trace")
        outcry = re.search(r"\*\*\* SIG|StackTrace|^\[\S+ \S+ [CEF] ", output, re.MULTILINE)
        self.fail_unless(outcry is None, "an outcry of C++")
        by_signals = (-signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM)
        self.fail_unless(status in (0, 2, 130, *by_signals), f"exit status {status}")
        num_errors = len(re.findall("^(multinas-ray: )?error: ", output, re.MULTILINE))
        self.fail_unless(status != 2 or num_errors == 1, f"{num_errors} errors are told")
        if file := re.search(r"error: (/\S+) is .*: delete it, and ", output):
            Path(file.group(1)).unlink()  # as a user does who is told so; what is left must lead to the end

    def check_gone(self) -> None:
        left = left_behind(lambda each: self.own_ray is not None and is_of_cluster(each))
        self.fail_unless(not left, f"left behind: {left}")


@pytest.mark.parametrize("number", ROWS)
def test_faults_lose_nothing_and_leave_nothing_behind(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng((SEED, number))
    with disk_of_its_own(tmp_path) as disk, OwnRay(ENVIRONMENT) if number % 3 else nullcontext() as own_ray:
        subject = (Later if number % 4 == 3 else Search)(disk, rng)
        row = Row(number, subject, own_ray, rng)
        try:
            for place in range(IN_A_ROW):
                if row.suffer(place):
                    subject.check(row.outputs[-1])
                    subject.go_on()
            if subject.has_begun:
                row.finish()
                subject.check(row.outputs[-1])
            row.check_gone()
            assert row.failures == []
        except BaseException:
            print("\n\n".join(row.outputs), flush=True)
            raise
        finally:
            for each in psutil.Process().children(recursive=True):
                each.kill()
