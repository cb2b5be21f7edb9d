"""How varied are some texts? Measures that do not grow or shrink only because there are more texts.

    texts --words--> numbers --n-grams--> distinct-n, types, self-BLEU, openings, near-duplicates, tail
          --bytes--> compression

A word is a run of letters, digits and apostrophes, in lower case; where a script writes no spaces a character is a
word. Marks and punctuation are no words. docs/diversity.md has each formula, what raises it and what lowers it.

Not covered: meaning. Texts that say the same in other words are varied here.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

VARIETY_VERSION = "1"
DRAWN = 2000  # n-grams that distinct-n is a share of
BLOCK = 50  # texts that self-BLEU compares with one another: each has 49 references
ORDER = 4  # longest n-grams of BLEU (Papineni et al. 2002)
EPSILON = 0.1  # matches that stand for none: smoothing method 1 of Chen and Cherry 2014, as Texygen's self-BLEU has it
BYTES = 32 << 10  # compressed at a time: as far back as DEFLATE looks
PHRASE = 3  # words of an opening or closing
SHINGLE = 5  # words, as in filters/minhash.py
NEAR = (4, 5)  # least Jaccard similarity of near-duplicates, as a fraction
HEAD = (9, 10)  # mass of a source's words that is not its tail
ALONE = (  # Thai, Lao, Myanmar, Khmer, kana, Han
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
WORD = re.compile(rf"[{ALONE}]|[^\W{ALONE}]+(?:['’][^\W{ALONE}]+)*")


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


@dataclass(frozen=True)
class Coded:
    """Texts whose words are numbers: `ids` int64, one a word; text i has `ids[edges[i]:edges[i + 1]]`."""

    ids: np.ndarray
    edges: np.ndarray

    def __len__(self) -> int:
        return self.edges.size - 1

    def grams(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(number, text) of every n words that follow one another in a text; equal n-grams have equal numbers."""
        of = np.repeat(np.arange(len(self)), np.diff(self.edges))
        made, base = self.ids, int(self.ids.max(initial=0)) + 1
        for k in range(1, n):
            made = np.unique(made[:-1] * base + self.ids[k:], return_inverse=True)[1]
        inside = of[: max(of.size - n + 1, 0)] == of[n - 1 :]
        return made[inside], of[: inside.size][inside]


def code(texts: Sequence[str], vocabulary: dict[str, int]) -> Coded:
    """The texts as numbers of a vocabulary, to which new words are added."""
    ids: list[int] = []
    edges = [0]
    for text in texts:
        ids += [vocabulary.setdefault(w, len(vocabulary)) for w in words(text)]
        edges.append(len(ids))
    return Coded(np.array(ids, np.int64), np.array(edges, np.int64))


# ---------------------------------------------------------------------------------------------------------- n-grams


def expected_types(counts: np.ndarray, drawn: int) -> float:
    """Different things expected among `drawn` of all, drawn without replacement: sum of 1 - C(N - c, d) / C(N, d).

    `counts` says how often each of them stands among the N. Hurlbert's rarefaction (1971), exact: nothing is drawn.
    Raises ValueError where there are fewer than `drawn`.
    """
    total = int(counts.sum())
    if drawn > total:
        raise ValueError(f"{drawn} cannot be drawn of {total}")
    whole = math.lgamma(total + 1) - math.lgamma(total - drawn + 1)
    expected = 0.0
    for count, times in zip(*np.unique(counts, return_counts=True)):
        left = total - int(count)
        missed = math.exp(math.lgamma(left + 1) - math.lgamma(left - drawn + 1) - whole) if left >= drawn else 0.0
        expected += int(times) * (1 - missed)
    return expected


def distinct(coded: Coded, n: int) -> float | None:
    """Distinct-n (Li et al. 2016): share of different n-grams among DRAWN, as expected; null where there are fewer."""
    counts = np.unique(coded.grams(n)[0], return_counts=True)[1]
    return expected_types(counts, DRAWN) / DRAWN if counts.sum() >= DRAWN else None


