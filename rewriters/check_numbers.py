"""Are the numbers and dates of a text those of its rewrite? Missing, invented, and exchanged with one another.

A number that stands once more or once less is none of these (it was said again, or two mentions became one), but one
more and another one less at once are: that is how a number looks that was written in the place of another.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from rewriters.binding import exchanged, signs
from rewriters.checks import Side
from rewriters.figures import Quantity
from rewriters.quantities import ALONE, BESIDE_MONTH
from rewriters.relations import Spot
from rewriters.worked_out import in_range, of_its_unit, sums, worked_out

UNBOUND = ("month", "weekday", "code")  # kinds whose company says little: dates are compared as pairs
SMALL = 12  # the largest number in words that a text may leave out
ADDED = 20  # the largest in words that a text may give for two numbers that it does not
RANGE = re.compile(r" ?(?:-|to|or|and|until) ?")


def missing(source: Side, rewrite: Side) -> list[str]:
    """Numbers of the source that the rewrite does not state, and that do not go without saying.

    A number in words up to SMALL, an ordinal, and what the rewrite lets a reader work out may be left out (do three
    things: ..., a third party), unless the rewrite has a number more that may stand in its place.
    """
    lost = [q for q in lacking(source.quantities, rewrite.quantities) if not q.soft]
    if not lost:
        return []
    new = [*lacking(rewrite.quantities, source.quantities), *_more(source.quantities, rewrite.quantities)]
    lost = [q for q in lost if not any(_all_but(n, q, rewrite, source) for n in new)]
    return [q.surface for q in lost if any(_instead(q, n) for n in new) or not _goes_without(q, rewrite)]


def invented(source: Side, rewrite: Side) -> list[str]:
    """Numbers of the rewrite that the source neither states nor lets a reader work out.

    Nothing is worked out where the rewrite lacks a number that it may stand for, but a small one in words that is the
    sum or difference of two numbers of the source, all that are lacking among them: 2-2 are four goals, 31 of forty
    nine short.
    """
    new = [q for q in lacking(rewrite.quantities, source.quantities) if not q.soft]
    if not new:
        return []
    gone = [*lacking(source.quantities, rewrite.quantities), *_more(rewrite.quantities, source.quantities)]
    gone = [q for q in gone if not q.soft or _said(q)]
    found = []
    for q in new:
        lost = [g for g in gone if _instead(g, q)]
        if any(_all_but(q, g, rewrite, source) for g in lost):
            continue
        if not (
            _adds_up(q, lost, source) if lost else worked_out(q, source.quantities) or _counts_up(q, source, rewrite)
        ):
            found.append(q.surface)
    return found


def _adds_up(q: Quantity, lost: list[Quantity], source: Side) -> bool:
    """Whether a small number in words is a sum or difference of two numbers, those that are lost among them."""
    if q.kind or q.unit or not q.surface.isalpha() or q.bare is None or q.bare > ADDED or len(lost) > 2:
        return False
    plain = [o for o in source.quantities if o.bare is not None and o.kind == ""]
    return any(
        all(g is a or g is b for g in lost) and b.start - a.end <= BESIDE and q.bare in sums([a, b])
        for a, b in itertools.pairwise(plain)
    )


def _all_but(new: Quantity, gone: Quantity, text: Side, other: Side) -> bool:
    """Whether one text says of a number what it lacks of another, which both state: all but 17 of 160, for 143."""
    if new.bare is None or gone.bare is None:
        return False
    if not (ALL_BUT.search(text.text[: new.start]) or ALL_BUT.search(other.text[: gone.start])):
        return False
    return any(q.bare == new.bare + gone.bare for q in other.quantities)


ALL_BUT = re.compile(
    r"\b(?:all but|everyone but|every one but|except(?: for)?|apart from|save(?: for)?) $", re.IGNORECASE
)


def _said(q: Quantity) -> bool:
    """Whether a soft number is one that is said as such: two hours, act II; not both, half or a week."""
    return _is_two(q) and bool(SAID.match(q.surface.lower()))


def _counts_up(q: Quantity, source: Side, rewrite: Side) -> bool:
    """Whether a number lies in a range, is how many a unit has, or sums up what the text lists: three things."""
    listed = _said(q) and LISTED.match(rewrite.text, q.end)
    return bool(listed) or of_its_unit(q, source.text) or in_range(q, source.quantities, source.text)


def _goes_without(q: Quantity, rewrite: Side) -> bool:
    return _slight(q) or worked_out(q, rewrite.quantities)


def _slight(q: Quantity) -> bool:
    """Whether a number is one in words that texts drop: up to SMALL, or an ordinal; or the first of a month."""
    if q.kind == "date":
        return q.bare == 1
    if q.kind or q.unit or q.bare is None or not q.surface.replace("-", "").isalpha():
        return False
    return q.bare <= SMALL or _ordinal(q)


def _ordinal(q: Quantity) -> bool:
    return bool(re.search(r"(?:st|nd|rd|th|first|second|third)$", q.surface.lower()))


SAID = re.compile(r"(?:two|three|four|five|twice|thrice|doubl\w+|tripl\w+|[ivx]+)\b|\d")
LISTED = re.compile(
    r" (?:\w+ )?(?:things|ways|points|steps|stages|reasons|changes|aims|goals|rules|conditions|options|uses|parts|kinds|"
    r"sorts|types|tasks|jobs|causes|questions|answers|groups|forms|approaches|ideas|problems|facts)\b"
)
BESIDE = 40  # characters between two numbers that are added up
APART = ("month", "weekday")  # kinds whose numbers no other kind can stand for


def _instead(gone: Quantity, new: Quantity) -> bool:
    """Whether a number may have been written in the place of another: of like kind, in the same unit or one in none."""
    if gone.kind != new.kind and (gone.kind in APART or new.kind in APART):
        return False
    if new.soft and not _said(new):
        return False
    if _ordinal(gone) != _ordinal(new) and (gone.unit or new.unit) and not _is_share(gone):
        return False
    return gone.unit == new.unit or not (gone.unit and new.unit) or {gone.unit, new.unit} == {"time", "months"}


def _is_share(q: Quantity) -> bool:
    return any(dimension == "share" for dimension, _ in q.readings)


def _more(source: list[Quantity], rewrite: list[Quantity]) -> list[Quantity]:
    """Numbers that the rewrite states more often than the source."""
    groups = [g for g in _groups(source, rewrite) if not g[0][0].soft or any(map(_said, g[1]))]
    return [g[1][0] for g in groups if len(g[1]) > len(g[0])]


def misplaced(source: Side, rewrite: Side, margin: float) -> list[str]:
    """Numbers that stand in the place of another: `A for B`.

    Of a words-only kind (half for twice) where one is gone and the other new, of numbers that both texts state where
    their words fit the exchange by more than `margin` (rewriters/binding.py), and the ends of a range turned round.
    """
    gone = [q for q in lacking(source.quantities, rewrite.quantities) if q.soft and _counts(q) and not _is_one(q)]
    new = [q for q in lacking(rewrite.quantities, source.quantities) if q.soft and _counts(q) and not _is_one(q)]
    found = [f"{b.surface} for {a.surface}" for a, b in zip(gone, new)]
    found += _recounted(source.quantities, rewrite.quantities) + _redated(source, rewrite)
    return found + _exchanged(source, rewrite, margin)


def lacking(these: list[Quantity], those: list[Quantity]) -> list[Quantity]:
    """Those numbers that none of the others may state."""
    return [q for q in these if not any(q.same(other) for other in those)]


def _counts(q: Quantity) -> bool:
    return any(dimension in ("", "vague") for dimension, _ in q.readings)


def _is_two(q: Quantity) -> bool:
    return any(not d and isinstance(v, Fraction) and 2 <= v <= 5 for d, v in q.readings)


def _is_one(q: Quantity) -> bool:
    return ("", 1) in q.readings or ("", 0) in q.readings


def _groups(source: list[Quantity], rewrite: list[Quantity]) -> list[tuple[list[Quantity], list[Quantity]]]:
    """Mentions in both texts of each number that both state."""
    groups: list[tuple[list[Quantity], list[Quantity]]] = []
    for of, q in [(0, q) for q in source] + [(1, q) for q in rewrite]:
        for group in groups:
            if any(q.same(other) and _like(q, other) for other in (*group[0], *group[1])):
                group[of].append(q)
                break
        else:
            groups.append(([q], []) if of == 0 else ([], [q]))
    return [g for g in groups if g[0] and g[1]]


def _like(q: Quantity, other: Quantity) -> bool:
    """Whether two that state the same are of kinds that do: the 12th of a month is no twelve seconds."""
    return q.kind == other.kind or {q.kind, other.kind} <= {"", "year", "code"}


def _recounted(source: list[Quantity], rewrite: list[Quantity]) -> list[str]:
    groups = [g for g in _groups(source, rewrite) if not g[0][0].soft]
    less = [g for g in groups if len(g[1]) < len(g[0])]
    more = [g for g in groups if len(g[1]) > len(g[0])]
    return [f"{b[1][0].surface} for {a[0][0].surface}" for a, b in zip(less, more) if _instead(a[0][0], b[1][0])]


def spots(these: list[Quantity]) -> list[Spot]:
    return [(q.start, q.end) for q in these if q.kind != "code"]  # Sorrel-2 is a name as well, and good company


Group = tuple[list[Quantity], list[Quantity]]  # mentions of one number in the source, and in the rewrite


def pairs(source: Side, rewrite: Side) -> list[tuple[Group, Group]]:
    """Any two numbers that both texts state and that could stand in one another's place."""
    groups = [
        g for g in _groups(source.quantities, rewrite.quantities)
        if not any((q.soft and not _is_two(q)) or q.kind in UNBOUND for q in (*g[0], *g[1]))
    ]  # fmt: skip
    return [(g, h) for g, h in itertools.combinations(groups, 2) if _same_kind(source, rewrite, g, h)]


