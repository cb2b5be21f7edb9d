"""A server that we start is asked like any other, and ends with us however we end, with all that it started."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tinymodel import tiny_model

from leaven.errors import UserError
from leaven.generate import Prompt, Store, generate
from leaven.local_model import LocalModel
from leaven.served import ServedModel

ROOT = Path(__file__).resolve().parents[1]
STANDIN = Path(__file__).with_name("standin")
SAMPLING = {"temperature": 0, "max_tokens": 8}
ASKED = [Prompt((("user", text),), text) for text in ("A robot.", "Why did the machine wait?", "so")]
PROGRAM = """
import sys, json
from leaven.generate import Prompt, Store, generate
from leaven.served import ServedModel
source, logs, store = sys.argv[1:]
model = ServedModel("vllm", source, revision="r", logs=logs, poll=0.1)
generate([Prompt((("user", "q"),), "h")], model, {}, "p", Store(store))
print("answered", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def standin(tmp_path, monkeypatch):
    """Programs `vllm` and `python3` on the PATH that run tests/standin/server.py, and what they logged."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("vllm", "python3"):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDIN}/server.py" "$@"\n')
        (programs / name).chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    python = programs / "run"  # beside the programs, as in the environment of a server
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    log = tmp_path / "started.jsonl"
    log.touch()
    monkeypatch.setenv("STANDIN_LOG", str(log))
    monkeypatch.setenv("PYTHONPATH", f"{STANDIN}{os.pathsep}{ROOT}")
    monkeypatch.setenv("VLLM_COMPILE_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    class Standin:
        python_of_it = str(python)
        path = programs

        @property
        def started(self) -> list[dict]:
            return [json.loads(line) for line in log.read_text().splitlines()]

        def gone(self, seconds: float = 30) -> bool:
            """Whether all that was started has ended, after waiting for it."""
            pids = [pid for start in self.started for pid in (start["pid"], start["child"]) if psutil.pid_exists(pid)]
            running = [p for p in map(psutil.Process, pids) if p.status() != psutil.STATUS_ZOMBIE]
            return not psutil.wait_procs(running, timeout=seconds)[1]

    return Standin()


def questions(*texts: str) -> list[Prompt]:
    return [Prompt((("user", text),), text) for text in texts]


def served(standin, tmp_path, program: str = "vllm", **more) -> ServedModel:
    return ServedModel(program, "some-lab/some-model", **{"revision": "abc123", "logs": tmp_path / "logs", "poll": 0.1,
                       "python": standin.python_of_it, "ready": 30} | more)  # fmt: skip


@pytest.mark.parametrize("program", ["vllm", "sglang"])
def test_a_server_starts_when_an_answer_is_missing_and_ends_with_what_it_started(standin, tmp_path, program):
    store, said = Store(tmp_path / "a"), []
    options = {"dtype": "bfloat16", "enforce-eager": True}
    with served(standin, tmp_path, program, name="some", context=512, gpus=2, options=options) as model:
        assert standin.started == []
        answers = generate(questions("a", "b", "a"), model, SAMPLING, "p", store, progress=said.append)
        assert [a.text for a in answers] == ["A", "B", "A"] and answers[0].completion_tokens == 3
        generate(questions("c"), model, SAMPLING, "p", store)
        (start,) = standin.started
        assert not standin.gone(0)
        listening = psutil.Process(start["pid"]).net_connections("tcp")
        assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    assert standin.gone()
    words = start["argv"]
    if program == "vllm":
        assert words[:2] == ["serve", "some-lab/some-model"] and "--enforce-eager" in words
        assert words.index("--no-trust-remote-code") > words.index("--trust-remote-code")
        assert {"--tensor-parallel-size=2", "--revision=abc123", "--dtype=bfloat16"} <= {*words}
        assert words[words.index("--max-model-len") + 1] == "512"
    else:
        assert words[:4] == ["-m", "sglang.launch_server", "--model-path", "some-lab/some-model"]
        assert words[words.index("--tp-size") + 1] == "2" and words[words.index("--context-length") + 1] == "512"
        assert {"--revision=abc123", "--dtype=bfloat16", "--enforce-eager"} <= {*words}
        assert "--allow-auto-truncate" not in words and "--trust-remote-code" not in words
    assert start["stdin"] == "/dev/null"
    with served(standin, tmp_path, program, name="some") as model:
        again = generate(questions("a", "b"), model, SAMPLING, "p", store)
    assert all(a.stored for a in again) and len(standin.started) == 1, "nothing was missing"


SLOW = [pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGTERM, signal.SIGINT, None)]


@pytest.mark.parametrize("how", [signal.SIGKILL, *SLOW])
def test_it_ends_with_us_however_we_end(standin, tmp_path, monkeypatch, how):
    monkeypatch.setenv("PATH", f"{standin.path}{os.pathsep}{os.environ['PATH']}")
    words = [sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "logs"), str(tmp_path / "a")]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "answered\n"
    assert len(standin.started) == 1 and not standin.gone(0)
    if how:
        process.send_signal(how)
    process.communicate(timeout=60)  # ends its stdin too
    assert standin.gone()


def test_a_server_that_does_not_start_says_why(standin, tmp_path, monkeypatch):
    store = Store(tmp_path / "a")
    monkeypatch.setenv("STANDIN_MODE", "fails")
    with served(standin, tmp_path) as model, pytest.raises(UserError, match="vllm did not start") as caught:
        generate(questions("a"), model, SAMPLING, "p", store)
    assert "no device of this stand-in" in str(caught.value)
    monkeypatch.setenv("STANDIN_MODE", "mute")
    with served(standin, tmp_path, ready=0.5) as model, pytest.raises(UserError, match="did not start"):
        generate(questions("a"), model, SAMPLING, "p", store)
    assert len(standin.started) == 1 and standin.gone()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with served(standin, tmp_path) as model, pytest.raises(UserError, match="Please install `vllm`"):
        generate(questions("a"), model, SAMPLING, "p", store)


def test_a_server_that_dies_is_started_anew_by_a_rerun(standin, tmp_path, monkeypatch):
    store = Store(tmp_path / "a")
    monkeypatch.setenv("STANDIN_MODE", "dies")
    client = {"parallel": 1, "attempts": 2, "backoff": 0.001}
    with served(standin, tmp_path, client=client) as model:
        with pytest.raises(UserError, match="did not answer") as caught:
            generate(questions("a", "b", "c"), model, SAMPLING, "p", store)
        assert "out of breath" in str(caught.value)
        monkeypatch.setenv("STANDIN_MODE", "")
        answers = generate(questions("a", "b", "c"), model, SAMPLING, "p", store)
    assert [a.stored for a in answers] == [True, True, False] and len(standin.started) == 2 and standin.gone()


@pytest.mark.slow
def test_each_rank_of_an_executor_starts_its_own(standin, tmp_path):
    """As on a cluster: Datatrove's executor runs the stage, and each rank asks the server on its node."""
    from datatrove.executor import LocalPipelineExecutor

    def stage(data, rank: int = 0, world_size: int = 1):
        with served(standin, tmp_path, logs=tmp_path / f"logs-{rank}") as model:
            answers = generate(questions(f"of {rank}"), model, SAMPLING, "p", Store(tmp_path / f"store-{rank}"))
        (tmp_path / f"said-{rank}").write_text(str(answers[0].text))

    LocalPipelineExecutor([stage], tasks=2, workers=1, logging_dir=str(tmp_path / "executor")).run()
    assert [(tmp_path / f"said-{rank}").read_text() for rank in (0, 1)] == ["OF 0", "OF 1"]
    assert len(standin.started) == 2 and standin.gone()


def test_what_cannot_be_served(standin, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no server is called 'ollama'"):
        served(standin, tmp_path, "ollama")
    with pytest.raises(UserError, match="needs its revision"):
        served(standin, tmp_path, revision="")
    (standin.path / "vllm").unlink()
    with pytest.raises(UserError, match="no program vllm on the PATH"):
        generate(questions("a"), served(standin, tmp_path), SAMPLING, "p", Store(tmp_path / "a"))
    monkeypatch.setenv("DATATROVE_NODE_IPS", "10.0.0.1,10.0.0.2")
    with pytest.raises(UserError, match="several nodes"):
        generate(questions("a"), served(standin, tmp_path), SAMPLING, "p", Store(tmp_path / "a"))


@pytest.mark.slow
def test_a_pickled_model_starts_a_server_of_its_own(standin, tmp_path):
    with served(standin, tmp_path) as model:
        generate(questions("a"), model, SAMPLING, "p", Store(tmp_path / "a"))
        with pickle.loads(pickle.dumps(model)) as other:
            generate(questions("b"), other, SAMPLING, "p", Store(tmp_path / "a"))
        assert len(standin.started) == 2 and psutil.pid_exists(standin.started[0]["pid"])
    assert standin.gone()


def test_transformers_serve_says_what_the_model_says_in_this_process(tmp_path, monkeypatch):
    """A real server of a tiny model, started by Datatrove and asked by our client, for answers in one piece or many."""
    folder = tiny_model(tmp_path / "teacher", habits=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    here = LocalModel(folder)
    expected = generate(ASKED, here, SAMPLING, "p", Store(tmp_path / "here"))
    client = {"parallel": 3, "timeout": 60, "backoff": 0.01}
    with ServedModel("transformers", folder, logs=tmp_path / "logs", poll=0.2, ready=120, client=client,
                     options={"device": "cpu"}) as model:  # fmt: skip
        assert (model.name, model.revision) == (here.name, here.revision)
        assert generate(ASKED, model, SAMPLING, "p", Store(tmp_path / "whole")) == expected
        bad = Prompt((("tool", "x"),), "t")  # its chat template knows no such role
        assert generate([bad], model, SAMPLING, "p", Store(tmp_path / "whole"))[0].finish == "error"
        model.client["stream"] = True
        assert generate(ASKED, model, SAMPLING, "p", Store(tmp_path / "pieces")) == expected
    assert all(a.finish == "length" and a.completion_tokens == 8 and a.prompt_tokens and a.text for a in expected)
