"""How fast is the blocklist beside what one would write first? Megabytes of UTF-8 text a second, one core, one run.

    .venv/bin/python bench/blocklist.py [TEXTS.parquet ...] [--turns 5] [--write]

Every approach gets the same texts (a column `text`; the default is the data beside the checkout) in turn, so that a
busy machine slows all alike; slow ones get the first `--slow-mb` of them. Time is CPU time, the median over turns. What
each approach gives differs, and the table says so: only Leaven's give every overlapping match with word bounds, folding
and spans in the original text. `--write` puts the result into bench/results/.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from filters.blocklist import Blocklist, read_terms, spellings  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
SETS = {
    "general text": [DATA / "text" / f"general-0{i}.parquet" for i in range(2)],
    "text about AI": [DATA / "ai_discourse" / "documents.parquet"],
}


def approaches() -> dict[str, tuple[str, bool, Callable[[list[str]], int]]]:
    """Name -> (what it gives, whether it is slow, texts -> matches)."""
    terms = read_terms()
    surfaces = sorted(
        {s for t in terms.terms for text in (t.term, *t.also) for s in spellings(text)}, key=len, reverse=True
    )

    def leaven(engine: str) -> Callable[[list[str]], int]:
        blocklist = Blocklist(terms, engine)
        return lambda texts: len(blocklist.find(texts)[0])

    alternation = re.compile(r"\b(?:" + "|".join(map(re.escape, surfaces)) + r")\b", re.IGNORECASE)
    stock = re.compile(r"(?:\W|^)({})(?:\W|$)".format("|".join(map(re.escape, surfaces))))

    import ahocorasick_rs
    import hyperscan
    import polars

    automaton = ahocorasick_rs.AhoCorasick(surfaces)
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[re.sub(r"[^\w]", lambda m: "\\" + m.group(), s).encode() for s in surfaces],
        ids=list(range(len(surfaces))), elements=len(surfaces), flags=[hyperscan.HS_FLAG_CASELESS] * len(surfaces),
    )  # fmt: skip

    def raw_hyperscan(texts: list[str]) -> int:
        found: list[int] = []
        for text in texts:
            database.scan(text.encode(), match_event_handler=lambda i, s, e, f, c: found.append(e))
        return len(found)

    def polars_any(texts: list[str]) -> int:
        return int(polars.Series(texts).str.contains_any(surfaces, ascii_case_insensitive=True).sum())

    return {
        "leaven (hyperscan)": ("every hit, folded, bounded, with spans", False, leaven("hyperscan")),
        "leaven (Aho-Corasick)": ("the same hits", False, leaven("ahocorasick")),
        "hyperscan alone": ("byte ends, inside words too, ASCII case", False, raw_hyperscan),
        "ahocorasick_rs alone": (
            "overlapping, inside words too, of lowered text", False,
            lambda texts: sum(len(automaton.find_matches_as_indexes(t.lower(), overlapping=True)) for t in texts),
        ),
        "polars contains_any": ("whether a text has any, inside words too", False, polars_any),
        "re, one alternation": (
            "bounded, one of overlapping ones", True,
            lambda texts: sum(1 for t in texts for _ in alternation.finditer(t)),
        ),
        "Datatrove's bad-words expression": (
            "bounded, one of overlapping ones", True,
            lambda texts: sum(1 for t in texts for _ in stock.finditer(t.lower())),
        ),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--slow-mb", type=float, default=0.5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    sets = {"texts": options.texts} if options.texts else {k: [p for p in v if p.exists()] for k, v in SETS.items()}
    result: dict = {"machine": platform.machine(), "python": platform.python_version(), "turns": options.turns,
                    "terms": len(read_terms().terms), "sets": {}}  # fmt: skip
    rivals = approaches()
    for name, paths in sets.items():
        texts = [t for path in paths for t in pq.read_table(path, columns=["text"])["text"].to_pylist()]
        if not texts:
            sys.exit(f"no texts for '{name}': give Parquet files with a column text")
        few, size = [], 0.0
        for text in texts:
            few.append(text[: int(options.slow_mb * 1e6)])
            size += len(few[-1].encode()) / 1e6
            if size >= options.slow_mb:
                break
        seconds: dict[str, list[float]] = {k: [] for k in rivals}
        found: dict[str, int] = {}
        megabytes = {k: sum(len(t.encode()) for t in (few if v[1] else texts)) / 1e6 for k, v in rivals.items()}
        for turn in range(options.turns + 1):
            for rival, (_, slow, run) in rivals.items():
                if slow and turn > 2:
                    continue
                started = time.process_time()
                found[rival] = run(few if slow else texts)
                if turn:  # the first warms up
                    seconds[rival].append(time.process_time() - started)
        speed = {k: megabytes[k] / statistics.median(seconds[k]) for k in rivals}
        rows: dict[str, dict[str, Any]] = {k: {"mb": round(megabytes[k], 2), "matches": found[k], "gives": rivals[k][0],
                    "mb_per_second": round(speed[k], 2)} for k in rivals}  # fmt: skip
        base = rows["leaven (hyperscan)"]["mb_per_second"]
        result["sets"][name] = {"texts": len(texts), "rows": rows}
        print(f"\n{name}: {len(texts):,} texts, {megabytes['leaven (hyperscan)']:.1f} MB")
        for rival, row in rows.items():
            row["leaven_is_faster_by"] = round(base / row["mb_per_second"], 2)
            print(f"  {rival:34} {row['mb_per_second']:8.1f} MB/s   x{row['leaven_is_faster_by']:<8} "
                  f"{row['matches'] / row['mb']:8.0f} a MB   {row['gives']}")  # fmt: skip
    if options.write:
        path = ROOT / "bench" / "results" / "blocklist.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
