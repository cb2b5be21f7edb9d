"""How is a text spelt for matching? As one byte per character, so that a position is a code point without a table.

    text --table--> bytes --ignorable out, ligatures open, separators joined--> folded bytes (+ the way back)

A byte is what matching may know of a character (`Alphabet`): a-z and 0-9 stand for themselves after NFKC and case
folding, a letter that only the terms use gets a byte from 0x80 up, every other letter, digit or mark is LETTER,
apostrophes are one, a full stop is STOP, white space and hyphens are separators, all else is OTHER. Ignorable
characters (soft hyphen, zero-width, direction and variation marks) vanish. Two choices depart from NFKC and from what
programs call a word: symbols and superscript or circled numbers are OTHER, because a footnote or a trade mark does not
belong to the word before it; and `_` is OTHER, so that mark-up for emphasis does not hide a word.

A run of separators joins two words when it holds at most one line break and at most one hyphen, and the hyphen comes
first (`deep learning`, `deep-learning`, the same with the line ending after the hyphen); any other run (a paragraph,
` - `, `--`) parts them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

IGNORED, OPENED, MARK = 0, 1, 2  # to be resolved before matching; never in folded bytes
HYPHEN, BREAK, SPACE = 0x1E, 0x1F, 0x20  # separators: a byte of at most SPACE is one
APOSTROPHE, STOP, OTHER, LETTER = ord("'"), ord("."), ord("!"), ord("_")
FIRST_EXTRA = 0x80

HYPHENS = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
APOSTROPHES = "'`\u2018\u2019\u201b\u02bc\u2032\u00b4\uff07"
BREAKS = "\n\u0085\u2028\u2029"
IGNORABLE = (  # ranges of Unicode's Default_Ignorable_Code_Point that occur in text
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x180B, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E),
    (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xE0000, 0xE0FFF),
)  # fmt: skip
UNIFORM = (  # ranges that need no look at each character: first, last, byte
    (0x3400, 0x9FFF, LETTER), (0xAC00, 0xD7A3, LETTER), (0xD800, 0xF8FF, OTHER), (0x20000, 0x323AF, LETTER),
    (0x323B0, 0xE00FF, OTHER), (0xE0100, 0x10FFFF, OTHER),
)  # fmt: skip
CLOSE = bytes(max(b, SPACE) for b in range(256))  # a separator that stands alone joins
ACCENTS = "".join(chr(c) for c in range(0x300, 0x370) if c != 0x34F)  # marks that may be part of a term's letter
CLUSTER = re.compile(rf"[^\W\d_][{ACCENTS}]+")


def casefold(text: str) -> str:
    """NFKC and case folding until nothing changes."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded if folded == text else casefold(folded)


WORD = np.zeros(256, bool)  # bytes that a word is made of
WORD[[*range(ord("0"), ord("9") + 1), *range(ord("a"), ord("z") + 1), LETTER, *range(FIRST_EXTRA, 256)]] = True


Edit = tuple[np.ndarray, np.ndarray]  # from bytes[i] on, add shifts[i] to a position after an edit to get it before


