"""What is one number of a text, in all its readings? Digits or words with fraction, scale and unit.

12 = twelve    1.5 million = 1,500,000    50 % = half    90 minutes = an hour and a half    5 May = 5th of May
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from rewriters.number_words import (
    COUNTED,
    EMPTY,
    HALF_MORE,
    MONEY_BEFORE,
    MONTH_DAYS,
    OF_SCALE,
    OF_UNIT,
    PART_AFTER,
    PART_OF_UNIT,
    PARTS,
    POUND,
    POUNDS,
    SCALE_AFTER,
    SCALES,
    SHORT_SCALES,
    STAR,
    SUFFIX,
    UNIT_AFTER,
    UNITS,
    VULGAR,
)  # fmt: skip
from rewriters.quantity import Quantity
from rewriters.spoken import Reading, clock, number_of_words


class Figure:
    """A figure as it is read from left to right: `values` so far, further `readings`, and where it ends."""

    def __init__(self, text: str, start: int, end: int):
        self.text, self.start, self.end = text, start, end
        self.values: set[Fraction] = set()
        self.readings: set[Reading] = set()
        self.unit, self.soft, self.kind = "", False, ""

    @property
    def before(self) -> str:
        return self.text[max(0, self.start - 12) : self.start]

    def times(self, factor: int | Fraction) -> None:
        self.values = {v * factor for v in self.values}

    def made(self) -> Quantity:
        surface = self.text[self.start : self.end]
        return Quantity(self.start, self.end, surface, frozenset(self.readings), self.unit, self.soft, self.kind)


RATING = re.compile(r"\b[0-5][.,]\d\b|\b[0-5] ?/ ?5\b")
OF_CENT = re.compile(r" (?:a|of a|of one|of 1) (?:per ?cent|percentage point|%)", re.IGNORECASE)
HOURS = ("h", "hr", "hrs", "hours")
WHOLE = 20  # from here on 1/n is said of n as well


def read_part(text: str, match: re.Match[str]) -> Quantity | None:
    """A fraction with a slash; None where it is above 1: two numbers beside one another (135/85, 9/11)."""
    figure = Figure(text, *match.span())
    above, below = map(int, match[0].split("/"))
    if above > below:
        return None
    figure.values = {Fraction(above, below)}
    figure.readings = {("share", Fraction(above, below)), ("code", match[0])}
    if above == 1 and below >= WHOLE:  # one over 125
        figure.readings.add(("", Fraction(below)))
    return replace(_with_scale_and_unit(figure, False), soft=False)


def read_stars(text: str, match: re.Match[str]) -> Quantity:
    """Stars as signs: ★★★½☆ are three and a half of five; soft as ornament (★★★ SALE ★★★) and beside a rating."""
    full, empty = (sum(c in signs for c in match[0]) for signs in (STAR, EMPTY))
    value = full + Fraction(1, 2) * ("½" in match[0])
    readings: set[Reading] = {("", value)}
    readings |= {("share", value / 5), ("share", value / (full + empty + ("½" in match[0])))}
    line = text[text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
    soft = line.count(match[0].strip()) > 1 or bool(RATING.search(text[max(0, match.start() - 12) : match.end() + 12]))
    return Quantity(*match.span(), match[0], frozenset(readings), soft=soft, kind="stars")


def read_half(text: str, match: re.Match[str]) -> Quantity:
    """half, quarter: of a million, of an hour, or of anything."""
    figure = Figure(text, *match.span())
    figure.values, figure.soft = {Fraction(1, 2 if match[0].lower() == "half" else 4)}, True
    if scaled := OF_SCALE.match(text, figure.end):
        figure.times(SCALES[scaled[1].lower()])
        figure.end, figure.soft = scaled.end(), False
    elif cent := OF_CENT.match(text, figure.end):  # half a per cent
        figure.unit, figure.end, figure.soft = "share", cent.end(), False
        figure.readings = {("share", v / 100) for v in figure.values}
    elif of_unit := OF_UNIT.match(text, figure.end):
        return _of_unit(figure, of_unit)
    else:
        figure.readings = {("share", v) for v in figure.values}
    figure.readings |= {("", v) for v in figure.values}
    return figure.made()


def read_words(text: str, match: re.Match[str]) -> Quantity | None:
    """A number in words, with parts (two thirds) and what follows it."""
    read = number_of_words(match[0].lower())
    if read is None:
        return None
    value, ordinal, used = read
    figure = Figure(text, match.start(), match.start() + used)
    figure.values = {value}
    figure.soft = value <= 2 or (value <= 5 and not ordinal and bool(COUNTED.search(figure.before)))
    over = PART_AFTER.match(text, figure.end)
    if ordinal and value > 2 and re.search(r"\b(?:an?|one)[ -]$", figure.before, re.IGNORECASE):
        figure.readings = {("share", 1 / value)}  # a third
        if part_of := PART_OF_UNIT.match(text, figure.end):  # of a litre
            unit, factor = UNITS[part_of[1].lower()]
            figure.readings.add((unit, factor / value))
    elif over and not ordinal:
        part = over["part"].lower()
        if part.endswith("s") or value == 1:  # two thirds, one quarter
            figure.values, figure.end = {value / PARTS[part]}, over.end()
            figure.readings, figure.soft = {("share", v) for v in figure.values}, PARTS[part] in (2, 4)
            if of_unit := OF_UNIT.match(text, figure.end):  # three quarters of an hour
                made = _of_unit(figure, of_unit)
                return replace(made, readings=made.readings | {("share", v) for v in figure.values})
    return _with_scale_and_unit(figure, False)


def read_digits(text: str, match: re.Match[str]) -> Quantity:
    """A number in digits, with its ending (5th, 1990s, 10km, 7B) and what follows it."""
    figure, digits, extra = Figure(text, *match.span()), match[0], Fraction(0)
    if digits[-1] in VULGAR:
        extra, digits = Fraction(*VULGAR[digits[-1]]), digits[:-1].strip()
    elif "/" in digits:  # 1 1/2
        digits, part = re.split(r"[ -]", digits)
        extra = Fraction(part)
    elif re.fullmatch(r"\d{1,3},\d\d", digits):  # 1,50 euros
        digits = digits.replace(",", ".")
    value = Fraction(re.sub(r"[, ']", "", digits) or 0) + extra
    figure.values = {value}
    told = re.fullmatch(r"(\d{1,2})\.([0-5]\d)", digits)
    if told and int(told[1]) < 25:  # 6.10 may be ten past six
        figure.readings = {(d, v) for d, v in clock(f"{told[1]}:{told[2]}") if d}
    elif re.fullmatch(r"(?:[01]\d|2[0-3])[0-5]\d", digits):  # 0600 and 1845 may be times
        figure.readings = {(d, v) for d, v in clock(f"{digits[:2]}:{digits[2:]}") if d == "clock"}
    if suffix := SUFFIX.match(text, figure.end):
        figure.end = suffix.end()
        if suffix["plural"]:
            figure.values |= {value + 1900} if value < 100 else set()
            figure.readings |= {("decade", v) for v in figure.values}
    elif figure.before.endswith("'") and value < 100:  # '98
        figure.values |= {value + 1900, value + 2000}
    elif text[figure.end : figure.end + 1].isalpha():
        scale = SCALE_AFTER.match(text, figure.end)
        by = re.compile(r"x\d").match(text, figure.end)  # 20x30 cm
        if not by and not (scale and scale["letter"]) and not UNIT_AFTER.match(text, figure.end):
            tail = re.compile(r"[\w-]*\w").match(text, figure.end)
            figure.end = tail.end() if tail else figure.end
            figure.kind = "code"
            figure.readings = {("code", text[figure.start : figure.end].casefold()), ("", value)}
            return figure.made()
    return _with_scale_and_unit(figure, True)


def _of_unit(figure: Figure, of_unit: re.Match[str]) -> Quantity:
    figure.unit, factor = UNITS[(of_unit[1] or of_unit[2]).lower()]
    figure.readings = {(figure.unit, v * factor) for v in figure.values} | {("", v) for v in figure.values}
    figure.end = of_unit.end()
    return figure.made()


def _with_scale_and_unit(figure: Figure, in_digits: bool) -> Quantity:
    """Adds `and a half`, million, and a unit or currency."""
    text = figure.text
    money = MONEY_BEFORE.search(figure.before)
    if more := HALF_MORE.match(text, figure.end):
        scaled = re.search(r"(thousand|million|billion)$", text[figure.start : figure.end].lower())
        add = Fraction(3, 4) if more["n"] else Fraction(1, PARTS[(more["over"] or more["less"]).lower()])
        add *= SCALES[scaled[1]] if scaled else 1  # a million and a half
        figure.values, figure.end, figure.soft = {v + add for v in figure.values}, more.end(), False
    scale = SCALE_AFTER.match(text, figure.end)
    if scale and scale["scale"]:
        figure.times(SCALES[scale["scale"].lower()])
        figure.end, figure.soft, figure.readings = scale.end(), False, set()
    elif scale and scale["letter"] and in_digits:
        letter, plain = scale["letter"].lower(), set(figure.values)
        figure.times(SHORT_SCALES[letter])
        if letter == "m" and not money:  # 5m may be metres, minutes or millions
            figure.readings |= {(d, v * f) for v in plain for d, f in (("length", 1), ("time", 60))}
            figure.values |= plain
        figure.end = scale.end()
    figure.readings |= {("", v) for v in figure.values}
    held = UNIT_AFTER.match(text, figure.end)
    if money:
        figure.unit = UNITS[(money[1] or money[2]).lower()][0]
        figure.readings |= {(figure.unit, v) for v in figure.values}
    elif held and (held[1] or "").lower() in POUNDS:
        figure.unit, figure.end = "pounds", held.end()
        figure.readings = {("", v) for v in figure.values}
        figure.readings |= {(d, v * f) for v in figure.values for d, f in POUND.items()}
    elif held:
        _with_unit(figure, (held[1] or "%").lower(), held.end())
    if figure.values <= {0, 1}:
        figure.soft = True
    return figure.made()


def _with_unit(figure: Figure, name: str, end: int) -> None:
    told = figure.text[figure.start : end]
    if half := re.compile(r" and a half\b").match(figure.text, end):  # two hours and a half
        figure.values, end = {v + Fraction(1, 2) for v in figure.values}, half.end()
        figure.readings = {("", v) for v in figure.values}
    figure.unit, factor = UNITS[name]
    kept = ("", "clock") if name in HOURS and max(figure.values) > 24 else ("",)  # 1700 hrs
    figure.readings = {r for r in figure.readings if r[0] in kept} | {(figure.unit, v * factor) for v in figure.values}
    if name == "century" and re.match(r"\S*(?:th|st|nd|rd|first|second)\b", told):  # the 19th century, the 1800s
        figure.readings |= {("decade", (v - 1) * 100) for v in figure.values}
    if figure.unit == "months":
        figure.readings |= {("time", v * factor * d * 86400) for v in figure.values for d in MONTH_DAYS}
    elif name == "m":  # metres, minutes or millions
        figure.readings |= {("time", v * 60) for v in figure.values} | {("", v * 10**6) for v in figure.values}
    elif name == "w":  # watts or weeks
        figure.readings |= {("time", v * 604800) for v in figure.values}
    if name in HOURS:  # 17 h may be a time of day
        figure.readings |= {("clock", v * 60) for v in figure.values if (12 if name == "hours" else 0) < v <= 24}
    figure.end, figure.soft = end, figure.soft and figure.values <= {0, 1, 2}
