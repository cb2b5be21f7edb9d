"""Which numbers does a text state without saying them? What a reader works out from those that it says.

    31 of forty -> nine short     half price of £48 -> £24     years 7 to 9 -> 8     30 % of 200 -> 60     a day -> 24

Whether a number may stand for others is decided elsewhere (rewriters/check_numbers.py): a rewrite that puts another
number in the place of one is not excused by arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from rewriters.mentions import ordinal
from rewriters.quantity import Quantity

SPAN = 30  # numbers within a range that counts as said whole
LISTED = 3  # up to which an ordinal may be counted from a list
MOST = 14  # numbers of a text that are combined; the pairs of more make any small number
PARTS_OF = {
    "day": 24,
    "hour": 60,
    "minute": 60,
    "week": 7,
    "year": 12,
    "%": 100,
    "per cent": 100,
    "percent": 100,
}  # of a unit: 16 hours a day are 16 of 24
LIKE = frozenset(("", "year", "code"))  # kinds that are counted with


def values(these: Sequence[Quantity]) -> list[Fraction]:
    """The bare numbers of quantities that are counted with, each once; shares as parts of one."""
    told: dict[Fraction, None] = {}
    for q in these:
        if q.kind in LIKE:
            shares = [v for d, v in q.readings if d == "share" and isinstance(v, Fraction)]
            for v in [*([q.bare] if q.bare is not None else []), *shares]:
                told[v] = None
    return list(told)[:MOST]


def sums(these: Sequence[Quantity]) -> set[Fraction]:
    """Sums and differences of any two quantities."""
    plain = [q.bare for q in these if q.bare is not None and q.kind == ""]
    return {n for a, b in itertools.combinations(plain, 2) for n in (a + b, abs(a - b))}


def worked_out(q: Quantity, these: Sequence[Quantity]) -> bool:
    """Whether a number follows from those of a text by one step: sum, difference, product, quotient, a total.

    One that has a unit follows from such as have the same: 48 from a price and `half`, not from two counts.
    """
    if q.kind or (ordinal(q) and q.bare is not None and q.bare > LISTED):
        return False
    if q.unit:
        base = [v for o in these for d, v in o.readings if d == q.unit and isinstance(v, Fraction)][:MOST]
        held = {v for d, v in q.readings if d == q.unit}
        found = {n for a, b in itertools.combinations(base, 2) for n in (a + b, abs(a - b))}
        found |= {n for a in base for b in values(these) for n in (a * b, *([a / b] if b else []))}
        return bool(held & found)
    told = values(these)
    found = set(sums(these[:MOST]))
    for a, b in itertools.combinations(told, 2):
        found |= {a * b, *(x / y for x, y in ((a, b), (b, a)) if y)}
    plain = [o.bare for o in these if o.bare is not None and o.kind == ""]
    for size in (3, 4):  # a total of what stands in a row
        found |= {sum(plain[i : i + size], Fraction(0)) for i in range(len(plain) - size + 1)}
    return q.bare in found


def in_range(q: Quantity, these: Sequence[Quantity], text: str) -> bool:
    """Whether a bare number lies within a range that a text gives: 8 in years 7 to 9."""
    for a, b in itertools.pairwise(these):
        low, high, to = a.bare, b.bare, text[a.end : b.start].strip()
        if q.bare is None or low is None or high is None or q.unit or to not in TO:
            continue
        if low < q.bare < high <= low + SPAN and not (q.bare - low) % 1:
            return True
    return False


def of_its_unit(q: Quantity, text: str) -> bool:
    """Whether a bare number is how many a unit of the text has: 16 of 24 for hours a day, 3 of 100 for per cent."""
    units = {n for unit, n in PARTS_OF.items() if unit in text.casefold()}
    return not q.unit and not q.kind and not ordinal(q) and q.bare in units


TO = ("-", "to", "and", "through", "until")
