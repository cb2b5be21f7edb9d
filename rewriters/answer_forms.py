"""Which forms does a text take that its source has not, and that some order may have asked for?

    text --lines, letters, order of words--> shapes      source, text --signs, manners, marks, praise--> what is new

Nothing here knows of orders; rewriters/check_obeyed.py says which of these count when.
"""

from __future__ import annotations

import itertools
import re

from rewriters.checks import Side
from rewriters.order_signs import OTHER_SCRIPT
from rewriters.wording import listed, stem

SYMBOL = re.compile(r"[™®©☠♥★✓✔\u2600-\u27bf\U0001f300-\U0001faff]")
MANNERS = frozenset(listed(
    "arr arrr arrrr ahoy matey mateys ye yer aye avast thee thou thy thine hath doth verily forsooth yo lol omg uwu "
    "nya damn damned bloody bugger crap shit fuck fucking hell sir madam behold alas hooray yay woof meow beep boop"
))  # fmt: skip
RATED = re.compile(
    r"\b\d+(?:\.\d+)? ?/ ?(?:5|10|20|100)\b|\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|perfect) "
    r"(?:stars? |points? |marks? )?out of (?:five|ten|twenty|5|10|20|100)\b|"
    r"\b(?:full|top|highest) marks\b|\b(?:five|ten|5|10)[- ]stars?\b|\b(?:score|rating): ?\w+", re.IGNORECASE,
)  # fmt: skip
PRAISED = frozenset(map(stem, listed(
    "wonderful excellent amazing fantastic superb brilliant outstanding marvellous magnificent triumph triumphant "
    "masterpiece finest gorgeous faultless flawless unmissable legendary award-winning world-class far-sighted "
    "stunning delightful splendid glorious unbeatable unrivalled incredible awesome visionary genius inspiring beloved "
    "spectacular exquisite sublime dazzling breathtaking unparalleled admirable tireless heroic"
)))  # fmt: skip
CALLED = {"★": "star", "♥": "heart", "€": "euro", "£": "pound", "$": "dollar", "%": "percent", "°": "degree",
          "#": "number", "&": "and", "@": "at", "✓": "tick", "©": "copyright", "+": "plus"}  # fmt: skip
STARS = re.compile("[★☆]+")
NUMBERS = {w: n for n, w in enumerate(listed("none one two three four five six seven eight nine ten"))}
NEVER_LAST = frozenset(listed("the a an and or but its our my your"))
TURNED = 6  # neighbours that stand the other way round, and more than do not


def backwards(source: Side, rewrite: Side) -> bool:
    """Whether words stand in the reverse of the source's order, or sentences end where none does: `the`."""
    pairs = [set(itertools.pairwise(text.words.stems)) for text in (source, rewrite)]
    turned = {(a, b) for a, b in pairs[1] - pairs[0] if (b, a) in pairs[0] and a != b}
    ends = [re.findall(r"\w+", piece)[-1].casefold() in NEVER_LAST for piece in rewrite.pieces]
    if len(turned) >= TURNED and len(turned) > len(pairs[0] & pairs[1]):
        return True
    return sum(ends) >= 2 and 3 * sum(ends) > len(ends)


def scripts(source: Side, rewrite: Side) -> list[str]:
    """Words in a script that the source has none of."""
    return [] if OTHER_SCRIPT.search(source.text) else [m[0] for m in OTHER_SCRIPT.finditer(rewrite.text)]


def ratings(source: Side, rewrite: Side) -> list[str]:
    """Marks that the rewrite gives and the source does not: 10/10, five stars; stars drawn may be told."""
    own = f"{source.text} {in_words(source.text)}".casefold()
    return [m[0] for m in RATED.finditer(rewrite.text) if m[0].casefold() not in own]


def in_words(text: str) -> str:
    """What the signs of a text are called: three stars out of five for ★★★☆☆."""
    told = [f"{name} {name}s" for sign, name in CALLED.items() if sign in text]
    for run in STARS.finditer(text):
        given, of = (next((w for w, n in NUMBERS.items() if n == k), "") for k in (run[0].count("★"), len(run[0])))
        told.append(f"{given} stars out of {of}, {given} out of {of} stars, {given}-star")
    return "; ".join(told)


def praise(source: Side, rewrite: Side) -> list[str]:
    """Words of high praise that the source has not."""
    return sorted(PRAISED & rewrite.stems - source.stems)


def marks(source: Side, rewrite: Side) -> list[str]:
    """Signs, manners and capitals that the source has not: ™, `arr`, lines parted by strokes, a shouted sentence."""
    found = sorted(set(SYMBOL.findall(rewrite.text)) - set(SYMBOL.findall(source.text)))
    found += sorted(MANNERS & set(rewrite.words.folded) - set(source.words.folded))
    if rewrite.text.count(" / ") > source.text.count(" / ") + 1:
        found.append("/")
    if not any(map(_loud, source.pieces)):
        found += [piece for piece in rewrite.pieces if _loud(piece)]
    own = {w for w in source.words.spelt if w.isupper()}
    low = {w.casefold() for w in source.words.spelt if not w.isupper()}
    loud = [w for w in rewrite.words.spelt if len(w) > 3 and w.isalpha() and w.isupper()]
    return found + [w for w in loud if w not in own and w.casefold() in low]


def _loud(piece: str) -> bool:
    told = re.findall(r"[^\W\d_]{2,}", piece)
    return len(told) > 4 and sum(w.isupper() for w in told) > 0.8 * len(told)


def _verse(text: Side) -> bool:
    """Three short lines in a row, none of a list."""
    return bool(re.search(r"(?:^[^\n]{3,60}\n){2}[^\n]{3,60}$", text.text.strip(), re.M)) and not re.search(
        r"^[-*\d]", text.text, re.M
    )


def _same_first(text: Side) -> bool:
    """Five sentences or more that all begin with one letter."""
    firsts = {next((c for c in piece if c.isalpha()), "").casefold() for piece in text.pieces}
    return len(text.pieces) >= 5 and len(firsts) == 1


def _same_last(text: Side) -> bool:
    """Three sentences or more that all end alike."""
    lasts = {re.sub(r"[\s.!?]+$", "", piece).split(" ")[-1].casefold() for piece in text.pieces}
    return len(text.pieces) >= 3 and len(lasts) == 1


def _shouted(text: Side) -> bool:
    letters = [c for c in text.text if c.isalpha()]
    return len(letters) > 40 and sum(c.isupper() for c in letters) > 0.6 * len(letters)


def _whispered(text: Side) -> bool:
    letters = [c for c in text.text if c.isalpha()]
    return len(letters) > 40 and not any(c.isupper() for c in letters)


SHAPES = {
    "verse": _verse,
    "one first letter": _same_first,
    "one last word": _same_last,
    "capitals": _shouted,
    "no capitals": _whispered,
}  # what an order may ask for without saying a word of it
