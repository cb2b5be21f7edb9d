"""What does asking cost beside the plain `openai` client? Requests a second, processor time and memory of a request.

    .venv/bin/python bench/generate.py [--rounds 7] [--requests 5000] [--write]

Both sides ask a loopback endpoint in a process of its own that answers at once (bench/loopback.py) the same questions
(1,200 characters, answers of 1,000), 256 at a time. Ours is `generate`, which keys every prompt and stores every
answer; the other is AsyncOpenAI with a semaphore of 256 and one task a question, its answers kept in a list alone. Each
run is a fresh process; a round runs both, in turns first; the ratio is of the two runs of a round. Times start once all
is imported. Memory in flight is read while the endpoint holds that many requests back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from leaven.generate import Model, Prompt, Store, generate  # noqa: E402

SIDES = ("leaven", "openai")
PARALLEL = 256
SAMPLING = {"temperature": 0.7, "max_tokens": 300, "seed": 1}


def rss(pid: int | str = "self") -> int:
    """Bytes of memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def question(number: int) -> str:
    return (f"Rewrite what follows, number {number}. " + "The keeper of the mill asked the machine to wait. " * 24)[
        :1200
    ]


def ask_leaven(url: str, first: int, count: int, parallel: int, store: Store) -> int:
    prompts = [Prompt((("user", question(i)),), f"{i:032x}") for i in range(first, first + count)]
    model = Model(url, "m", "r", parallel=parallel, timeout=600)
    return sum(len(c.text or "") for c in generate(prompts, model, SAMPLING, "p", store))


def ask_openai(url: str, first: int, count: int, parallel: int) -> int:
    import openai

    async def main() -> int:
        limits: dict[str, Any] = {}
        if parallel > 1000:  # beyond its own limit of connections
            import httpx2

            limits = {"http_client": openai.DefaultAsyncHttpxClient(limits=httpx2.Limits())}
        async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600, **limits) as client:
            gate = asyncio.Semaphore(parallel)

            async def one(number: int) -> str:
                async with gate:
                    body: dict[str, Any] = {"messages": [{"role": "user", "content": question(number)}], **SAMPLING}
                    said = await client.chat.completions.create(model="m", **body)
                    return said.choices[0].message.content or ""

            return sum(map(len, await asyncio.gather(*(one(i) for i in range(first, first + count)))))

    return asyncio.run(main())


def client(side: str, url: str, requests: int, parallel: int, at_a_time: int) -> None:
    """What runs in a process of its own: ask, and print what it took."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    import aiohttp  # noqa: F401

    if side == "openai":
        import openai

        openai.AsyncOpenAI(base_url=url, api_key="none").chat.completions  # noqa: B018  imports on first use
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "answers.sqlite")
        wall, cpu, characters = time.perf_counter(), time.process_time(), 0
        for first in range(0, requests, at_a_time):
            count = min(at_a_time, requests - first)
            if side == "leaven":
                characters += ask_leaven(url, first, count, parallel, store)
            else:
                characters += ask_openai(url, first, count, parallel)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert characters == 1000 * requests, characters
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"per_second": requests / wall, "cpu_ms": 1000 * cpu / requests, "peak": peak}))


def run(side: str, requests: int, parallel: int = PARALLEL, at_a_time: int = 10**9, hold: int = 0) -> dict[str, Any]:
    """One run of one side against a server of its own; with `hold` also the memory while that many are in flight."""
    here = [sys.executable, str(ROOT / "bench" / "loopback.py"), "--hold", str(hold)]
    with subprocess.Popen(here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        words = ["--client", side, "--url", url, "--requests", str(requests), "--parallel", str(parallel),
                 "--at-a-time", str(at_a_time)]  # fmt: skip
        with subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True) as asking:
            held = 0
            if hold:
                assert server.stdout.readline() == "full\n"
                held = rss(asking.pid)
                server.stdin.write("go\n")
                server.stdin.flush()
            said = json.loads(asking.communicate()[0])
        server.kill()
    return said | {"held": held}


def spread(values: list[float], digits: int = 3) -> dict[str, float]:
    return {"min": round(min(values), digits), "median": round(statistics.median(values), digits),
            "max": round(max(values), digits)}  # fmt: skip


def measure(rounds: int, requests: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            runs[side].append(run(side, requests))
    found: dict[str, Any] = {"parallel": PARALLEL, "requests": requests, "rounds": rounds}
    for side in SIDES:
        found[side] = {"requests_per_second": spread([r["per_second"] for r in runs[side]], 1),
                       "cpu_ms_per_request": spread([r["cpu_ms"] for r in runs[side]])}  # fmt: skip
    pairs = list(zip(runs["leaven"], runs["openai"]))
    found["leaven_is_faster_by"] = spread([a["per_second"] / b["per_second"] for a, b in pairs], 2)
    found["leaven_takes_of_its_cpu"] = spread([a["cpu_ms"] / b["cpu_ms"] for a, b in pairs])
    return found


def memory(turns: int) -> dict[str, Any]:
    """KiB that a request in flight takes, and MiB that the whole takes as requests grow."""
    found: dict[str, Any] = {side: {} for side in SIDES}
    for side in SIDES:
        held = {n: [run(side, n, parallel=n, hold=n)["held"] for _ in range(turns)] for n in (1, 256, 1024)}
        for n in (256, 1024):
            each = [(many - one) / (n - 1) / 1024 for one, many in zip(held[1], held[n])]
            found[side][f"kib_per_request_at_{n}"] = spread(each, 1)
    for name, side, at_a_time in (("leaven", "leaven", 1000), ("leaven_one_call", "leaven", 10**9),
                                  ("openai", "openai", 1000), ("openai_one_call", "openai", 10**9)):  # fmt: skip
        peaks = {n: run(side, n, at_a_time=at_a_time)["peak"] for n in (10_000, 50_000)}
        found.setdefault(name, {})["peak_mib"] = {f"{n:,} requests": round(p / 2**20, 1) for n, p in peaks.items()}
        found[name]["grows_by_kib_a_request"] = round((peaks[50_000] - peaks[10_000]) / 40_000 / 1024, 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=3, help="of the memory in flight")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--client", choices=SIDES, help="be one side (the bench starts this)")
    parser.add_argument("--url")
    parser.add_argument("--parallel", type=int)
    parser.add_argument("--at-a-time", type=int)
    asked = parser.parse_args()
    if asked.client:
        return client(asked.client, asked.url, asked.requests, asked.parallel, asked.at_a_time)
    found = {"machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count(),
             "speed": measure(asked.rounds, asked.requests), "memory": memory(asked.turns)}  # fmt: skip
    print(json.dumps(found, indent=1))
    if asked.write:
        (ROOT / "bench" / "results" / "generate.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
