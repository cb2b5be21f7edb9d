"""The example in the docs under two processes: resumed equals straight, and one process reads the same stream."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from small_training import ROOT, make_mix


def launch(mix: Path, path: Path, steps: int, ranks: int = 2) -> dict:
    """What torchrun does, with one process fewer: each rank is started with its place in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks)}
    command = [sys.executable, str(ROOT / "docs" / "ddp_example.py"), str(mix), str(path), str(steps)]
    started = [subprocess.Popen(command, env=env | {"RANK": str(rank)}) for rank in range(ranks)]
    assert [process.wait(300) for process in started] == [0] * ranks
    return torch.load(path, weights_only=True)


def test_two_processes_resumed_are_equal_to_two_straight_and_like_one(tmp_path: Path) -> None:
    mix = make_mix(tmp_path / "mix", [("p1", 20)])
    straight = launch(mix, tmp_path / "straight.pt", 8)
    launch(mix, tmp_path / "resumed.pt", 3)
    resumed = launch(mix, tmp_path / "resumed.pt", 8)
    alone = launch(mix, tmp_path / "alone.pt", 8, ranks=1)
    assert straight["seats"] == resumed["seats"] == alone["seats"] == 64
    for name, weight in straight["states"][0].items():
        assert torch.equal(weight, resumed["states"][0][name])
        torch.testing.assert_close(weight, alone["states"][0][name], rtol=0, atol=1e-5)
        assert not torch.equal(weight, torch.zeros_like(weight))


def test_the_example_stays_short_and_imports_the_engine_only() -> None:
    lines = (ROOT / "docs" / "ddp_example.py").read_text("utf-8").splitlines()
    body = [line for line in lines if line.strip() and not line.startswith(("import ", "from ", '"""'))]
    assert len(body) <= 20
    assert [line for line in lines if "leaven" in line and "import" in line] == ["from leaven.loader import Loader"]
