"""What stands in for `vllm serve` and `python3 -m sglang.launch_server`: takes their options, answers on loopback.

It writes its command line, its process and that of a child which it starts and leaves behind to STANDIN_LOG, one line
of JSON a start. STANDIN_MODE: `fails` (ends at once), `mute` (never ready), `dies` (ends at the third question).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def options(words: list[str]) -> dict[str, str]:
    """`--a=b`, `--a b` and `--a` alike."""
    found, last = {}, ""
    for word in words:
        if word.startswith("--"):
            last, _, value = word[2:].partition("=")
            found[last] = value
        elif last:
            found[last] = word
    return found


def main() -> None:
    said, mode = options(sys.argv[1:]), os.environ.get("STANDIN_MODE", "")
    if mode == "fails":
        sys.exit("RuntimeError: no device of this stand-in")
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.stdout.readline()  # type: ignore[union-attr]
    line = {"argv": sys.argv[1:], "pid": os.getpid(), "child": child.pid, "stdin": os.readlink("/proc/self/fd/0")}
    with open(os.environ["STANDIN_LOG"], "a") as log:
        log.write(json.dumps(line) + "\n")
    asked = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(503 if mode == "mute" else 200, {"data": [{"id": said["served-model-name"]}]})

        def do_POST(self) -> None:
            nonlocal asked
            asked += 1
            if mode == "dies" and asked > 2:
                print("EngineDeadError: out of breath", flush=True)
                os._exit(3)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body["model"] != said["served-model-name"]:
                return self.reply(404, {"error": f"no model {body['model']}"})
            text = body["messages"][-1]["content"].upper()
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 3}})

        def reply(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((said["host"], int(said["port"])), Handler)
    print("Application startup complete.", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
