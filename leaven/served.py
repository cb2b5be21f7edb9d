"""How does a server that we start answer? vLLM, SGLang or `transformers serve`, launched by Datatrove, asked by us.

    prompts --missing--> leaven/launch.py --Datatrove's server class--> server on this node
                                          <-------leaven/endpoint.py------- answers

The server starts when the first answer is missing, and ends with `close`, with this process, or when this process is
killed: its launcher sees a pipe end and ends their process group. It listens on 127.0.0.1 alone. On a cluster each rank
of a Datatrove executor (Slurm, Ray, local) starts its own on its own node and asks that.

Of Datatrove's InferenceRunner only the launching is used. Its `RequestCache` hashes a payload before
`InferenceRunner._send_request` adds model and sampling, so another model would be given the old texts; `_save_document`
logs and loses what cannot be written; `InferenceServer._make_request` (`_raw_post`) has no deadline, reads no chunked
body and takes a 429 for the end. Its `SGLangServer` always passes --allow-auto-truncate, which cuts long prompts
without a word, so SGLang goes through its `CustomServer`.

Not covered: one model over several nodes.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.generate import Arrived, Model, Prompt, Say
from leaven.local_model import folder_revision

PROGRAMS = {"vllm": "vllm", "sglang": "python3", "transformers": "transformers"}  # what must be on the PATH
GRACE = 20.0  # seconds for a server to end before its process group is killed
TAIL = 12  # lines of its log that an error shows


class ServedModel:
    """A model from a folder or a hub, behind a server of `program`: vllm, sglang or transformers.

    `name` is its folder's, or its hub name; `revision` must be declared for a hub name, and is a hash of a folder's
    files where it is not. `context` is in tokens (vLLM, SGLang), `gpus` of this node share one model, `options` are
    more options of the server ({"dtype": "bfloat16"}). `python` is the interpreter of an environment that has Datatrove
    and the server; `logs` a folder; `ready` the seconds a start may take, looked at every `poll` seconds. `client` are
    fields of `Model`: parallel, timeout, stream and so on.
    """

    def __init__(
        self, program: str, source: str | Path, *, logs: str | Path, name: str = "", revision: str = "",
        context: int = 8192, gpus: int = 1, options: Mapping[str, Any] | None = None, python: str = sys.executable,
        ready: float = 1800, poll: float = 1.0, client: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        if program not in PROGRAMS:
            raise UserError(f"no server is called '{program}'", numbers=[f"there are {', '.join(PROGRAMS)}"])
        self.program, self.source, self.logs, self.declared = program, str(source), Path(logs).resolve(), revision
        self.context, self.gpus, self.options, self.python = context, gpus, dict(options or {}), python
        self.ready, self.client, self.poll = ready, {"parallel": 256, "timeout": 600.0} | dict(client or {}), poll
        self.local = Path(source).is_dir()
        self.name = name or (Path(source).resolve().name if self.local else self.source)
        if not self.local and not revision:
            raise UserError("a model by its hub name needs its revision, since what a name stands for changes",
                            where=self.source)  # fmt: skip
        self._url = ""
        self._end: weakref.finalize | None = None

    @cached_property
    def revision(self) -> str:
        return self.declared or folder_revision(Path(self.source))

    def __enter__(self) -> ServedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_url": "", "_end": None}  # another process starts a server of its own

    def close(self) -> None:
        """End the server and all that it started; a later answer starts it anew."""
        if self._end:
            self._end()
        self._url, self._end = "", None

    def answer(
        self, asked: dict[str, Prompt], sampling: dict[str, Any], extra: dict[str, Any], arrived: Arrived, say: Say
    ) -> None:
        """As an endpoint does; raises UserError, with the log's end, where the server does not start or has died."""
        if not self._url:
            self._start(say)
        model = Model(self._url, self.name, self.revision, served_as=self._served_as, **self.client)
        try:
            model.answer(asked, sampling, extra, arrived, say)
        except UserError as error:
            self.close()  # a rerun finds it anew
            raise UserError(
                error.what, where=error.where, numbers=[*error.numbers, *self._tail()], do=error.do
            ) from None

    @property
    def _served_as(self) -> str:
        """`transformers serve` answers to what it was started with alone; the others are told the name."""
        if self.program != "transformers":
            return self.name
        return self.source if self.local else f"{self.source}@{self.declared}"

    def _config(self) -> dict[str, Any]:
        """What launch.py is told."""
        said = {"source": self.source, "context": self.context, "gpus": self.gpus, "ready": self.ready,
                "poll": self.poll, "logs": str(self.logs)}  # fmt: skip
        if self.program == "vllm":
            # VLLMServer always passes --trust-remote-code and no host: both are taken back by what follows.
            options = {"host": "127.0.0.1", "served-model-name": self.name, "trust-remote-code": False}
            return said | {"server": "vllm", "options": options | self._hub() | self.options}
        if self.program == "sglang":
            command = ["python3", "-m", "sglang.launch_server", "--model-path", self.source, "--served-model-name",
                       self.name, "--context-length", str(self.context), "--tp-size", str(self.gpus)]  # fmt: skip
        else:
            command = ["transformers", "serve", self._served_as]
        words = (
            {"host": "127.0.0.1", "port": "{port}"} | (self._hub() if self.program == "sglang" else {}) | self.options
        )
        command += [f"--{k}" if v is True else f"--{k}={v}" for k, v in words.items() if v is not False]
        return said | {"server": "custom", "options": {"command": json.dumps(command)}}

    def _hub(self) -> dict[str, str]:
        return {} if self.local else {"revision": self.declared}

    def _start(self, say: Say) -> None:
        if "," in os.environ.get("DATATROVE_NODE_IPS", ""):
            raise UserError("one model over several nodes is not served from here", do="give each node a rank")
        environment = dict(os.environ)
        environment["PATH"] = f"{Path(self.python).parent}{os.pathsep}{environment.get('PATH', '')}"
        for name in ("NO_PROXY", "no_proxy"):  # Datatrove looks for its server by way of a proxy where one is set
            environment[name] = ",".join(filter(None, (environment.get(name), "localhost,127.0.0.1")))
        if not shutil.which(PROGRAMS[self.program], path=environment["PATH"]):
            raise UserError(f"there is no program {PROGRAMS[self.program]} on the PATH", where=self.program,
                            do="install it, and name the interpreter of its environment as python")  # fmt: skip
        if self.program == "transformers":
            _hub_cache(environment).mkdir(parents=True, exist_ok=True)  # its /v1/models fails without, with status 500
        self.logs.mkdir(parents=True, exist_ok=True)
        self.close()  # what an interrupted start left
        started = time.monotonic()
        with open(self.logs / "launch.log", "ab") as log:
            process = subprocess.Popen(
                [self.python, str(Path(__file__).with_name("launch.py")), json.dumps(self._config())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        self._end = weakref.finalize(self, _end, process, os.getpid())
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 2)[0]:
            say(f"starting {self.program} for {self.name}: {time.monotonic() - started:.0f} s, log in {self.logs}")
        line = process.stdout.readline()
        told = json.loads(line) if line else {"error": "the launcher died"}
        if "error" in told:
            self.close()
            raise UserError(
                f"{self.program} did not start: {told['error']}", where=str(self.logs), numbers=self._tail()
            )
        self._url = told["url"].replace("localhost", "127.0.0.1") + "/v1"

    def _tail(self) -> list[str]:
        """The end of what the server and its launcher wrote last."""
        files = sorted(self.logs.glob("*.log"), key=lambda p: p.stat().st_mtime)
        lines = [line for p in files for line in p.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-TAIL:]


def _hub_cache(environment: Mapping[str, str]) -> Path:
    home = environment.get("HF_HOME") or f"{environment.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/huggingface"
    return Path(environment.get("HF_HUB_CACHE") or f"{home}/hub")


def _end(process: subprocess.Popen, owner: int) -> None:
    """End the launcher by its stdin, and its group the hard way if it takes too long."""
    if os.getpid() != owner:
        return  # a fork has no say in it
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    if process.returncode != -signal.SIGKILL:  # it ends with its group, by that signal
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