def types(coded: Coded, drawn: int) -> float | None:
    """Different words expected among so many of the texts' words; null where they have fewer, or none are drawn."""
    counts = np.unique(coded.ids, return_counts=True)[1]
    return expected_types(counts, drawn) if 0 < drawn <= coded.ids.size else None


def self_bleu(coded: Coded, size: int = BLOCK) -> float | None:
    """Mean BLEU-4 of each text against the others of its block (Zhu et al. 2018); null below one block of texts.

    Blocks of `size` texts, in the order given, so that the number of references is fixed; what fills no block is left
    out. Counts are clipped by the largest count in one other text, the reference length is the closest (the shorter of
    two equally close), zero matches count as EPSILON, and a text that shares no word scores 0.
    """
    texts = len(coded) // size * size
    if not texts:
        return None
    block = Coded(coded.ids[: coded.edges[texts]], coded.edges[: texts + 1])
    lengths = np.diff(block.edges)
    logs = np.zeros(texts)
    shares_words = np.zeros(texts, bool)
    for n in range(1, ORDER + 1):
        gram, of = block.grams(n)
        matched = np.bincount(*_clipped(gram, of, size, texts), minlength=texts)
        if n == 1:
            shares_words = matched > 0
        logs += np.log(np.where(matched > 0, matched, EPSILON) / np.maximum(lengths - n + 1, 1)) / ORDER
    penalty = np.concatenate([_brevity(lengths[i : i + size]) for i in range(0, texts, size)])
    return float(np.mean(np.where(shares_words, penalty * np.exp(logs), 0.0)))


