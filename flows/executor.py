"""Runs a Datatrove pipeline in a clean child process, and believes it only when every part is there.

    parent: run_pipeline(...)  ->  python -m flows.executor JOB.json  ->  LocalPipelineExecutor  ->  workers

A child of its own keeps Datatrove's process start-up, its logging and its forks out of whatever calls (a Prefect flow,
a test). Parts on disk decide what is done, not Datatrove's empty markers: before a run the markers are made to agree
with the parts, after it the ranks and the parts are checked. When the parent ends, however it ends, the child ends.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.holding import held

ROOT = Path(__file__).parent.parent
POLL = 0.2  # seconds between looks at the child
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Progress = Callable[[str], None]


class PipelineFailed(Exception):
    """The child ended and parts are missing; our bug unless the log says otherwise."""


def run_pipeline(
    pipeline: str,
    arguments: dict[str, Any],
    *,
    done: Callable[[int], bool],
    tasks: int,
    workers: int,
    folder: Path,
    label: str = "parts",
    progress: Progress | None = None,
) -> int:
    """Run the steps that `pipeline` ("module:function", called with `arguments`) gives, once for each rank not `done`.

    `done(rank)` says whether the output of a rank is whole; `folder` takes logs. Returns the number of ranks run.
    Raises UserError where the disk is full or a limit was met, PipelineFailed where parts are still missing afterwards.
    """
    missing = [rank for rank in range(tasks) if not done(rank)]
    if not missing:
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "completions").mkdir(parents=True)
    for rank in set(range(tasks)) - set(missing):
        (folder / "completions" / f"{rank:05d}").touch()
    job = {"pipeline": pipeline, "arguments": arguments, "tasks": tasks, "workers": min(workers, len(missing)),
           "folder": str(folder), "parent": os.getpid()}  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    with open(folder / "log.txt", "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "flows.executor", str(folder / "job.json")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            pass_fds=held(),
        )  # fmt: skip
        try:
            _follow(child, folder, tasks, len(missing), label, progress)
        finally:
            _end_group(child)
    left = [rank for rank in missing if not done(rank)]
    if left or child.returncode:
        _raise(folder, left, child.returncode)
    return len(missing)


def _follow(
    child: subprocess.Popen, folder: Path, tasks: int, missing: int, label: str, progress: Progress | None
) -> None:
    """Wait for the child, saying how far it is; returns early where one of its workers died."""
    started, said = time.monotonic(), 0.0
    while True:
        try:
            child.wait(POLL)
            return
        except subprocess.TimeoutExpired:
            pass
        if _dead_worker(folder):
            return
        now = time.monotonic()
        if progress and now - said >= 1:
            finished = len(os.listdir(folder / "completions")) - (tasks - missing)
            progress(f"{finished} of {missing} {label}, {now - started:.0f} s")
            said = now


def _dead_worker(folder: Path) -> bool:
    """Whether a process that had begun a rank is gone without having ended it (a pool would wait for it for ever)."""
    for path in folder.glob("running-*"):
        try:
            pid = int(path.read_text() or 0)
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z" and path.exists():
                return True
        except ProcessLookupError:
            if path.exists():
                return True
        except (OSError, ValueError):
            continue  # it ended between two looks
    return False


def _end_group(child: subprocess.Popen) -> None:
    """Kill what is left of the child's process group, workers included."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        if number == signal.SIGTERM:
            deadline = time.monotonic() + 2
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
    child.wait()


def _raise(folder: Path, left: list[int], code: int) -> None:
    log = str(folder / "log.txt")
    try:
        error = json.loads((folder / "error.json").read_text("utf-8"))
    except (OSError, ValueError):
        error = {}
    if error.get("errno") in NO_SPACE:
        raise UserError(
            f"no space left, or a limit on file size was met: {error['message']}",
            numbers=[f"{len(left)} parts are missing; those written are kept"],
            do="make room and run the same command again: it goes on where it stopped",
        )
    if error.get("user"):
        raise UserError(error["message"])
    last = error.get("trace") or Path(log).read_text("utf-8", "replace")[-3000:]
    raise PipelineFailed(f"{len(left)} parts are missing (exit code {code}); log: {log}\n{last}")


def main(path: str) -> int:
    """The child: build the pipeline and run it; an error is left in error.json for the parent."""
    job = json.loads(Path(path).read_text("utf-8"))
    folder = Path(job["folder"])
    _die_with(job["parent"])
    try:
        from datatrove.executor.local import LocalPipelineExecutor
        from datatrove.utils.logging import logger

        logger.remove()
        module, _, function = job["pipeline"].partition(":")
        steps = getattr(importlib.import_module(module), function)(**job["arguments"])
        executor = LocalPipelineExecutor(
            [Began(str(folder)), *steps, Ended(str(folder))],
            tasks=job["tasks"],
            workers=job["workers"],
            logging_dir=str(folder),
            start_method="fork" if sys.platform.startswith("linux") else "forkserver",
        )
        executor.run()
        left = executor.get_incomplete_ranks(skip_completed=True)
        if left:
            raise RuntimeError(f"Datatrove returned, but these ranks did not end: {left[:20]}")
    except Exception as error:
        said = {"message": str(error), "errno": getattr(error, "errno", None), "user": isinstance(error, UserError),
                "trace": traceback.format_exc()[-4000:]}  # fmt: skip
        (folder / "error.json").write_text(json.dumps(said), "utf-8")
        return 1
    return 0


class Began:
    """First step of every pipeline: notes which process works on a rank."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        Path(self.folder, f"running-{rank:05d}").write_text(str(os.getpid()))
        return data


class Ended:
    """Last step of every pipeline: runs it to its end and takes the note away."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        for _ in data:
            pass
        Path(self.folder, f"running-{rank:05d}").unlink()
        return ()


def _die_with(parent: int) -> None:
    """End this process group when the parent ends; on Linux the kernel tells, elsewhere a parent must end in order.

    Forked processes get the default handler back, for their pool ends them with SIGTERM: a handler in Python runs only
    when the interpreter looks, and a worker that is told just before it waits for its next rank never looks again (seen
    as a run that hung after its last part). They end when this process ends, also where that is killed: else the
    queue of Datatrove, a process of its own, would live for ever, and with it the lock on what is being built.
    """
    linux, libc = sys.platform.startswith("linux"), ctypes.CDLL(None)

    def end(*_: Any) -> None:
        os.killpg(os.getpid(), signal.SIGKILL)

    def forked() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if linux:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() == 1:  # it was gone before the line above
                os._exit(1)

    os.register_at_fork(after_in_child=forked)
    signal.signal(signal.SIGTERM, end)
    if linux:
        libc.prctl(1, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
