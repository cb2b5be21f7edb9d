"""Which English words are no names? Counts how words that follow a lower-case word are spelled, and writes the list.

    .venv/bin/python bench/common_words.py [TEXTS.parquet ...] [--write]

A word is common where it stands in lower case in at least DOCUMENTS texts, and TIMES as often as with a capital.
Without `--write` it says how the committed list differs from what these texts give (the default is the data beside the
checkout). The list (rewriters/common_words.txt) holds words and nothing of the texts.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
DATA = [*sorted((ROOT.parent / "shared" / "data" / "text").glob("general-0*.parquet")),
        ROOT.parent / "shared" / "data" / "ai_discourse" / "documents.parquet"]  # fmt: skip
LIST = ROOT / "rewriters" / "common_words.txt"
DOCUMENTS, TIMES, CHARACTERS = 12, 1.5, 30_000  # of a text its first characters are read: books are no heavier
INSIDE = re.compile(r"(?<=[a-z,;] )([A-Za-z][a-z]+)\b")


def common(texts: list[str]) -> list[str]:
    """The words of texts that are common, sorted."""
    lower, upper, documents = Counter[str](), Counter[str](), Counter[str]()
    for text in texts:
        for word, count in Counter(INSIDE.findall(text[:CHARACTERS])).items():
            (lower if word[0].islower() else upper)[word.lower()] += count
            documents[word] += word[0].islower()
    return sorted(w for w, n in documents.items() if n >= DOCUMENTS and lower[w] >= TIMES * upper[w])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    paths = [p for p in options.texts or DATA if p.is_file()]
    if not paths:
        sys.exit("no texts: give Parquet files with a column text")
    words = common([t for p in paths for t in pq.read_table(p, columns=["text"])["text"].to_pylist()])
    if options.write:
        LIST.write_text("\n".join(textwrap.wrap(" ".join(words), 120)) + "\n", "utf-8")
    have = set(LIST.read_text("utf-8").split())
    print(f"{len(words):,} words; {len(have - set(words)):,} of the list are not among them, "
          f"{len(set(words) - have):,} are missing in it")  # fmt: skip


if __name__ == "__main__":
    main()
