"""Which numbers does a text state? Each figure by itself (rewriters/figures.py), and what neighbours make together.

    text --one pattern--> pieces --figures, dates, times--> quantities --neighbours--> 2 to 3 million, three in ten,
                                                                   3 May 2021 = May 3, 2021, 1 hour 10 = 70 minutes

Not covered: languages other than English. What a reader works out from numbers: rewriters/worked_out.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from rewriters.calendar_words import is_day, is_month
from rewriters.figures import read_digits, read_half, read_part, read_stars, read_words
from rewriters.neighbours import ALONE, joined
from rewriters.number_words import (
    ADVERBS,
    COUNTING,
    DAYS,
    MONTH_DAYS,
    MONTHS,
    NUMBER,
    PENCE,
    PIECES,
    PLURALS,
    SCALES,
    SPANS,
    UNITS,
    VAGUE,
    any_of,
)
from rewriters.quantity import Quantity
from rewriters.spoken import Reading, clock
from rewriters.wording import listed

KINDS = listed(
    "skip stars last item per week iso slash clock code more quarter part digits words half spans counting roman "
    "shortday bare vague pence plural day month"
)
QUARTERS = (("first", "q1"), ("second", "q2"), ("third", "q3"), ("fourth", "last", "final", "q4"))
IN_THE = re.compile(
    r" (?:o'clock )?(?:in the|this|that|tomorrow|yesterday) (morning|afternoon|evening)\b", re.IGNORECASE
)
LONG_MONTHS = (1, 3, 5, 7, 8, 10, 12)
FELL = re.compile(r"\b(?:from|by|down|up)(?: [^\W\d]+){0,4} $", re.IGNORECASE)  # from about 22 minutes to two
FELL_TO = re.compile(r" minutes to (?!noon|mid)", re.IGNORECASE)
TIMES = re.compile(
    r"[ -](?:times|fold)\b(?! (?:a|an|per|in|out|since|every|each|over|during|last|this)\b)", re.IGNORECASE
)
AT = re.compile(r"(?:\b(?:at|from|until|till|to|by|before|after|around|about|between|and) |-)$", re.IGNORECASE)
SCALED = re.compile(r" (?:scale|model|ratio|dilution|odds|replica|copy|split)\b", re.IGNORECASE)
IN_SCALE = re.compile(r"\b(?:scale|ratio|odds) (?:of |at |was |is )?$", re.IGNORECASE)
UNTIL = re.compile(r",? (?:until|till|to|through)\b", re.IGNORECASE)
TWO_DAYS = re.compile(rf" (?:of )?(?:{any_of(MONTHS)})\b", re.IGNORECASE)  # 5/6 June
WORD_BEFORE = re.compile(
    r"(mid|pre|post|sub|early|late|circa|from|to|age|aged|top|under|over|the)-(?=\d)", re.IGNORECASE
)


def quantities(text: str) -> list[Quantity]:
    """The quantities of a plain text (rewriters/wording.py), in order; addresses, list and note numbers are skipped."""
    found = [
        replace(q, readings=q.readings | {("whole", v) for d, v in q.readings if d == "share"}) for q in _read(text)
    ]
    return [_with_kind(_as_hour(_as_times(q, text), text)) for q in joined(found, text)]


def _as_times(q: Quantity, text: str) -> Quantity:
    """Nine times its estimate, which is a ninth of that."""
    times = {
        1 / v for d, v in q.readings if d == "share" and isinstance(v, Fraction) and v.numerator == 1 and v < 1 / 2
    }
    if q.bare is not None and q.bare > 2 and not q.unit and TIMES.match(text, q.end):
        times.add(q.bare)
    return replace(q, readings=q.readings | {("times", v) for v in times}) if times else q


def _as_hour(q: Quantity, text: str) -> Quantity:
    """At 12, which may be noon."""
    if q.bare != 12 or q.unit or q.kind or not ALONE.match(text, q.end) or not AT.search(text[: q.start]):
        return q
    return replace(q, readings=q.readings | {("noon", Fraction(12)), ("midnight", Fraction(12))})


def _read(text: str) -> Iterator[Quantity]:
    at = 0
    while match := PIECES.search(text, at):
        at = match.end()
        for made in _piece(text, match):
            made = _halved(text, made)
            at = made.end  # before the end of the piece where two numbers stand in a row (between seven and eleven)
            yield made


def _halved(text: str, q: Quantity) -> Quantity:
    """A time of day with the half of the day that is told: half past five in the morning."""
    half = IN_THE.match(text, q.end)
    if not half or not any(d == "clock" for d, _ in q.readings):
        return q
    morning = half[1].lower() == "morning"
    kept = {r for r in q.readings if r[0] != "clock" or (isinstance(r[1], Fraction) and (r[1] < 720) == morning)}
    return replace(q, readings=frozenset(kept), unit="clock" if q.unit == "" else q.unit)


def _piece(text: str, match: re.Match[str]) -> Iterator[Quantity]:
    surface, said = match[0], match[0].lower()
    kind = next((k for k in KINDS if match[k] is not None), "")
    word = lambda readings, **more: Quantity(*match.span(), surface, frozenset(readings), **more)  # noqa: E731
    if kind == "iso":
        yield from _date(match, [int(x) for x in surface.split("-")])
    elif kind == "slash":
        yield from _date(match, [int(x) for x in re.split(r"[/.]", surface)][::-1])
    elif kind == "clock":
        yield from _clock(text, match)
    elif kind == "code":
        yield _code(text, match)
    elif kind == "day" or (kind == "shortday" and is_day(text, *match.span())):
        number = next(n for name, n in DAYS.items() if name.startswith(said[:3]))
        yield word({("weekday", Fraction(number))}, unit="weekday", kind="weekday")
    elif kind == "month":
        if is_month(text, *match.span()):
            yield word({("month", Fraction(MONTHS[said]))}, unit="month", kind="month")
    elif kind == "roman":
        yield word({("", Fraction(_roman(surface)))}, soft=True)
    elif kind == "bare":  # a unit without a number counts as one of it, softly: a week is seven days
        name, _, part = said.partition(" ")
        unit, factor = UNITS[ADVERBS.get(name, name)]
        factor *= 1 + (Fraction(1, 4 if part.endswith("quarter") else 2) if part else 0)
        days: set[Reading] = {("time", factor * d * 86400) for d in MONTH_DAYS} if unit == "months" else set()
        yield word({(unit, factor), *days}, unit=unit, soft=True)
    elif kind == "vague":
        yield word({("vague", Fraction(VAGUE[said]))}, unit="vague", soft=True)
    elif kind == "last":  # day of a month
        month = MONTHS[text[match.end() + 4 :].split(maxsplit=1)[0].strip(".,;:!?)'\"").lower()]
        yield word(
            {("", Fraction(n)) for n in ((28, 29) if month == 2 else (30 + (month in LONG_MONTHS),))}, kind="date"
        )
    elif kind == "per":
        yield word({("", Fraction(SCALES[said]))}, soft=True)
    elif kind == "week":  # from Monday to Friday
        within = range(5, 7) if "end" in said else range(5)
        yield word({("weekday", Fraction(n)) for n in within}, unit="weekday", soft=True)
    elif kind == "item":  # the number of an item in a list
        yield word({("", Fraction(re.sub(r"\D", "", surface)))}, soft=True)
    elif kind == "more":  # a mile and a quarter
        unit, factor = UNITS[match["moreunit"].lower()]
        many = 1 + Fraction(1, {"half": 2, "quarter": 4, "third": 3}[match["morepart"].lower()])
        yield word({(unit, factor * many), ("", many)}, unit=unit)
    elif kind == "quarter":  # and its months
        number = next(n for n, names in enumerate(QUARTERS, 1) if said.split()[0] in names)
        months = {("month", Fraction(3 * number - 2 + i)) for i in range(3)}
        yield word({("", Fraction(number)), ("code", f"q{number}"), *months}, unit="quarter")
    elif kind == "pence":
        yield word({("", Fraction(PENCE[said])), ("money gbp", Fraction(PENCE[said], 100))}, unit="money gbp")
    elif kind == "plural":
        yield word({("", Fraction(PLURALS[said]))})
    elif kind == "spans":  # the sixties, the nineteen-sixties
        century = {"eighteen": 1800, "nineteen": 1900}.get(re.split("[ -]", said)[0])
        at = SPANS[re.split("[ -]", said)[-1]]
        yield word(
            {(d, Fraction(at + c)) for d in ("", "decade") for c in ((0, 1900) if century is None else (century,))},
            unit="decade",
        )
    elif kind == "counting":
        value = Fraction(COUNTING[said])
        hour = {"noon": 720, "midday": 720, "midnight": 0}.get(said)
        if hour is not None:
            yield word({("clock", Fraction(hour)), ("noon" if hour else "midnight", Fraction(12))}, soft=True)
        else:
            yield word({("", value), ("share", value)}, soft=True)
    elif kind not in ("skip", "shortday"):
        readers = {
            "part": read_part, "half": read_half, "words": read_words, "digits": read_digits, "stars": read_stars,
        }  # fmt: skip
        dated = kind == "part" and TWO_DAYS.match(text, match.end())
        if not dated and (made := readers[kind](text, match)):
            yield made
        elif kind == "part":
            yield from _beside(match)


def _clock(text: str, match: re.Match[str]) -> Iterator[Quantity]:
    """A time of day; or two numbers: from 22 minutes to two, a scale of 1:80."""
    surface = match[0]
    ratio = re.fullmatch(r"(\d{1,2}):(\d\d)", surface)
    scaled = SCALED.match(text, match.end()) or IN_SCALE.search(text[: match.start()])
    if ratio and (scaled or int(ratio[2]) > 59):
        for part in (1, 2):
            start, end = (match.start() + n for n in ratio.span(part))
            yield Quantity(start, end, ratio[part], frozenset({("", Fraction(ratio[part]))}))
        return
    fell = FELL_TO.search(surface) and FELL.search(text[: match.start()])
    number = NUMBER.match(text, match.start()) if fell and not UNTIL.match(text, match.end()) else None
    made = number and (read_digits if number["digits"] else read_words)(text, number)
    yield made or Quantity(*match.span(), surface, clock(surface), unit="clock")


def _beside(match: re.Match[str]) -> Iterator[Quantity]:
    """Two numbers with a slash between them: 135 over 85, 14/3."""
    middle = match.start() + match[0].index("/")
    for start, end in ((match.start(), middle), (middle + 1, match.end())):
        surface = match.string[start:end]
        yield Quantity(start, end, surface, frozenset({("", Fraction(surface)), ("code", match[0])}))


def _roman(surface: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[c] for c in surface]
    return sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))


def _date(match: re.Match[str], parts: list[int]) -> Iterator[Quantity]:
    """Year, month and day; which of the two last is which is open where both may be either."""
    year, *rest = parts
    years = {Fraction(year)} | ({Fraction(year + 1900), Fraction(year + 2000)} if year < 100 else set())
    yield Quantity(*match.span(), match[0], frozenset(("", y) for y in years), kind="year")
    for n in rest:
        month: set[Reading] = {("month", Fraction(n))} if n <= 12 else set()
        yield Quantity(*match.span(), match[0], frozenset({("", Fraction(n)), *month}), kind="date")


def _code(text: str, match: re.Match[str]) -> Quantity:
    """Letters with digits, or a version; its one number counts as well (GPT-4 = GPT 4)."""
    surface = match[0]
    if lead := WORD_BEFORE.match(surface):  # mid-1990s, pre-2010: the word is no part of the number
        inner = PIECES.match(text, match.start() + lead.end())
        if inner and inner["digits"]:
            return read_digits(text, inner)
    spelt = re.sub(r"[\s-]", "", surface.casefold())
    spelt = spelt[:-1] if re.search(r"\ds$", spelt) else spelt
    groups = re.findall(r"\d+(?:\.\d+)*", surface)
    readings: set[Reading] = {("code", spelt), ("code", spelt.lstrip("v"))}
    if year := re.fullmatch(r"fy'?(?:20)?(\d\d)", spelt):  # FY24
        readings.add(("", Fraction(2000 + int(year[1]))))
    if len(groups) == 1 and groups[0].count(".") < 2:
        readings.add(("", Fraction(groups[0])))
    return Quantity(*match.span(), surface, frozenset(readings), kind="code")


def _with_kind(q: Quantity) -> Quantity:
    value = q.bare
    if q.kind or q.unit or value is None or not 1000 <= value <= 2100 or "," in q.surface:
        return q
    return replace(q, kind="year")
