"""Are the numbers and dates of a text those of its rewrite? Missing, and invented.

A number that is gone or new by itself may go without saying, or follow from the others (rewriters/worked_out.py). One
that is gone beside a new one that could stand in its place was changed, whatever may be worked out.
"""

from __future__ import annotations

import itertools
import re

from rewriters.checks import Side
from rewriters.counted import announced, counts_list, denied, left_over, the_others
from rewriters.mentions import counts, instead, is_one, lacking, more, ordinal, said
from rewriters.number_words import COUNTING
from rewriters.quantity import Quantity
from rewriters.worked_out import in_range, of_its_unit, sums, worked_out

ADDED = 20  # the largest in words that a text may give for two numbers that it does not


def missing(source: Side, rewrite: Side) -> list[str]:
    """Numbers of the source that the rewrite does not state, and that do not go without saying.

    A count of a list, an ordinal, and what the rewrite lets a reader work out may be left out (do three things: ..., a
    third party), unless the rewrite has a number more that may stand in its place. One that may be said
    of anything (two, second) is missed only so.
    """
    gone = lacking(source.quantities, rewrite.quantities)
    lost = [q for q in gone if not q.soft]
    small = [q for q in gone if q.soft and (said(q) or (ordinal(q) and not is_one(q)))]
    if not lost and not small:
        return []
    new = [*lacking(rewrite.quantities, source.quantities), *more(source.quantities, rewrite.quantities)]
    lost = [q for q in lost if not any(left_over(n, q, rewrite, source) for n in new)]
    found = [q.surface for q in lost if any(instead(q, n) for n in new) or not _goes_without(q, source, rewrite)]
    now = [n for n in new if n not in lacking(rewrite.quantities, source.quantities) or (n.soft and said(n))]
    return found + [q.surface for q in small if any(instead(q, n) for n in now)]


def invented(source: Side, rewrite: Side) -> list[str]:
    """Numbers of the rewrite that the source neither states nor lets a reader work out.

    Nothing is worked out where the rewrite lacks a number that it may stand for, but a small one in words that is the
    sum or difference of two numbers of the source, all that are lacking among them: 2-2 are four goals, 31 of forty
    nine short.
    """
    new = [q for q in lacking(rewrite.quantities, source.quantities) if not q.soft]
    if not new:
        return []
    gone = [*lacking(source.quantities, rewrite.quantities), *more(rewrite.quantities, source.quantities)]
    gone = [q for q in gone if not q.soft or said(q)]
    found = []
    for q in new:
        lost = [g for g in gone if instead(g, q)]
        if any(left_over(q, g, rewrite, source) for g in lost) or the_others(q, rewrite, source):
            continue
        if announced(q, rewrite, source) or (
            _adds_up(q, lost, source, rewrite) if lost else _follows(q, source, rewrite)
        ):
            continue
        found.append(q.surface)
    return found


def _follows(q: Quantity, source: Side, rewrite: Side) -> bool:
    """Whether a number that stands for none follows from those of the source, or counts what is listed."""
    if worked_out(q, source.quantities):
        return True
    if counts_list(q, rewrite, source):  # and is told for nothing that is gone: three turns, for half a turn
        return not any(counts(g) and not is_one(g) for g in lacking(source.quantities, rewrite.quantities))
    listed = said(q) and LISTED.match(rewrite.text, q.end)
    return bool(listed) or of_its_unit(q, source.text) or in_range(q, source.quantities, source.text)


def _adds_up(q: Quantity, lost: list[Quantity], source: Side, rewrite: Side) -> bool:
    """Whether a small number in words is a sum or difference of two numbers, those that are lost among them.

    What is left of a whole is told the other way round: 31 of forty are nine short.
    """
    if q.kind or q.unit or not q.surface.isalpha() or q.bare is None or q.bare > ADDED or len(lost) > 2:
        return False
    plain = [o for o in source.quantities if o.bare is not None and o.kind == "" and o.surface.lower() not in COUNTING]
    return any(
        all(g is a or g is b for g in lost)
        and b.start - a.end <= BESIDE
        and q.bare in sums([a, b])
        and _told_anew(q, a, b, lost, source, rewrite)
        for a, b in itertools.pairwise(plain)
    )


def _told_anew(q: Quantity, a: Quantity, b: Quantity, lost: list[Quantity], source: Side, rewrite: Side) -> bool:
    """Whether a number may be told for two: both are gone, or one is the rest of a part, told the other way round."""
    if PART_OF.fullmatch(source.text[a.end : b.start]):
        return denied(a, source) != denied(q, rewrite)
    if THAN.match(source.text, b.end):  # eleven, two more than before
        return True
    return all(any(g.same(x) for g in lost) for x in (a, b))


def _goes_without(q: Quantity, source: Side, rewrite: Side) -> bool:
    if ("share", 1) in q.readings and ALL.search(rewrite.text):  # 100% wool, pure wool
        return True
    return _slight(q) or announced(q, source, source) or _next(q, rewrite) or worked_out(q, rewrite.quantities)


def _next(q: Quantity, rewrite: Side) -> bool:
    """Whether a rewrite says that it comes after another: lot 212, and the following lot."""
    if q.bare is None or q.unit or not NEXT.search(rewrite.text):
        return False
    return any(o.bare == q.bare - 1 for o in rewrite.quantities)


def _slight(q: Quantity) -> bool:
    """Whether a number is one that texts drop: an ordinal, or the first of a month."""
    if q.kind == "date":
        return q.bare == 1
    if q.kind or q.unit or q.bare is None or not q.surface.replace("-", "").isalpha():
        return False
    return ordinal(q)


LISTED = re.compile(
    r" (?:\w+ )?(?:things|ways|points|steps|stages|reasons|changes|aims|goals|rules|conditions|options|uses|parts|"
    r"kinds|sorts|types|tasks|jobs|causes|questions|answers|groups|forms|approaches|ideas|problems|facts)\b"
)
PART_OF = re.compile(r" (?:in|of|out of)(?: [^\W\d]+)? ")  # two of its nine
THAN = re.compile(r" (?:[^\W\d]+ )?(?:more|fewer|less|above|below|over|under|\w+er)\b(?: than)?", re.IGNORECASE)
ALL = re.compile(r"\b(?:all|every|each|entire\w*|whole\w*|full\w*|pure\w*|complete\w*|total\w*)\b", re.IGNORECASE)
NEXT = re.compile(r"\b(?:next|following)\b", re.IGNORECASE)
BESIDE = 40  # characters between two numbers that are added up
