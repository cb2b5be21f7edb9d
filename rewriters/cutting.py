"""Where is a document cut into segments for a model? At paragraphs, inside a long one at sentence ends, to a budget.

    texts --tokenizer--> where tokens end --paragraphs, sentences--> segments [start, end) of at most `most` tokens

A segment is what one prompt rewrites. Spans are characters of the document, so that whatever is not rewritten stays as
it stands. They depend on the text, the tokenizer and the two numbers alone.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from leaven.segments import PARAGRAPH, SENTENCE
from leaven.tokens import Tokenizer

CUTTING_VERSION = "1"
Size = Callable[[int, int], int]  # tokens of the characters [start, end); grows with the span


@dataclass(frozen=True)
class Segment:
    """Characters [start, end) of a document; `tokens` is its length when it is encoded by itself."""

    number: int
    start: int
    end: int
    tokens: int
    text: str

    @property
    def text_hash(self) -> str:
        return hashlib.blake2b(self.text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def cut(texts: Sequence[str], tokenizer: Tokenizer, most: int, least: int | None = None) -> list[list[Segment]]:
    """The segments of each text, in order; every character that is not white space lies in exactly one.

    A segment has at most `most` tokens, encoded by itself. Neighbours are joined while the first has fewer than `least`
    tokens (default half of `most`) and both together fit. Raises ValueError for `most` below 8: one character may take
    four tokens.
    """
    if most < 8:
        raise ValueError(f"a segment of at most {most} tokens is too small")
    least = most // 2 if least is None else least
    flat, offsets = tokenizer.encode_batch(texts)
    found = []
    for text, (first, last) in zip(texts, itertools.pairwise(offsets.tolist())):
        size = _size(text, tokenizer.token_bytes[flat[first:last]])
        budget = most
        while True:  # a span encoded by itself may take a token or two more than within its document
            spans = _spans(text, size, least, budget)
            _, own = tokenizer.encode_batch([text[a:b] for a, b in spans])
            counts = np.diff(own).tolist()
            over = max(counts, default=0) - most
            if over <= 0:
                break
            budget -= over
        found.append([Segment(i, a, b, n, text[a:b]) for i, ((a, b), n) in enumerate(zip(spans, counts))])
    return found


def _size(text: str, token_bytes: np.ndarray) -> Size:
    """How many tokens begin in [start, end), by where tokens end within the whole text."""
    ends = np.cumsum(token_bytes)
    begins = ends - token_bytes
    if text.isascii():
        place = None
    else:  # byte at which each character begins
        widths = [len(c.encode("utf-8", "replace")) for c in text]
        place = np.concatenate([[0], np.cumsum(widths)])

    def size(start: int, end: int) -> int:
        if place is not None:
            start, end = int(place[start]), int(place[end])
        return int(np.searchsorted(begins, end) - np.searchsorted(ends, start, "right"))

    return size


def _spans(text: str, size: Size, least: int, most: int) -> list[tuple[int, int]]:
    pieces = [p for match in PARAGRAPH.finditer(text) for p in _pieces(text, match.start(), match.end(), size, most)]
    spans: list[tuple[int, int]] = []
    for start, end in pieces:
        if spans and size(*spans[-1]) < least and size(spans[-1][0], end) <= most:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((start, end))
    return spans


def _pieces(text: str, start: int, end: int, size: Size, most: int) -> list[tuple[int, int]]:
    """[start, end) in pieces that fit: at the last sentence end that fits, else white space, else anywhere."""
    pieces = []
    ends = [m.end() for m in SENTENCE.finditer(text, start, end)] if size(start, end) > most else []
    while size(start, end) > most:
        at = _last([e for e in ends if start < e < end], start, size, most)
        if at is None:
            at = _last([i + 1 for i in range(start, end - 1) if text[i].isspace()], start, size, most)
        if at is None:
            at = _last(range(start + 1, end), start, size, most) or start + 1
        stop = start + len(text[start:at].rstrip())
        pieces.append((start, stop))
        start = at + len(text[at:end]) - len(text[at:end].lstrip())
    if start < end:
        pieces.append((start, end))
    return [p for p in pieces if p[0] < p[1]]


def _last(places: Sequence[int], start: int, size: Size, most: int) -> int | None:
    """The last of these rising places up to which a span from `start` fits, or None."""
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if size(start, places[middle]) <= most else (low, middle)
    return places[low - 1] if low else None
