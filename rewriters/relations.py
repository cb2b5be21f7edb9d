"""Which of two numbers does a text call the old one, or the part of the other? By the words between and around them.

    from 9 hours to 6     6 instead of 9     6 where it had been 9     6, up from 9     not 9 but 6     6 against 9
    71 of 80     of 80, 71     4.2 metres by 3

Two texts that call different ones the old have exchanged them, however alike their words are elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewriters.checks import Side

Spot = tuple[int, int]  # characters [start, end) of a number
LONGEST = 110  # characters between two numbers of which a text may tell that one replaced the other

TIME = r"year|term|month|season|week|day"
LAST = (
    rf"(?:(?:last|previous) (?:{TIME}|time|decade|spring|summer|autumn|winter|fall)|the previous one|"
    rf"the (?:{TIME}) before)"
)
EARLIER = re.compile(  # right behind a number: it is the old one
    rf"^\W{{0,3}}(?:(?!where|which|when|it\b|they|that|instead|against)[^\W\d]+ ){{0,3}}"
    rf"(?:had been|before(?!hand| ?\d)|(?:in )?(?:the )?{LAST}|previously|earlier|formerly|a year (?:ago|before)|"
    rf"used to)\b"
)
REPLACES = re.compile(  # between two numbers: the second is the old one
    r"\b(?:instead of|in place of|in lieu of|rather than|up from|down from|not the|and not|from|against|as against|"
    r"compared (?:with|to)|versus|as opposed to|replac\w+|where (?:\w+ ){0,3}(?:used to(?: \w+)?|was|were|had|took)|"
    r"wh(?:ere|en|ich) (?:\w+ ){0,2}(?:had|was|were|used to)|(?:it|they|that|he|she) (?:was|were|had been|used to be)|"
    r"used to(?: be| \w+)?|previously|formerly|earlier|originally|had been|,? not)(?: \w+){0,3}\W*$|"
    r"\((?:was|were|from|formerly|previously)(?: \w+){0,2} \W?$",
    re.IGNORECASE,
)
FROM = re.compile(r"\bfrom (?:[^\W\d]+ ){0,2}\W?$", re.IGNORECASE)
OLD_BEFORE = re.compile(  # right before a number: it is the old one
    r"\b(?:instead of|in place of|rather than|where|not|no longer|previously|formerly|originally|once|used to|had been|"
    r"was to have|were to have)\b(?:[ ,]+[^\W\d]+){0,5} ?\W?$",
    re.IGNORECASE,
)
BECOMES = re.compile(r"\b(?:to|until|into|now|today|but|became|become|becomes)\b", re.IGNORECASE)
NOW = re.compile(r"\bnow\b[^,;.]{0,30}$")
NOT_NOW = re.compile(r"now[^,;.]*\b(?:where|instead|against|from|than|of)\b")
PART = re.compile(
    r"\s*(?:out of|of|in|in every|for every|of every|a|per)(?: (?:the|these|those|its|their|every|all|some))?\s*"
)
WHOLE = re.compile(r"\b(?:[Oo]f|[Oo]ut of|[Ff]rom)(?: (?:the|these|those|some|its|all))? $")
BY = re.compile(r"\s*\w*\s*(?:by|x|×)\s*")


def replaced(text: Side, one: Sequence[Spot], other: Sequence[Spot]) -> int:
    """1 where the text says that `one` is and `other` was, -1 the other way round, 0 where it says neither or both."""
    said = {_replaced(text, a, b) for a in one for b in other} - {0}
    return said.pop() if len(said) == 1 else 0


def _replaced(text: Side, a: Spot, b: Spot) -> int:
    if a[0] > b[0]:
        return -_replaced(text, b, a)
    start, end = next(((x, y) for x, y in text.sentences if x <= a[0] and b[1] <= y + 1), (0, 0))
    between, after = text.text[a[1] : b[0]], text.text[b[1] : end]
    if not end or len(between) > LONGEST:
        return 0
    clause = re.split(r"[.;(]", text.text[start : a[0]])[-1]
    if FROM.search(clause) and BECOMES.search(between):
        return -1
    if _another(text, a[1], b[0]):
        return 0
    old = (
        bool(NOW.search(between) and not NOT_NOW.search(between))
        or bool(OLD_BEFORE.search(clause) and BECOMES.search(between))
        or bool(re.search(r"\bno,", between))
        or bool(EARLIER.match(between) and not EARLIER.match(after))
    )
    return -1 if old else int(bool(REPLACES.search(between) or EARLIER.match(after)))


def _another(text: Side, start: int, end: int) -> bool:
    """Whether a number stands between, but for the hundred of `12 in a hundred`."""
    return any(
        start <= q.start and q.end <= end and not re.search(r"\b(?:in|of) $", text.text[: q.start])
        for q in text.quantities
    )


def part_of(text: Side, one: Sequence[Spot], other: Sequence[Spot]) -> int:
    """1 where `one` is a part of `other` (71 of 80), -1 the other way round, 0 where the text says neither."""
    for parts, wholes, sign in ((one, other, 1), (other, one, -1)):
        for a in parts:
            for b in wholes:
                between = text.text[a[1] : b[0]] if a[1] <= b[0] else text.text[b[1] : a[0]]
                if a[1] <= b[0] and len(between) < 25 and PART.fullmatch(between):
                    return sign
                near = b[1] <= a[0] and len(between) < 60 and not re.search(r"[.;]", between)
                if near and WHOLE.search(text.text[: b[0]]):
                    return sign
    return 0


def sides(text: Side, one: Sequence[Spot], other: Sequence[Spot]) -> bool:
    """Whether two numbers are the sides of something, which a text may give in either order: 4.2 metres by 3."""
    return any(BY.fullmatch(text.text[min(a[1], b[1]) : max(a[0], b[0])]) for a in one for b in other)