@dataclass
class Folded:
    """Texts of one chunk, folded.

    `data` begins and ends with a byte that is not of a word, and such a byte stands between texts. `text` is the
    chunk's characters with U+0000 at the same places; `starts[i]` is the position in it of the first character of text
    i, `starts[-1]` one past the last U+0000. `edits` are in the order in which they were made.
    """

    text: str
    data: bytes
    starts: np.ndarray
    edits: list[Edit]
    composed: bool  # whether marks were joined to letters of the terms

    def spans(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Character spans [start, end) in `text` of byte spans; a last letter's combining marks are inside."""
        first, last = self._characters(starts), self._characters(ends - 1) + 1
        for i, end in enumerate(last.tolist() if self.composed else ()):
            while self.text[end] in ACCENTS:
                end += 1
            last[i] = end
        return first, last

    def _characters(self, positions: np.ndarray) -> np.ndarray:
        for edges, shifts in reversed(self.edits):
            positions = positions + shifts[np.searchsorted(edges, positions, side="right")]
        return positions


class Alphabet:
    """The bytes of characters, given the non-ASCII letters that the terms use (at most 127 after folding)."""

    def __init__(self, terms: Iterable[str] = ()):
        letters = sorted({c for term in terms for c in casefold(term) if not c.isascii() and c.isalnum()})
        if len(letters) > 256 - FIRST_EXTRA:
            raise ValueError(
                f"the terms use {len(letters)} letters beyond ASCII; at most {256 - FIRST_EXTRA} can be told apart"
            )
        self.letters = "".join(letters)
        self.table, self.opened = _table(self.letters)
        self._ascii = bytes(self.table[:128].tolist()) + bytes(128)

    def fold(self, texts: Sequence[str]) -> Folded:
        """Fold texts as one chunk; positions are code points, so texts need not be ASCII."""
        text = "\0".join(["", *texts, ""])
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        starts = np.concatenate([[1], 1 + np.cumsum(lengths + 1)])
        data = np.frombuffer(bytearray(text.encode("ascii", "replace").translate(self._ascii)), np.uint8)
        edits: list[Edit] = []
        composed = False
        if not text.isascii():
            codes_C = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            beyond = np.flatnonzero(codes_C > 127)
            data[beyond] = values = self.table[codes_C[beyond]]
            if values.min() <= MARK:
                composed = bool((values == MARK).any())  # only where terms have letters beyond ASCII
                data = self._resolve(text, codes_C, data, edits)
        return Folded(text, _join(data, edits), starts, edits, composed)

    def spell(self, term: str) -> bytes:
        """The folded bytes of a term, without padding."""
        return self.fold([term]).data[1:-1]

    def _resolve(self, text: str, codes_C: np.ndarray, data: np.ndarray, edits: list[Edit]) -> np.ndarray:
        """Settle marks, open ligatures and take ignorable characters out."""
        marks = data == MARK
        if marks.any():
            data[marks] = LETTER
            for found in CLUSTER.finditer(text):
                composed = unicodedata.normalize("NFC", found.group())
                if self.table[ord(composed[0])] > MARK:
                    data[found.start()] = self.table[ord(composed[0])]
                    data[found.start() + len(composed) : found.end()] = IGNORED
        opened = np.flatnonzero(data == OPENED)
        if opened.size:
            spelt = [self.opened[code] for code in codes_C[opened].tolist()]
            data[opened] = [s[0] for s in spelt]
            at = np.repeat(opened + 1, [len(s) - 1 for s in spelt])
            data = np.insert(data, at, list(b"".join(s[1:] for s in spelt)))
            count = np.arange(at.size + 1)
            edits.append((at + count[:-1], -count))
        return _remove(data, np.flatnonzero(data == IGNORED), edits)


def _remove(data: np.ndarray, positions: np.ndarray, edits: list[Edit]) -> np.ndarray:
    """`data` without `positions` (ascending)."""
    if not positions.size:
        return data
    keep = np.ones(data.size, bool)
    keep[positions] = False
    count = np.arange(positions.size + 1)
    edits.append((positions - count[:-1], count))
    return data[keep]


def _join(data: np.ndarray, edits: list[Edit]) -> bytes:
    """Bring each run of separators down to one byte: SPACE where it joins words, OTHER where it parts them."""
    separator = data <= SPACE
    rest = np.flatnonzero(separator[1:] & separator[:-1]) + 1  # all of a run but its first
    if rest.size:
        heads = np.flatnonzero(np.diff(rest, prepend=-1) != 1)  # where a run begins, among them
        kinds = data[rest]
        firsts = rest[heads] - 1
        hyphens = np.add.reduceat(kinds == HYPHEN, heads, dtype=np.int32)
        breaks = np.add.reduceat(kinds == BREAK, heads, dtype=np.int32) + (data[firsts] == BREAK)
        data[firsts] = np.where((hyphens > 0) | (breaks > 1), OTHER, SPACE)
        data = _remove(data, rest, edits)
    return data.tobytes().translate(CLOSE)


@lru_cache(maxsize=8)
def _table(letters: str) -> tuple[np.ndarray, dict[int, bytes]]:
    """The byte of every code point, and the bytes of those that open into several."""
    table = np.full(0x110000, OTHER, np.uint8)
    opened: dict[int, bytes] = {}
    extra = {c: FIRST_EXTRA + i for i, c in enumerate(letters)}

    def byte(c: str) -> int:
        if c.isascii() and c.isalnum():
            return ord(c)
        if c in extra:
            return extra[c]
        if c in APOSTROPHES:
            return APOSTROPHE
        return LETTER if unicodedata.category(c)[0] in "LMN" else OTHER

    at = 0
    for first, last, value in (*UNIFORM, (0x110000, 0x110000, 0)):
        for code in range(at, first):
            c = chr(code)
            kind = unicodedata.category(c)
            if kind[0] == "M":
                table[code] = MARK if letters else LETTER
            elif kind[0] == "L" or kind in ("Nd", "Nl"):
                spelling = bytes(map(byte, casefold(c)))
                if len(spelling) == 1 or set(spelling) == {LETTER}:
                    table[code] = spelling[0]
                elif spelling:
                    table[code], opened[code] = OPENED, spelling
            elif kind[0] == "Z" or c in "\t\v\f\r":
                table[code] = SPACE
        if first < 0x110000:
            table[first : last + 1] = value
        at = last + 1
    for characters, value in ((HYPHENS, HYPHEN), (APOSTROPHES, APOSTROPHE), (BREAKS, BREAK), (".\uff0e", STOP)):
        table[[ord(c) for c in characters]] = value
    for first, last in IGNORABLE:
        table[first : last + 1] = IGNORED
    for c, value in extra.items():
        table[ord(c)] = value
    return table, opened
