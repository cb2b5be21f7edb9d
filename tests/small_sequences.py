"""Sequences, files of them and a small tokenizer for tests, written through the real writers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from leaven.home import Home
from leaven.manifest import Manifest, output
from leaven.shards import SHARD_SCHEMA, TokenWriter


def make_columns(rows: int, length: int, first: int = 0, seed: int = 0) -> dict:
    """Columns of SHARD_SCHEMA for `rows` sequences whose tokens and pieces depend on (seed, seat) alone."""
    seats = np.arange(first, first + rows)
    tokens, starts = [], []
    for seat in seats.tolist():
        rng = np.random.default_rng([seed, seat])
        tokens.append(rng.integers(0, 50_000, length, dtype=np.int32))
        inner = rng.choice(np.arange(1, length), size=rng.integers(0, min(4, length)), replace=False)
        starts.append(sorted([0, *inner.tolist()]))
    return {
        "seat": seats,
        "phase": ["main"] * rows,
        "component": ["web" if s % 3 else "aligned" for s in seats],
        "pool": ["web@1"] * rows,
        "pool_row": seats[::-1].copy(),
        "epoch": np.zeros(rows, np.int16),
        "loss_tokens": [length - len(s) for s in starts],
        "bytes": [4 * length] * rows,
        "item_ids": [[f"{seat:028x}{n:04x}" for n in range(len(s))] for seat, s in zip(seats, starts)],
        "item_kinds": [["document"] * len(s) for s in starts],
        "doc_starts": starts,
        "doc_offsets": [[0] * len(s) for s in starts],
        "tokens": np.array(tokens, np.int32).reshape(rows, length),
    }


def rows_of(columns: dict, start: int, stop: int) -> dict:
    return {name: values[start:stop] for name, values in columns.items()}


def make_mix(home: Home, columns: dict, rows_per_shard: int, seed: int = 17) -> Manifest:
    """A folder of shards with a manifest, as a built mix has."""
    rows = len(columns["seat"])
    folder = home.folder("mixes", "mixed@1", f"seed-{seed}")
    with output(folder, kind="mixes", name="mixed", version="1", parts=[f"seed-{seed}"], meaning={}) as out:
        for number, start in enumerate(range(0, rows, rows_per_shard)):
            with TokenWriter(out.folder / f"shard-{number:05d}.parquet", SHARD_SCHEMA, {}, row_group=8) as writer:
                writer.write(rows_of(columns, start, min(start + rows_per_shard, rows)))
    assert out.manifest
    return out.manifest


def table_of(columns: dict) -> pa.Table:
    tokens = pa.array(list(columns["tokens"]), SHARD_SCHEMA.field("tokens").type)
    arrays = [tokens if f.name == "tokens" else pa.array(columns[f.name], f.type) for f in SHARD_SCHEMA]
    return pa.table(arrays, schema=SHARD_SCHEMA)


def write_tokenizer(path: Path, specials: tuple[str, ...] = ("<|endoftext|>", "<|padding|>"), merges: int = 60) -> Path:
    """A byte-level BPE tokenizer trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(specials) + merges, special_tokens=list(specials), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    words = "the cat sat on a mat and it was good then they went home by train in rain robot kill harm".split()  # noqa: SIM905
    tokenizer.train_from_iterator([" ".join(words[i:] + words[:i]) for i in range(len(words))], trainer)
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False), "utf-8")
    return path
