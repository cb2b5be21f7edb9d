"""Which numbers of a rewrite stand where those of its source stood? What a model is asked, and what it says of two.

    both texts, the numbers hidden --a model (rewriters/place_model.py)--> affinity of each place to each place

A reader who sees `[x] per cent in January, [x] in June` and `in June [x] per cent, after [x] in January` knows which
place belongs to which without the numbers. Where two places belong to each other crosswise, two numbers were exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rewriters.checks import Side
from rewriters.mentions import Group
from rewriters.number_words import ONES, ORDINALS, TENS, any_of
from rewriters.quantity import Quantity

Span = tuple[int, int]
Hidden = tuple[tuple[Span, int], ...]  # spans that are hidden in a text, with the thing that each names
# a figure alone, as it was hidden in training: other spans than these would need other weights
DIGITS = re.compile(r"[£$€#]?\d[\d.,:/]*\d|[£$€#]?\d")
WORDS = re.compile(
    r"(?:(?:and|a|an|the|half|quarters?|thirds?|hundred|thousand|million|billion|dozen|score|twice|double|"
    rf"{any_of([*ONES, *TENS, *ORDINALS])})\b[ -]?)+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Places:
    """Two texts and the spans to be hidden in each, with the thing that each span names (an index of its own)."""

    source: str
    rewrite: str
    hidden: tuple[Hidden, Hidden]


Affinities = Callable[[Sequence[Places]], Sequence[np.ndarray]]  # (hidden in the source, in the rewrite); nan: cut off


def number_of(text: str, quantity: Quantity) -> Span:
    """Where a quantity's figure stands, without its unit."""
    surface = text[quantity.start : quantity.end]
    if figure := DIGITS.search(surface):
        return quantity.start + figure.start(), quantity.start + figure.end()
    if words := WORDS.match(surface):
        return quantity.start, quantity.start + len(words[0].rstrip(" -"))
    return quantity.start, quantity.end


def places(source: Side, rewrite: Side, these: Sequence[Group]) -> Places:
    """The numbers of some groups (rewriters/mentions.py), to be hidden in both texts."""
    one, other = (
        apart((number_of(text.text, q), at) for at, group in enumerate(these) for q in group[of])
        for of, text in enumerate((source, rewrite))
    )
    return Places(source.text, rewrite.text, (one, other))


def apart(spans: Iterable[tuple[Span, int]]) -> Hidden:
    """Spans in order; of two that overlap the first, for a place is hidden once."""
    found: list[tuple[Span, int]] = []
    for span, thing in sorted(set(spans)):
        if not found or span[0] >= found[-1][0][1]:
            found.append((span, thing))
    return tuple(found)


def crossed(asked: Places, affinity_AB: np.ndarray, one: int, other: int) -> float:
    """Log odds that two things were exchanged, by a model: their places crosswise less those kept; 0 if it saw none."""
    of = [np.array([thing for _, thing in side], int) for side in asked.hidden]

    def fits(a: int, b: int) -> float:
        cell = affinity_AB[np.ix_(of[0] == a, of[1] == b)]
        cell = cell[np.isfinite(cell)]
        return float(np.logaddexp.reduce(cell)) if cell.size else float("nan")

    odds = fits(one, other) + fits(other, one) - fits(one, one) - fits(other, other)
    return odds if np.isfinite(odds) else 0.0
