"""Training jobs as child processes, some at a time: started in their own groups, followed, ended together.

A job is the trainer's own file (docs/training.md); a child is `python -m trainer.run JOB`, which prints one JSON object
a line. Each has one thread. When one fails, or on Ctrl-C, every group is ended; when this process is killed they end by
themselves. What they saved serves the next run.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from leaven.errors import UserError
from leaven.holding import held

ROOT = Path(__file__).resolve().parent.parent
GRACE = 10.0  # seconds between asking a child to end and ending it


@dataclass(frozen=True)
class Turn:
    """One child: a job, what of it to train (all where empty), and the turn that must have ended before."""

    job: Path
    only: tuple[str, ...] = ()
    after: Turn | None = None

    @property
    def log(self) -> Path:
        return self.job.with_suffix("." + "+".join(self.only or ("all",)) + ".log")


def turns(jobs: list[Path], arms: list[str], workers: int, trunk: bool) -> list[Turn]:
    """The turns of a study's seeds: each trunk, then its arms in as many groups as there are workers.

    Trunks come first, so that no worker waits for the last of them; without a trunk a seed's groups are independent.
    """
    first = [Turn(job, ("trunk",)) for job in jobs] if trunk else [None] * len(jobs)
    size = -(-len(arms) // workers)
    groups = [tuple(arms[at : at + size]) for at in range(0, len(arms), size)]
    rest = [Turn(job, group, after) for job, after in zip(jobs, first) for group in groups]
    return [t for t in first if t] + rest


def run_jobs(jobs: list[Turn], workers: int, progress: Callable[[str], None] | None = None) -> None:
    """Run every turn to its end, `workers` at a time.

    A turn's standard error is kept beside its job as `.log`. Raises UserError with the trainer's own message where it
    exits with 2, OSError where its disk was full, RuntimeError with the end of the log where it crashed.
    """
    say = progress or (lambda line: None)
    told = Told(jobs)
    waiting, running, done = list(jobs), dict[Turn, subprocess.Popen](), set[Turn]()
    lines: queue.Queue[tuple[Turn, str | None]] = queue.Queue()
    try:
        while waiting or running:
            for turn in [t for t in waiting if t.after is None or t.after in done][: workers - len(running)]:
                waiting.remove(turn)
                running[turn] = _start(turn, lines)
            turn, line = lines.get()
            if line is not None:
                if said := told.line(line):
                    say(said)
                continue
            child = running.pop(turn)
            if child.wait():
                _raise(turn, child.returncode)
            done.add(turn)
            told.ended_with(turn)
    finally:
        _end(list(running.values()))


def _start(turn: Turn, lines: queue.Queue) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    only = ["--only", ",".join(turn.only)] if turn.only else []
    with open(turn.log, "w", encoding="utf-8") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "trainer.run", str(turn.job), *only, "--parent", str(os.getpid())],
            stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True, env=environment,
            start_new_session=True, pass_fds=held(),
        )  # fmt: skip
    threading.Thread(target=_follow, args=(turn, child.stdout, lines), daemon=True).start()
    return child


def _follow(turn: Turn, stdout: IO[str], lines: queue.Queue) -> None:
    with stdout:
        for line in stdout:
            lines.put((turn, line))
    lines.put((turn, None))


class Told:
    """Children's JSON lines as a person reads them, with how many of all runs (arms and trunks) have ended."""

    def __init__(self, jobs: list[Turn]):
        self.runs, self.ended = sum(len(turn.only) for turn in jobs), set[tuple[str, int]]()

    def ended_with(self, turn: Turn) -> None:
        """All runs of a turn that ended well have ended, also a trunk that stood already and said nothing."""
        seed = json.loads(turn.job.read_text("utf-8"))["seed"]
        self.ended |= {(arm, seed) for arm in turn.only}

    def line(self, line: str) -> str:
        try:
            event: dict[str, Any] = json.loads(line)
            if "arm" not in event:  # the end of a process, whose runs have said theirs
                return ""
            said = event.get("state") or event["event"]
            if said in ("done", "up to date"):
                self.ended.add((event["arm"], event["seed"]))
            if said == "step":
                said = f"step {event['step']:,} of {event['steps']:,}"
            if "loss" in event:
                said += f", loss {event['loss']:.3f}, {event['tokens_per_second']:,.0f} tokens/s"
            runs = f"{len(self.ended)} of {self.runs} runs, " if self.runs else ""
            return f"{runs}{event['arm']} seed {event['seed']}: {said}"
        except (ValueError, KeyError, TypeError):
            return line.rstrip()


def _raise(turn: Turn, code: int) -> None:
    text = turn.log.read_text("utf-8", errors="replace").strip()
    if code == 130:
        raise KeyboardInterrupt
    if code == 2:
        first, *rest = text.removeprefix("error: ").splitlines() or ["the trainer cannot do this"]
        raise UserError(first, where=str(turn.job), numbers=[line.strip() for line in rest[-8:]])
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # whatever library met it names it so
        if os.strerror(number) in text or f"os error {number})" in text:
            raise OSError(number, os.strerror(number), str(turn.job))
    ended = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
    raise RuntimeError(f"the trainer {ended} on {turn.job}\n{text[-4000:]}")


def _end(children: list[subprocess.Popen]) -> None:
    """End the process groups: politely, then not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, sign)
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
