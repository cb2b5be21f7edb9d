"""What is a number of a text, and when do two state the same?

    50 % = half     60 miles = 97 km     a third = 33 %     not: 5 kg = 5 km, 11 June = 11 dollars, 4 % = four in ten

A reading is (dimension, value): "" is the bare number, else the dimension of a unit (rewriters/number_words.py), or
`clock` (minutes of the day), `month` and `weekday` (their number), `decade` (its first year), `code` (a spelling).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from rewriters.spoken import Reading


@dataclass(frozen=True)
class Quantity:
    """One number of a text at [start, end), its readings, and the dimension of its unit ("" where it has none).

    `soft` is said of words that count without being a figure (one, first, half, twice) or that a text may say of things
    which it names (two, all three). `kind` is month, weekday, date (day of a month), year, code or "": only numbers of
    one kind can change places.
    """

    start: int
    end: int
    surface: str
    readings: frozenset[Reading]
    unit: str = ""
    soft: bool = False
    kind: str = ""

    def same(self, other: Quantity) -> bool:
        """Whether both may state the same: one reading in common, the bare number where not both have a unit.

        The day of a month is no eleven dollars, and no eleven in words.
        """
        bare = not (self.unit and other.unit)
        if "date" in (self.kind, other.kind) and self.kind != other.kind:
            bare = bare and all(q.kind == "date" or (not q.unit and bool(DAY.search(q.surface))) for q in (self, other))
        for a, b in ((self, other), (other, self)):  # 4 per cent are no four in ten
            if a.unit == "share" and any(d == "share" for d, _ in b.readings):
                bare = False
        return any(r in other.readings and (r[0] or bare) for r in self.readings) or self._near(other)

    def _near(self, other: Quantity) -> bool:
        """Whether one is the other rounded: a third and 33 %, 60 miles and 97 km."""
        if self.unit == other.unit and self.unit in MEASURED and _imperial(self) != _imperial(other):
            pairs = ((v, w) for d, v in self.readings for e, w in other.readings if d == e == self.unit)
            return any(abs(v - w) <= max(v, w) / 25 for v, w in pairs)  # type: ignore[type-var,operator]
        pairs = ((v, w) for d, v in self.readings for e, w in other.readings if d == e and d in (*MEASURED, "share"))
        return any(
            isinstance(v, Fraction) and isinstance(w, Fraction) and _endless(v) != _endless(w)
            and abs(v - w) <= max(v, w) / (40 if max(v, w) < 1 else 100)
            for v, w in pairs
        )  # fmt: skip

    @property
    def bare(self) -> Fraction | None:
        """The smallest of the bare numbers that it may be."""
        return min((v for d, v in self.readings if not d and isinstance(v, Fraction)), default=None)


DAY = re.compile(r"^\d|(?:st|nd|rd|th)$", re.IGNORECASE)  # what may be the day of a month
MEASURED = ("length", "mass", "volume", "area")
IMPERIAL = re.compile(
    r"(?:miles?|feet|foot|ft|inch(?:es)?|yards?|ounces?|oz|lbs?|gallons?|pints?|acres?)$", re.IGNORECASE
)


def _imperial(q: Quantity) -> bool:
    return bool(IMPERIAL.search(q.surface))


def _endless(value: Fraction) -> bool:
    """Whether a number has no end as a decimal."""
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below > 1
