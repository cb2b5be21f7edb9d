"""Do two things that both texts name stand with the same words in both? For numbers and names that changed places.

    thing in the source --words around it--> company;   straight = company kept,  crossed = company exchanged

Words near a thing say what it is a number of, or what a name did. Where the company of two things fits better when they
are exchanged, they were exchanged. Words that both have in company say nothing and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewriters.checks import Side
from rewriters.wording import STOP, listed

REACH = 8  # words to either side, within the sentence
JOINING = frozenset(listed("and or but while whereas"))
DIRECTIONS = frozenset(listed("from to by until since before after under over above below than against of for with"))

FLOOR = 0.95  # fit below which an exchange is not spoken of: about one word beside the thing
BESIDE = 1.0  # weight of the words next to a thing
ROLE = 1.5  # weight of a role beside that of one word
WAS = re.compile(
    r"\b(?:from|instead of|rather than|used to(?: \w+)?|previously|formerly|earlier|had been|had \w+|was|were|"
    r"originally|before)(?: \S+){0,2} \S{0,2}$"
)
NOW = re.compile(r"(?:\b(?:now|today|currently|is|are)(?: \S+)?|\bto) \S{0,2}$")
IS_NOW = re.compile(r"[^.;]{0,25}\b(?:now|today|instead of|rather than|up from|down from|from|where it used)\b")

Spot = tuple[int, int]  # characters [start, end) of a thing


def company(text: Side, spot: Spot, others: Sequence[Spot]) -> dict[str, float]:
    """Stems around a spot with their weights: nearer weighs more, and another thing between weighs less."""
    words = text.words
    inside = [i for i, at in enumerate(words.start) if spot[0] <= at < spot[1]]
    if not inside:
        inside = [max((i for i, at in enumerate(words.start) if at <= spot[0]), default=0)]
    first, last = inside[0], inside[-1]
    if not words.start:
        return {}
    taken = {i for a, b in others for i, at in enumerate(words.start) if a <= at < b}
    sentence = words.sentence[first]
    found: dict[str, float] = {}
    for step, edge in ((-1, first), (1, last)):
        weight = 1.0
        seen = 0
        i = edge + step
        while 0 <= i < len(words.start) and seen < REACH and words.sentence[i] == sentence:
            between = text.text[min(words.start[i], words.start[i - step]) : max(words.start[i], words.start[i - step])]
            if any(mark in between for mark in ",;:()"):
                weight *= 0.6
            if i in taken:
                weight *= 0.6
            elif words.folded[i] in STOP:
                weight *= 0.6 if words.folded[i] in JOINING else 1.0
                if abs(i - edge) == 1 and step == -1 and words.folded[i] in DIRECTIONS:
                    found["<" + words.folded[i]] = 0.5
            else:
                found[words.stems[i]] = max(found.get(words.stems[i], 0.0), weight)
                weight *= 0.85
                seen += 1
            i += step
    return found | _role(text.text, spot)


def _role(text: str, spot: Spot) -> dict[str, float]:
    """Whether a number is what was or what is now: from 20 to 45, 45 instead of 20, 45 where it used to be 20."""
    before, after = text[max(0, spot[0] - 60) : spot[0]], text[spot[1] : spot[1] + 60]
    clause = re.split(r"[.;,!?(]", before)[-1].lower()
    old, new = WAS.search(clause), NOW.search(clause)
    if old and (not new or old.start() > new.start()):
        return {"@was": ROLE}
    if new or IS_NOW.match(after.lower()):
        return {"@now": ROLE}
    return {}


def exchanged(
    source: tuple[dict[str, float], dict[str, float]], rewrite: tuple[dict[str, float], dict[str, float]]
) -> float:
    """How much better the company of two things fits when they are exchanged, as a share: 1 where nothing else fits.

    Each pair holds the company of the first thing and of the second. At most 0 where it does not fit better.
    """
    (a, b), (c, d) = source, rewrite
    roles = [{w for w in x if w[0] == "@"} for x in (a, b, c, d)]
    if not all(roles) or roles[0] == roles[1] or roles[2] == roles[3]:
        a, b, c, d = ({w: v for w, v in x.items() if w[0] != "@"} for x in (a, b, c, d))
    straight = _shared(_own(a, b), _own(c, d)) + _shared(_own(b, a), _own(d, c))
    crossed = _shared(_own(a, b), _own(d, c)) + _shared(_own(b, a), _own(c, d))
    return (crossed - straight) / (crossed + straight) if crossed >= FLOOR else 0.0


def _own(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """What one has in company and the other not, or far less: nearer in a list of things is no closer company."""
    return {w: v for w, v in one.items() if other.get(w, 0.0) < (0.8 if v >= BESIDE else v / 3)}


def _shared(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(min(v, other[w]) for w, v in one.items() if w in other)
