"""How long do documents take to become a pool, beside Datatrove's DocumentTokenizer on the same documents?

    OMP_NUM_THREADS=1 python -m bench.tokenizing [--repeats 5] [--write]

One process and one thread each, alternating, on real text where ../shared/data has it and on made-up text elsewhere.
Ours does more: it asks DuckDB which documents to keep, checks the fast tokenizer against the slow one, counts tokens
of every document, packs, writes sequences with their lineage and hashes them. Theirs writes tokens and an index; it is
spared its shuffling. Ids are compared document by document. `--write` puts the result into bench/results/.

Not called tokenize.py: run from this folder that name would hide the standard library's module.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaven.home import Home
from leaven.manifest import Manifest, output
from leaven.tokens import Tokenizer
from mixes.pools import build_pool
from schemas.tables import DOCUMENTS

DOCUMENTS_READ = 600
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def find_texts() -> tuple[str, list[str]]:
    source = SHARED / "text" / "general-00.parquet"
    if source.is_file():
        texts = pq.read_table(source, columns=["text"]).column(0).slice(0, DOCUMENTS_READ).to_pylist()
        return f"{len(texts)} documents of general English text", texts
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(1, 10))) for _ in range(5000)]
    return "2,000 made-up documents", [" ".join(rng.choices(words, k=1500)) for _ in range(2000)]


def find_tokenizer(folder: Path) -> Path:
    """A plain tokenizer.json, because Datatrove takes no .gz."""
    packed = SHARED / "tokenizer" / "gpt-neox-olmo-dolma-v1_5.json.gz"
    source = packed if packed.is_file() else ROOT / "microworld" / "tokenizer.json"
    (folder / "tokenizer.json").write_bytes(Tokenizer.load(source).data)
    return folder / "tokenizer.json"


def write_documents(home: Home, texts: list[str]) -> Path:
    """Documents as a curation leaves them; returns the part."""
    digest = lambda text: hashlib.blake2b(text.encode(), digest_size=16).hexdigest()  # noqa: E731
    ids = [digest(f"{n} {text}") for n, text in enumerate(texts)]
    own = {"id": ids, "text": texts, "text_hash": [digest(t) for t in texts], "chars": [len(t) for t in texts]}
    own["bytes"] = [len(t.encode()) for t in texts]
    filler = lambda f: [None if f.nullable else ""] * len(texts)  # noqa: E731
    table = pa.table([pa.array(own.get(f.name, filler(f)), f.type) for f in DOCUMENTS], schema=DOCUMENTS)
    with output(home.folder("documents", "bench@1"), kind="documents", name="bench", version="1", meaning={}) as out:
        pq.write_table(table, out.folder / "part-00000.parquet", compression="zstd", row_group_size=1000)
    return home.folder("documents", "bench@1") / "part-00000.parquet"


def ours(home: Home, tokenizer: Path, version: int) -> tuple[float, Manifest]:
    recipe = home.path / f"bench-{version}.toml"
    recipe.write_text(
        f'name = "bench"\nversion = "{version}"\ndocuments = "bench@1"\ntokenizer = "{tokenizer}"\n'
        'sequence_length = 2048\n[keep]\nlong_enough = "chars >= 0"\n'
    )
    start = time.perf_counter()
    (manifest,) = build_pool(recipe, home)
    return time.perf_counter() - start, manifest


def theirs(folder: Path, part: Path, tokenizer: Path) -> float:
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    read = ParquetReader(str(part.parent), glob_pattern="*.parquet", batch_size=1000)
    write = DocumentTokenizer(str(folder), str(tokenizer), eos_token="<|endoftext|>", shuffle_documents=False)
    start = time.perf_counter()
    for _ in write.run(read.run(None, 0, 1), 0, 1) or ():
        pass
    return time.perf_counter() - start


def compare_ids(manifest: Manifest, folder: Path, part: Path) -> int:
    """Documents whose ids are the same in both; raises AssertionError where any differ."""
    ids = pq.read_table(part, columns=["id"]).column(0).to_pylist()
    (tokens_path,) = folder.glob("*.ds")
    ends = np.fromfile(f"{tokens_path}.index", np.uint64).astype(np.int64)
    wide = tokens_path.stat().st_size // int(ends[-1])
    flat = np.fromfile(tokens_path, {2: np.uint16, 4: np.uint32}[wide])
    pieces: dict[str, dict[int, np.ndarray]] = {}
    for path in sorted(manifest.folder.glob("part-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            borders = [*row["doc_starts"], 2048]
            for n, (id_, offset) in enumerate(zip(row["item_ids"], row["doc_offsets"])):
                pieces.setdefault(id_, {})[offset] = np.array(row["tokens"][borders[n] : borders[n + 1]])
    missing = 0
    for id_, begin, end in zip(ids, [0, *ends[:-1]], ends):
        have = np.concatenate([np.empty(0, int), *(p for _, p in sorted(pieces.get(id_, {}).items()))])
        assert np.array_equal(have, flat[begin : begin + len(have)]), f"ids of document {id_} differ"
        missing += int(end - begin) - len(have)
    assert missing == manifest.counts["tokens_dropped_tail"], "tokens are missing beyond the pool's tail"
    return len(ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the result into bench/results/")
    args = parser.parse_args()
    about, texts = find_texts()
    size = sum(len(t.encode()) for t in texts)
    with tempfile.TemporaryDirectory() as name:
        home, folder = Home(Path(name) / "home"), Path(name)
        home.path.mkdir()
        tokenizer, part = find_tokenizer(folder), write_documents(home, texts)
        ours(home, tokenizer, 0)  # imports
        rows = []
        for n in range(1, args.repeats + 1):
            a, manifest = ours(home, tokenizer, n)
            b = theirs(folder / f"theirs-{n}", part, tokenizer)
            rows.append({"ours_seconds": round(a, 3), "theirs_seconds": round(b, 3), "ratio": round(b / a, 2)})
            speeds = f"ours {size / a / 1e6:.1f} MB/s, theirs {size / b / 1e6:.1f} MB/s"
            print(f"  {a:6.2f} s beside {b:6.2f} s: ratio {b / a:.1f} ({speeds})", flush=True)
        same = compare_ids(manifest, folder / f"theirs-{n}", part)
    ratios = sorted(r["ratio"] for r in rows)
    result = {
        "what": "documents to a pool, beside datatrove.DocumentTokenizer; seconds, one thread",
        "text": about, "bytes": size, "documents_with_identical_ids": same, "repeats": rows,
        "ratio": {"min": ratios[0], "median": statistics.median(ratios), "max": ratios[-1]},
        "python": platform.python_version(), "processor": platform.processor() or platform.machine(),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if args.write:
        (ROOT / "bench" / "results").mkdir(exist_ok=True)
        (ROOT / "bench" / "results" / "tokenizing.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
