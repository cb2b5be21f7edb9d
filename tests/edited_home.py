"""Documents, and rewrites of them, for tests of pools, mixes and traces: rows of the declared schemas, made up here."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rewritekit import rewrite_row, write_rewrites
from small_home import TERMS, WORDS, make_documents

from leaven.home import Home
from leaven.manifest import Manifest
from leaven.segments import segment_spans

STYLE = {"hash": "e" * 32, "operation": "replace", "system": "You edit text.", "prompt": "Write anew:\n{text}\nEnd."}
TEACHERS = (("mini", "r1", "mini-family"), ("large", "r7", "large-family"), ("large", "r8", "large-family"))


def documents(home: Home, ref: str = "web@1") -> list[list[dict[str, Any]]]:
    """The documents of a corpus, part by part."""
    return [pq.read_table(p).to_pylist() for p in sorted(home.folder("documents", ref).glob("part-*.parquet"))]


def rewrites_of(
    parts: list[list[dict[str, Any]]], seed: int = 0, teachers: tuple = TEACHERS, accepted: float = 0.7,
    segments: tuple[int, int] = (30, 60), style: str = "clean@1", operations: tuple[str, ...] = ("replace", "append"),
) -> tuple[list[list[dict]], list[list[dict]]]:  # fmt: skip
    """Rows of REWRITES and CHECKS, part by part: of most segments one to three samples, some of them rejected."""
    rng = random.Random(seed)
    rows: list[list[dict]] = []
    checks: list[list[dict]] = []
    for documents_ in parts:
        mine: list[dict] = []
        checked: list[dict] = []
        for d in documents_:
            operation = rng.choice(operations)
            teacher, revision, family = rng.choice(teachers)
            for number, (start, end) in enumerate(segment_spans(d["text"], *segments)):
                for sample in range(rng.choice((0, 1, 1, 3))):
                    passed = rng.random() < accepted
                    text = " ".join(rng.choices([*WORDS, "né", *TERMS], k=rng.randint(1, 12)))
                    id_ = hashlib.blake2b(f"{seed} {d['id']} {number} {sample}".encode(), digest_size=16).hexdigest()
                    mine.append(rewrite_row(
                        text, id=id_, document_id=d["id"], segment=number, start=start, end=end, operation=operation,
                        style=style, teacher=teacher, teacher_revision=revision, teacher_family=family, sample=sample,
                        accepted=passed, reason=None if passed else "meaning", failed=[] if passed else ["meaning"],
                        source_hash=d["text_hash"], prompt_hash="f" * 32, sampling='{"temperature": 0.7}',
                        completion=f"{sample:032x}", source_tokens=9, text_tokens=5,
                    ))  # fmt: skip
                    off = 0.1 if passed else 0.8
                    checked.append({"rewrite": id_, "check": "meaning", "number": off, "limit": 0.4, "passed": passed,
                                    "detail": None})  # fmt: skip
                    checked.append({"rewrite": id_, "check": "length", "number": len(text) / (end - start),
                                    "limit": 3.0, "passed": True, "detail": "ratio"})  # fmt: skip
        rows.append(mine)
        checks.append(checked)
    return rows, checks


def write_rewritten(home: Home, name: str = "told", ref: str = "web@1", **said: Any) -> Manifest:
    """Rewrites NAME@1 of a corpus, made by `rewrites_of`, with the style's template in their manifest."""
    rows, checks = rewrites_of(documents(home, ref), **said)
    made = write_rewrites(home, rows, name, inputs=[home.find("documents", ref).as_input()], checks=checks)
    made.extra["styles"] = {"clean@1": STYLE}
    (made.folder / "manifest.json").write_text(made.to_json() + "\n", "utf-8")
    return made


def make_edited_home(folder: Path) -> Home:
    """Documents web@1 with scores and hits, rewrites told@1 of them, and a tokenizer beside the home."""
    from small_sequences import write_tokenizer

    home = Home(folder / "home")
    make_documents(home)
    write_tokenizer(folder / "tokenizer.json")
    write_rewritten(home)
    return home


def write_recipe(home: Home, name: str, body: str, **keys: Any) -> Path:
    """A pool's recipe beside the home; `body` holds further lines and tables."""
    values = {"version": '"1"', "tokenizer": '"tokenizer.json"', "sequence_length": "32"} | keys
    lines = [f'name = "{name}"', *(f"{k} = {v}" for k, v in values.items()), body]
    path = home.path.parent / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_mix(home: Home, name: str, pools: dict[str, str], steps: int, ratio: str, tail: str = "") -> Path:
    """A mix's recipe of one phase, a sequence a step, beside the home; `tail` holds further tables."""
    lines = [f'name = "{name}"', 'version = "1"', 'tokenizer = "tokenizer.json"', "sequence_length = 32", "batch = 1"]
    lines += ["seed = 1", "[pools]", *(f'{c} = "{ref}"' for c, ref in pools.items())]
    lines += ["[[phase]]", 'name = "main"', f"steps = {steps}", f"ratio = {{ {ratio} }}", tail]
    path = home.path.parent / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path
