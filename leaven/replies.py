"""What does an endpoint's reply say? A completion, an error of its prompt, or that it is worth asking again.

    JSON of a chat completion --read_answer--> Completion
    server-sent events --events--> chunks --Pieces--> the same JSON

Nothing is guessed: what is no chat completion is an error, and a stream without an end is none.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from leaven.errors import UserError
from leaven.generate import Completion

BUSY = (408, 409, 425, 429)  # and 5xx: another try may help


class Again(Exception):
    """This attempt failed in a way that another may not; `wait` is how many seconds the endpoint asked for."""

    def __init__(self, said: str, wait: float | None = None):
        super().__init__(said)
        self.wait = wait


def chat_url(endpoint: str) -> str:
    """Where chat completions of an endpoint are asked for, its address given as /v1, /v1/ or in full.

    Raises UserError for what is no HTTP address.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError("this is no address of an endpoint", where=endpoint, do="write one such as http://host:8000/v1")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/chat/completions") else path + "/chat/completions"
    return urlunsplit(parts._replace(path=path, fragment=""))


def retry_after(header: str, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None for neither."""
    header = header.strip()
    if header.replace(".", "", 1).isdigit() and header.isascii():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def read_answer(whole: Any, seconds: float) -> Completion:
    """What the JSON of a reply with status 200 says; raises Again for an error in it that is a busy endpoint's."""
    try:
        if said := whole.get("error"):  # some endpoints, and streams under way, have no other place for it
            code = said.get("code") if isinstance(said, dict) else None
            if isinstance(code, int) and (code in BUSY or code >= 500):
                raise Again(f"{code}: {_short(said)}")
            return Completion(None, "error", f"the endpoint reports {_short(said)}")
        choice, usage = whole["choices"][0], whole.get("usage") or {}
        message, finish = choice["message"], choice.get("finish_reason") or "stop"
        text, refusal = message.get("content"), message.get("refusal")
        tokens = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        return Completion(None, "error", f"no chat completion: {type(error).__name__}: {_short(whole)}")
    if refusal or finish == "content_filter":
        return Completion(None, "refused", str(refusal or finish), *tokens, seconds)
    if not isinstance(text, str) or finish in ("tool_calls", "function_call"):
        return Completion(None, "error", f"the answer has no text (finish reason {finish})", *tokens, seconds)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of a pair are no text
    return Completion(text, "length" if finish == "length" else "stop", "", *tokens, seconds)


def _count(said: Any) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None


def _short(said: Any) -> str:
    return json.dumps(said)[:200]


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of server-sent events, wherever the bytes were cut; each data line is one, as endpoints send them."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


class Pieces:
    """A chat completion put together from its chunks."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.refusals: list[str] = []
        self.finish: str | None = None
        self.usage: Any = None
        self.error: Any = None

    def add(self, data: bytes) -> bool:
        """Take one event; whether it says that the answer is over. Raises Again for what is no chunk."""
        if data == b"[DONE]":
            return True
        try:
            chunk = json.loads(data)
            self.error, self.usage = chunk.get("error"), chunk.get("usage") or self.usage
            for choice in chunk.get("choices") or []:
                if choice.get("index", 0) == 0:
                    delta = choice.get("delta") or {}
                    self.texts.append(delta.get("content") or "")
                    self.refusals.append(delta.get("refusal") or "")
                    self.finish = choice.get("finish_reason") or self.finish
        except (ValueError, AttributeError, TypeError):
            raise Again(f"the stream holds what is no chunk: {data[:200].decode('utf-8', 'replace')}") from None
        return self.error is not None

    def whole(self) -> dict[str, Any]:
        """The JSON that the endpoint would have sent in one piece."""
        if self.error is not None:
            return {"error": self.error}
        message = {"content": "".join(self.texts), "refusal": "".join(self.refusals)}
        return {"choices": [{"message": message, "finish_reason": self.finish}], "usage": self.usage}
