"""What did two teachers choose differently? Pairs of rewrites as tables of +1, 0 and -1.

A pair is two rewrites of one segment. A choice is +1 where the teacher made it and the control did not, -1 where it was
the other way round, 0 where both or neither did; a 0 says nothing of who wrote what. A segment's topic is the same on
both sides, so topic alone gives no sign.

    words     a word that stands more often on one side
    form      longer, more sentences, more commas, ...: nothing about which words
    phrases   two neighbouring words that stand together on one side alone
    orders    which of the words that both have is told earlier
    preferences  which detail of a category that has nothing to do with the matter is told, or told first

Contexts are words of the source segment, which neither teacher chose: what a choice may hang on.

Not covered: choices of more than two neighbouring words, and contexts that are no single word.

Shapes: N pairs, F choices, C contexts.
"""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VERSION = "1"
WORD = re.compile(r"\w+|[^\w\s]")
FAMILIES = ("words", "form", "phrases", "orders", "preferences")
MOST_CHOICES, MOST_CONTEXTS = 200, 24
LEAST_SHARE, LEAST_COUNT = 0.02, 20  # of pairs, in which a choice must differ to be looked at
CONTEXT_SHARE = 0.1  # of pairs, that must have a context, and lack it
Preferences = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Pair:
    """Two accepted rewrites of one segment; `source` is empty where the segment is not to be had."""

    document: str
    segment: int
    style: str
    source: str
    text: str
    control: str


@dataclass(frozen=True)
class Choices:
    """`signs_NF` in {-1, 0, 1}, int8; column f is `names[f]`."""

    names: tuple[str, ...]
    signs_NF: np.ndarray


@functools.cache
def default_preferences() -> dict[str, list[str]]:
    """The categories of rewriters/preferences.toml."""
    return tomllib.loads(Path(__file__).with_name("preferences.toml").read_text("utf-8"))


def differences(pairs: Sequence[Pair], preferences: Preferences, everything: bool = True) -> dict[str, Choices]:
    """What differs in each family, for FAMILIES and `choices`, which holds words, phrases and orders together.

    Without `everything` only preferences are looked for.

    A choice must differ in LEAST_COUNT pairs and in LEAST_SHARE of them; of columns that say the same one stays, and of
    the rest the MOST_CHOICES that differ most often. Exchanging the two sides of any pairs changes only signs.
    """
    found: dict[str, list[dict[str, int]]] = {family: [] for family in FAMILIES}
    for pair in pairs:
        one, two = _words(pair.text), _words(pair.control)
        first_one, first_two = _first(one), _first(two)
        found["preferences"].append(_signs(favoured(first_one, preferences), favoured(first_two, preferences)))
        if not everything:
            continue
        found["words"].append(_signs(Counter(one), Counter(two)))
        found["form"].append(_signs(_form(pair.text, one), _form(pair.control, two)))
        found["phrases"].append(_signs(_together(one), _together(two)))
        found["orders"].append(_earlier(first_one, first_two))
    tables = {family: _table(rows) for family, rows in found.items() if rows}
    if not everything:
        return tables
    parts = [tables[family] for family in ("words", "phrases", "orders")]
    names = tuple(name for part in parts for name in part.names)
    tables["choices"] = _kept(Choices(names, np.concatenate([part.signs_NF for part in parts], axis=1)))
    return tables


