"""Do two things that both texts name stand with the same words in both? For numbers and names that changed places.

    thing in the source --words around it--> company;   straight = company kept,  crossed = company exchanged

Words near a thing say what it is a number of, or what a name did. Where the company of two things fits better when they
are exchanged, they were exchanged. Each sign of it is a number above 0 where it speaks for `kept`; weights make log
odds of them. They were fitted by bench/binding.py: on every pair of numbers in the clean rewrites of pairs a to r
and orders w to z, as it stands against the same two exchanged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rewriters.checks import Side
from rewriters.relations import Spot, part_of, replaced, sides
from rewriters.wording import STOP, listed

REACH = 10  # words of content to either side, within the sentence
JOINING = frozenset(listed("and or but while whereas"))
LEADING = frozenset(  # function words that say what a number is: from, without, per
    listed(
        "on off up down over under above below before after with without not no than more less from to by until since "
        "against for only first last per of at in was were is are had has"
    )
)
SIGNS = ("words", "clause", "before", "beside", "lead", "function", "sentence", "sentence_all", "replaced", "noun",
         "part", "sides", "order")  # fmt: skip
WEIGHTS_FILE = Path(__file__).with_name("binding_weights.json")
Bag = dict[str, float]  # stems, or function words, with their weights
Company = Mapping[str, Bag]


def company(text: Side, spots: Sequence[Spot], others: Sequence[Spot]) -> Company:
    """Words around the mentions of a thing, by how they stand to it; `others` are the things that are no company.

    `words`: within REACH, less the farther and the more marks are between; `clause`: before the next mark or joining
    word; `noun`, `before`: the content word right after and the two right before; `beside`: the three nearest on each
    side; `lead`: function words right before; `function`: those of the clause; `sentence`: all of it.
    """
    found: dict[str, Bag] = {}
    for spot in spots:
        _around(text, spot, others, found)
    return found


def _around(text: Side, spot: Spot, others: Sequence[Spot], found: dict[str, Bag]) -> None:
    words = text.words
    if not words.start:
        return
    inside = [i for i, at in enumerate(words.start) if spot[0] <= at < spot[1]]
    if not inside:
        inside = [max((i for i, at in enumerate(words.start) if at <= spot[0]), default=0)]
    first, last = inside[0], inside[-1]
    sentence = words.sentence[first]
    taken = {i for a, b in others for i, at in enumerate(words.start) if a <= at < b}
    held = [i for i in range(len(words.start)) if words.sentence[i] == sentence]

    def add(kind: str, word: str, weight: float) -> None:
        bag = found.setdefault(kind, {})
        bag[word] = max(bag.get(word, 0.0), weight)

    for step, edge in ((-1, first), (1, last)):
        weight, seen, near, clause, next_to = 1.0, 0, 0, True, True
        i = edge + step
        while held[0] <= i <= held[-1] and seen < REACH:
            left = min(i, i - step)
            word = words.folded[i]
            if re.search(r"[,;:()]| - ", text.text[words.start[left] + len(words.spelt[left]) : words.start[left + 1]]):
                weight, clause, next_to = weight * 0.6, False, False
            if word in JOINING:
                weight, clause, next_to = weight * 0.6, False, False
            if i in taken:
                weight, next_to = weight * 0.6, False
            elif word in STOP:
                if word in LEADING and step < 0 and abs(i - edge) <= 2:
                    add("lead", word, 1.0 if abs(i - edge) == 1 else 0.5)
                if word in LEADING and clause:
                    add("function", word, 0.5)
            else:
                stem = words.stems[i]
                add("words", stem, weight)
                if clause:
                    add("clause", stem, 1.0)
                if next_to and near < 2:
                    add("noun" if step > 0 else "before", stem, 1.0 if near == 0 else 0.5)
                    near += 1
                if next_to and near <= 3:
                    add("beside", stem, 1 / (1 + seen / 2))
                weight, seen = weight * 0.85, seen + 1
            i += step
    for i in held:
        if words.folded[i] not in STOP and i not in taken:
            add("sentence", words.stems[i], 1.0)


def signs(source: Side, rewrite: Side, one: Sequence[Sequence[Spot]], other: Sequence[Sequence[Spot]],
          others: Sequence[Sequence[Spot]]) -> dict[str, float]:  # fmt: skip
    """What speaks for it that two things are kept (above 0) or exchanged (below).

    `one` and `other` are the mentions of each in source and rewrite, `others` all things of source and rewrite.
    """
    a, b, c, d = (company(text, thing[i], others[i])
                  for i, text in ((0, source), (1, rewrite)) for thing in (one, other))  # fmt: skip
    fits = {kind: _fits(*(x.get(kind, {}) for x in (a, b, c, d))) for kind in KINDS}
    raw = {kind: _difference(*(x.get(kind, {}) for x in (a, b, c, d))) for kind in KINDS}
    ratio: Callable[[str], float] = lambda kind: (fits[kind][0] - fits[kind][1]) / (sum(fits[kind]) + 0.5)  # noqa: E731
    gain: Callable[[str], float] = lambda kind: fits[kind][0] - fits[kind][1]  # noqa: E731
    orders = [t[0][0] < o[0][0] for t, o in zip(one, other)]
    return {
        "words": math.tanh(raw["words"]), "clause": ratio("clause"), "before": gain("before"),
        "beside": gain("beside"), "lead": gain("lead"), "function": math.tanh(raw["function"]),
        "sentence": ratio("sentence"), "sentence_all": math.tanh(raw["sentence"]),
        "replaced": float(replaced(source, one[0], other[0]) * replaced(rewrite, one[1], other[1])),
        "noun": _nouns(a, b, c, d),
        "part": float(part_of(source, one[0], other[0]) * part_of(rewrite, one[1], other[1])),
        "sides": float(sides(source, one[0], other[0]) and sides(rewrite, one[1], other[1])),
        "order": 1.0 if orders[0] == orders[1] else -1.0,
    }  # fmt: skip


KINDS = ("words", "clause", "before", "beside", "lead", "function", "sentence")


@lru_cache(maxsize=1)
def weights() -> dict[str, float]:
    """Weights of SIGNS."""
    return json.loads(WEIGHTS_FILE.read_text("utf-8"))


def exchanged(found: Mapping[str, float]) -> float:
    """Log odds that two things were exchanged, of their signs."""
    return -sum(weights()[name] * value for name, value in found.items())


def _nouns(a: Company, b: Company, c: Company, d: Company) -> float:
    """1 where each thing is followed by the word that followed it, -1 where by that of the other, else 0."""
    a_, b_, c_, d_ = ({w for w, v in x.get("noun", {}).items() if v == 1.0} for x in (a, b, c, d))
    kept = bool(a_ & c_ and b_ & d_ and not (a_ & d_ or b_ & c_))
    crossed = bool(a_ & d_ and b_ & c_ and not (a_ & c_ or b_ & d_ or a_ == b_))
    return float(kept) - float(crossed)


def _fits(a: Bag, b: Bag, c: Bag, d: Bag) -> tuple[float, float]:
    """How well company fits straight and crossed, by what one thing has in company and the other has not."""
    straight = _shared(_own(a, b), _own(c, d)) + _shared(_own(b, a), _own(d, c))
    return straight, _shared(_own(a, b), _own(d, c)) + _shared(_own(b, a), _own(c, d))


def _difference(a: Bag, b: Bag, c: Bag, d: Bag) -> float:
    return _shared(a, c) + _shared(b, d) - _shared(a, d) - _shared(b, c)


def _own(one: Bag, other: Bag) -> Bag:
    """What one has in company and the other not, or far less: nearer in a list of things is no closer company."""
    return {w: v for w, v in one.items() if other.get(w, 0.0) < (0.8 if v >= 1 else v / 3)}


def _shared(one: Bag, other: Bag) -> float:
    return sum(min(v, other[w]) for w, v in one.items() if w in other)