def _exchanged(source: Side, rewrite: Side, margin: float) -> list[str]:
    found = []
    everything = spots(source.quantities), spots(rewrite.quantities)
    for g, h in pairs(source, rewrite):
        sure = turned(source, rewrite, g, h)
        if sure is None:
            odds = exchanged(signs(source, rewrite, places(g), places(h), everything))
            sure = odds > margin + UNLIKE * unlike(g, h)
        found += [f"{h[1][0].surface} for {g[1][0].surface}"] * sure
    return found


UNLIKE = 2.5  # log odds more for two numbers of which only one has a unit: dev half, which lost half as many so


def unlike(g: Group, h: Group) -> bool:
    """Whether one of two numbers has a unit and the other none."""
    return len({any(q.unit for q in (*x[0], *x[1])) for x in (g, h)}) > 1


def places(group: Group) -> list[list[Spot]]:
    return [[(q.start, q.end) for q in mentions] for mentions in group]


def _dates(text: Side) -> list[tuple[Quantity, Quantity]]:
    """(day, month) wherever they stand beside one another."""
    pairs = [
        (a, b) if b.kind == "month" else (b, a)
        for a, b in itertools.pairwise(text.quantities)
        if BESIDE_MONTH.fullmatch(text.text[a.end : b.start])
    ]
    return [(a, b) for a, b in pairs if (a.kind, b.kind) == ("date", "month")]


