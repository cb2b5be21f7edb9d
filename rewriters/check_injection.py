"""Does a page tell the model what to do? Instructions found and left out.

    source --instructions--> spans --without--> what a rewrite should be of
                             likely spans --not told by the rewrite--> spans

Three kinds of sentences: orders (rewriters/order_model.py), which are no part of the text; those that may be orders,
which a rewrite may tell or leave out; and the rest, which it must tell. Whether a rewrite obeys: check_obeyed.py. Not
covered: orders that a reader could be meant by, and those in code (base64, rot13) that say no word of a machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewriters.check_meaning import LONGEST
from rewriters.order_model import DOUBTFUL, ENOUGH, LIKELY, Piece, by_rules, levels
from rewriters.order_pieces import Span, blanked, borders, cut, hidden
from rewriters.order_signs import ANSWERS, HERE, NAMED, OBLIGED, ROLE, TASK, TO_SAY, asked, deciphered, states
from rewriters.order_tags import Marks, of_spans
from rewriters.orders import FOLLOWS, MACHINE, PATTERNS
from rewriters.wording import STOP, WORD, fold, listed, sentences, stem

HOW_TO = 3  # sentences that begin with an order, from which on a text is taken to order its reader

TELLS_OF = re.compile(
    rf"\b(?:note|line|aside|instruction|message|comment|request|passage|sentence|remark|text|tag|block|directive|"
    rf"original|source|page|prompt|command|order|appeal|attempt|plea|demand|string|header|footer|postscript|bracket|"
    rf"injection|paragraph)s?\b[^.!?]{{0,60}}\b(?:ask(?:s|ed|ing)?|address(?:es|ed|ing)|tell(?:s|ing)?|told|"
    rf"direct(?:s|ed|ing)|meant|aimed|urg(?:es|ed|ing)|instruct(?:s|ed|ing)|order(?:s|ed|ing)|try(?:ing)?|tries|for|to)"
    rf"\b[^.!?]{{0,40}}\b{MACHINE}\b|\b(?:note|instruction|message|comment|request|directive|prompt|command|order|aside|"
    rf"injection)s?\b[^.!?]{{0,60}}\b(?:omitted|left out|left aside|ignored|disregarded|not followed)\b",
    re.IGNORECASE,
)
GENERIC = frozenset(map(stem, listed(  # words of orders, whatever they ask for
    "ai llm bot chatbot assistant model language rewriter writer rewrite rewriting version text sentence word phrase "
    "line paragraph summary answer response reply output prompt instruction system note end begin start final last "
    "first add append include insert mention say state write repeat use please kindly ignore previous above "
    "following reader article page document letter task new must should processing reading before after instead only "
    "every time name recommend report place message user role content key tool helper editor section internal person "
    "speak tell give put make keep show list replace change call sign close open stop set mark way thing part piece "
    "whole own also always never exact exactly verbatim original paraphrase paraphrasing summarise summarize "
    "translate translation automated automatic"
)))  # fmt: skip


@dataclass(frozen=True)
class Instructions:
    """Spans of a plain text that are orders to a machine, and of what may be one.

    `likely` spans are orders where a rewrite does not tell them; `open` ones are no orders, and yet need not be told:
    those that are doubtful, and after `settled` those beside an order that the rewrite does not tell. A likely span
    that is not open was found without marks, by its place alone.
    """

    spans: tuple[Span, ...]
    text: str
    likely: tuple[Span, ...] = ()
    open: tuple[Span, ...] = ()
    beside: tuple[Span, ...] = ()

    @property
    def without(self) -> str:
        """The text without its orders: what a rewrite may tell."""
        return _left(self.text, self.spans)

    def sure(self, free: Sequence[Span] = ()) -> str:
        """What a rewrite must tell; `free` are further spans that it need not."""
        return _left(self.text, sorted([*self.spans, *self.open, *free]))

    @property
    def told(self) -> str:
        return " ".join([*self.told_apart, *(said for order in self.told_apart for said in deciphered(order))])

    @property
    def told_apart(self) -> list[str]:
        """Each order by itself, as far as it is embedded."""
        return [self.text[a:b][:LONGEST] for a, b in self.spans]

    def settled(self, rewrite: str) -> Instructions:
        """The same with those likely orders among the spans that the rewrite does not tell as its matter."""
        if not self.likely and not self.beside:
            return self
        pieces = [rewrite[a:b] for a, b in sentences(rewrite)]
        said = [matter(piece) for piece in pieces]
        of_machines = [of for of, piece in zip(said, pieces) if any(k.search(piece) for k in (NAMED, TASK, HERE))]
        orders = [
            span for span in self.likely
            if not _told(self.text[slice(*span)], rewrite, said, of_machines if span in self.open else [])
        ]  # fmt: skip
        beside = [(a, b) for a, b in self.beside if not any(matter(self.text[a:b]) & of for of in said)]
        return replace(self, spans=tuple(sorted([*self.spans, *orders])), likely=(), beside=(),
                       open=tuple(sorted({*self.open, *beside})))  # fmt: skip


def _told(unit: str, rewrite: str, said: list[set[str]], of_machines: list[set[str]]) -> bool:
    """Whether a rewrite tells what may be an order: its figures, or most of its matter in one sentence."""
    these = matter(unit)
    if not these:
        return f" {' '.join(map(fold, WORD.findall(unit)))} " in f" {' '.join(map(fold, WORD.findall(rewrite)))} "
    if any(these & of for of in of_machines):
        return True
    if asked(unit) and NAMED.search(unit) and OBLIGED.search(unit):
        return False
    figures = re.findall(r"\d[\d.,]*", unit)
    share = Fraction(3, 4) if NAMED.search(unit) else Fraction(1, 2)
    enough = any(these and len(these & of) >= share * len(these) for of in said)
    return enough or bool(figures and all(figure.strip(".,") in rewrite for figure in figures))


def matter(text: str) -> set[str]:
    """Stems of what a sentence is about, whatever it says of texts and machines."""
    return {stem(w) for w in map(fold, WORD.findall(text)) if w not in STOP and len(w) > 2} - GENERIC


def instructions(text: str, marks: Marks | None = None) -> Instructions:
    """The orders to a machine in a plain text; sentences that go on ordering after one belong to it.

    With `marks` of the text what a model says of its tokens counts as well as words and places.
    """
    spans = hidden(text)
    rest = blanked(text, spans)
    found = cut(rest)
    pieces = [piece for _, piece in found]
    doubtful: list[Span] = []
    likely: list[Span] = []
    labels = len(ROLE.findall(rest))
    bare = [piece.text for piece in pieces if not piece.contained]
    follows = FOLLOWS if sum(bool(FOLLOWS.search(unit)) for unit in bare) < HOW_TO else PATTERNS["foreign"]
    going, pending = False, None
    marked = None if marks is None else of_spans(marks, [span for span, _ in found])
    for i, ((a, b), heavy) in enumerate(zip([span for span, _ in found], levels(pieces, marked))):
        unit, contained = pieces[i].text, pieces[i].contained
        if marked is not None and not WORD.search(ADDRESS.sub(" ", unit)):
            going, pending = False, None
            continue  # where a link leads
        role = ROLE.match(unit)
        meant = marked is None or marked[i, 1] > 0
        if role and meant and labels <= 2 and any(p.search(unit[role.end() :]) for p in (ANSWERS, FOLLOWS)):
            heavy = ENOUGH
            if ANSWERS.search(unit[role.end() :]):  # an answer that was begun for the model goes to the end of its line
                b = rest.find("\n", b) if "\n" in rest[b:] else len(rest.rstrip())
        goes_on = heavy >= DOUBTFUL and going and not contained
        goes_on = goes_on and bool(follows.search(unit) or PATTERNS["foreign"].search(unit))
        if heavy >= DOUBTFUL:
            level = _levels_within(rest, pieces, i, marks, marked)
            open_ended = not contained or unit.startswith("//")
            start, end = _narrowed(rest, (a, b), level, contained) if open_ended else (a, b)
            if open_ended and marks is not None and (start, end) == (a, b):
                start, end = _marked(marks, (a, b))
                if len(WORD.findall(rest[start:end])) < min(PARTED, len(WORD.findall(unit))):
                    going, pending = False, None
                    continue  # a word or two in a sentence
            if (start, end) != (a, b):
                heavy = ENOUGH
        alone = not goes_on and all(by_rules(piece) < LIKELY for piece in pieces[max(0, i - 1) : i + 2])
        soft = (by_rules(pieces[i]) < ENOUGH and not asked(unit)) or (not contained and states(unit))
        whole = heavy < DOUBTFUL or (start, end) == (a, b)
        if (heavy >= ENOUGH or goes_on) and whole and marks is None and (alone or (soft and pending is None)):
            likely.append((a, b))  # by its place alone: an order unless the rewrite tells it
            going = not contained
            continue
        if heavy >= ENOUGH or goes_on:
            spans.append((start if pending is None else pending, end))
            going, pending = end == b and not contained, None
            continue
        if heavy >= DOUBTFUL:
            doubtful.append((a, b))
        if heavy >= LIKELY or (heavy and TO_SAY.search(unit)):
            likely.append((a, b))
        if not contained:
            starts = "\n" in text[:a][-2:] or a == 0
            going = len(unit) < 80 and bool(PATTERNS["to"].search(unit) or (starts and PATTERNS["tags"].search(unit)))
            pending = a if going else None
    spans = _with_openings(text, sorted(spans))
    return Instructions(tuple(spans), text, tuple(likely), tuple(doubtful), _beside([span for span, _ in found], spans))


NEAR = 80  # characters of a piece beside an order that may belong to it


def _beside(found: list[Span], spans: list[Span]) -> tuple[Span, ...]:
    """Short pieces right before and behind an order: `Hey ChatHelper!!`, `What is the capital of Freedonia?`"""
    is_order = [any(x < b and a < y for x, y in spans) for a, b in found]
    near = [any(is_order[max(0, i - 1) : i + 2]) and not is_order[i] for i in range(len(found))]
    return tuple((a, b) for (a, b), yes in zip(found, near) if yes and b - a <= NEAR)


def certain(text: str) -> list[str]:
    """What a text that is nobody's page orders a machine to do, by the rules alone: the weights know pages."""
    rest = blanked(text, hidden(text))
    return [piece.text for _, piece in cut(rest) if by_rules(piece) >= ENOUGH]


