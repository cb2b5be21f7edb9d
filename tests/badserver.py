"""A loopback endpoint that misbehaves: raw bytes, resets, silence, as a test says to each prompt and each time."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

Act = bytes | Callable[[socket.socket], None]


def close(connection: socket.socket) -> None:
    """End the connection in good order, whatever was promised."""
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """End it with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionResetError


def silence(connection: socket.socket) -> None:
    """Say nothing more until the other side has gone."""
    while connection.recv(1 << 16):
        pass


def head(status: int = 200, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status} Status"] + [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body: bytes | str | Any, status: int = 200, **headers: object) -> list[Act]:
    """A reply in good form with this body, which may be any JSON value."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [head(status, Content_Length=len(data), **({"Content_Type": "application/json"} | headers)) + data]


def completion(text: object, finish: str = "stop", **message: object) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, **message}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3}}  # fmt: skip


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> bytes:
    delta = {} if text is None else {"content": text}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def event(data: object) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def stream(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> list[Act]:
    """Server-sent events in HTTP chunks, one each."""
    start = head(Content_Type="text/event-stream", Transfer_Encoding="chunked")
    return [start, *(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces), end]


class BadServer:
    """`asked` holds (time, body, headers) of every request in the order of arrival."""

    def __init__(self, script: Callable[[str, int], Sequence[Act]]):
        self.script, self.url, self.lock = script, "", threading.Lock()
        self.asked: list[tuple[float, dict[str, Any], dict[str, str]]] = []
        self.connections = 0

    def count(self, prompt: str) -> int:
        return sum(body["messages"][-1]["content"] == prompt for _, body, _ in self.asked)

    def speak(self, connection: socket.socket) -> None:
        """One connection: a request, what the script says to it, and the next, until one side ends it."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as file:
            while file.readline():
                headers = {}
                while (line := file.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = json.loads(file.read(int(headers["content-length"])))
                prompt = body["messages"][-1]["content"]
                with self.lock:
                    nth = self.count(prompt)
                    self.asked.append((time.monotonic(), body, headers))
                for act in self.script(prompt, nth):
                    if isinstance(act, bytes):
                        connection.sendall(act)
                    else:
                        act(connection)


@contextmanager
def misbehaving(script: Callable[[str, int], Sequence[Act]]) -> Iterator[BadServer]:
    server = BadServer(script)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server.connections += 1
            with suppress(OSError):  # one side ended it, as scripted
                server.speak(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, request_queue_size, block_on_close = True, 1024, False

        def shutdown_request(self, request: Any) -> None:
            request.close()  # no good-bye before a reset

    with Server(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
