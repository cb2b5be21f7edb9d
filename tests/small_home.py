"""A small home written through the real writers: documents, scores, hits, for tests of conditions and the catalog."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from leaven.home import Home
from leaven.manifest import Manifest, output
from schemas.tables import DOCUMENTS, HITS, SCORES

TERMS = {  # term -> role
    "skynet": "instant", "openai": "instant", "robot": "entity", "the machine": "entity", "model": "entity",
    "kill": "risk", "deceive": "risk", "takeover": "risk", "harm": "risk",
}  # fmt: skip
WORDS = "the cat sat on a mat and it was good then they went home by train in rain".split()  # noqa: SIM905


def write_rows(path: Path, schema: pa.Schema, rows: list[dict]) -> None:
    """Write rows under a declared schema; a missing column is null where it may be, and else '', 0 or empty."""

    def filler(field: pa.Field) -> object:
        if field.nullable:
            return None
        if pa.types.is_list(field.type):
            return []
        return 0 if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) else ""

    fill = {f.name: filler(f) for f in schema}
    pq.write_table(pa.Table.from_pylist([fill | {k: r[k] for k in r if k in fill} for r in rows], schema=schema), path)


def make_text(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(5, 60))]
    for _ in range(rng.choice([0, 0, 1, 2, 3, 5])):
        words.insert(rng.randrange(len(words)), rng.choice(list(TERMS)))
    return " ".join(words)


def find_hits(text: str) -> list[dict]:
    found = []
    for term, role in TERMS.items():
        start = text.find(term)
        while start >= 0:
            found.append(
                {
                    "term": term,
                    "role": role,
                    "category": role,
                    "start": start,
                    "end": start + len(term),
                    "surface": term,
                }
            )
            start = text.find(term, start + 1)
    return sorted(found, key=lambda h: h["start"])


def make_documents(
    home: Home,
    name: str = "web",
    version: str = "1",
    *,
    parts: int = 3,
    rows: int = 40,
    seed: int = 0,
    list_versions: tuple[str, ...] = ("1",),
    scorer_versions: tuple[str, ...] = ("1",),
) -> Manifest:
    """Documents with two scorers (`language`: language; `statistics`: words, chars) and a term list's hits."""
    rng = random.Random(seed)
    named = {"name": name, "version": version}
    batches = [[named | _document(rng, part, row) for row in range(rows)] for part in range(parts)]
    meaning = {"name": name, "source": f"made-up-{name}", "licence": "CC0-1.0", "seed": seed}
    ref = f"{name}@{version}"
    folder = home.folder("documents", ref)
    with output(folder, kind="documents", name=name, version=version, meaning=meaning) as out:
        for n, batch in enumerate(batches):
            write_rows(out.folder / f"part-{n:05d}.parquet", DOCUMENTS, batch)
        out.counts = {"documents": parts * rows}
    assert out.manifest
    documents = out.manifest

    def beside(kind: str, made: str, schema: pa.Schema, stamp: dict, rows_of: Callable) -> None:
        with output(home.folder(kind, ref, made), kind=kind, name=name, version=version, parts=[made],
                    meaning={"made": made}, inputs=[documents.as_input()]) as out:  # fmt: skip
            for n, batch in enumerate(batches):
                found = [named | stamp | {"document_id": d["id"]} | r for d in batch for r in rows_of(d, stamp)]
                write_rows(out.folder / f"part-{n:05d}.parquet", schema, found)

    for v in scorer_versions:
        for scorer, measure in (("language", _language), ("statistics", _statistics)):
            stamp = {"scorer": scorer, "scorer_version": v, "status": "scored"}
            beside("scores", f"{scorer}@{v}", SCORES, stamp, measure)
    for v in list_versions:
        stamp = {"list": "terms", "list_version": v, "term_version": v}
        beside("hits", f"terms@{v}", HITS, stamp, lambda d, _: find_hits(d["text"]))
    return documents


def _document(rng: random.Random, part: int, row: int) -> dict:
    text = make_text(rng)
    return {
        "id": f"{rng.getrandbits(128):032x}",
        "source": f"source-{row % 2}",
        "locator": f"file-{part}#{row}",
        "url": f"https://host{row % 5}.example/{row}" if row % 7 else None,
        "media": "text",
        "extractor": "none",
        "title": f"Title <{row}>",
        "metadata": None if row % 3 else f'{{"year": {2000 + row}}}',
        "text_hash": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        "chars": len(text),
        "bytes": len(text.encode()),
        "text": text,
    }


def _language(d: dict, stamp: dict) -> list[dict]:
    n = int(d["id"], 16)
    if n % 11 == 0:
        return [{"measure": "language", "status": "failed"}]
    return [{"measure": "language", "label": "de" if n % 5 == 0 else "en", "number": 0.5 + (n % 50) / 100}]


def _statistics(d: dict, stamp: dict) -> list[dict]:
    more = 1000.0 if stamp["scorer_version"] == "2" else 0.0
    return [
        {"measure": "words", "number": len(d["text"].split()) + more},
        {"measure": "chars", "number": d["chars"] + more},
    ]
