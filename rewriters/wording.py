"""How are two texts laid side by side? Sentences, words, stems, and which words are common.

    text --plain--> one spelling of quotes, dashes and spaces --sentences, words--> spans --stem--> what is compared

English rules throughout; other languages get words and sentences, and stems that are their words.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


def listed(words: str) -> list[str]:
    """The words of a string: tables of words are easier to read so."""
    return words.split()


COMMON = Path(__file__).with_name("common_words.txt")  # counted by bench/common_words.py
SIGNS = str.maketrans({
    "‘": "'", "’": "'", "ʼ": "'", "‛": "'", "´": "'", "`": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"',
    "»": '"', "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "\u00a0": " ", "\u202f": " ",
    "\u2009": " ", "\u2007": " ", "\u00ad": None, "\u200b": None, "\ufeff": None, "…": "...",
})  # fmt: skip
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
TOKEN = re.compile(r"[^\W_]+(?:['.&/-][^\W_]+)*")
END = re.compile(r"""[.!?。！？]+["')\]]*(?=\s|$)|[。！？]|\n\s*\n|\n(?=\s*(?:[-*•]|\d+[.)])\s)|:\s*\n""")
SHORT = frozenset(
    listed(
        "mr mrs ms dr prof st mt sr jr vs etc al fig figs no nos vol pp ed eds gen col lt sgt capt rev hon gov sen rep "
        "inc "
        "ltd co corp approx dept est jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e cf ca a.m p.m u.s u.k"
    )
)
STOP = frozenset(
    listed(
        "none since a an the this that these those it its he she they them his her their theirs we us our you your i "
        "me my one ones who "
        "whom whose which what where when why how and or but nor so yet if then than as at by for from in into of off "
        "on onto "
        "out over to up with within about after again against all also am any are be because been before being below "
        "between "
        "both can could did do does doing down during each few further had has have having here just more most much "
        "many "
        "must same shall should some such there through too under until very was were while will would may might own "
        "only "
        "other others another every not no s t d ll re ve m n't said says say according still even now however well"
    )
)
SPELLINGS = (  # British to American, so that a change of spelling is none
    (re.compile(r"isation"), "ization"),
    (re.compile(r"([a-z]{3})is(e|ed|es|ing|er|ers)$"), r"\1iz\2"),
    (re.compile(r"yse(d|s)?$"), r"yze\1"),
    (re.compile(r"([a-z]{2})our(s|ed|ing|able|ful|ite|ites|hood|hoods)?$"), r"\1or\2"),
    (re.compile(r"tre(s|d)?$"), r"ter\1"),
    (re.compile(r"ogue(s)?$"), r"og\1"),
    (re.compile(r"ll(ed|ing|er|ers)$"), r"l\1"),
    (re.compile(r"ence$"), "ense"),
    (re.compile(r"programme"), "program"),
    (re.compile(r"^grey"), "gray"),
)
INFLECTIONS = ("ings", "ing", "ied", "ies", "ed", "es", "s")
SUFFIXES = (
    "izations", "ization", "ations", "ation", "ically", "fulness", "ements", "ement", "ments", "ment", "nesses", "ness",
    "ingly", "edly", "ities", "ity", "ions", "ion", "ings", "ing", "ied", "ies", "ers", "ors", "er", "or", "est", "ful",
    "able", "ible", "ance", "ence", "ant", "ent", "ism", "ist", "ists", "ize", "ized", "izes", "izing", "ive", "ed",
    "es", "ly", "al", "ic", "s", "y", "e",
)  # fmt: skip
FORMS = (("s", ""), ("es", ""), ("ies", "y"), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("ly", ""),
         ("er", ""), ("ers", ""), ("est", ""))  # fmt: skip
MADE = re.compile(r"\w{3}(?:ship|ness|tion|sion|ment|ability|less|ful|hood|wise|dom)s?$"
                  r"|^(?:un|re|over|dis|mis|under|fore|out)\w{3,}(?:ed|ing|ly)$")  # fmt: skip
DOUBLED = re.compile(r"([b-df-hj-np-tv-z])\1(?:ed|ing|er|ers)$")
BEFORE = re.compile(r"^(?:de|re|un|pre|non|dis|mis|over|out|sub|inter|co)-?(?=\w{4})")
IRREGULAR = {
    w: base
    for base, forms in {
        "begin": "began begun", "break": "broke broken", "bring": "brought", "build": "built", "buy": "bought",
        "catch": "caught", "choose": "chose chosen", "come": "came", "draw": "drew drawn", "drive": "drove driven",
        "eat": "ate eaten", "fall": "fell fallen", "feel": "felt", "find": "found", "fly": "flew flown", "get": "got",
        "give": "gave given", "go": "went gone", "grow": "grew grown", "hear": "heard", "hold": "held", "keep": "kept",
        "know": "knew known", "lead": "led", "leave": "left", "lose": "lost loss", "make": "made", "mean": "meant",
        "meet": "met", "pay": "paid", "rise": "rose risen", "run": "ran", "see": "saw seen", "sell": "sold sale",
        "send": "sent", "show": "showed shown", "sit": "sat", "speak": "spoke spoken", "spend": "spent",
        "stand": "stood", "take": "took taken", "teach": "taught", "tell": "told", "think": "thought",
        "throw": "threw thrown", "wear": "wore worn", "win": "won", "write": "wrote written", "child": "children",
        "man": "men", "woman": "women", "foot": "feet", "tooth": "teeth", "person": "people", "life": "lives",
    }.items()
    for w in forms.split()
}  # fmt: skip


