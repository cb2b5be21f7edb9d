"""Which number do words say, and which time of day?

    three hundred and five -> 305     twenty-first -> 21, an ordinal     ten minutes to midnight -> 1430 minutes

Of a piece of text that the pattern of rewriters/number_words.py has found.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rewriters.number_words import NOONS, ONES, ORDINALS, SCALES, TENS

Reading = tuple[str, Fraction | str]  # (dimension, value): see rewriters/quantity.py


def clock(surface: str) -> frozenset[Reading]:
    """Readings of a time of day: without `am` or `pm` both halves of the day, and the bare hour where it is full."""
    told = surface.lower()
    if twelve := re.fullmatch(r"(?:12|twelve) (noon|midday|midnight)", told):
        hour = NOONS[twelve[1]]
        return frozenset({("clock", Fraction(hour * 60)), ("noon" if hour else "midnight", Fraction(12))})
    if spoken := re.match(r"(half|(?:a )?quarter|[a-z-]+|\d+)(?: minutes)? (past|after|to|before) (\w+)", told):
        hour = int(spoken[3]) if spoken[3].isdigit() else (ONES | NOONS)[spoken[3]]
        minutes = {"half": 30, "quarter": 15, "a quarter": 15}.get(spoken[1]) or minutes_of(spoken[1])
        minutes *= -1 if spoken[2] in ("to", "before") else 1
        if spoken[3] in NOONS:
            return frozenset({("clock", Fraction((hour * 60 + minutes) % 1440))})
    else:
        first = re.match(r"[a-z]+|\d+", told)
        assert first
        hour = ONES[first[0]] if first[0] in ONES else int(first[0])
        later = re.match(r"\d+[:.](\d{2})", told)
        minutes = int(later[1]) if later else 0
    halves = [720 * ("p" in told)] if re.search(r"[ap]\.?m", told) else [0, 720]
    readings: set[Reading] = {("clock", Fraction(hour * 60 + minutes))} if hour > 12 else set()
    if hour <= 12:
        readings |= {("clock", Fraction((hour % 12) * 60 + minutes + h)) for h in halves}
    if not minutes:
        readings |= {("", Fraction(hour)), ("", Fraction(hour - 12 if hour > 12 else hour))}
    if three := re.fullmatch(r"(\d+):(\d\d):(\d\d)", told):
        return frozenset({("time", Fraction(int(three[1]) * 3600 + int(three[2]) * 60 + int(three[3])))})
    if ":" in told and "m" not in told:  # 2:30 may be a ratio, or what something took
        first_part, second = (Fraction(x) for x in told.split(":")[:2])
        readings |= {("", first_part), ("time", first_part * 60 + second)}
        readings.add(("time", first_part * 3600 + second * 60))
    return frozenset(readings)


def minutes_of(told: str) -> int:
    read = number_of_words(told)
    return int(told) if told.isdigit() else int(read[0]) if read else 0


def number_of_words(told: str) -> tuple[Fraction, bool, int] | None:
    """(value, whether it is an ordinal, characters used) of a number in words at the beginning of `told`."""
    parts = [(m[0], m.end()) for m in re.finditer(r"[a-z]+", told)]
    total, current = Fraction(0), Fraction(0)
    used, last = 0, 10**15
    if parts and parts[0][0] == "half":
        current, parts, used, last = Fraction(1, 2), parts[2:], 1, 1
    elif parts and parts[0][0] in ("a", "an"):
        current, parts, last = Fraction(1), parts[1:], 1
    for word, end in parts:
        if word == "and":
            if used and last < 100:  # forty and sixty
                break
            continue
        if word in SCALES:
            if SCALES[word] == 100:
                current, last = (current or Fraction(1)) * 100, 100
            else:
                total, current, last = total + (current or Fraction(1)) * SCALES[word], Fraction(0), SCALES[word]
            used = end
            continue
        value = ONES.get(word, TENS.get(word, ORDINALS.get(word, -1)))
        if value >= 100 and current:  # three-thousandth
            return (total + current) * value, True, end
        if (value < 10 and last in range(20, 100, 10)) or last >= 100 or used == 0:
            current, last = current + value, value if value >= 20 else 1
        elif 10 <= current < 100 and value >= 10 and not total:  # nineteen eighty-four
            current, last = current * 100 + value, value
        else:
            break
        used = end
        if word in ORDINALS:
            return total + current, True, used
    return (total + current, False, used) if used else None