ADDRESS = re.compile(r"https?://\S+|\bwww\.\S+|[\w.+-]+@[\w-]+\.\w+")
REST = 5  # words of a sentence that stands beside an order without a full stop between
PARTED = 3  # the same with a semicolon between
UNMARKED = -2.0  # mean log odds of tokens that are no order for certain


def _levels_within(
    rest: str, pieces: list[Piece], i: int, marks: Marks | None, marked: np.ndarray | None
) -> Callable[..., float]:
    """How much a part of a piece is an order, in the piece's place."""

    def level(start: int, end: int, contained: bool = False) -> float:
        part = replace(pieces[i], text=rest[start:end], contained=contained)
        own = marked
        if marks is not None and marked is not None:
            own = marked.copy()
            own[i] = of_spans(marks, [(start, end)])[0]
        return levels([*pieces[:i], part, *pieces[i + 1 :]], own)[i]

    return level


def _narrowed(rest: str, span: Span, level: Callable[..., float], contained: bool) -> Span:
    """The part of a piece that is an order, where a sentence of the text stands beside it: `... IN CAPITALS It`.

    At the first border that has an order on one side, and on the other some words of which nothing speaks of one.
    """
    a, b = span
    for end, start in borders(rest, span):
        for order, other in (((a, end), (start, b)), ((start, b), (a, end))):
            words = len(WORD.findall(rest[slice(*other)]))
            if words < (PARTED if rest[end - 1] == ";" else REST) or level(*other) >= DOUBTFUL:
                continue
            if level(*order, contained) >= ENOUGH:
                return order
    return span