def contexts(pairs: Sequence[Pair]) -> Choices:
    """(N, C) int8 of 0 and 1: which words the segments have, the MOST_CONTEXTS nearest to a half of the pairs.

    Where a segment's source is not to be had, words that both of its rewrites have stand in: they too are the same
    whichever side is whose.
    """
    has = [set(_words(p.source)) if p.source else set(_words(p.text)) & set(_words(p.control)) for p in pairs]
    counts = Counter(word for words in has for word in words)
    least = CONTEXT_SHARE * len(pairs)
    names = sorted(word for word, n in counts.items() if least <= n <= len(pairs) - least and re.match(r"\w", word))
    table_NC = np.array([[name in words for name in names] for words in has], np.int8).reshape(len(pairs), -1)
    unlike = _unlike(table_NC ^ table_NC[:1])  # a word and one that stands wherever it does not say the same
    nearest = sorted(unlike, key=lambda c: (abs(int(table_NC[:, c].sum()) - len(pairs) / 2), c))[:MOST_CONTEXTS]
    return Choices(tuple(names[c] for c in nearest), table_NC[:, nearest])


def favoured(first: Mapping[str, int], preferences: Preferences) -> dict[str, int]:
    """+1 for the word of a category that is told first, -1 for its others where one is told, told later or not."""
    found = {}
    for category, words in preferences.items():
        told = [word for word in words if word in first]
        if told:
            best = min(told, key=first.__getitem__)
            found.update({f"{category}: {word}": 1 if word == best else -1 for word in words})
    return found


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _together(words: list[str]) -> dict[tuple[str, str], int]:
    return dict.fromkeys(itertools.pairwise(words), 1)


def _first(words: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, word in enumerate(words):
        found.setdefault(word, at)
    return found


def _form(text: str, words: list[str]) -> dict[str, float]:
    letters = [len(w) for w in words if w[0].isalnum()]
    return {
        "characters": len(text), "words": len(letters), "letters a word": sum(letters) / max(len(letters), 1),
        "sentences": sum(words.count(mark) for mark in ".!?"), "commas": words.count(","),
        "other marks": sum(not w[0].isalnum() and w not in ".,!?" for w in words), "lines": text.count("\n"),
        "different words": len(set(words)) / max(len(words), 1),
    }  # fmt: skip


def _signs(one: Mapping, two: Mapping) -> dict[str, int]:
    found = {}
    for key in one.keys() | two.keys():
        a, b = one.get(key, 0), two.get(key, 0)
        if a != b:
            found[" ".join(key) if isinstance(key, tuple) else key] = 1 if a > b else -1
    return found


def _earlier(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    """+1 for a word that both have and that stands earlier among such words in `one`."""
    shared = [word for word in one if word in two]
    rank = {word: at for at, word in enumerate(sorted(shared, key=two.__getitem__))}
    return {f"early {word}": 1 if at < rank[word] else -1 for at, word in enumerate(shared) if at != rank[word]}


def _table(rows: list[dict[str, int]]) -> Choices:
    counts = Counter(name for row in rows for name in row)
    least = max(LEAST_COUNT, LEAST_SHARE * len(rows))
    names = sorted((n for n, c in counts.items() if c >= least), key=lambda n: (-counts[n], n))[: 4 * MOST_CHOICES]
    column = {name: f for f, name in enumerate(names)}
    signs_NF = np.zeros((len(rows), len(names)), np.int8)
    for i, row in enumerate(rows):
        for name, sign in row.items():
            if name in column:
                signs_NF[i, column[name]] = sign
    return _kept(Choices(tuple(names), signs_NF))


def _kept(table: Choices) -> Choices:
    """Columns unlike each other, those that differ most often first."""
    unlike = _unlike(table.signs_NF)
    often = np.abs(table.signs_NF).sum(axis=0, dtype=np.int64)
    best = sorted(unlike, key=lambda f: (-int(often[f]), f))[:MOST_CHOICES]
    return Choices(tuple(table.names[f] for f in best), table.signs_NF[:, best])


def _unlike(signs_NF: np.ndarray) -> list[int]:
    """Columns of which none is another's or its opposite; the first by place stays."""
    seen, found = set(), []
    for f, column in enumerate(signs_NF.T):
        place = np.flatnonzero(column)
        key = (column * column[place[0]]).tobytes() if len(place) else b""
        if key and key not in seen:
            seen.add(key)
            found.append(f)
    return found
