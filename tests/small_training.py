"""Small mixes, held-out pools and questions written through the real writers, and jobs over them, for trainer tests.

The language: pieces are counting sequences (a, a + s, a + 2s, ... modulo the vocabulary), so a tiny model learns fast.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaven.manifest import fingerprint
from leaven.shards import SHARD_SCHEMA, TokenWriter
from schemas.tables import QUESTIONS, SEQUENCES
from trainer.run import main

VOCAB, EOT, LENGTH, BATCH = 64, 47, 32, 4  # ids 48 to 63 are reserved
ROOT = Path(__file__).parents[1]


def draw_rows(rows: int, stride: int, seed: int) -> list[dict]:
    """Rows of 1 to 3 pieces; each piece counts in steps of `stride` and ends in end-of-text but for the last."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        cuts = sorted(rng.choice(np.arange(4, LENGTH - 4), rng.integers(0, 3), replace=False).tolist())
        starts = [0, *cuts]
        tokens = np.empty(LENGTH, np.int32)
        for start, end in zip(starts, [*cuts, LENGTH]):
            tokens[start:end] = (rng.integers(EOT) + stride * np.arange(end - start)) % EOT
            if end < LENGTH:
                tokens[end - 1] = EOT
        found.append({
            "pool_row": row, "loss_tokens": LENGTH - len(starts), "bytes": 3 * LENGTH, "item_ids": ["d"] * len(starts),
            "item_kinds": ["document"] * len(starts), "doc_starts": starts, "doc_offsets": [0] * len(starts),
            "tokens": tokens,
        })  # fmt: skip
    return found


def write(path: Path, schema: pa.Schema, rows: list[dict]) -> None:
    with TokenWriter(path, schema, {}, row_group=16) as writer:
        columns = {name: [r[name] for r in rows] for name in schema.names if name != "tokens"}
        writer.write(columns | {"tokens": np.stack([r["tokens"] for r in rows])})


def write_manifest(folder: Path, kind: str, meaning: dict) -> None:
    manifest = {
        "kind": kind, "name": folder.name, "version": "1", "fingerprint": fingerprint(meaning),
        "files": [{"path": p.name} for p in sorted(folder.glob("*.parquet"))],
        "extra": {"vocab_size": VOCAB, "eot": EOT, "tokenizer": "none", "sequence_length": LENGTH, "batch": BATCH},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def make_mix(folder: Path, steps: list[tuple[str, int]], shard: int = 48) -> Path:
    """A mix of `(pool, steps)` phases; pool `pK` counts in strides of K, and its rows are drawn in order."""
    folder.mkdir(parents=True)
    rows: list[dict] = []
    used: dict[str, int] = {}
    for phase, (pool, count) in enumerate(steps):
        first = used.get(pool, 0)
        used[pool] = first + count * BATCH
        for row in draw_rows(used[pool], int(pool[1:]), seed=int(pool[1:]))[first:]:
            rows.append(row | {
                "seat": len(rows), "phase": str(phase), "component": pool, "pool": f"{pool}@1", "epoch": 0,
            })  # fmt: skip
    for number, at in enumerate(range(0, len(rows), shard)):
        write(folder / f"shard-{number:05d}.parquet", SHARD_SCHEMA, rows[at : at + shard])
    write_manifest(folder, "mixes", {"steps": [list(s) for s in steps]})
    return folder


def make_pool(folder: Path, stride: int, rows: int = 20) -> Path:
    folder.mkdir(parents=True)
    write(folder / "part-00000.parquet", SEQUENCES, draw_rows(rows, stride, seed=100 + stride))
    write_manifest(folder, "pools", {"stride": stride, "rows": rows})
    return folder


def make_questions(path: Path, count: int = 12, seed: int = 0) -> Path:
    """Prompts of 3 to 9 tokens that count by 1; option 0 counts on by 1 (right), option 1 jumps (wrong)."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        length, first, tail = int(rng.integers(3, 10)), int(rng.integers(EOT)), int(rng.integers(1, 4))
        for option, role in enumerate(("right", "wrong")):
            prompt = (first + np.arange(length)) % EOT
            rest = (prompt[-1] + (1 + np.arange(tail)) * (1 if role == "right" else 7)) % EOT
            rows.append({
                "question_id": f"q{number}", "set": "counting", "group": ("person", "ai")[number % 2],
                "topic": None, "order": 0, "option": option, "role": role, "option_start": length,
                "option_bytes": 2 * tail, "tokens": [*prompt.tolist(), *rest.tolist()],
            })  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=QUESTIONS), path)
    return path


def make_job(folder: Path, arms: dict, steps: int, **changes: object) -> Path:
    """A job over nano models; `changes` go to the job, those of `train` into its settings."""
    train = {"steps": steps, "log_every": 2, "warmup": 2} | dict(changes.pop("train", {}))  # type: ignore[call-overload]
    job = {
        "study": "small", "version": "1", "seed": 3, "device": "cpu", "model": {"size": "nano", "layers": 2},
        "train": train, "arms": arms, "out": str(folder / "out"),
    } | changes  # fmt: skip
    path = folder / f"job-{len(list(folder.glob('job-*.json')))}.json"
    path.write_text(json.dumps(job, default=str))
    return path


def run(job: Path, *, code: int = 0) -> tuple[str, str]:
    """Run a job; what it wrote to standard output and error."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        found = main([str(job)])
    assert found == code, out.getvalue() + err.getvalue()
    return out.getvalue(), err.getvalue()


def run_apart(job: Path, *, code: int = 0) -> tuple[str, str]:
    """Run a job in a process of its own, with everything that the trainer must not need blocked."""
    program = (
        "import sys\n"
        "for name in ('duckdb', 'datatrove', 'prefect', 'sqlglot', 'transformers'):\n"
        "    sys.modules[name] = None\n"
        "from trainer.run import main\n"
        f"sys.exit(main([{str(job)!r}]))\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr
