"""Flows through a real Prefect server on this machine; and that nothing of Prefect is touched without one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from endpoint import serving
from rewritehome import TOLD, faithful, make_documents, write_recipe

from leaven.home import Home

ROOT = Path(__file__).parents[1]
TEXT = "The keeper of the lighthouse wrote down the weather every evening, and every morning the boats went out."


def run(*command: str, env: dict[str, str], timeout: float = 240, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """A child with its own group, ended with all that it started whatever happens."""
    child = subprocess.Popen([sys.executable, *command], cwd=cwd, env=env, text=True, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        out, err = child.communicate(timeout=timeout)
        return subprocess.CompletedProcess(command, child.returncode, out, err)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def leaven(*arguments: str, env: dict[str, str], timeout: float = 240) -> subprocess.CompletedProcess:
    return run("-m", "leaven.cli", *arguments, env=env, timeout=timeout)


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "LEAVEN"))}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"} | more


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with a good file and one that no reader can open, and recipes that allow that and do not."""
    folder = tmp_path_factory.mktemp("prefect")
    (folder / "in").mkdir()
    (folder / "in" / "good.jsonl").write_text("".join(json.dumps({"text": f"{TEXT} {i}"}) + "\n" for i in range(5)))
    (folder / "in" / "bad.warc.gz").write_bytes(b"this is no gzip")
    for name, share in (("lenient", 0.5), ("strict", 0.01)):
        (folder / f"{name}.toml").write_text(
            f'name = "{name}"\nversion = "1"\ninputs = ["{folder / "in"}"]\nfailed_share = {share}\n'
        )
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of a client of a server that lives as long as this module's tests."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = environment(PREFECT_HOME=str(folder), PREFECT_SERVER_ANALYTICS_ENABLED="false",
                      PREFECT_API_URL=f"http://127.0.0.1:{port}/api")  # fmt: skip
    with open(folder / "server.log", "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
            env=env, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{env['PREFECT_API_URL']}/health", timeout=5).read()
                break
            except OSError:
                assert child.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()
                time.sleep(0.3)
        yield env
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def asked(env: dict[str, str], path: str, **filters: object) -> list[dict]:
    request = urllib.request.Request(f"{env['PREFECT_API_URL']}/{path}", json.dumps(filters).encode(),
                                     {"Content-Type": "application/json"})  # fmt: skip
    return json.loads(urllib.request.urlopen(request, timeout=30).read())


def artifact(env: dict[str, str], key: str) -> dict:
    found = asked(env, "artifacts/latest/filter", artifacts={"key": {"any_": [key]}})
    assert found, [a["key"] for a in asked(env, "artifacts/filter")]
    return found[0]


@pytest.mark.slow
def test_deploy_run_and_see_the_artifact(server, inputs):
    home = inputs / "home"
    deployed = leaven("deploy", "--home", str(home), env=server)
    assert deployed.returncode == 0, deployed.stderr
    assert "curate/nightly, cron 0 2 * * * UTC" in deployed.stdout
    again = leaven("deploy", "--home", str(home), env=server)
    assert again.returncode == 0, again.stderr  # the pool and the deployments are there already

    started = run("-m", "prefect", "--no-prompt", "deployment", "run", "curate/nightly", "-p",
                  f"recipe={inputs / 'lenient.toml'}", env=server)  # fmt: skip
    assert started.returncode == 0, started.stderr
    worker = run("-m", "prefect", "worker", "start", "--pool", "leaven", "--type", "process", "--run-once", env=server,
                 cwd=inputs)  # fmt: skip
    runs = asked(server, "flow_runs/filter")
    assert [r["state"]["type"] for r in runs] == ["COMPLETED"], worker.stderr
    table = json.loads(artifact(server, "curate-lenient")["data"])
    assert {"outcome": "documents", "reason": "", "records": 5} in table
    assert sum(row["records"] for row in table if row["outcome"] == "failed") == 1  # the bad file stopped nothing
    assert (home / "documents" / "lenient@1" / "manifest.json").is_file()
    tasks = {t["name"].rsplit("-", 1)[0]: t["state"]["type"] for t in asked(server, "task_runs/filter")}
    assert tasks == {"curate": "COMPLETED", "catalog": "COMPLETED"}


@pytest.mark.slow
def test_the_command_line_is_a_flow_run_where_a_server_is_named(server, inputs):
    home = str(inputs / "from-the-command-line")
    done = leaven("curate", str(inputs / "lenient.toml"), "--home", home, "--json", env=server)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents"] == 5
    refused = leaven("curate", str(inputs / "strict.toml"), "--home", home, env=server)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "error: 1 of 6 records failed" in refused.stderr
    (inputs / "wrong.toml").write_text('name = "wrong"\ninputz = []\n')
    wrong = leaven("curate", str(inputs / "wrong.toml"), "--home", home, env=server)
    assert wrong.returncode == 2 and "did you mean 'inputs'?" in wrong.stderr and "Traceback" not in wrong.stderr
    newest = asked(server, "flow_runs/filter", sort="START_TIME_DESC", limit=3)
    assert [r["state"]["type"] for r in newest] == ["FAILED", "FAILED", "COMPLETED"]
    assert "did you mean" in newest[0]["state"]["message"]
    direct = leaven("curate", str(inputs / "lenient.toml"), "--home", f"{home}-direct", "--json", env=environment())
    assert direct.returncode == 0, direct.stderr
    prints = [
        json.loads((Path(h) / "documents" / "lenient@1" / "manifest.json").read_text())["fingerprint"]
        for h in (home, f"{home}-direct")
    ]
    assert prints[0] == prints[1]


@pytest.mark.slow
def test_a_rewriting_is_a_flow_run_and_shows_what_came_of_it(server, tmp_path):
    home = Home(tmp_path / "home")
    make_documents(home)
    with serving(faithful) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url)
        done = leaven("rewrite", str(recipe), "--home", str(home.path), "--json", env=server)
        assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["counts"]["accepted"] == found["counts"]["asked"] == 2 * len(TOLD)
    table = json.loads(artifact(server, "rewrite-plain")["data"])
    assert {"status": "accepted", "reason": "", "rewrites": 2 * len(TOLD)} in table
    [cost] = json.loads(artifact(server, "rewrite-plain-ledger")["data"])
    assert cost["style"] == "clean@1" and cost["answers"] == len(TOLD)


