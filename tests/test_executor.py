"""Workers of a pipeline end when they are told to, whatever they wait for."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from flows.executor import run_pipeline


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
