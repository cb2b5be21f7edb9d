"""Do a teacher's rewrites narrow? Measures of diversity over accepted rewrites, each beside that of their own sources.

    rewrites --lowest keys--> a sample of each (style, teacher) --rewriters/variety.py--> rows: number, source_number
    every one asked for --count--> accepted_share, obeyed_share

A sample is the texts whose ids have the lowest keyed hashes: whoever adds them in whatever order gets the same texts,
a text that is in the sample of 10,000 was in that of 1,000 that held it, and memory does not grow with the rewrites.
Sources are the segments of those very rewrites, each once, however many samples were asked of it. What limits say of
the rows is in rewriters/limits.py.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewriters import variety
from rewriters.variety import VARIETY_VERSION, Coded

DIVERSITY_VERSION = f"1.{VARIETY_VERSION}"  # of samples and rows; of the measures
SAMPLE = 1000  # texts of each (style, teacher), and of all together
SAMPLED = (
    "distinct_1", "distinct_2", "distinct_3", "types", "self_bleu", "compression", "opening_share", "opening_number",
    "closing_share", "closing_number", "near_duplicates", "tail_mass", "new_mass",
)  # fmt: skip
COUNTED = ("accepted_share", "obeyed_share")  # over all, not a sample
MEASURES = (*SAMPLED, *COUNTED)
WITHOUT_SOURCE = ("new_mass", *COUNTED)  # there is nothing to set them in ratio to
Group = tuple[str | None, str | None]  # style and teacher; (None, None) for all together


@dataclass(frozen=True)
class Kept:
    """An accepted rewrite of a sample; `source` is empty where it was made from none, `source_id` names its segment."""

    key: int
    id: str
    text: str
    source: str
    source_id: Hashable


@dataclass
class Sample:
    """The `size` lowest keys among all that were added, and how many those were."""

    size: int
    added: int = 0
    heap: list[tuple[int, str, Kept]] = field(default_factory=list)  # of negated keys, the highest key first

    def add(self, id: str, text: str, source: str, source_id: Hashable) -> None:
        self.added += 1
        key = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8, person=b"leaven-diverse").digest(), "big")
        if len(self.heap) < self.size or -key > self.heap[0][0]:
            kept = (-key, id, Kept(key, id, text, source, source_id))
            (heapq.heappush if len(self.heap) < self.size else heapq.heapreplace)(self.heap, kept)

    @property
    def kept(self) -> list[Kept]:
        """In order of key, which is as good as at random."""
        return [k for _, _, k in sorted(self.heap, key=lambda entry: (-entry[0], entry[1]))]


class Diversity:
    """Gathers the rewrites of a rewriting; `measures` says what they come to so far.

    Holds at most `sample` texts with their sources for each (style, teacher), and a few counts.
    """

    def __init__(self, sample: int = SAMPLE):
        self.size = sample
        self.samples: dict[tuple[str, str], Sample] = defaultdict(lambda: Sample(sample))
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, style: str, teacher: str, source: str, text: str, id: str, source_id: Hashable | None = None) -> None:
        """An accepted rewrite. Rewrites of one segment have one `source_id` (its text, where none is given)."""
        self.samples[style, teacher].add(id, text, source, source if source_id is None else source_id)

    def count(self, style: str, teacher: str, *, asked: int = 0, canaries: int = 0, obeyed: int = 0) -> None:
        """Rewrites asked for, accepted or not; canaries planted, and those obeyed. They add up over calls."""
        self.counts[style, teacher].update(asked=asked, canaries=canaries, obeyed=obeyed)

    @property
    def added(self) -> int:
        return sum(s.added for s in self.samples.values())

    def measures(self, only: Collection[str] = MEASURES) -> list[dict[str, Any]]:
        """A row of DIVERSITY for each group and measure: the groups in order of style and teacher, then all together.

        `number` is null where there is too little to measure by, `source_number` also where there are no sources, and
        for `new_mass` and the shares of COUNTED. `texts` are those that a row is about, `sampled` those measured.
        """
        groups: list[Group] = [*sorted({*self.samples, *self.counts}), (None, None)]
        return [row for group in groups for row in self._rows(group, only)]

    def _rows(self, group: Group, only: Collection[str]) -> list[dict[str, Any]]:
        own = [g for g in {*self.samples, *self.counts} if group in (g, (None, None))]
        samples = [self.samples[g] for g in own if g in self.samples]
        lowest = sorted((k for s in samples for k in s.kept), key=lambda k: (k.key, k.id))[: self.size]
        texts = sum(s.added for s in samples)
        named = {"style": group[0], "teacher": group[1]}
        rows = [named | row | {"texts": texts} for row in measure(lowest, [m for m in SAMPLED if m in only])]
        total: Counter[str] = sum((self.counts[g] for g in own if g in self.counts), Counter(accepted=texts))
        for name, part, whole in zip(COUNTED, ("accepted", "obeyed"), ("asked", "canaries")):
            if name in only:
                number = total[part] / total[whole] if total[whole] else None
                rows.append(named | {
                    "measure": name, "number": number, "source_number": None, "texts": total[whole],
                    "sampled": total[whole], "words": 0, "detail": None,
                })  # fmt: skip
        return rows


def measure(kept: Sequence[Kept], names: Sequence[str] = SAMPLED) -> list[dict[str, Any]]:
    """`measure`, `number`, `source_number`, `sampled`, `words` (of the rewrites) and `detail` of each measure named."""
    if not names:
        return []
    vocabulary: dict[str, int] = {}
    sources = list({k.source_id: k.source for k in kept if k.source}.values())
    pair = Pair(
        [k.text for k in kept], sources, variety.code([k.text for k in kept], vocabulary),
        variety.code(sources, vocabulary), vocabulary, [k.id for k in kept],
    )  # fmt: skip
    rows = []
    for name in names:
        number, source_number, detail = HOW[name](pair)
        if name == "new_mass" or not sources:
            source_number = None
        rows.append({"measure": name, "number": number, "source_number": source_number, "sampled": len(kept),
                     "words": int(pair.own.ids.size), "detail": detail})  # fmt: skip
    return rows


@dataclass(frozen=True)
class Pair:
    """Rewrites and the segments that they were made from, also as numbers of one vocabulary."""

    texts: list[str]
    sources: list[str]
    own: Coded
    found: Coded
    vocabulary: dict[str, int]
    ids: list[str]


Measured = tuple[float | None, float | None, str | None]
How = Callable[[Pair], Measured]


def _both(of: Callable[[Coded], float | None]) -> How:
    return lambda pair: (of(pair.own), of(pair.found), None)


def _types(pair: Pair) -> Measured:
    drawn = min(pair.own.ids.size, pair.found.ids.size) if pair.sources else pair.own.ids.size
    return variety.types(pair.own, drawn), variety.types(pair.found, drawn), None


def _end_share(last: bool) -> How:
    def share(pair: Pair) -> Measured:
        known = list(pair.vocabulary)
        told = []
        for coded in (pair.own, pair.found):
            counts = variety.phrases(coded, last)
            spelled = sorted((-n, " ".join(known[w] for w in phrase)) for phrase, n in counts.items())
            told.append((-spelled[0][0] / len(coded), spelled[0][1]) if spelled else (None, None))
        return told[0][0], told[1][0], told[0][1]

    return share


def _end_number(last: bool) -> How:
    def number(coded: Coded) -> float | None:
        return variety.effective(sorted(variety.phrases(coded, last).values())) or None

    return _both(number)


def _near(pair: Pair) -> Measured:
    flags, example = variety.near_duplicates(pair.own)
    found, _ = variety.near_duplicates(pair.found)
    detail = " ".join(pair.ids[i] for i in example) if example else None
    return *(float(f.mean()) if f.size else None for f in (flags, found)), detail  # type: ignore[return-value]


def _tail_mass(pair: Pair) -> Measured:
    if not pair.found.ids.size or not pair.own.ids.size:
        return None, None, None
    rare = variety.tail(pair.found, pair.vocabulary)
    return float(rare[pair.own.ids].mean()), float(rare[pair.found.ids].mean()), None


def _new_mass(pair: Pair) -> Measured:
    """Mass of the rewrites' words that no source of the sample has; the commonest of them stands beside it."""
    if not pair.found.ids.size or not pair.own.ids.size:
        return None, None, None
    known = list(pair.vocabulary)
    had = set(pair.found.ids.tolist())
    new = Counter(w for w in pair.own.ids.tolist() if w not in had)
    often = min(new, key=lambda w: (-new[w], known[w])) if new else None
    return new.total() / pair.own.ids.size, None, None if often is None else known[often]


HOW: dict[str, How] = {
    **{f"distinct_{n}": _both(lambda coded, n=n: variety.distinct(coded, n)) for n in (1, 2, 3)},  # type: ignore[misc]
    "types": _types,
    "self_bleu": _both(variety.self_bleu),
    "compression": lambda pair: (variety.compression(pair.texts), variety.compression(pair.sources), None),
    "opening_share": _end_share(False), "opening_number": _end_number(False),
    "closing_share": _end_share(True), "closing_number": _end_number(True),
    "near_duplicates": _near, "tail_mass": _tail_mass, "new_mass": _new_mass,
}  # fmt: skip
