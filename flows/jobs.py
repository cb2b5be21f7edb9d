"""Training jobs as child processes, some at a time: started in their own groups, followed, ended together.

A job is the trainer's own file (docs/training.md); a child is `python -m trainer.run JOB`, which prints one JSON object
a line. Each has one thread. When one fails, or on Ctrl-C, every group is ended; what they saved serves the next run.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from leaven.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
GRACE = 10.0  # seconds between asking a child to end and ending it


def run_jobs(jobs: list[Path], workers: int, progress: Callable[[str], None] | None = None) -> None:
    """Run every job to its end, `workers` at a time.

    A job's standard error is kept beside it as `.log`. Raises UserError with the trainer's own message where it exits
    with 2, RuntimeError with the end of the log where it crashed.
    """
    say = progress or (lambda line: None)
    waiting, running = list(jobs), dict[Path, subprocess.Popen]()
    lines: queue.Queue[tuple[Path, str | None]] = queue.Queue()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                running[job] = _start(job, lines)
            job, line = lines.get()
            if line is not None:
                say(told(line))
                continue
            child = running.pop(job)
            if child.wait():
                _raise(job, child.returncode)
    finally:
        _end(list(running.values()))


def _start(job: Path, lines: queue.Queue) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with open(job.with_suffix(".log"), "w", encoding="utf-8") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "trainer.run", str(job)],
            stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
    threading.Thread(target=_follow, args=(job, child.stdout, lines), daemon=True).start()
    return child


def _follow(job: Path, stdout: IO[str], lines: queue.Queue) -> None:
    with stdout:
        for line in stdout:
            lines.put((job, line))
    lines.put((job, None))


def told(line: str) -> str:
    """A child's JSON line as a person reads it."""
    try:
        event: dict[str, Any] = json.loads(line)
        who = f"seed {event['seed']}" + (f" {event['arm']}" if "arm" in event else "")
        if event["event"] == "step":
            rest = f"step {event['step']:,}/{event['steps']:,}, loss {event['loss']:.3f}, "
            return f"{who}: {rest}{event['tokens_per_second']:,.0f} tokens/s"
        return f"{who}: {event.get('state') or event['event']}"
    except (ValueError, KeyError, TypeError):
        return line.rstrip()


def _raise(job: Path, code: int) -> None:
    text = job.with_suffix(".log").read_text("utf-8", errors="replace").strip()
    if code == 130:
        raise KeyboardInterrupt
    if code == 2:
        first, *rest = text.removeprefix("error: ").splitlines() or ["the trainer cannot do this"]
        raise UserError(first, where=str(job), numbers=[line.strip() for line in rest[-8:]])
    ended = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
    raise RuntimeError(f"the trainer {ended} on {job}\n{text[-4000:]}")


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
