"""Run one of Datatrove's inference servers until whoever started this has gone. Not imported: run by its path.

    PYTHON launch.py '{"server": "vllm", ...}'     url or error as one line of JSON on stdout; ends when stdin does
    PYTHON launch.py --port N --command='[...]'    become that command, {port} filled in: what CustomServer runs

It imports Datatrove and the standard library alone, since the environment that has vLLM (whose numpy is older than
ours) need not have Leaven. It leads a process group of its own, and ends the whole group.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from typing import Any

POLL = 1.0  # seconds between two looks whether the server is ready


def main(words: list[str]) -> None:
    if words[0].startswith("--"):
        become(words)
    said = json.loads(words[0])
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    alive = os.dup(0)  # the server gets no stdin, so that ours ends with our parent alone
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        asyncio.run(serve(said, alive))
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})
    finally:
        os.killpg(0, signal.SIGKILL)  # ourselves too: whatever the server started and left behind goes with us


def become(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port")
    parser.add_argument("--command", type=json.loads)
    said = parser.parse_args(words)
    command = [word.replace("{port}", said.port) for word in said.command]
    os.execvp(command[0], command)


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def serve(said: dict[str, Any], alive: int) -> None:
    """Start the server, tell its address, and stop it when the pipe `alive` ends; raises what Datatrove raises."""
    from datatrove.pipeline.inference.run_inference import InferenceConfig
    from datatrove.pipeline.inference.servers import CustomServer, VLLMServer

    kinds = {"vllm": VLLMServer, "custom": CustomServer}
    poll = said.pop("poll", POLL)
    config = InferenceConfig(
        server_type=said["server"], model_name_or_path=said["source"], model_max_context=said["context"],
        tp=said["gpus"], model_kwargs=said["options"], server_log_folder=said["logs"], server_start_max_retries=0,
        server_ready_max_attempts=max(1, round(said["ready"] / poll)), server_ready_delay_sec=poll,
    )  # fmt: skip
    if said["server"] == "custom":
        config.model_kwargs["server_script"] = __file__  # type: ignore[index]
    server = kinds[said["server"]](config, 0)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(alive, "rb")
    )
    gone = asyncio.create_task(reader.read())
    start = asyncio.create_task(server.bg_start_server())  # keeps its errors: is_ready says how it went
    try:
        await asyncio.wait({start, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            if not await server.is_ready():
                raise RuntimeError("the server did not start")
            tell({"url": server.get_base_url()})
            await gone
    finally:
        start.cancel()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is for the others
        os.killpg(0, signal.SIGTERM)  # a worker that holds the server's pipe would keep Datatrove waiting for 10 s
        await server.server_cleanup()


if __name__ == "__main__":
    main(sys.argv[1:])