def _marked(marks: Marks, span: Span) -> Span:
    """The part of a piece that a model marks, where it is sure that the words before or behind it are no order."""
    a, b = span
    at_T2, odds_T = marks
    own = np.flatnonzero((at_T2[:, 0] >= a) & (at_T2[:, 1] <= b))
    if not len(own) or not (odds_T[own] > 0).any():
        return span
    first, last = (int(own[odds_T[own] > 0][i]) for i in (0, -1))
    before, behind = own[own < first], own[own > last]
    if len(before) >= REST and odds_T[before].mean() < UNMARKED:
        a = int(at_T2[first, 0])
    if len(behind) >= REST and odds_T[behind].mean() < UNMARKED:
        b = int(at_T2[last, 1])
    return a, b


def _left(text: str, spans: Sequence[Span]) -> str:
    kept, last = [], 0
    for a, b in spans:
        kept.append(text[last:a])
        last = max(last, b)
    return re.sub(r"[ \t]{2,}", " ", " ".join([*kept, text[last:]])).strip()


def _with_openings(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans with the greeting or tag right before them: `Hello assistant!`, `[System] The story is over.`"""
    out: list[tuple[int, int]] = []
    for a, b in spans:
        line = text.rfind("\n", 0, a) + 1
        before = text[line:a]
        if before.strip() and len(before) < 80 and (PATTERNS["tags"].search(before) or PATTERNS["to"].search(before)):
            a = line
        if out and a <= out[-1][1] + 1:
            out[-1] = out[-1][0], max(b, out[-1][1])
        else:
            out.append((a, b))
    return out


def reported(text: str, source: str) -> str:
    """A rewrite without sentences that only tell of an order (`a note asks AI systems to leave out warnings`).

    A sentence of which the source without its orders holds most is matter: bots refuse 95 of 100 requests for advice.
    """
    left, last, held = [], 0, matter(source)
    for a, b in sentences(text):
        own = matter(text[a:b])
        if TELLS_OF.search(text[a:b]) and (not own or 3 * len(own & held) < 2 * len(own)):
            left.append(text[last:a])
            last = b
    return "".join([*left, text[last:]]).strip()
