"""How one part of a corpus becomes tokens: the first half of the work that a pool's processes share.

    documents or rewrites of one part + decisions -> decisions with token counts, edits, and two files of token ids

Everything is a function of the input: which process runs a part, and when, changes no byte. The token ids wait on disk
until mixes/sequences.py packs them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaven import masking
from leaven.errors import UserError
from leaven.tokens import Tokenizer
from mixes.edits import Editing, own_edits
from mixes.heldout import deciding_hashes, is_heldout
from mixes.tagging import PartSources, Tagging, marks, no_counts, tagged
from schemas.tables import DECISIONS, EDITS

SIDES = ("kept", "heldout")  # the two pools that one recipe makes
PROBED = 8  # documents of a part on which the fast tokenizer is compared with the slow one ...
PROBED_CHARS = 2000  # ... over their first characters


@dataclass(frozen=True)
class Pool:
    """What every job of one pool must know."""

    name: str
    version: str
    tokenizer_path: str
    tokenizer_sha256: str
    eot: int
    length: int
    heldout_share: Fraction
    scratch: Path
    item: str = "document"  # kind of its items: document or rewrite
    edited: bool = False  # whether it holds rewrites, as items or put into documents
    mask: tuple[str, ...] = ()  # kinds of spans that are replaced before a text is tokenized
    tags: Tagging | None = None  # what is put between the tokens of documents that are kept and not held out


@dataclass(frozen=True)
class Part:
    """One part of a pool's documents or rewrites: its file, what was decided, and the files of what lies beside it.

    `decided` has the row order of `path`. `duplicates` are those by whose clusters texts are held out; without them
    each text decides for itself. `spans` are what `Pool.mask` replaces, `tags` those by which `Pool.tags` go,
    `rewrites` (reference, file) what is put into the documents.
    """

    number: int
    ref: str
    path: Path
    decided: pa.Table
    duplicates: Path | None = None
    spans: Path | None = None
    tags: PartSources | None = None
    rewrites: tuple[tuple[str, Path], ...] = ()


def spans_to_mask(spans: Path | None, kinds: tuple[str, ...]) -> dict[str, list[tuple[int, int, str]]]:
    """(start, end, kind) of the spans of `kinds`, for each document of a part that has any."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    if spans is not None and kinds:
        rows = pq.read_table(spans, columns=["document_id", "start", "end", "kind"])
        for row in rows.to_pylist():
            if row["kind"] in kinds:
                found.setdefault(row["document_id"], []).append((row["start"], row["end"], row["kind"]))
    return found


@lru_cache(maxsize=1)
def tokenizer_of(path: str, sha256: str) -> Tokenizer:
    """The tokenizer of this process; raises UserError where the file changed under our feet."""
    tokenizer = Tokenizer.load(path)
    if tokenizer.sha256 != sha256:
        raise UserError("this tokenizer file changed while the pool was being built", where=path)
    return tokenizer


