"""How long, and how much memory, does it take to plan 10^12 tokens over 10^6 pool files?

    .venv/bin/python bench/plan.py [--parts 1000000] [--repeats 3] [--write]

Pools exist as manifests alone (a million parts over two of them, each with its rows, bytes and SHA-256): a plan reads
nothing else. Each repeat is a process of its own: its wall time from start to finish, imports included, and the most
memory it ever held. Afterwards a thousand seats are looked up both ways, with the tables of the order made first. Aim:
under 10 s and 1 GiB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LENGTH = 2048
TOKENIZER = b"{}"
RECIPE = """
name = "trillion"
version = "1"
tokenizer = "{tokenizer}"
sequence_length = 2048
batch = 2048
seed = 17
[pools]
web = "web@1"
aligned = "aligned@1"
[[phase]]
name = "main"
steps = 226562
ratio = {{ web = 0.99, aligned = 0.01 }}
[[phase]]
name = "anneal"
steps = 11857
ratio = {{ web = 0.876543, aligned = 0.123457 }}
[limits]
epochs = {{ web = 2, aligned = 4 }}
"""


def write_manifests(home: Path, parts: int) -> Path:
    """Manifests of two pools that hold a trillion tokens together; returns the recipe."""
    from leaven.manifest import Manifest

    (home / "tokenizer.json").write_bytes(TOKENIZER)
    rows = 10**12 // LENGTH // parts + 1
    for name, count in (("web", parts * 98 // 100), ("aligned", parts - parts * 98 // 100)):
        folder = home / "pools" / f"{name}@1"
        folder.mkdir(parents=True)
        extra = {
            "tokenizer": hashlib.sha256(TOKENIZER).hexdigest(), "tokenizer_path": "tokenizer.json",
            "vocab_size": 50_296, "eot": 0, "sequence_length": LENGTH, "heldout": False,
            "rows_per_part": [rows] * count,
        }  # fmt: skip
        files = [
            {"path": f"part-{i:05d}.parquet", "bytes": 8300 * rows, "sha256": hashlib.sha256(b"%d" % i).hexdigest()}
            for i in range(count)
        ]
        counts = {"sequences": rows * count, "pieces": 3 * rows * count}
        made = Manifest(
            "pools", name, "1", [], hashlib.md5(name.encode()).hexdigest(), {}, [], {}, counts, extra, files
        )
        (folder / "manifest.json").write_text(made.to_json())
    recipe = home / "trillion.toml"
    recipe.write_text(RECIPE.format(tokenizer=home / "tokenizer.json"))
    return recipe


def plan(recipe: str, home: str) -> dict:
    """What one process measures of itself."""
    from leaven.home import Home
    from mixes.plan import plan_mix

    start = time.perf_counter()
    made = plan_mix(recipe, Home(home))
    planned = time.perf_counter() - start
    # not getrusage: on Linux its maximum is handed down from the process that started this one
    status = Path("/proc/self/status").read_text()
    most = int(status.split("VmHWM:")[1].split()[0]) / 1024
    import numpy as np

    seats = np.random.default_rng(0).integers(0, made.recipe.sequences, 1000)
    start = time.perf_counter()
    made.seats.of(seats)
    tables = time.perf_counter() - start
    start = time.perf_counter()
    assert (made.seats.seat_of(*made.seats.of(seats)) == seats).all()
    return {
        "planning_seconds": round(planned, 2),
        "memory_mib": round(most),
        "tables_seconds": round(tables, 2),
        "microseconds_a_seat_there_and_back": round((time.perf_counter() - start) * 1000, 2),
        "tokens": made.recipe.sequences * LENGTH,
        "rows": made.rows(),
        "shards": made.shards,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the result into bench/results/")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(plan(*args.one)))
        return
    runs = []
    with tempfile.TemporaryDirectory() as name:
        recipe = write_manifests(Path(name), args.parts)
        for _ in range(args.repeats):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, __file__, "--one", str(recipe), name], stdout=subprocess.PIPE, text=True, check=True
            )
            runs.append({"wall_seconds": round(time.perf_counter() - start, 2)} | json.loads(done.stdout))
            print({k: v for k, v in runs[-1].items() if k != "rows"}, flush=True)

    def spread(key: str) -> dict[str, float]:
        values = [run[key] for run in runs]
        return {"min": min(values), "median": statistics.median(values), "max": max(values)}

    keys = ("wall_seconds", "planning_seconds", "memory_mib", "tables_seconds", "microseconds_a_seat_there_and_back")
    result = {
        "what": "planning a mix from its pools' manifests; a process each, seconds and MiB",
        "tokens": runs[0]["tokens"], "pool_files": args.parts, "shards": runs[0]["shards"], "repeats": args.repeats,
        **{key: spread(key) for key in keys}, "rows": runs[0]["rows"],
        "python": platform.python_version(), "processor": platform.processor() or platform.machine(),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if args.write:
        (ROOT / "bench" / "results").mkdir(exist_ok=True)
        (ROOT / "bench" / "results" / "plan.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
