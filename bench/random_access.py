"""How long does one sequence take to read at random from a shard, beside a NumPy memmap and Hugging Face datasets?

    python -m bench.random_access [--rows 32768] [--reads 20000] [--repeats 7] [--write]

All three hold the same tokens, warm in the page cache. A read gives a copy of one sequence of 2,048 tokens as int32, at
the same random rows in the same run. The shard is read as it is used: checksums on, each row group's verified when it
is first touched, which the table gives on its own line. `--write` puts the result into bench/results/.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from leaven.shards import SHARD_SCHEMA, TokenFile, TokenWriter

ROOT = Path(__file__).parents[1]
LENGTH = 2048


def write_both(folder: Path, rows: int) -> tuple[Path, Path]:
    """The same tokens as a shard and as a flat int32 file."""
    rng = np.random.default_rng(0)
    with TokenWriter(folder / "shard.parquet", SHARD_SCHEMA, {}) as writer, open(folder / "flat.bin", "wb") as flat:
        for first in range(0, rows, 1024):
            n = min(1024, rows - first)
            tokens = rng.integers(0, 50_000, (n, LENGTH), dtype=np.int32)
            words = {"phase": ["main"] * n, "component": ["web"] * n, "pool": ["web@1"] * n}
            lists: dict[str, list] = {"item_ids": [["0" * 32]] * n, "item_kinds": [["document"]] * n}
            lists = lists | {"doc_starts": [[0]] * n, "doc_offsets": [[0]] * n}
            seats, same = np.arange(first, first + n), np.full(n, LENGTH - 1)
            numbers = {
                "seat": seats,
                "pool_row": seats,
                "epoch": np.zeros(n, np.int16),
                "loss_tokens": same,
                "bytes": same,
            }
            writer.write({**numbers, **words, **lists, "tokens": tokens})
            flat.write(tokens.data)
    return folder / "shard.parquet", folder / "flat.bin"


def microseconds(read: Callable[[int], np.ndarray], rows: list[int]) -> float:
    start = time.perf_counter()
    for row in rows:
        read(row)
    return (time.perf_counter() - start) / len(rows) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32_768)
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="put the result into bench/results/")
    args = parser.parse_args()
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        shard, flat = write_both(Path(name), args.rows)
        memmap = np.memmap(flat, np.int32, "r", shape=(args.rows, LENGTH))
        hub = datasets.load_dataset("parquet", data_files=str(shard), split="train", cache_dir=name, columns=["tokens"])
        hub = hub.with_format("numpy")
        file = TokenFile(shard)
        assert file.mapped
        start = time.perf_counter()
        file.verify()
        touch = (time.perf_counter() - start) / file.rows * 1e6
        ways: dict[str, Callable[[int], np.ndarray]] = {
            "shard": lambda row: file.tokens(row, copy=True),
            "memmap": lambda row: np.array(memmap[row]),
            "datasets": lambda row: hub[row]["tokens"],
        }
        rng = np.random.default_rng(1)
        for row in rng.integers(0, args.rows, 50).tolist():
            assert all(np.array_equal(read(row), memmap[row]) for read in ways.values())
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.repeats):
            rows = rng.integers(0, args.rows, args.reads).tolist()
            for way, read in ways.items():
                times[way].append(microseconds(read, rows[: args.reads // 20] if way == "datasets" else rows))
    spread = lambda v: {"min": round(min(v), 2), "median": round(statistics.median(v), 2), "max": round(max(v), 2)}  # noqa: E731
    result = {
        "what": "one random sequence of 2,048 tokens, copied; microseconds, one thread, warm",
        "rows": args.rows, "microseconds": {way: spread(v) for way, v in times.items()},
        "first_touch_checksum_microseconds_a_row": round(touch, 2),
        "ratio": {
            f"shard / {way}": spread([a / b for a, b in zip(times["shard"], times[way])])
            for way in ("memmap", "datasets")
        },
        "python": platform.python_version(), "processor": platform.processor() or platform.machine(),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if args.write:
        (ROOT / "bench" / "results").mkdir(exist_ok=True)
        (ROOT / "bench" / "results" / "random_access.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
