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

from rewriters.figures import Quantity, Reading, read_digits, read_half, read_part, read_words
from rewriters.number_words import (
    ADVERBS,
    COUNTING,
    DAYS,
    MONTH_DAYS,
    MONTHS,
    PENCE,
    PIECES,
    PLURALS,
    SCALES,
    SPANS,
    UNITS,
    VAGUE,
    any_of,
)
from rewriters.spoken import clock
from rewriters.wording import listed

RANGE = re.compile(r" ?(?:-|to|and|or|instead of|from|rather than) ?")
IN_OF = re.compile(
    r" (?:in|out of|of every|in every|of|per) (?:every |the |these |those |a |its |his |her |my |our |your |their )?"
)
SOME_IN = re.compile(r" [^\W\d]+(?: [^\W\d]+)? (?:in|out of|of every|in every) (?:every )?")
ONE_IN = re.compile(r"(?: [^\W\d]+){0,3} (?:in|out of|of every|in every) (?:every )?")
BESIDE_MONTH = re.compile(r"(?:st|nd|rd|th)?,? (?:of )?")
KINDS = listed(
    "skip last item per week iso slash clock code more quarter part digits words half spans counting roman shortday "
    "bare vague pence plural day month"
)
QUARTERS = (("first", "q1"), ("second", "q2"), ("third", "q3"), ("fourth", "last", "final", "q4"))
REACH = 4  # numbers before one that may lend it their unit
ALONE = re.compile(  # behind a number that counts nothing which is named
    r"\s*(?:[.,;:!?()]|$|-\s|(?:and|or|to|but|in|for|with|without|from|if|when|instead|rather|at|on|it|before|after|by|"
    r"where|was|were|is|are|while|against|once|last|this|as|than)\b)"
)
IN_THE = re.compile(
    r" (?:o'clock )?(?:in the|this|that|tomorrow|yesterday) (morning|afternoon|evening)\b", re.IGNORECASE
)
LONG_MONTHS = (1, 3, 5, 7, 8, 10, 12)
SCALE = re.compile(rf"\b({any_of(SCALES)})\b", re.IGNORECASE)
AS_VERB = re.compile(
    r" (?:I|you|we|he|she|it|they|the|your|our|his|her|their|this|that|all|god|not|be|no|on|past|up|down|into)\b",
    re.IGNORECASE,
)
BEGINS = re.compile(r"(?:^|[.!?:\n\"(]|- )[\s\"'(]*$")
WORD_BEFORE = re.compile(
    r"(mid|pre|post|sub|early|late|circa|from|to|age|aged|top|under|over|the)-(?=\d)", re.IGNORECASE
)


def quantities(text: str) -> list[Quantity]:
    """The quantities of a plain text (rewriters/wording.py), in order; addresses, list and note numbers are skipped."""
    found = [
        replace(q, readings=q.readings | {("whole", v) for d, v in q.readings if d == "share"}) for q in _read(text)
    ]
    for i in range(len(found) - 1):
        between = text[found[i].end : found[i + 1].start]
        _join_units(found, i, between)
        _join_date(found, i, between)
        _join_range(found, i, between, text)
        _join_share(found, i, between)
        _join_hour(found, i, between)
    for i, q in enumerate(found):
        if not q.unit and not q.kind and not q.soft and ALONE.match(text, q.end):
            found[i] = _of_like_unit(q, found[:i][::-1])
    return [_with_kind(q) for q in found]


def _of_like_unit(q: Quantity, before: list[Quantity]) -> Quantity:
    """A number without a noun, in the unit of one before it as well: twenty minutes to spread; it sets in thirty."""
    for other in before[:REACH]:
        held = re.search(r"[^\W\d]+$", other.surface)
        if other.unit == "share" and q.bare is not None:
            share = q.bare / 100
            return replace(q, readings=q.readings | {("share", share), ("whole", share)})
        if held and q.bare is not None and UNITS.get(held[0].lower(), ("",))[0] == other.unit != "":
            unit, factor = UNITS[held[0].lower()]
            return replace(q, readings=q.readings | {(unit, q.bare * factor)})
    return q


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
        yield word(clock(surface), unit="clock")
    elif kind == "code":
        yield _code(text, match)
    elif kind in ("day", "shortday"):
        number = next(n for name, n in DAYS.items() if name.startswith(said[:3]))
        yield word({("weekday", Fraction(number))}, unit="weekday", kind="weekday")
    elif kind == "month":
        if surface[0].isupper() and _is_month(text, match):
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
    elif kind == "spans":
        yield word({(d, Fraction(SPANS[said] + c)) for d in ("", "decade") for c in (0, 1900)}, unit="decade")
    elif kind == "counting":
        value = Fraction(COUNTING[said])
        hour = {"noon": 720, "midday": 720, "midnight": 0}.get(said)
        more: set[Reading] = {("clock", Fraction(hour)), ("", Fraction(12))} if hour is not None else set()
        yield word({("", value), ("share", value), *more}, soft=True)
    elif kind != "skip":
        readers = {"part": read_part, "half": read_half, "words": read_words, "digits": read_digits}
        if made := readers[kind](text, match):
            yield made
        elif kind == "part":
            yield from _beside(match)


