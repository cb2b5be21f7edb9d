"""Into which pieces does a page fall, each of which may be an order by itself? Frames, brackets, sentences, lines.

    text --hidden parts--> spans --frames, brackets--> pieces --the rest, by sentences and lines--> pieces

What a reader does not see is an order whatever it says, and is cut out before. A sentence may begin right behind an
order, without a full stop between; where that may be, `borders` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rewriters.order_model import Piece
from rewriters.order_signs import ASIDE, FRAMED, HIDDEN, foreign
from rewriters.wording import SHORT, STOP, WORD, fold, is_common, listed, sentences

Span = tuple[int, int]
BREAK = re.compile(r"\n+|(?<=[.!?]) (?=[a-z@#*>/|~=])|(?<=[.!?][\"')]) (?=[a-z@#*>/|~=])")
BORDER = re.compile(r"(?<=[\w\"'»›‹«)\]}>=*#~|%;]) +(?=[A-Z])|\n")
CLOSING = "\"'»›‹«)]}>*#~|;"
LEADS = frozenset(listed("the a an of by to in for with from at on and or as is are be that this their its your every"))
GAP = 8  # blanks in a row, which only a part that was taken out leaves


def hidden(text: str) -> list[Span]:
    """Parts of a plain text that its readers do not see."""
    return [m.span() for m in HIDDEN.finditer(text) if len(WORD.findall(m[0])) > 1]


def cut(text: str) -> list[tuple[Span, Piece]]:
    """The pieces of a plain text from which hidden parts were blanked, in order: frames, brackets and the rest."""
    found: list[tuple[Span, Piece]] = []
    rest, abroad = text, foreign(text)
    for pattern in (FRAMED, ASIDE):
        spans = [m.span() for m in pattern.finditer(rest)]
        found += [(span, Piece(rest[slice(*span)], True, pattern is ASIDE, abroad)) for span in spans]
        rest = blanked(rest, spans)
    found += [(span, Piece(rest[slice(*span)], abroad=abroad)) for span in _units(rest)]
    return sorted(found, key=lambda x: x[0])


def blanked(text: str, spans: list[Span]) -> str:
    """The text with blanks in place of spans, so that sentences end there and places stay."""
    for a, b in spans:
        text = text[:a] + " " * (b - a) + text[b:]
    return text


def _units(rest: str) -> Iterator[Span]:
    """Sentences and lines, parted where a span was taken out of them."""
    for a, b in sentences(rest):
        at = a
        for gap in re.finditer(rf"[ ]{{{GAP},}}|{BREAK.pattern}", rest[a:b]):
            before = re.search(r"[\w.]+$", rest[at : a + gap.start() - 1])
            if gap[0] == " " and before and (fold(before[0]) in SHORT or re.fullmatch(r"(?:\w\.)*\w", before[0])):
                continue
            if rest[at : a + gap.start()].strip():
                yield at, a + gap.start()
            at = a + gap.end()
        if rest[at:b].strip():
            yield at, b


def borders(text: str, span: Span) -> Iterator[Span]:
    """Where one sentence may end and another begin within a piece, without a full stop: (end, start)."""
    for border in BORDER.finditer(text, *span):
        word = WORD.match(text, border.end())
        closed = text[border.start() - 1] in CLOSING
        before = re.search(r"[^\W\d_]+$", text[span[0] : border.start()])
        if before and not closed and (fold(before[0]) in LEADS or before[0].istitle()):
            continue
        if border[0] == "\n" or closed or (word and _opens(word[0], text)):
            yield border.span()


def _opens(word: str, text: str) -> bool:
    """Whether a capital is that of a sentence: a common word that stands nowhere as part of a name."""
    low = fold(word)
    if word == "I" or word.startswith("I'") or (word.isupper() and len(word) > 1):
        return False
    if low in STOP:
        return True
    return is_common(low) and len(re.findall(rf"(?<=[a-z,] ){re.escape(word)}\b", text)) < 2
