"""Which mentions of two texts state the same number, and which could stand in the place of another?

    source, rewrite --Quantity.same--> groups: mentions of one number in both;   lacking: in one and not in the other

Soft numbers (rewriters/figures.py) count where they are said as such: two hours, act II, twice; not both or a week.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rewriters.number_words import COUNTING, ORDINALS, any_of
from rewriters.quantity import Quantity

Group = tuple[list[Quantity], list[Quantity]]  # mentions of one number in the source, and in the rewrite
SAID = re.compile(r"(?:two|three|four|five|twice|thrice|doubl\w+|tripl\w+|[ivx]+)\b|\d")
ORDINAL = re.compile(rf"(?:\d(?:st|nd|rd|th)|\b(?:{any_of(ORDINALS)}))$")
SHARE = re.compile(r"(?:half|halves|quarters?|thirds?|f?th|ths|%|per cent|percent)$")
APART = ("month", "weekday")  # kinds whose numbers no other kind can stand for


def lacking(these: list[Quantity], those: list[Quantity]) -> list[Quantity]:
    """Those numbers that none of the others may state."""
    return [q for q in these if not any(q.same(other) for other in those)]


def groups(source: list[Quantity], rewrite: list[Quantity]) -> list[Group]:
    """Mentions in both texts of each number that both state."""
    found: list[Group] = []
    for of, q in [(0, q) for q in source] + [(1, q) for q in rewrite]:
        for group in found:
            if any(q.same(other) and _like(q, other) for other in (*group[0], *group[1])):
                group[of].append(q)
                break
        else:
            found.append(([q], []) if of == 0 else ([], [q]))
    return [g for g in found if g[0] and g[1]]


def _like(q: Quantity, other: Quantity) -> bool:
    """Whether two that state the same are of kinds that do: the 12th of a month is no twelve seconds."""
    return q.kind == other.kind or {q.kind, other.kind} <= {"", "year", "code"}


def more(source: list[Quantity], rewrite: list[Quantity]) -> list[Quantity]:
    """Numbers that the rewrite states more often than the source."""
    both = [g for g in groups(source, rewrite) if not g[0][0].soft or any(map(said, g[1]))]
    return [next(filter(said, g[1]), g[1][0]) for g in both if len(g[1]) > len(g[0])]


def instead(gone: Quantity, new: Quantity) -> bool:
    """Whether a number may have been written in the place of another: of like kind, in the same unit or one in none."""
    if gone.kind != new.kind and (gone.kind in APART or new.kind in APART):
        return False
    if new.unit and gone.soft and gone.surface.lower() in COUNTING:  # twice is no ten seconds
        return False
    which = ordinal(gone) and ordinal(new) and not is_one(new)  # seventh, second
    shares = _told_share(gone) and _told_share(new)  # a third, half
    if new.soft and not said(new) and not which and not shares:
        return False
    if ordinal(gone) != ordinal(new) and (gone.unit or new.unit) and not _is_share(gone):
        return False
    return gone.unit == new.unit or not (gone.unit and new.unit) or {gone.unit, new.unit} == {"time", "months"}


def ordinal(q: Quantity) -> bool:
    """Whether it says which one: 4th, third."""
    return bool(ORDINAL.search(q.surface.lower()))


def _is_share(q: Quantity) -> bool:
    return any(dimension == "share" for dimension, _ in q.readings)


def _told_share(q: Quantity) -> bool:
    """Whether it is a share in so many words or signs, and no other number that may be one: a third, half, 40%."""
    return not q.kind and q.unit in ("", "share") and bool(SHARE.search(q.surface.lower()))


def said(q: Quantity) -> bool:
    """Whether a soft number is one that is said as such: two hours, act II; not both, half or a week."""
    return is_two(q) and bool(SAID.match(q.surface.lower()))


def counts(q: Quantity) -> bool:
    """Whether it has a bare number, or says that there are many."""
    return any(dimension in ("", "vague") for dimension, _ in q.readings)


def is_two(q: Quantity) -> bool:
    """Whether it is a small number that a text may well be about: two to five."""
    return any(not d and isinstance(v, Fraction) and 2 <= v <= 5 for d, v in q.readings)


def is_one(q: Quantity) -> bool:
    """Whether it is one or none, which texts say of anything."""
    return ("", 1) in q.readings or ("", 0) in q.readings