def _clipped(gram: np.ndarray, of: np.ndarray, size: int, texts: int) -> tuple[np.ndarray, np.ndarray]:
    """(text, count) of each different n-gram of a text, clipped by its largest count in one other text of the block."""
    if not gram.size:
        return np.zeros(0, np.int64), np.zeros(0)
    base = int(gram.max()) + 1
    pair, count = np.unique(((of // size) * base + gram) * texts + of, return_counts=True)
    group, text = pair // texts, pair % texts
    order = np.lexsort((-count, group))
    first = np.concatenate([[True], group[order][1:] != group[order][:-1]])  # the text with most of each n-gram
    most, place = count[order][first], np.cumsum(first) - 1
    seconds = np.zeros(most.size, count.dtype)
    follows = np.flatnonzero(~first & np.concatenate([[False], first[:-1]]))
    seconds[place[follows]] = count[order][follows]
    other = np.where(first, seconds[place], most[place])
    return text[order], np.minimum(count[order], other)


def _brevity(lengths: np.ndarray) -> np.ndarray:
    """BLEU's brevity penalty of each text against the closest length among the others; 0 for a text without words."""
    if lengths.size < 2:
        return np.ones(lengths.size)
    apart = np.abs(lengths[None, :] - lengths[:, None]).astype(float) + lengths[None, :] / (2.0 * lengths.max() + 2)
    np.fill_diagonal(apart, np.inf)
    closest = lengths[apart.argmin(axis=1)]
    short = lengths < closest
    ratio = np.divide(closest, lengths, out=np.full(lengths.size, np.inf), where=lengths > 0)
    return np.where(lengths == 0, 0.0, np.where(short, np.exp(1 - ratio), 1.0))


# ------------------------------------------------------------------------------------------- bytes, ends, copies, tails


def compression(texts: Iterable[str]) -> float | None:
    """Bytes a compressed byte (Shaib et al. 2024, gzip's DEFLATE) of the texts, a line each, in whole runs of BYTES.

    The last run, which is shorter, is left out, so that each run compresses alike; null where there is no whole one.
    """
    data = "\n".join(texts).encode("utf-8", "replace")
    whole = range(0, len(data) - BYTES + 1, BYTES)
    packed = sum(len(zlib.compress(data[i : i + BYTES], 9)) for i in whole)
    return len(whole) * BYTES / packed if packed else None


def phrases(coded: Coded, last: bool = False) -> Counter[tuple[int, ...]]:
    """How many texts begin (or end) with each phrase of PHRASE words; texts without a word are left out."""
    found: Counter[tuple[int, ...]] = Counter()
    for first, end in zip(coded.edges[:-1].tolist(), coded.edges[1:].tolist()):
        if first < end:
            ids = coded.ids[max(first, end - PHRASE) : end] if last else coded.ids[first : min(end, first + PHRASE)]
            found[tuple(ids.tolist())] += 1
    return found


def effective(counts: Iterable[int]) -> float:
    """The number of equally common things with the same entropy: exp of Shannon's, in nats; 0 for none (Hill 1973)."""
    made = np.array(list(counts), float)
    shares = made / made.sum() if made.size else made
    return float(np.exp(-(shares * np.log(shares)).sum())) if made.size else 0.0


def near_duplicates(coded: Coded) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Which texts have another of Jaccard similarity NEAR and more of their shingle sets, and two of those, or null.

    Exact, by prefix filtering (Bayardo et al. 2007): of sets sorted by rarity, two that are so alike share one of their
    first n - ceil(NEAR n) + 1 shingles. A text of fewer words than SHINGLE is one shingle; one without a word is near
    nothing.
    """
    sets = _shingle_sets(coded)
    common = Counter(s for mine in sets for s in mine)
    near = np.zeros(len(sets), bool)
    example: tuple[int, int] | None = None
    index: dict[int, list[int]] = defaultdict(list)
    equal: dict[frozenset[int], int] = {}
    least, of = NEAR
    for text in sorted((t for t in range(len(sets)) if sets[t]), key=lambda t: (len(sets[t]), t)):
        mine = sets[text]
        twin = equal.setdefault(mine, text)
        if twin != text:
            near[[text, twin]] = True
            example = example or (twin, text)
            continue
        prefix = sorted(mine, key=lambda s: (common[s], s))[: len(mine) + 1 - -(-least * len(mine) // of)]
        for other in sorted({t for s in prefix for t in index[s]}):
            shared = len(mine & sets[other]) if not (near[text] and near[other]) else 0
            if (least + of) * shared >= least * (len(mine) + len(sets[other])):
                near[[text, other]] = True
                example = example or (other, text)
        for shingle in prefix:
            index[shingle].append(text)
    return near, example


def _shingle_sets(coded: Coded) -> list[frozenset[int]]:
    gram, of = coded.grams(SHINGLE)
    ends = np.searchsorted(of, np.arange(len(coded) + 1))
    short: dict[tuple[int, ...], int] = {}
    sets = []
    for text, length in enumerate(np.diff(coded.edges).tolist()):
        if 0 < length < SHINGLE:
            ids = tuple(coded.ids[coded.edges[text] : coded.edges[text + 1]].tolist())
            sets.append(frozenset([-1 - short.setdefault(ids, len(short))]))
        else:
            sets.append(frozenset(gram[ends[text] : ends[text + 1]].tolist()))
    return sets


def tail(source: Coded, vocabulary: dict[str, int]) -> np.ndarray:
    """Which words of the vocabulary are the source's tail: those outside the most frequent ones that are HEAD of it.

    Of equally frequent words those that sort first are the more frequent.
    """
    counts = np.bincount(source.ids, minlength=len(vocabulary))
    alphabetical = np.argsort(np.array(list(vocabulary), dtype=object)) if vocabulary else np.zeros(0, np.int64)
    order = alphabetical[np.argsort(-counts[alphabetical], kind="stable")]
    before = np.cumsum(counts[order]) - counts[order]
    rare = np.zeros(len(vocabulary), bool)
    rare[order] = before * HEAD[1] >= counts.sum() * HEAD[0]
    return rare & (counts > 0)
