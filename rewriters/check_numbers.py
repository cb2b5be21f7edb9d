"""Are the numbers and dates of a text those of its rewrite? Missing, invented, and exchanged with one another.

A number that stands once more or once less is none of these (it was said again, or two mentions became one), but one
more and another one less at once are: that is how a number looks that was written in the place of another.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from rewriters.binding import Spot, company, exchanged
from rewriters.checks import Side
from rewriters.figures import Quantity
from rewriters.quantities import BESIDE_MONTH

UNBOUND = ("month", "weekday", "date", "code")  # kinds whose company says little: dates are compared as pairs
SMALL = 12  # the largest number that a text is taken to have worked out
RANGE = re.compile(r" ?(?:-|to|or|and|until) ?")


def missing(source: Side, rewrite: Side) -> list[str]:
    """Numbers of the source that the rewrite does not state."""
    return [q.surface for q in unsaid(source, rewrite)]


def invented(source: Side, rewrite: Side) -> list[str]:
    """Numbers of the rewrite that the source does not state."""
    return [q.surface for q in unsaid(rewrite, source)]


def unsaid(one: Side, other: Side) -> list[Quantity]:
    """Numbers of a text that the other neither states nor lets a reader work out.

    Worked out is a small number in words, the sum or difference of two numbers of the other text, where it lacks no
    number in turn but those two: 2-2 are four goals, 31 of forty are nine short, three and one more make four.
    """
    lacking = [q for q in _lacking(one.quantities, other.quantities) if not q.soft]
    if not lacking:
        return []
    in_turn = [q for q in _lacking(other.quantities, one.quantities) if not q.soft]
    plain = [q for q in other.quantities if q.bare is not None and q.kind == ""]
    sums: set[Fraction] = set()
    for a, b in itertools.combinations(plain, 2):
        if all(q is a or q is b for q in in_turn) and a.bare is not None and b.bare is not None:
            sums |= {a.bare + b.bare, abs(a.bare - b.bare)}
    small = {n for n in sums if n <= SMALL}
    return [q for q in lacking if not (q.kind == q.unit == "" and q.surface.isalpha() and q.bare in small)]


def misplaced(source: Side, rewrite: Side, margin: float) -> list[str]:
    """Numbers that stand in the place of another: `A for B`.

    Of a words-only kind (half for twice) where one is gone and the other new, of numbers that both texts state where
    their words fit the exchange by more than `margin` (rewriters/binding.py), and the ends of a range turned round.
    """
    gone = [q for q in _lacking(source.quantities, rewrite.quantities) if q.soft and _counts(q) and not _is_one(q)]
    new = [q for q in _lacking(rewrite.quantities, source.quantities) if q.soft and _counts(q) and not _is_one(q)]
    found = [f"{b.surface} for {a.surface}" for a, b in zip(gone, new)]
    found += _recounted(source.quantities, rewrite.quantities) + _redated(source, rewrite)
    return found + _exchanged(source, rewrite, margin)


def _lacking(these: list[Quantity], those: list[Quantity]) -> list[Quantity]:
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
            if any(q.same(other) for other in (*group[0], *group[1])):
                group[of].append(q)
                break
        else:
            groups.append(([q], []) if of == 0 else ([], [q]))
    return [g for g in groups if g[0] and g[1]]


def _recounted(source: list[Quantity], rewrite: list[Quantity]) -> list[str]:
    groups = [g for g in _groups(source, rewrite) if not g[0][0].soft]
    less = [g for g in groups if len(g[1]) < len(g[0])]
    more = [g for g in groups if len(g[1]) > len(g[0])]
    return [f"{b[1][0].surface} for {a[0][0].surface}" for a, b in zip(less, more)]


def _spots(these: list[Quantity]) -> list[Spot]:
    return [(q.start, q.end) for q in these if q.kind != "code"]  # Sorrel-2 is a name as well, and good company


def _exchanged(source: Side, rewrite: Side, margin: float) -> list[str]:
    groups = [
        g for g in _groups(source.quantities, rewrite.quantities)
        if not any((q.soft and not _is_two(q)) or q.kind in UNBOUND for q in (*g[0], *g[1]))
    ]  # fmt: skip
    found = []
    spots = _spots(source.quantities), _spots(rewrite.quantities)
    texts = (source, rewrite)
    for g, h in itertools.combinations(groups, 2):
        if not _same_kind(g, h):
            continue
        turned = _turned(source, rewrite, g, h) if len(g[0]) == len(g[1]) == len(h[0]) == len(h[1]) == 1 else None
        if turned is not None:
            found += [f"{h[1][0].surface} for {g[1][0].surface}"] * turned
            continue
        rounds = []
        for of in (0, 1):
            words = []
            for group in (g, h):
                around: dict[str, float] = {}
                for q in group[of]:
                    for stem, weight in company(texts[of], (q.start, q.end), spots[of]).items():
                        around[stem] = max(around.get(stem, 0.0), weight)
                words.append(around)
            rounds.append((words[0], words[1]))
        if exchanged(rounds[0], rounds[1]) > margin:
            found.append(f"{h[1][0].surface} for {g[1][0].surface}")
    return found


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


def _same_kind(g: tuple[list[Quantity], list[Quantity]], h: tuple[list[Quantity], list[Quantity]]) -> bool:
    """Whether one could stand in the place of the other."""
    kinds = [{q.kind for q in (*x[0], *x[1])} - {""} for x in (g, h)]
    units = [{q.unit for q in (*x[0], *x[1])} - {""} for x in (g, h)]
    return kinds[0] == kinds[1] and (bool(units[0] & units[1]) or not (units[0] or units[1]))


def _turned(source: Side, rewrite: Side, g: tuple, h: tuple) -> bool | None:
    """Of two numbers that are the ends of a range in both texts, whether they stand the other way round; else None."""
    orders = []
    for text, a, b in ((source, g[0][0], h[0][0]), (rewrite, g[1][0], h[1][0])):
        first, second = sorted((a, b), key=lambda q: q.start)
        if not RANGE.fullmatch(text.text[first.end : second.start]):
            return None
        orders.append(first is a)
    return orders[0] != orders[1]
