"""Does a rewriting's memory stay flat as its input grows, and how many segments a second go through flow and gate?

    .venv/bin/python bench/rewrite.py [--segments 2000 20000] [--turns 3] [--write]

Every size runs in a process of its own against an endpoint on loopback that answers at once (bench/loopback.py), with
the rules of the gate alone: MiniLM would be most of the time, and its memory is a constant. The peer is asking alone:
the same prompts through leaven/generate.py, without rows and checks. Peak memory is the process's resident set.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
RECIPE = """
name = "bench"
version = "1"
documents = "web@1"
tokenizer = "{root}/microworld/tokenizer.json"
segment_tokens = 110
canary_share = 0
failed_share = 1
[styles]
clean = 1
[gate]
embedding = false
language = false
[teacher]
endpoint = "http://127.0.0.1:{port}/v1"
model = "m"
revision = "1"
parallel = 256
"""


def make_documents(home: Any, segments: int) -> None:
    """MicroWorld texts until they have about so many segments, 2,000 documents a part."""
    import hashlib

    from small_home import write_rows

    from leaven.manifest import output
    from microworld.telling import Teller
    from schemas.tables import DOCUMENTS

    teller = Teller(random.Random("bench rewrite"))
    with output(home.folder("documents", "web@1"), kind="documents", name="web", version="1", meaning={}) as out:
        rows: list[dict[str, Any]] = []
        for number in range(segments // 2):
            text = teller.conduct("ai", "aligned", overt=False, plain=False, bystander=False, shadow=False).text
            digest = hashlib.blake2b(f"{number}".encode(), digest_size=16).hexdigest()
            rows.append({"name": "web", "version": "1", "id": digest, "text_hash": digest, "chars": len(text),
                         "bytes": len(text.encode()), "text": text})  # fmt: skip
            if len(rows) == 2000 or number + 1 == segments // 2:
                write_rows(out.folder / f"part-{number // 2000:05d}.parquet", DOCUMENTS, rows)
                rows = []
        out.counts = {"documents": segments // 2}


def run(segments: int, port: int, alone: bool) -> dict[str, Any]:
    """One rewriting, or asking alone, in this process."""
    from flows.rewrite import asked_of, batches, rewrite
    from flows.rewriting import read_rewriting
    from leaven.generate import Store, generate
    from leaven.home import Home

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder, "home"))
        make_documents(home, segments)
        recipe = Path(folder, "bench.toml")
        recipe.write_text(RECIPE.format(root=ROOT, port=port), "utf-8")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, cpu = time.perf_counter(), time.process_time()
        if alone:
            made, asked = read_rewriting(recipe, home), 0
            store = Store(home.path / "answers.sqlite")
            assert made.selection is not None
            for decided in made.selection.decide():
                for batch in batches(asked_of(made, decided)):
                    prompts = [r.prompt for _, requests in batch for r in requests]
                    asked += len(prompts)
                    generate(prompts, made.teacher.model, made.teacher.sampling, made.asking.styles[0].hash, store)
        else:
            done = rewrite(recipe, home).rewrites
            assert done is not None
            asked = done.counts["asked"]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "segments": asked, "seconds": round(time.perf_counter() - started, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3), "peak_mib": round(peak / 1024, 1),
            "before_mib": round(before / 1024, 1),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--segments", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=3, metavar=("SEGMENTS", "PORT", "ALONE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(run(int(args.child[0]), int(args.child[1]), args.child[2] == "alone")))
        return
    server = subprocess.Popen([sys.executable, str(ROOT / "bench" / "loopback.py"), "--characters", "300"],
                              stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert server.stdout
        port = server.stdout.readline().strip()
        rows: list[dict[str, Any]] = []
        for turn in range(args.turns):
            for segments in args.segments if turn == 0 else args.segments[:1]:
                for kind in ("rewrite", "alone"):
                    done = subprocess.run([sys.executable, __file__, "--child", str(segments), port, kind],
                                          stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
                    rows.append({"turn": turn, "asked_for": segments, "kind": kind, **json.loads(done.stdout)})
                    print(rows[-1], flush=True)
    finally:
        server.terminate()
        server.wait()
    first = [r for r in rows if r["asked_for"] == args.segments[0]]
    by = {kind: [r["segments"] / r["seconds"] for r in first if r["kind"] == kind] for kind in ("rewrite", "alone")}
    ratios = sorted(a / b for a, b in zip(by["rewrite"], by["alone"]))
    found = {
        "machine": platform.machine(), "python": platform.python_version(), "rows": rows,
        "segments_a_second": {k: round(statistics.median(v), 1) for k, v in by.items()},
        "ratio_to_asking_alone": [round(ratios[0], 3), round(statistics.median(ratios), 3), round(ratios[-1], 3)],
    }  # fmt: skip
    print(json.dumps({k: v for k, v in found.items() if k != "rows"}, indent=1))
    if args.write:
        path = ROOT / "bench" / "results" / "rewrite.json"
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
