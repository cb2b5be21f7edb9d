"""An endpoint on loopback that answers every chat at once, so that what is measured is who asks.

    python bench/loopback.py [--hold N] [--characters 1000]

It prints its port. With --hold it answers nothing until N requests lie before it, prints `full`, and answers all once
a line comes on its stdin. It is a bare asyncio protocol that parses what it must and sends fixed bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import sys
from typing import Any

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Chat(asyncio.Protocol):
    """One connection: each whole request gets the reply."""

    def __init__(self, reply: bytes, hold: list[Any]):
        self.reply, self.hold, self.rest = reply, hold, b""  # hold: how many to hold back, then their transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            match = LENGTH.search(self.rest, 0, end)
            whole = end + 4 + (int(match[1]) if match else 0)
            if len(self.rest) < whole:
                return
            self.rest = self.rest[whole:]
            if self.hold[0]:
                self.hold.append(self.transport)
                if len(self.hold) - 1 == self.hold[0]:
                    print("full", flush=True)
            else:
                self.transport.write(self.reply)  # type: ignore[attr-defined]


async def serve(hold: int, characters: int) -> None:
    text = ("The machine waited until the rain was over. " * (characters // 44 + 1))[:characters]
    message = {"role": "assistant", "content": text}
    body = json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 250, "total_tokens": 550},
    }).encode()  # fmt: skip
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    reply = head.encode() + body
    held: list[Any] = [hold]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Chat(reply, held), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)

    def go() -> None:
        sys.stdin.readline()
        waiting, held[:] = held[1:], [0]
        for transport in waiting:
            transport.write(reply)
        loop.remove_reader(sys.stdin)

    if hold:
        loop.add_reader(sys.stdin, go)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hold", type=int, default=0)
    parser.add_argument("--characters", type=int, default=1000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(options.hold, options.characters))


if __name__ == "__main__":
    main()
