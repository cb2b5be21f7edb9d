"""How is a model asked? `generate(prompts) -> completions`, whatever answers, and each answer stored as it arrives.

    prompt --key--> store --missing--> model.answer() --answer--> store --> completion

Three kinds of model answer: an OpenAI-compatible endpoint (`Model`, asked by leaven/endpoint.py), a `transformers`
model in this process (leaven/local_model.py), and a server that Datatrove launches (leaven/served.py). A completion is
stored under (model, declared revision, prompt hash, sampling, text hash, sample number) as soon as it arrives: killed
at any point, a rerun asks for nothing that had arrived. How a model is reached (address, dtype, batch) is no part of
the key.

Not covered: tools, pictures. Several processes of one machine may share a store; several machines may not.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from leaven.errors import UserError
from leaven.manifest import fingerprint

Arrived = Callable[[str, "Completion"], None]  # is told the key and the answer
Say = Callable[[str], None]
RESERVED = ("model", "messages", "stream", "stream_options", "n")  # what a request says that is no sampling


class Backend(Protocol):
    """What can answer. `name` and `revision` are its identity; `answer` tells `arrived` of each answer once.

    Raises UserError where no prompt can be answered; what fails for one prompt alone is a completion with `finish`
    error. `arrived` may be called from another thread than the caller's, one call at a time.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    def answer(
        self, asked: dict[str, Prompt], sampling: dict[str, Any], extra: dict[str, Any], arrived: Arrived, say: Say
    ) -> None: ...


@dataclass(frozen=True)
class Model:
    """A model behind an endpoint; `name` and `revision` are its identity, the rest is how it is reached."""

    endpoint: str  # such as http://127.0.0.1:8000/v1
    name: str
    revision: str = ""
    key_env: str = ""  # environment variable that holds the API key
    parallel: int = 8  # requests under way at a time
    timeout: float = 120.0  # seconds for one answer, from the first byte sent to the last one read
    stream: bool = False  # whether the answer comes in pieces; the completion is the same
    served_as: str = ""  # what the endpoint calls the model, where that is not its name
    key_header: str = "Authorization"  # any other takes the key as it is, without "Bearer"
    headers: tuple[tuple[str, str], ...] = ()  # sent with every request; no secrets
    connect_timeout: float = 20.0  # seconds
    attempts: int = 6  # at one answer
    backoff: float = 0.5  # seconds: attempt k+1 waits at most 2^k times as long, drawn evenly from 0 (full jitter)
    longest_wait: float = 60.0  # seconds between two attempts, whatever Retry-After asks for
    most_bytes: int = 16 << 20  # of one answer

    def answer(
        self, asked: dict[str, Prompt], sampling: dict[str, Any], extra: dict[str, Any], arrived: Arrived, say: Say
    ) -> None:
        from leaven.endpoint import ask

        ask(self, asked, sampling | extra, arrived)


@dataclass(frozen=True)
class Prompt:
    """One question: the messages as sent, and what its answer is stored under."""

    messages: tuple[tuple[str, str], ...]  # (role, content)
    text_hash: str  # of the segment that it is about
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. `finish` is stop, length, refused or error; `text` is null where there is none.

    `seconds` is what the answer took: an endpoint's from the request to its last byte, a local model's share of its
    batch. Answers of an endpoint overlap, so their seconds add up to more than the clock's.
    """

    text: str | None
    finish: str
    detail: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = field(default=0.0, compare=False)
    stored: bool = field(default=False, compare=False)  # whether it was there already


KEPT = ("text", "finish", "detail", "prompt_tokens", "completion_tokens", "seconds")


class Store:
    """Completions on disk (SQLite), shared by processes of one machine.

    An answer that was put survives the end of the process, however it ends. A machine that loses power may lose the
    last few, which are then asked for again: waiting for the disk after each answer would cost more than they do.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self.path, timeout=120, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        self._connection.execute("create table if not exists completions (key text primary key, answer text not null)")

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        found = {}
        for first in range(0, len(keys), 500):
            some = keys[first : first + 500]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(f"select key, answer from completions where key in ({marks})", some)
            found.update({key: Completion(**json.loads(answer), stored=True) for key, answer in rows})
        return found

    def put(self, key: str, answer: Completion) -> Completion:
        """Keep an answer, unless another process was first; what stands in the store now."""
        kept = json.dumps({name: getattr(answer, name) for name in KEPT}, sort_keys=True)
        put = self._connection.execute("insert or ignore into completions values (?, ?)", (key, kept))
        return answer if put.rowcount else self.get([key])[key]

    def close(self) -> None:
        self._connection.close()


def generate(
    prompts: Sequence[Prompt],
    model: Backend,
    sampling: dict[str, Any],
    prompt_hash: str,
    store: Store,
    *,
    extra: dict[str, Any] | None = None,
    progress: Say | None = None,
) -> list[Completion]:
    """The completion of every prompt, in order; only those that the store lacks are asked for.

    `sampling` (temperature, max_tokens, seed, ...) is part of the key, `extra` (response_format) is not and must be
    fixed by `prompt_hash`. Completions with `finish` error are not stored, so a rerun asks for them again. Raises
    UserError where the model cannot be asked at all; what had arrived by then is stored.
    """
    if taken := [name for name in RESERVED if name in sampling or name in (extra or {})]:
        raise UserError(f"sampling cannot set {', '.join(taken)}: a request says that by itself")
    keys = completion_keys(prompts, model, sampling, prompt_hash)
    found = store.get(sorted(set(keys)))
    missing = {key: prompt for key, prompt in zip(keys, prompts) if key not in found}
    say = progress or (lambda line: None)
    done = 0

    def arrived(key: str, answer: Completion) -> None:
        nonlocal done
        found[key] = answer if answer.finish == "error" else store.put(key, answer)
        done += 1
        say(f"{done:,} of {len(missing):,} answers")

    if missing:
        model.answer(missing, sampling, extra or {}, arrived, say)
    return [found[key] for key in keys]


def completion_keys(prompts: Sequence[Prompt], model: Backend, sampling: dict[str, Any], prompt_hash: str) -> list[str]:
    """What each prompt's completion is stored under, 32 hex digits; numbers of sampling count as their JSON text."""
    plain = {name: json.dumps(value) for name, value in sampling.items()}
    name, revision = model.name, model.revision
    return [fingerprint([name, revision, prompt_hash, plain, p.text_hash, p.sample]) for p in prompts]


def own_seed(key: str, sampling: dict[str, Any]) -> int | None:
    """The seed with which this answer is sampled, or None where none was asked for.

    With temperature 0 it is the given one. Else it is drawn from the key, which covers the given one: a server gives
    requests of one seed the same noise, so all answers would lean to the same words, and samples of a prompt be equal.
    """
    seed = sampling.get("seed")
    return seed if seed is None or sampling.get("temperature") == 0 else int(key[:8], 16) >> 1
