"""What do numbers make that stand beside one another? Units, dates, ranges, shares, hours and scales that they share.

    1 hour 30 -> 90 minutes     2 to 3 million     three in ten     May 3     cost 3 million and looks like thirty

Each step looks at two neighbours of a text and adds what they make together as further readings.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from rewriters.mentions import ordinal
from rewriters.number_words import SCALES, SHORT_SCALES, UNITS, any_of
from rewriters.quantity import Quantity
from rewriters.spoken import Reading

RANGE = re.compile(r" ?(?:-|to|and|or|instead of|from|rather than) ?")
OWNER = r"(?:every |the |these |those |a |its |his |her |my |our |your |their |a possible |a maximum of )?"
IN_OF = re.compile(rf" (?:in|out of|of every|in every|of|per) {OWNER}")
SOME_IN = re.compile(r" [^\W\d]+(?: [^\W\d]+)? (?:in|out of|of every|in every) (?:every |a possible |a maximum of )?")
ONE_IN = re.compile(r"(?: [^\W\d]+){0,3} (?:in|out of|of every|in every) (?:every )?")
BESIDE_MONTH = re.compile(r"(?:st|nd|rd|th)?,? (?:of )?")
REACH = 4  # numbers before one that may lend it their unit
APART = 70  # characters between a number without a scale and one that lends it its own
ALONE = re.compile(  # behind a number that counts nothing which is named
    r"\s*(?:[.,;:!?()]|$|-\s|(?:and|or|to|but|in|for|with|without|from|if|when|instead|rather|at|on|it|before|after|by|"
    r"where|was|were|is|are|while|against|once|last|this|as|than)\b)"
)
OF_MORE = re.compile(rf" (?:of|out of|from) {OWNER}\W?(?=\w)")  # 2.2 of the three million
A_YEAR = re.compile(r"(?: times?| [^\W\d]+)? (?:a|per|each|every|in a) ")
NOUN = re.compile(r" [a-z]")
SCALE = re.compile(rf"\b({any_of(SCALES)})\b", re.IGNORECASE)
LETTER = re.compile(r"\d(bn|mn|tn|[kmb])$", re.IGNORECASE)


def joined(found: list[Quantity], text: str) -> list[Quantity]:
    """The numbers of a text, in order, with what each makes with its neighbours."""
    found = list(found)
    for i in range(len(found) - 1):
        between = text[found[i].end : found[i + 1].start]
        _join_units(found, i, between)
        _join_date(found, i, between, text)
        _join_range(found, i, between, text)
        _join_share(found, i, between)
        _join_hour(found, i, between)
        _join_rate(found, i, between)
    found = [_every(q, text) for q in found]
    lent = [_of_like_scale(found, i, text) for i in range(len(found))]
    for i, q in enumerate(lent):
        if not q.unit and not q.kind and not q.soft and ALONE.match(text, q.end):
            lent[i] = _of_like_unit(q, found[:i][::-1])
    return lent


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


def _of_like_scale(found: list[Quantity], i: int, text: str) -> Quantity:
    """A number without scale and noun, in the scale of a neighbour as well: cost 3 million and looks like thirty."""
    q = found[i]
    part = OF_MORE.match(text, q.end)
    if q.bare is None or q.kind or ordinal(q) or _scale(q) > 1 or not (ALONE.match(text, q.end) or part):
        return q
    for other in (found[i - 1 : i] if i else []) + found[i + 1 : i + 2]:
        between = text[other.end : q.start] if other.start < q.start else text[q.end : other.start]
        scale = _scale(other)
        if scale < 1000 or len(between) > APART or (q.unit and q.unit != other.unit):
            continue
        values = {v * scale for d, v in q.readings if not d and isinstance(v, Fraction)}
        if values:
            more: set[Reading] = {(d, v) for d in {"", q.unit, other.unit} - {"vague"} for v in values}
            return replace(q, readings=q.readings | more)
    return q


def _join_rate(found: list[Quantity], i: int, between: str) -> None:
    """Twice a year, four visits a month: how often."""
    a, b = found[i], found[i + 1]
    spans = [v for d, v in b.readings if d == b.unit and isinstance(v, Fraction)]
    if a.bare and not a.unit and not a.kind and b.soft and b.unit in ("time", "months") and A_YEAR.fullmatch(between):
        found[i] = replace(a, readings=a.readings | {("often " + b.unit, a.bare / v) for v in spans})


def _every(q: Quantity, text: str) -> Quantity:
    """Every six months, which is twice a year."""
    if q.unit not in ("time", "months") or not text[: q.start].lower().endswith("every "):
        return q
    often = {("often " + d, 1 / v) for d, v in q.readings if d == q.unit and isinstance(v, Fraction) and v}
    return replace(q, readings=q.readings | often)


def _scale(q: Quantity) -> int:
    """The scale that a number is told in, 1 for none."""
    if told := SCALE.search(q.surface):
        return SCALES[told[1].lower()]
    letter = LETTER.search(q.surface)
    return SHORT_SCALES[letter[1].lower()] if letter else 1


def _join_units(found: list[Quantity], i: int, between: str) -> None:
    """1 hour 30 minutes, two hours forty, one pound fifty."""
    a, b = found[i], found[i + 1]
    if not re.fullmatch(r",? (?:and )?|", between) or not a.unit:
        return
    held = [v for d, v in a.readings if d == a.unit and isinstance(v, Fraction)]
    loose = b.bare
    if a.unit == b.unit:
        smaller = [v for d, v in b.readings if d == b.unit and isinstance(v, Fraction)]
    elif a.unit == "time" and loose is not None and loose < 60 and re.search(r"hour|hr?$", a.surface.lower()):
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


def _join_date(found: list[Quantity], i: int, between: str, text: str) -> None:
    """The day beside a month is a date: in figures, or an ordinal (in June two people came)."""
    if "month" in (found[i].kind, found[i + 1].kind) and BESIDE_MONTH.fullmatch(between):
        day = i + 1 if found[i].kind == "month" else i
        value = found[day].bare
        if day > i and NOUN.match(text, found[day].end) and not ALONE.match(text, found[day].end):  # in June 2 people
            return
        if value is not None and value <= 31 and (found[day].surface[0].isdigit() or ordinal(found[day])):
            found[day] = replace(found[day], kind="date", soft=False)


def _join_range(found: list[Quantity], i: int, between: str, text: str) -> None:
    """2 to 3 million, 2 to 3 hours, 2019-20: the first may take scale and unit of the second, which may be a year."""
    a, b = found[i], found[i + 1]
    first, second = a.bare, b.bare
    if first is None or second is None or not (RANGE.fullmatch(between) or between == "/"):
        return
    told, more, unit = text[b.start : b.end], set[Reading](), ""
    if (scale := SCALE.search(told)) and not a.unit:
        more.add(("", first * SCALES[scale[1].lower()]))
    if a.unit:  # $140-150 million
        if a.unit.startswith("money") and _scale(b) > 1 == _scale(a) and not (b.unit and b.unit != a.unit):
            more = {(d, first * _scale(b)) for d in ("", a.unit)}
            found[i] = replace(a, readings=a.readings | more)
            found[i + 1] = replace(b, readings=b.readings | {(a.unit, second)}, unit=a.unit)
        return
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
    """Three in ten, one harmless request in twenty, ten out of ten."""
    a, b = found[i], found[i + 1]
    first, second = a.bare, b.bare
    if first is None or second is None or not 0 < first <= second or "month" in (a.kind, b.kind):
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
