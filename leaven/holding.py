"""Who builds what: one process and its children hold a folder that is being made, and the lock ends with the last.

A lock is on the folder itself, by `flock`, so nothing is left to clean where a process is killed. Pipelines and
trainers get the handle (`pass_fds=held()`): where their parent is killed, a rerun waits up to PATIENCE seconds until
they are gone too, for what they still write would fall into it. The workers of mixes/pools.py, which write whole files
by their own names, do not get it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leaven.errors import UserError

PATIENCE = 5.0  # seconds in which the children of a killed process must have gone
_mine = threading.local()


def held() -> tuple[int, ...]:
    """Handles of the locks that this thread holds, for `pass_fds` of a child that works on what they lock."""
    return tuple(getattr(_mine, "handles", ()))


@contextmanager
def holding(partial: Path, folder: Path) -> Iterator[None]:
    """Make `partial` and hold it against other processes; raises UserError where one of them goes on holding it."""
    until = time.monotonic() + PATIENCE
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept between the two
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            raise UserError(
                "another process is building this", where=str(folder), do="wait for it, then run the same command again"
            ) from None
        except OSError:
            pass  # a file system without locks
        if partial.is_dir() and os.path.samestat(os.stat(partial), os.fstat(handle)):
            break
        os.close(handle)  # it was finished and renamed, or swept, between the two
    _mine.handles = [*held(), handle]
    try:
        yield
    finally:
        _mine.handles.remove(handle)
        os.close(handle)


def sweep(folder: Path, mine: Path) -> None:
    """Remove what broken-off builds of other recipes, and replaced outputs, left; who lives holds a lock."""
    name = re.escape(folder.name)
    for left in list(folder.parent.iterdir()):
        if re.fullmatch(rf"\.stale-{name}-\d+", left.name):  # its successor has taken the name, or soon will
            shutil.rmtree(left, ignore_errors=True)
        if left == mine or not re.fullmatch(rf"\.partial-{name}-[0-9a-f]{{12}}", left.name):
            continue
        try:
            handle = os.open(left, os.O_RDONLY)
        except OSError:
            continue  # finished or swept meanwhile
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            pass  # held by a live process, or a file system without locks
        finally:
            os.close(handle)
