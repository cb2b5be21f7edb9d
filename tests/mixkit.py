"""Small pools and recipes for the tests and benches of mixes: real files, made without a tokenizer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from leaven.home import Home
from leaven.manifest import Manifest, output
from leaven.shards import TokenWriter
from schemas.tables import SEQUENCES

TOKENIZER = b'{"model": "made up for tests"}'
SHA256 = hashlib.sha256(TOKENIZER).hexdigest()
VOCABULARY = 1000


def tokenizer(folder: Path) -> Path:
    """A file that stands for the tokenizer; nothing here encodes text."""
    path = folder / "tokenizer.json"
    path.write_bytes(TOKENIZER)
    return path


def pool_rows(seed: int, first: int, rows: int, length: int) -> dict:
    """Columns of SEQUENCES: random tokens, one to three pieces a row."""
    rng = np.random.default_rng([seed, first])
    starts = [[0, *sorted(rng.choice(np.arange(1, length), rng.integers(0, 3), replace=False))] for _ in range(rows)]
    number = [f"{seed:08x}{first + i:024x}" for i in range(rows)]
    return {
        "pool_row": np.arange(first, first + rows),
        "loss_tokens": [length - len(s) for s in starts],
        "bytes": rng.integers(length, 6 * length, rows),
        "item_ids": [[n] * len(s) for n, s in zip(number, starts)],
        "item_kinds": [["document"] * len(s) for s in starts],
        "doc_starts": starts,
        "doc_offsets": [[7 * i for i in range(len(s))] for s in starts],
        "tokens": rng.integers(0, VOCABULARY, (rows, length), dtype=np.int32),
    }


def write_pool(
    home: Home, name: str, per_part: list[int], length: int = 16, version: str = "1", row_group: int = 1024, **extra
) -> Manifest:
    """A pool of random sequences; equal arguments give an equal pool."""
    seed = int.from_bytes(name.encode()[:4], "big")
    with output(
        home.folder("pools", f"{name}@{version}"),
        kind="pools",
        name=name,
        version=version,
        meaning={"name": name, "rows": per_part, "length": length},
    ) as out:
        if out.up_to_date:
            return out.up_to_date
        first = pieces = 0
        for part, rows in enumerate(per_part):
            if not rows:
                continue  # a part that would be empty is not written, and its number stays free
            with TokenWriter(out.folder / f"part-{part:05d}.parquet", SEQUENCES, {"part": part}, row_group) as writer:
                columns = pool_rows(seed, first, rows, length)
                writer.write(columns)
                pieces += sum(map(len, columns["doc_starts"]))
            out.known_sha256[writer.path.name] = writer.sha256
            first += rows
        out.counts = {"sequences": first, "pieces": pieces}
        out.extra = {
            "tokenizer": SHA256,
            "tokenizer_path": "tokenizer.json",
            "vocab_size": VOCABULARY + 16,
            "eot": 0,
            "sequence_length": length,
            "heldout": False,
            "rows_per_part": [rows for rows in per_part if rows],
        } | extra
    assert out.manifest
    return out.manifest


def recipe_text(
    folder: Path, pools: dict[str, str], phases: list[tuple[str, int, str]], tail: str = "", **values
) -> str:
    """A mix recipe; phases are (name, steps, ratio table without braces)."""
    keys = {
        "name": "mix",
        "version": "1",
        "tokenizer": str(tokenizer(folder)),
        "sequence_length": 16,
        "batch": 8,
        "seed": 17,
    } | values
    lines = [f"{k} = {v!r}" if isinstance(v, int) else f'{k} = "{v}"' for k, v in keys.items()]
    lines += ["", "[pools]"] + [f'{c} = "{ref}"' for c, ref in pools.items()]
    for name, steps, ratio in phases:
        lines += ["", "[[phase]]", f'name = "{name}"', f"steps = {steps}", f"ratio = {{ {ratio} }}"]
    return "\n".join([*lines, "", tail, ""])


def write_recipe(folder: Path, *args, file: str = "mix.toml", **values) -> Path:
    path = folder / file
    path.write_text(recipe_text(folder, *args, **values), "utf-8")
    return path