def _beside(match: re.Match[str]) -> Iterator[Quantity]:
    """Two numbers with a slash between them: 135 over 85, 14/3."""
    middle = match.start() + match[0].index("/")
    for start, end in ((match.start(), middle), (middle + 1, match.end())):
        surface = match.string[start:end]
        yield Quantity(start, end, surface, frozenset({("", Fraction(surface)), ("code", match[0])}))


def _roman(surface: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[c] for c in surface]
    return sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))


def _is_month(text: str, match: re.Match[str]) -> bool:
    """May, March and Mar begin a sentence as other words; there they are months beside a figure."""
    if match[0].lower() not in ("may", "march", "mar"):
        return True
    after = text[match.end() :][:10]
    if not BEGINS.search(text[: match.start()]) or re.match(r"\.? (?:\d|of\b)|'s\b", after):
        return True
    return match[0] in ("May", "March") and not AS_VERB.match(after)


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
    if len(groups) == 1 and groups[0].count(".") < 2:
        readings.add(("", Fraction(groups[0])))
    return Quantity(*match.span(), surface, frozenset(readings), kind="code")


def _join_units(found: list[Quantity], i: int, between: str) -> None:
    """1 hour 30 minutes, two hours forty, one pound fifty."""
    a, b = found[i], found[i + 1]
    if not re.fullmatch(r",? (?:and )?|", between) or not a.unit:
        return
    held = [v for d, v in a.readings if d == a.unit and isinstance(v, Fraction)]
    loose = b.bare
    if a.unit == b.unit:
        smaller = [v for d, v in b.readings if d == b.unit and isinstance(v, Fraction)]
    elif a.unit == "time" and loose is not None and loose < 60 and re.search(r"hour|h$", a.surface.lower()):
        smaller = [loose * 60]
    elif a.unit == "time" and loose is not None and loose < 60 and re.search(r"min(?:ute)?s?$", a.surface.lower()):
        smaller = [loose]  # 1 minute 40
    elif a.unit.startswith(("money", "pounds")) and not b.unit and between == " " and loose and 1 < loose < 100:
        smaller = [loose / 100]
    else:
        return
    unit = "money gbp" if a.unit == "pounds" else a.unit
    both: set[Reading] = {(unit, v + w) for v in held for w in smaller if v > w}
    found[i] = replace(a, readings=a.readings | both)
    found[i + 1] = replace(b, readings=b.readings | both | {(a.unit, w) for w in smaller})


def _join_date(found: list[Quantity], i: int, between: str) -> None:
    """The day beside a month is a date."""
    if "month" in (found[i].kind, found[i + 1].kind) and BESIDE_MONTH.fullmatch(between):
        day = i + 1 if found[i].kind == "month" else i
        value = found[day].bare
        if value is not None and value <= 31:
            found[day] = replace(found[day], kind="date", soft=False)


def _join_range(found: list[Quantity], i: int, between: str, text: str) -> None:
    """2 to 3 million, 2 to 3 hours, 2019-20: the first may take scale and unit of the second, which may be a year."""
    a, b = found[i], found[i + 1]
    first, second = a.bare, b.bare
    if a.unit or first is None or second is None or not (RANGE.fullmatch(between) or between == "/"):
        return
    told, more, unit = text[b.start : b.end], set[Reading](), ""
    if scale := SCALE.search(told):
        more.add(("", first * SCALES[scale[1].lower()]))
    held = re.search(r"[^\W\d]+$|[%°]\w?$", told)
    if held and UNITS.get(held[0].lower(), ("",))[0] == b.unit and b.unit:
        more.add((b.unit, first * UNITS[held[0].lower()][1]))
        unit = b.unit
    if b.unit == "time" and any(d == "clock" for d, _ in b.readings):  # from 7 to 19 hours
        more.add(("clock", first * 60))
    found[i] = replace(a, readings=a.readings | more, unit=unit)
    if between in ("-", "/") and first >= 1000 and second < 100:
        found[i + 1] = replace(b, readings=b.readings | {("", first // 100 * 100 + second)})


def _join_share(found: list[Quantity], i: int, between: str) -> None:
    """Three in ten, one harmless request in twenty."""
    a, b = found[i], found[i + 1]
    first, second = a.bare, b.bare
    if first is None or second is None or not 0 < first < second or "month" in (a.kind, b.kind):
        return
    several = SOME_IN.fullmatch(between) and not (b.unit or b.kind)  # three homes in four
    if IN_OF.fullmatch(between) or several or (first == 1 and ONE_IN.fullmatch(between)):
        found[i] = replace(a, readings=a.readings | {("share", first / second)})
        found[i + 1] = replace(b, readings=b.readings | {("whole", first / second)})


def _join_hour(found: list[Quantity], i: int, between: str) -> None:
    """Ten to eleven may be a time of day."""
    a, b = found[i], found[i + 1]
    minutes, hour = a.bare, b.bare
    if between == " to " and minutes in (5, 10, 20, 25) and hour is not None and 1 <= hour <= 12 and not a.unit:
        at: set[Reading] = {("clock", hour % 12 * 60 - minutes + h) for h in (0, 720, 1440)}
        found[i], found[i + 1] = replace(a, readings=a.readings | at), replace(b, readings=b.readings | at)


def _with_kind(q: Quantity) -> Quantity:
    value = q.bare
    if q.kind or q.unit or value is None or not 1000 <= value <= 2100 or "," in q.surface:
        return q
    return replace(q, kind="year")
