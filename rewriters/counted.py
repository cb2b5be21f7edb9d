"""Which numbers does a text give by what it lists, or by what it leaves over?

    three things: a, b and c     Grebe Capital and two others -> three     all but 17 of 160 -> 143
    15 per cent is open -> 85 per cent is not     five models, of which one passed -> the other four did not

What is told of the rest must be told the other way round: two of nine that failed are not seven that failed.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rewriters.checks import Side
from rewriters.number_words import ONES, SCALES, TENS, any_of
from rewriters.quantity import Quantity

ALL_BUT = re.compile(
    r"\b(?:all but|everyone but|every one but|except(?: for)?|apart from|save(?: for)?) $", re.IGNORECASE
)
DENIES = re.compile(  # said of what is not, or of what is left over
    r"n't\b|\b(?:not|no(?! (?:more|less|fewer|later|longer than))|never|none|nobody|no-one|neither|nor|without|"
    r"fail\w*|refus\w+|lack\w*|miss\w*|still|yet|remain\w*|left|leav\w+|rest|others?|los[et]\w*|except|"
    r"short(?= of\b|\W*$)|"
    r"un(?!i|der|til|less)\w{3,}|mis\w{3,}|non-?\w+|in(?:correct|complete|valid)\w*|wrong\w*|absent|declin\w+|"
    r"reject\w*)\b|\bout of (?!(?:the |these |those |its |a )?(?:\d|every|" + any_of([*ONES, *TENS, *SCALES]) + r"))\w",
    re.IGNORECASE,
)
OF_ALL = re.compile(r"\bOf $|\b[Oo]f (?:the|these|those|its|all|our|their) $")  # of the 40 rooms 31 are let
OF_THEM = re.compile(r" of (?:them|these|those|which|whom)\b")
CLAUSE = 80  # characters before and after a number in which its clause is looked for
BREAK = re.compile(r"[.!?;:](?=\s|$)")
PAUSE = re.compile(r"[.,!?;:(](?=\s|$)")
OTHER = re.compile(r"\bthe (?:other|remaining) $", re.IGNORECASE)
OTHERS = re.compile(r" others?\b")
NAME = r"[A-Z][\w'&.-]*(?: (?:of |the )?[A-Z][\w'&.-]*)*"
NAMES_AND = re.compile(rf"((?:{NAME},? )*{NAME}),? and $")
ITEM = r"[^\W\d][\w'-]*(?: [\w'-]+){0,3}"  # up to four words
LIST = re.compile(rf"{ITEM}(?:, {ITEM})+,? (?:and|or) {ITEM}")
ANNOUNCED = re.compile(r"(?: [^\W\d]+){0,5}(?::| -|, namely| - namely| \() ?")
MOST = 9  # items that a text counts in words


def left_over(new: Quantity, gone: Quantity, rewrite: Side, source: Side) -> bool:
    """Whether one text tells of a part what the other denies of the rest; both make a whole that both texts state."""
    if _but(new, rewrite) or _but(gone, source):
        return any(new.bare is not None and gone.bare is not None and q.bare == new.bare + gone.bare
                   for q in source.quantities)  # fmt: skip
    shares = _shares(new), _shares(gone)
    whole = any(v + w == 1 for v in shares[0] for w in shares[1])
    if not whole and new.bare and gone.bare and not new.unit and not gone.unit:
        both = new.bare + gone.bare
        wholes = [(q, text) for text in (source, rewrite) for q in text.quantities if q.bare == both]
        part = new.bare / both in shares[0] or gone.bare / both in shares[1]
        part = part or bool(OF_THEM.match(source.text, gone.end))
        part = part or any(OF_ALL.search(text.text[: q.start]) for q, text in wholes)
        whole = part and len({id(text) for _, text in wholes}) == 2
    return whole and denied(new, rewrite) != denied(gone, source)


def _shares(q: Quantity) -> set[Fraction]:
    return {v for d, v in q.readings if d == "share" and isinstance(v, Fraction)}


def _but(q: Quantity, text: Side) -> bool:
    return bool(ALL_BUT.search(text.text[: q.start]))


def denied(q: Quantity, text: Side) -> bool:
    """Whether the clause of a number denies something, or tells of what is left over."""
    before = PAUSE.split(text.text[max(0, q.start - CLAUSE) : q.start])[-1]
    after = PAUSE.split(text.text[q.end : q.end + CLAUSE])[0]
    return bool(DENIES.search(before + " " + after))


def the_others(q: Quantity, text: Side, source: Side) -> bool:
    """Whether a number says how many are left of one of the source: the other four, of five."""
    if q.bare is None or not (OTHER.search(text.text[: q.start]) or OTHERS.match(text.text, q.end)):
        return False
    told = {o.bare for o in source.quantities if o.bare is not None}
    return any(w > q.bare and (w - q.bare == 1 or w - q.bare in told) for w in told)


def counts_list(q: Quantity, text: Side, source: Side) -> bool:
    """Whether a small number in words is how many a text lists: right behind it, or anywhere in the source."""
    return announced(q, text, source) or (_small(q) and any(n == q.bare for n in _lists(source.text)))


def announced(q: Quantity, text: Side, source: Side) -> bool:
    """Whether a list behind a number has as many items, or names with `and two others` come to it."""
    if not _small(q):
        return False
    if after := ANNOUNCED.match(text.text, q.end):
        rest = BREAK.split(text.text[after.end() :])[0]
        if q.bare in (_items(rest), _marks(text.text[q.end :])):
            return True
    return any(q.bare == n for n in (*_with_others(text), *_with_others(source)))


def _small(q: Quantity) -> bool:
    return not q.kind and not q.unit and q.bare is not None and 2 <= q.bare <= MOST and q.surface.isalpha()


def _items(told: str) -> int:
    return 1 + len(re.findall(r", |,? \b(?:and|or)\b ", re.sub(r", (?=(?:and|or) )", " ", told)))


def _marks(told: str) -> int:
    """How many items are marked: (a) (b) (c), 1. 2. 3."""
    return len(set(re.findall(r"(?:^|\s)\(?([a-h1-9])[.)] ", told)))


def _lists(text: str) -> list[int]:
    """How many items each list of a text has, of those with three or more."""
    found = [_items(m[0]) for m in LIST.finditer(text)]
    return [n for n in (*found, _marks(text)) if n > 2]


def _with_others(text: Side) -> list[Fraction]:
    """What names and `two others` behind them come to, wherever a text says so."""
    found = []
    for q in text.quantities:
        names = NAMES_AND.search(text.text[: q.start])
        if q.bare is not None and names and OTHERS.match(text.text, q.end):
            found.append(q.bare + 1 + names[1].count(", "))  # Grebe Capital and two others
    return found