def plain(text: str) -> str:
    """The text with one spelling of quotes, dashes and spaces; composed characters, letters as they are."""
    return unicodedata.normalize("NFC", text).translate(SIGNS)


def fold(word: str) -> str:
    """A word without case, accents and possessive."""
    word = re.sub(r"'s$|'$", "", word.casefold())
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


def _undoubled(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeious" else word


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """What is left of a folded word without the usual English endings, one spelling for British and American."""
    word = IRREGULAR.get(word, word)
    for pattern, other in SPELLINGS:
        word = pattern.sub(other, word)
    for suffix in INFLECTIONS:  # one of these and one of those: covered as cover
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    word = _undoubled(word)
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = _undoubled(word[: -len(suffix)])
            break
    return word[:-1] + "y" if word.endswith("i") and len(word) > 3 else word


@lru_cache(maxsize=1)
def common_words() -> frozenset[str]:
    """English words that texts spell in lower case (common_words.txt)."""
    return frozenset(COMMON.read_text("utf-8").split())


@lru_cache(maxsize=1 << 16)
def is_common(word: str) -> bool:
    """Whether a folded word is an English word rather than a name; forms of a common word are common."""
    known = common_words()
    word = re.sub(r"(?:n't|'[a-z]+)$", "", word)
    if word in known or word in STOP or MADE.search(word):
        return True
    if any(
        word.removesuffix(end) + more in known for end, more in FORMS if word.endswith(end) and len(word) > len(end) + 2
    ):
        return True
    doubled = DOUBLED.sub(r"\1", word)  # stopped, stopping
    inner = BEFORE.sub("", word)
    return (doubled != word and doubled in known) or (inner != word and is_common(inner))


def is_compound(word: str) -> bool:
    """Whether a folded word is made of two common ones (shareholders); names of products may be so too."""
    return len(word) > 8 and any(word[:i] in common_words() and is_common(word[i:]) for i in range(4, len(word) - 3))


@dataclass(frozen=True)
class Words:
    """The words of a plain text in order: as spelt, folded, stemmed, where they stand, and in which sentence."""

    spelt: tuple[str, ...]
    folded: tuple[str, ...]
    stems: tuple[str, ...]
    start: tuple[int, ...]
    sentence: tuple[int, ...]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences of a plain text, without white space at their ends; lists are cut at their items."""
    spans, first = [], 0
    for found in END.finditer(text):
        before = re.search(r"[\w.]+$", text[first : found.start()])
        last = before[0].casefold() if before else ""
        mark = text[found.start()]
        if mark == "." and (last in SHORT or (before and re.fullmatch(r"(?:[A-Z]\.)*[A-Z]", before[0]))):
            continue
        after = text[found.end() : found.end() + 2].lstrip()
        if mark in ".!?" and after[:1].islower():  # etc. and so on; "Oh!" he said
            continue
        spans.append((first, found.end()))
        first = found.end()
    spans.append((first, len(text)))
    out = []
    for a, b in spans:
        piece = text[a:b]
        a, b = a + len(piece) - len(piece.lstrip()), b - len(piece) + len(piece.rstrip())
        if a < b and any(c.isalnum() for c in text[a:b]):
            out.append((a, b))
    return out


def words(text: str, spans: list[tuple[int, int]] | None = None) -> Words:
    """The words of a plain text; `spans` are its sentences where they are known."""
    spelt, start, of = [], [], []
    for number, (a, b) in enumerate(sentences(text) if spans is None else spans):
        for found in TOKEN.finditer(text, a, b):
            spelt.append(found[0])
            start.append(found.start())
            of.append(number)
    folded = [fold(w) for w in spelt]
    return Words(tuple(spelt), tuple(folded), tuple(map(stem, folded)), tuple(start), tuple(of))


def content(text: str) -> set[str]:
    """Stems of the words of a text that carry content: no function words, no single letters."""
    folded = (fold(w) for w in WORD.findall(text))
    return {stem(w) for w in folded if w not in STOP and len(w) > 1}
