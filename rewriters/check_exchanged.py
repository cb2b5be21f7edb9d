"""Do numbers of a text stand in the place of others in its rewrite? Exchanged, turned round, beside another month.

    two numbers that both texts state --their words (rewriters/binding.py)--> kept or exchanged

A number that stands once more or once less is none of these (it was said again, or two mentions became one), but one
more and another one less at once are: that is how a number looks that was written in the place of another.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from rewriters.binding import exchanged, signs
from rewriters.checks import Side
from rewriters.mentions import Group, counts, groups, instead, is_one, is_two, lacking, ordinal
from rewriters.neighbours import ALONE, BESIDE_MONTH
from rewriters.places import Places, crossed, places
from rewriters.quantity import Quantity
from rewriters.relations import Spot

BESIDE = 40  # characters between a number without a noun and one that lends it its own
UNBOUND = ("month", "weekday", "code")  # kinds whose company says little: dates are compared as pairs
RANGE = re.compile(r" ?(?:-|to|or|and|until) ?")
UNLIKE = 1.9  # log odds more for two numbers that are `unlike`, by signs alone: on a to r 0 to 4 hardly differ
APART_BY = 100  # times by which two numbers differ that no text exchanges

Told = tuple[Places, np.ndarray]  # what a model was asked, and its affinities


def misplaced(source: Side, rewrite: Side, margin: float, told: Told | None = None) -> list[str]:
    """Numbers that stand in the place of another: `A for B`.

    Of a words-only kind (half for twice) where one is gone and the other new, of numbers that both texts state where
    their words, and what a model says of their places, fit the exchange by more than `margin` (rewriters/binding.py,
    places.py), and the ends of a range turned round.
    """
    gone = [q for q in lacking(source.quantities, rewrite.quantities) if q.soft and counts(q) and not is_one(q)]
    new = [q for q in lacking(rewrite.quantities, source.quantities) if q.soft and counts(q) and not is_one(q)]
    found = [f"{b.surface} for {a.surface}" for a, b in zip(gone, new)]
    found += _recounted(source.quantities, rewrite.quantities) + _redated(source, rewrite)
    return found + _exchanged(source, rewrite, margin, told)


def _recounted(source: list[Quantity], rewrite: list[Quantity]) -> list[str]:
    both = [g for g in groups(source, rewrite) if not g[0][0].soft]
    less = [g for g in both if len(g[1]) < len(g[0])]
    more = [g for g in both if len(g[1]) > len(g[0])]
    return [f"{b[1][0].surface} for {a[0][0].surface}" for a, b in zip(less, more) if instead(a[0][0], b[1][0])]


def _exchanged(source: Side, rewrite: Side, margin: float, told: Told | None) -> list[str]:
    return [f"{h[1][0].surface} for {g[1][0].surface}" for g, h, odds in judged(source, rewrite, told) if odds > margin]


def judged(source: Side, rewrite: Side, told: Told | None = None) -> list[tuple[Group, Group, float]]:
    """Log odds that two numbers were exchanged, of any two that could have been; without end where a range is turned.

    `told` is what a model says of the places that `asked` asks about.
    """
    found = []
    everything = spots(source.quantities), spots(rewrite.quantities)
    both = pairs(source, rewrite)
    at = {id(group): i for i, group in enumerate(_open(source, rewrite, both))}
    for g, h in both:
        if (sure := turned(source, rewrite, g, h)) is not None:
            found.append((g, h, math.inf if sure else -math.inf))
            continue
        company = signs(source, rewrite, where(g), where(h), everything)
        odds = exchanged(company)
        seen = crossed(*told, at[id(g)], at[id(h)]) if told else 0.0  # also where a text is too long to be seen
        odds += seen or -UNLIKE * unlike(g, h, company)
        found.append((g, h, odds))
    return found


def asked(source: Side, rewrite: Side) -> Places | None:
    """What a model is to be asked: the numbers of which two could have been exchanged; None where there are none."""
    these = _open(source, rewrite, pairs(source, rewrite))
    return places(source, rewrite, these) if these else None


def _open(source: Side, rewrite: Side, both: list[tuple[Group, Group]]) -> list[Group]:
    these = {id(g): g for pair in both if turned(source, rewrite, *pair) is None for g in pair}
    return list(these.values())


def pairs(source: Side, rewrite: Side) -> list[tuple[Group, Group]]:
    """Any two numbers that both texts state and that could stand in one another's place."""
    bindable = [
        g for g in groups(source.quantities, rewrite.quantities)
        if not any((q.soft and not is_two(q)) or q.kind in UNBOUND for q in (*g[0], *g[1]))
    ]  # fmt: skip
    return [(g, h) for g, h in itertools.combinations(bindable, 2) if _same_kind(source, rewrite, g, h)]


