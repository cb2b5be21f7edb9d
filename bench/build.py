"""Building a mix beside `cp` of the same bytes: warm, local, in turn, in one run.

    python -m bench.build [--rows 65536] [--length 2048] [--turns 7] [--workers 1 2]

A pool of about `rows` sequences is made once in a temporary folder; each turn then times `cp -r` of the built shards
and a whole build (plan, gather, write, hash, recount, manifest), in turn, so that a busy machine slows both alike.
Prints bytes, seconds and the ratio (cp seconds / build seconds) as min, median and max. Needs `cp`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def make_pool(home, name: str, rows: int, length: int, parts: int) -> None:
    """Random tokens, two pieces a row: made fast, and as large on disk as real ones."""
    import mixkit
    import numpy as np

    from leaven.manifest import output
    from leaven.shards import TokenWriter
    from schemas.tables import SEQUENCES

    rng = np.random.default_rng(len(name))
    about = {"kind": "pools", "name": name, "version": "1", "meaning": {"name": name, "rows": rows, "length": length}}
    per_part = [len(p) for p in np.array_split(np.arange(rows), parts)]
    with output(home.folder("pools", f"{name}@1"), **about) as out:
        first = 0
        for part, count in enumerate(per_part):
            path = out.folder / f"part-{part:05d}.parquet"
            with TokenWriter(path, SEQUENCES, {}) as writer:
                for lo in range(0, count, 4096):
                    n = min(4096, count - lo)
                    cuts = rng.integers(1, length, n)
                    ids = [[rng.bytes(16).hex(), rng.bytes(16).hex()] for _ in range(n)]
                    writer.write(
                        {
                            "pool_row": np.arange(first, first + n),
                            "loss_tokens": np.full(n, length - 2),
                            "bytes": rng.integers(4 * length, 5 * length, n),
                            "item_ids": ids,
                            "item_kinds": [["document", "document"]] * n,
                            "doc_starts": [[0, int(c)] for c in cuts],
                            "doc_offsets": [[int(c), 0] for c in cuts],
                            "tokens": rng.integers(0, 50_000, (n, length), dtype=np.int32),
                        }
                    )
                    first += n
            out.known_sha256[path.name] = writer.sha256
        out.counts = {"sequences": rows, "pieces": 2 * rows}
        out.extra = {
            "tokenizer": mixkit.SHA256, "tokenizer_path": "", "vocab_size": 50_016, "eot": 0,
            "sequence_length": length, "heldout": False, "rows_per_part": per_part,
        }  # fmt: skip


def measure(rows: int, length: int, turns: int, workers: list[int], folder: Path) -> dict:
    import mixkit

    from leaven.home import Home
    from mixes.build import build_mix

    home = Home(folder / "home")
    home.path.mkdir()
    make_pool(home, "web", rows, length, 4)
    make_pool(home, "aligned", rows // 50, length, 1)
    batch = 64
    recipe = mixkit.write_recipe(
        folder,
        {"web": "web@1", "aligned": "aligned@1"},
        [("main", rows // batch * 9 // 10, "web = 1"), ("anneal", rows // batch // 10, "web = 0.9, aligned = 0.1")],
        sequence_length=length,
        batch=batch,
    )
    found: dict[str, list[float]] = {"cp": []} | {f"build, {w} workers": [] for w in workers}
    total = 0
    for turn in range(turns + 1):  # the first warms the page cache and is not counted
        for w in workers:
            shutil.rmtree(home.path / "mixes", ignore_errors=True)
            start = time.perf_counter()
            made = build_mix(recipe, home, workers=w)
            found[f"build, {w} workers"] += [time.perf_counter() - start] * bool(turn)
            total = sum(f["bytes"] for f in made.files)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        start = time.perf_counter()
        subprocess.run(["cp", "-r", str(made.folder), str(folder / "copy")], check=True)
        found["cp"] += [time.perf_counter() - start] * bool(turn)
    spread = lambda v: {"min": min(v), "median": statistics.median(v), "max": max(v)}  # noqa: E731
    return {
        "bytes": total,
        "shards": len(made.files),
        "sequence_length": length,
        "turns": turns,
        "seconds": {k: spread(v) for k, v in found.items()},
        "ratio": {k: spread([c / b for c, b in zip(found["cp"], v)]) for k, v in found.items() if k != "cp"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        print(json.dumps(measure(args.rows, args.length, args.turns, args.workers, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
