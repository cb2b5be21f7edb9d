"""What does a text become when rewrites are put into it, and which of its characters did which rewrite write?

    text, edits --choose--> those that do not stand in each other's way --apply_edits--> text, spans [start, end)

A rewrite that replaces stands for the characters [start, end); one that is appended follows character `end`, with a
blank line on either side where there is none. Without edits the text comes back as it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

EDITS_VERSION = "1"
BLANK = "\n\n"
BLANK_AFTER = re.compile(r"[^\S\n]*\n[^\S\n]*\n")


@dataclass(frozen=True)
class Edit:
    """One rewrite of the characters [start, end) of a text: `append` stands after them, else in their place."""

    start: int
    end: int
    text: str
    rewrite: str  # id
    append: bool = False


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of the new text that `rewrite` wrote, the blank lines around an appended one included."""

    start: int
    end: int
    rewrite: str


def choose(edits: Iterable[Edit]) -> tuple[list[Edit], list[Edit]]:
    """(those used, those left over): of rewrites that replace overlapping characters the first given is used.

    Every one that is appended is used. Both lists keep the order given.
    """
    used, left = [], []
    taken: list[tuple[int, int]] = []  # in order, none overlapping
    for edit in edits:
        if not edit.append:
            at = bisect_left(taken, (edit.start, edit.end))
            before, after = taken[at - 1 : at] if at else [], taken[at : at + 1]
            if any(start < edit.end and edit.start < end for start, end in before + after):
                left.append(edit)
                continue
            taken.insert(at, (edit.start, edit.end))
        used.append(edit)
    return used, left


def apply_edits(text: str, edits: Iterable[Edit]) -> tuple[str, list[Span]]:
    """The text with the edits in it, and what each of them wrote, in the order of the new text.

    Rewrites appended at one place stand in the order given; one appended inside characters that another replaces
    stands after those. Raises ValueError where two replace the same characters or one lies outside the text.
    """
    edits = list(edits)
    replaced = sorted((e for e in edits if not e.append), key=lambda e: e.start)
    at = 0
    for edit in edits:
        if not 0 <= edit.start < edit.end <= len(text):
            raise ValueError(f"[{edit.start}, {edit.end}) is no span of a text of {len(text)} characters")
    for edit in replaced:
        if edit.start < at:
            raise ValueError(f"two rewrites replace the characters [{edit.start}, {at})")
        at = edit.end
    starts = [e.start for e in replaced]

    def place(edit: Edit) -> int:
        before = bisect_left(starts, edit.end) - 1
        return max(edit.end, replaced[before].end) if before >= 0 else edit.end

    events = [(e.start, 1, n, e) for n, e in enumerate(replaced)]
    events += [(place(e), 0, n, e) for n, e in enumerate(edits) if e.append]
    events.sort(key=lambda event: event[:3])
    out, spans, at = "", [], 0
    for n, (where, _, _, edit) in enumerate(events):
        out += text[at:where]
        at = where if edit.append else edit.end
        written = edit.text
        if edit.append:
            following = n + 1 < len(events) and events[n + 1][3].append and events[n + 1][0] == where
            tail = out[-256:]
            written = (BLANK if out and tail[len(tail.rstrip()) :].count("\n") < 2 else "") + written
            if not following and not BLANK_AFTER.match(text, where) and text[where:].strip():
                written += BLANK
        spans.append(Span(len(out), len(out) + len(written), edit.rewrite))
        out += written
    return out + text[at:], spans