def tokenize_part(pool: Pool, part: Part, tokenizer: Tokenizer | None = None) -> dict:
    """Tokenize one part; returns counts, from an earlier run where its files are whole.

    Writes `decisions-NNNNN.parquet`, `edits-NNNNN.parquet` where the pool holds rewrites, `kept-NNNNN.tokens` and
    `heldout-NNNNN.tokens` (int32 ids, each item followed by end-of-text) and last `counts-NNNNN.json` into the scratch
    folder. `tokenizer` spares this process loading it. The tokens of a tagged document are counted with its tags, those
    of an edited one with its rewrites.
    """
    number, path, decided = part.number, part.path, part.decided
    counts_path = pool.scratch / f"counts-{number:05d}.json"
    if counts_path.is_file():
        return json.loads(counts_path.read_text())
    tokenizer = tokenizer or tokenizer_of(pool.tokenizer_path, pool.tokenizer_sha256)
    kept, held, tokens = (
        decided.column("kept").to_numpy(),
        np.zeros(len(decided), bool),
        np.zeros(len(decided), np.int32),
    )
    if pool.heldout_share:
        hashes = deciding_hashes(path, pool.item, part.duplicates)
        if len(hashes) != len(decided):
            raise RuntimeError(f"{len(decided)} decisions for the {len(hashes)} rows of {path}")
        held = np.array([k and is_heldout(h, pool.heldout_share) for k, h in zip(kept.tolist(), hashes)], bool)
    eot = np.array([pool.eot], np.int32)
    masked = spans_to_mask(part.spans, pool.mask)
    marked = marks(pool.tags, part.tags, pool.scratch) if pool.tags and part.tags else {}
    tags = no_counts(pool.tags) if pool.tags else {}
    editing = Editing(part.rewrites, tokenizer) if pool.edited and pool.item == "document" else None
    at, reference = 0, False  # whether the fast tokenizer failed on this part; never carried to another
    with (
        open(tokens_path(pool, number, "kept"), "wb") as kept_file,
        open(tokens_path(pool, number, "heldout"), "wb") as held_file,
    ):
        for ids, texts in _batches(path):
            if not ids.equals(decided.column("document_id").slice(at, len(ids)).combine_chunks().cast(ids.type)):
                raise RuntimeError(f"decisions of {path} are not in the order of its rows")
            if masked:
                texts = [masking.mask(t, masked.get(i, ())) for i, t in zip(ids.to_pylist(), texts)]
            if at == 0:
                reference = not tokenizer.verify([t[:PROBED_CHARS] for t in texts[:PROBED]])
            here = slice(at, at + len(ids))
            if editing:
                texts = editing.edit(ids.to_pylist(), texts, kept[here], held[here])
            flat, offsets = tokenizer.encode_batch(texts, reference)
            tokens[here] = np.diff(offsets)
            if editing:
                editing.count(texts, flat, offsets, reference)
            takes: tuple[list, list] = ([], [])
            for i in np.flatnonzero(kept[here]).tolist():
                own = flat[offsets[i] : offsets[i + 1]]
                if pool.tags and not held[at + i] and (mine := marked.get(ids[i].as_py())):
                    own = tagged(pool.tags, mine, own, texts[i], ids[i].as_py(), tokenizer, tags)
                    tokens[at + i] = len(own)
                takes[int(held[at + i])].extend((own, eot))
            for file, take in zip((kept_file, held_file), takes):
                if take:
                    file.write(np.concatenate(take).data)
            at += len(ids)
    if at != len(decided):
        raise RuntimeError(f"{len(decided)} decisions for the {at} rows of {path}")
    columns = {name: decided.column(name).combine_chunks() for name in ("document_id", "kept", "reason", "failed")}
    columns |= {"heldout": pa.array(held), "tokens": pa.array(tokens)}
    _write(decisions_path(pool, number), columns, DECISIONS, name=pool.name, version=pool.version, documents=part.ref)
    counts = _count(decided, kept, held, tokens) | ({"tags": tags} if pool.tags else {})
    if pool.edited:
        rows, about = editing.finish() if editing else own_edits(path, part.ref, kept, held, tokens)
        _write(edits_path(pool, number), rows, EDITS, name=pool.name, version=pool.version)
        counts |= about
    partial = pool.scratch / f".counts-{number:05d}"
    partial.write_text(json.dumps(counts))
    os.replace(partial, counts_path)
    return counts


def _write(path: Path, columns: dict, schema: pa.Schema, **constants: str) -> None:
    """Write columns and constants under a schema; the file takes its name when it is whole."""
    rows = len(next(iter(columns.values())))
    for name, value in constants.items():
        columns[name] = pa.array([value] * rows, pa.string()).dictionary_encode()
    arrays = [c if isinstance(c := columns[f.name], pa.Array) else pa.array(c, f.type) for f in schema]
    table = pa.table([a.cast(f.type) for a, f in zip(arrays, schema)], schema=schema)
    partial = path.with_name(f".{path.stem}")
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, path)


def tokens_path(pool: Pool, number: int, side: str) -> Path:
    return pool.scratch / f"{side}-{number:05d}.tokens"


def decisions_path(pool: Pool, number: int) -> Path:
    return pool.scratch / f"decisions-{number:05d}.parquet"


def edits_path(pool: Pool, number: int) -> Path:
    return pool.scratch / f"edits-{number:05d}.parquet"


def _batches(path: Path) -> Iterator[tuple[pa.Array, list[str]]]:
    """(ids, texts) of a part of documents or rewrites, a batch at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=512, columns=["id", "text"]):
            yield batch.column("id"), batch.column("text").to_pylist()


def _count(decided: pa.Table, kept: np.ndarray, held: np.ndarray, tokens: np.ndarray) -> dict:
    removed: dict[str, int] = {}
    only: dict[str, int] = {}
    for failed in decided.column("failed").filter(pa.array(~kept)).to_pylist():
        removed[failed[0]] = removed.get(failed[0], 0) + 1
        if len(failed) == 1:
            only[failed[0]] = only.get(failed[0], 0) + 1
    counts = {"documents_considered": len(kept), "tokens_removed": int(tokens[~kept].sum(dtype=np.int64))}
    for side, mask in zip(SIDES, (kept & ~held, held)):
        counts[f"documents_{side}"] = int(mask.sum())
        counts[f"tokens_{side}"] = int(tokens[mask].sum(dtype=np.int64)) + int(mask.sum())  # with end-of-text
    if counts["documents_kept"] + counts["documents_heldout"] + sum(removed.values()) != len(kept):
        raise AssertionError(f"documents do not add up: {counts}, removed {removed}")
    return counts | {"removed": removed, "removed_only": only}
