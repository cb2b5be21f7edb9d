"""How does an endpoint answer many prompts? At most `parallel` requests at a time over kept connections, with patience.

    prompts --workers--> POST /chat/completions --200--> leaven/replies.py --> completion
                                   |---- 408 409 425 429 5xx, broken off, too late: again, up to `attempts` times,
                                   |     then the run ends, or, with 500 for this prompt alone, it is an error of it
                                   |---- refuses key, model or path, or sends elsewhere: the run ends
                                   +---- any other 4xx: an error of this prompt

The loop runs in a thread of its own, so code with a loop of its own may call it, and Ctrl-C in the caller cancels it.
Once one prompt ends the run, no further one is asked; requests under way are waited for, since they are paid for.

Not covered: proxies, and redirects, which would carry the key elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leaven.errors import UserError
from leaven.generate import Arrived, Completion, Model, Prompt, own_seed
from leaven.replies import BUSY, Again, Pieces, chat_url, events, read_answer, retry_after

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

LOST = 3  # prompts in a row, with no answer between, to which an endpoint says 500 to the last: then it is no prompt's
NOBODYS = (401, 402, 403, 404, 405, 407)  # key, credit, model or path: no prompt's own fault
DRAIN = 0.25  # seconds that a finished stream may take to close, so that its connection can be used again


def ask(model: Model, asked: dict[str, Prompt], body: dict[str, Any], arrived: Arrived) -> None:
    """Ask for all of `asked` and tell `arrived` of each answer; raises UserError where the endpoint cannot be asked.

    `body` is what every request says beside model, messages and seed.
    """
    asker = _Asker(model, body, arrived)
    loop: asyncio.AbstractEventLoop | None = None
    task: asyncio.Task | None = None
    interrupted = False

    async def run() -> None:
        nonlocal loop, task
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if not interrupted:
            await asker.ask_all(asked)

    with ThreadPoolExecutor(1, thread_name_prefix="leaven-endpoint") as thread:
        running = thread.submit(lambda: asyncio.run(run()))
        try:
            running.result()
        finally:
            interrupted = not running.done()
            if interrupted and loop and task:
                with suppress(RuntimeError):  # the loop has just closed
                    loop.call_soon_threadsafe(task.cancel)


class _Over(Exception):
    """Another prompt ended the run."""


class _TooLong(Exception):
    """The answer has more bytes than it may."""


class _Asker:
    """What the requests of one call share: how they are put, when to hold them back, and the failure that ends them."""

    def __init__(self, model: Model, body: dict[str, Any], arrived: Arrived):
        self.model, self.arrived = model, arrived
        self.body = {"model": model.served_as or model.name, **body}
        if model.stream:
            self.body |= {"stream": True, "stream_options": {"include_usage": True}}
        self.url, self.key = chat_url(model.endpoint), _key(model)
        self.headers = {"Content-Type": "application/json", **dict(model.headers)}
        if self.key:
            self.headers[model.key_header] = f"Bearer {self.key}" if model.key_header == "Authorization" else self.key
        self.failure: UserError | None = None
        self.lost = 0  # prompts since the last answer that got 500 and nothing else
        self.held_until = 0.0  # by the loop's clock: the endpoint asked all of us for patience

    async def ask_all(self, asked: dict[str, Prompt]) -> None:
        import aiohttp

        self.over = asyncio.Event()
        waiting = iter(asked.items())
        limits = aiohttp.ClientTimeout(total=self.model.timeout, sock_connect=self.model.connect_timeout)
        connections = aiohttp.TCPConnector(limit=self.model.parallel)
        async with aiohttp.ClientSession(
            connector=connections, timeout=limits, headers=self.headers, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.model.parallel, len(asked))):
                        group.create_task(self._work(session, waiting))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
        if self.failure:
            raise self.failure

    async def _work(self, session: ClientSession, waiting: Iterator[tuple[str, Prompt]]) -> None:
        """Take one prompt after another: tasks, and so memory, are as many as requests under way, not as prompts."""
        for key, prompt in waiting:
            try:
                answer = await self._patiently(session, key, prompt)
            except _Over:
                return
            except UserError as error:
                self.failure = self.failure or error
                self.over.set()
                return
            self.lost = self.lost if answer.finish == "error" else 0
            self.arrived(key, answer)
            if self.over.is_set():
                return

    async def _patiently(self, session: ClientSession, key: str, prompt: Prompt) -> Completion:
        """One answer, asked for again where the endpoint is busy or away for a moment."""
        import aiohttp

        body = self.body | {"messages": [{"role": role, "content": content} for role, content in prompt.messages]}
        seed = own_seed(key, body)
        data = json.dumps(body if seed is None else body | {"seed": seed}).encode()
        clock, said = asyncio.get_running_loop().time, ""
        for attempt in range(self.model.attempts):
            while (held := self.held_until - clock()) > 0:
                await self._pause(held + self._jitter(0))
            asked_for = None
            try:
                return await self._once(session, data)
            except Again as again:
                said, asked_for = str(again), again.wait
            except TimeoutError as error:
                said = str(error) or f"no whole answer within {self.model.timeout:g} s"
            except (aiohttp.ClientError, OSError) as error:
                said = f"{type(error).__name__}: {error}"[:300]
            if attempt + 1 < self.model.attempts:
                if asked_for is not None:
                    self.held_until = max(self.held_until, clock() + min(asked_for, self.model.longest_wait))
                await self._pause(self._jitter(attempt))
        said = f"asked {self.model.attempts} times: {self._open(said)}"
        self.lost += " times: 500: " in said
        if " times: 500: " in said and self.lost < LOST:
            return Completion(None, "error", said)
        raise UserError(f"the model did not answer, {said}", where=self.url, numbers=[f"model: {self.model.name}"],
                        do="run the same command again: answers that arrived are kept")  # fmt: skip

    def _jitter(self, attempt: int) -> float:
        """Seconds to wait: it decides when a request is sent, never what is sent, so no output depends on it."""
        return random.uniform(0, min(self.model.backoff * 2**attempt, self.model.longest_wait))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)
        if self.over.is_set():
            raise _Over

    async def _once(self, session: ClientSession, data: bytes) -> Completion:
        """One attempt; raises Again, UserError, or what aiohttp raises."""
        started = time.perf_counter()
        async with session.post(self.url, data=data, allow_redirects=False) as reply:
            if reply.status >= 300:
                return await self._refused(reply)
            try:
                if reply.content_type == "text/event-stream":
                    return await self._stream(reply, started)
                whole = b"".join([piece async for piece in self._body(reply)])
            except _TooLong:
                reply.close()
                return Completion(None, "error", f"the answer is longer than {self.model.most_bytes:,} bytes")
            try:
                answer = json.loads(whole)
            except ValueError as error:
                if reply.content_length is None and "chunked" not in reply.headers.get("Transfer-Encoding", ""):
                    raise Again(f"the answer broke off after {len(whole):,} bytes") from None  # only EOF ended it
                shown = whole[:200].decode("utf-8", "replace")
                return Completion(None, "error", f"no chat completion: {type(error).__name__}: {shown}")
            return read_answer(answer, time.perf_counter() - started)

    async def _refused(self, reply: ClientResponse) -> Completion:
        said = self._open(f"{reply.status}: {(await _start(reply)).decode('utf-8', 'replace')}")
        if reply.status in BUSY or reply.status >= 500:
            raise Again(said, retry_after(reply.headers.get("Retry-After", "")))
        if reply.status < 400:
            said = f"{reply.status}: it sends to {reply.headers.get('Location', 'nowhere')}"
        if reply.status < 400 or reply.status in NOBODYS:
            raise UserError(f"the model cannot be asked: {said}", where=self.url, numbers=[f"model: {self.model.name}"])
        return Completion(None, "error", said)

    async def _stream(self, reply: ClientResponse, started: float) -> Completion:
        """An answer in pieces; one that ends with neither [DONE] nor a finish reason broke off and is not kept."""
        import aiohttp

        pieces, over, seconds = Pieces(), False, 0.0
        async for data in events(self._body(reply)):
            over, seconds = pieces.add(data), time.perf_counter() - started
            if over:
                break
        if not over and pieces.finish is None:
            raise Again(f"the stream broke off after {len(pieces.texts):,} pieces")
        with suppress(TimeoutError, aiohttp.ClientError):  # the answer is whole, whatever becomes of the connection
            async with asyncio.timeout(DRAIN):
                await reply.content.read(1)
        return read_answer(pieces.whole(), seconds)

    async def _body(self, reply: ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes; raises _TooLong once it is, or says that it will be, larger than it may be."""
        size = reply.content_length or 0
        if size <= self.model.most_bytes:
            size = 0
            async for piece in reply.content.iter_any():
                size += len(piece)
                if size > self.model.most_bytes:
                    break
                yield piece
            else:
                return
        raise _TooLong

    def _open(self, said: str) -> str:
        """What an endpoint said, without the key that some of them repeat."""
        return said.replace(self.key, "(the key)") if self.key else said


async def _start(reply: ClientResponse) -> bytes:
    """The first of an error's body, which may be endless or break off."""
    import aiohttp

    try:
        return (await reply.content.read(2000))[:200]
    except aiohttp.ClientError:
        return b""


def _key(model: Model) -> str:
    if not model.key_env:
        return ""
    try:
        return os.environ[model.key_env].strip()
    except KeyError:
        raise UserError(
            f"the environment variable {model.key_env} is not set, and {model.endpoint} wants a key",
            do=f"export {model.key_env}=...",
        ) from None