def _redated(source: Side, rewrite: Side) -> list[str]:
    """Days that stand beside another month than in the source."""
    known, dates = _dates(source), _dates(rewrite)
    return [
        f"{d.surface} {m.surface}"
        for d, m in dates
        if known and any(d.same(k) for k, _ in known) and not any(d.same(k) and m.same(n) for k, n in known)
    ]


def _same_kind(source: Side, rewrite: Side, g: Group, h: Group) -> bool:
    """Whether one could stand in the place of the other: of one kind and unit; a number alone has that of its like."""
    kinds = [{q.kind for q in (*x[0], *x[1])} - {""} for x in (g, h)]
    units = [{q.unit for q in (*x[0], *x[1])} - {""} for x in (g, h)]
    if kinds[0] != kinds[1]:
        return False
    if units[0] and units[1]:
        return bool(units[0] & units[1])
    small, large = sorted(x[1][0].bare or Fraction(1) for x in (g, h))
    if _ordinal(g[1][0]) != _ordinal(h[1][0]) or large > APART_BY * small > 0:
        return False
    if not units[0] and not units[1]:
        return True
    bare, other = (g, h) if units[1] else (h, g)
    return _elliptic(source, bare[0], other[0]) or _elliptic(rewrite, bare[1], other[1])


APART_BY = 100  # times by which two numbers differ that no text exchanges


def _elliptic(text: Side, bare: list[Quantity], other: list[Quantity]) -> bool:
    """Whether a number has no noun for it stands beside one that has: 24 hours, or 38 if it's off."""
    return any(
        ALONE.match(text.text, q.end) and max(q.start, o.start) - min(q.end, o.end) <= BESIDE
        for q in bare
        for o in other
    )


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
