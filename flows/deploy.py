"""Registers the flows of prefect.yaml with a Prefect server, for a worker on this machine to run from this checkout.

prefect server start                                        # one machine: somewhere, as a service
PREFECT_API_URL=http://127.0.0.1:4200/api leaven deploy
PREFECT_API_URL=http://127.0.0.1:4200/api prefect worker start --pool leaven
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from leaven.errors import UserError
from leaven.home import Home

ROOT = Path(__file__).resolve().parent.parent
POOL = "leaven"  # the work pool that prefect.yaml names
TIMEOUT = 300  # seconds


def deploy(home: Home | None = None, prefect_file: Path | None = None) -> list[str]:
    """Create the work pool where there is none, register every deployment, and return what to say about it.

    Runs get this checkout as their folder and `home` as their LEAVEN_HOME. Raises UserError without PREFECT_API_URL,
    without a server there, or for a prefect.yaml that Prefect refuses.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise UserError(
            "PREFECT_API_URL is not set: there is no server to deploy to",
            do="prefect server start, and in another shell: PREFECT_API_URL=http://127.0.0.1:4200/api leaven deploy",
        )
    path = prefect_file or ROOT / "prefect.yaml"
    if not path.is_file():
        raise UserError(f"there is no {path}", do=f"git checkout -- {path.name}")
    _work_pool(url)
    home = home or Home()
    environment = os.environ | {
        "LEAVEN_CHECKOUT": str(ROOT), "LEAVEN_HOME": str(home.path), "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    if done.returncode:
        last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip(" │╭╮╰╯─")][-8:]
        raise UserError("Prefect refused the deployments", where=str(path), numbers=last)
    named = _deployed(path)
    return [
        *(f"{flow}/{name}" + (f", {when}" if when else "") for flow, name, when in named),
        f"home {home.path}, server {url}",
        f"start a worker: PREFECT_API_URL={url} prefect worker start --pool {POOL}",
    ]


def _work_pool(url: str) -> None:
    """Make sure of a server and of a pool of processes on it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
        if problem is not None:
            raise UserError(f"no Prefect server answers: {problem}", where=f"PREFECT_API_URL={url}",
                            do="prefect server start")  # fmt: skip
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))


def _deployed(path: Path) -> list[tuple[str, str, str]]:
    """(flow, deployment, schedule) of a prefect.yaml."""
    import yaml

    found = []
    for entry in yaml.safe_load(path.read_text("utf-8"))["deployments"]:
        when = ", ".join(f"cron {s['cron']} {s.get('timezone', 'UTC')}" for s in entry.get("schedules") or [])
        found.append((entry["entrypoint"].partition(":")[2], entry["name"], when))
    return found
