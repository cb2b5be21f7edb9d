"""Workers of a pipeline end when they are told to, and a rerun waits for those that did not."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.executor import PipelineFailed, run_pipeline
from leaven.manifest import output


class Note:
    """Writes how SIGTERM is handled where a rank is worked on."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        Path(self.folder, f"{rank}").write_text(str(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL))
        return ()


def steps(folder: str) -> list:
    return [Note(folder)]


def test_a_worker_dies_of_sigterm_without_asking_the_interpreter(tmp_path):
    made = tmp_path / "made"
    made.mkdir()

    def done(rank: int) -> bool:
        return (made / str(rank)).is_file()

    arguments = {"folder": str(made)}
    run_pipeline("tests.test_executor:steps", arguments, done=done, tasks=3, workers=2, folder=tmp_path / "run")
    assert [(made / str(rank)).read_text() for rank in range(3)] == ["True"] * 3


class Outlives:
    """A worker out of reach of its group's end, which writes when its run is long dead."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        os.setsid()
        ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG: nor by the death of its parent
        Path(self.folder, "begun").touch()
        time.sleep(1.5)
        Path(self.folder, "late").touch()
        return ()


def late_steps(folder: str) -> list:
    return [Outlives(folder)]


def make(folder: Path) -> list[str]:
    """Build one output by a late worker where it has not begun, and say what lay there at the start."""
    with output(folder, kind="pools", name="late", version="1", meaning={}) as out:
        found = sorted(path.name for path in out.folder.iterdir())
        if not found:
            run_pipeline(
                "tests.test_executor:late_steps", {"folder": str(out.folder)}, done=lambda rank: False, tasks=2,
                workers=2, folder=folder.parent / "run",
            )  # fmt: skip
    return found


def test_a_rerun_waits_for_what_a_killed_run_left_behind(tmp_path):
    program = f"from pathlib import Path; from tests.test_executor import make; make(Path({str(tmp_path / 'made')!r}))"
    killed = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[1])
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".partial-*/begun")):
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert make(tmp_path / "made") == ["begun", "late"]


class Kills:
    """A worker that kills the pipeline that it belongs to, and ends."""

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def killing_steps(folder: str) -> list:
    return [Kills()]


def test_a_killed_pipeline_leaves_no_process_that_holds_what_is_built(tmp_path):
    """With one worker Datatrove works in the pipeline's own process, whose queue is another."""
    for _ in range(2):
        with (
            pytest.raises(PipelineFailed, match="exit code -9"),
            output(tmp_path / "made", kind="pools", name="killed", version="1", meaning={}),
        ):
            run_pipeline(
                "tests.test_executor:killing_steps", {"folder": ""}, done=lambda rank: False, tasks=1, workers=1,
                folder=tmp_path / "run",
            )  # fmt: skip