def _same_kind(source: Side, rewrite: Side, g: Group, h: Group) -> bool:
    """Whether one could stand in the place of the other: of one kind and unit; a number alone has that of its like."""
    kinds = [{q.kind for q in (*x[0], *x[1])} - {""} for x in (g, h)]
    units = [{q.unit for q in (*x[0], *x[1])} - {""} for x in (g, h)]
    if kinds[0] != kinds[1]:
        return False
    if units[0] and units[1]:
        return bool(units[0] & units[1])
    small, large = sorted(x[1][0].bare or Fraction(1) for x in (g, h))
    if ordinal(g[1][0]) != ordinal(h[1][0]) or large > APART_BY * small > 0:
        return False
    if not units[0] and not units[1]:
        return True
    bare, other = (g, h) if units[1] else (h, g)
    return _elliptic(source, bare[0], other[0]) or _elliptic(rewrite, bare[1], other[1])


def _elliptic(text: Side, bare: list[Quantity], other: list[Quantity]) -> bool:
    """Whether a number has no noun for it stands beside one that has: 24 hours, or 38 if it's off."""
    return any(
        ALONE.match(text.text, q.end) and max(q.start, o.start) - min(q.end, o.end) <= BESIDE
        for q in bare
        for o in other
    )


def unlike(g: Group, h: Group, told: Mapping[str, float]) -> bool:
    """Whether one of two numbers has a unit and the other none, and both texts do not say which was and which is."""
    return not told["replaced"] and len({any(q.unit for q in (*x[0], *x[1])) for x in (g, h)}) > 1


def turned(source: Side, rewrite: Side, g: tuple, h: tuple) -> bool | None:
    """Of two numbers that are the ends of a range in both texts, whether they stand the other way round; else None."""
    if not len(g[0]) == len(g[1]) == len(h[0]) == len(h[1]) == 1:
        return None
    orders = []
    for text, a, b in ((source, g[0][0], h[0][0]), (rewrite, g[1][0], h[1][0])):
        first, second = sorted((a, b), key=lambda q: q.start)
        if not RANGE.fullmatch(text.text[first.end : second.start]):
            return None
        orders.append(first is a)
    return orders[0] != orders[1]


def spots(these: list[Quantity]) -> list[Spot]:
    """Where the numbers of a text stand."""
    return [(q.start, q.end) for q in these if q.kind != "code"]  # Sorrel-2 is a name as well, and good company


def where(group: Group) -> list[list[Spot]]:
    """Where a number stands in the source, and in the rewrite."""
    return [[(q.start, q.end) for q in mentions] for mentions in group]


def _dates(text: Side) -> list[tuple[Quantity, Quantity]]:
    """(day, month) wherever they stand beside one another."""
    beside = [
        (a, b) if b.kind == "month" else (b, a)
        for a, b in itertools.pairwise(text.quantities)
        if BESIDE_MONTH.fullmatch(text.text[a.end : b.start])
    ]
    return [(a, b) for a, b in beside if (a.kind, b.kind) == ("date", "month")]


def _redated(source: Side, rewrite: Side) -> list[str]:
    """Days that stand beside another month than in the source."""
    known, dates = _dates(source), _dates(rewrite)
    return [
        f"{d.surface} {m.surface}"
        for d, m in dates
        if known and any(d.same(k) for k, _ in known) and not any(d.same(k) and m.same(n) for k, n in known)
    ]