def test_without_a_server_nothing_of_prefect_is_imported():
    code = (
        "import sys, pkgutil, importlib, flows\n"
        "for m in pkgutil.iter_modules(flows.__path__):\n"
        "    if m.name != 'prefect_flows': importlib.import_module('flows.' + m.name)\n"
        "from flows.dispatch import dispatch\n"
        "assert dispatch('curate', lambda **a: a['x'], x=3) == 3\n"
        "heavy = {'prefect', 'torch', 'datatrove'} & set(sys.modules)\n"
        "assert not heavy - {'datatrove'}, heavy"
    )
    done = run("-c", code, env=environment())
    assert done.returncode == 0, done.stderr


def test_deploying_nowhere_says_what_to_do(tmp_path):
    nowhere = leaven("deploy", env=environment())
    assert nowhere.returncode == 2 and "PREFECT_API_URL is not set" in nowhere.stderr
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
        gone = leaven("deploy", env=environment(PREFECT_API_URL=url, PREFECT_HOME=str(tmp_path)))
    assert gone.returncode == 2 and "no Prefect server answers" in gone.stderr and "Traceback" not in gone.stderr


def test_what_prefect_yaml_names_is_there():
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        path, _, name = deployment["entrypoint"].partition(":")
        assert f"\ndef {name}(" in (ROOT / path).read_text()
        recipe = deployment.get("parameters", {}).get("recipe")
        assert recipe is None or (ROOT / recipe).is_file()
