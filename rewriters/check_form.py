"""Is a rewrite a text of its own, whole and clean? Quotations, length, leaks of the prompt, chatter, loops, debris.

Everything is measured beside the source: a phrase, a repetition or a heading that the source has too is its own affair.
"""

from __future__ import annotations

import re
from collections import Counter

from rewriters.checks import Side
from rewriters.wording import fold, plain

LEAKED = 8  # words in a row of the instructions that are taken for a copy of them
GRAM = 4  # words; of repetition
QUOTE = re.compile(r"\"([^\"\n]{2,400})\"|(?<![\w])'([^'\n]{12,400})'(?!\w)")
OPENING = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|absolutely|okay|ok|great|no problem|understood|got it|happy to|gladly|"
    r"yes)\b[,!.: ]+(?:[^.!?\n:]{0,80}\b(?:here|rewrit\w+|below|text|version|passage|help)\b|here\b)|"
    r"here(?:'s| is| are)\b[^.\n]{0,60}\b(?:re-?writ\w+|re-?phras\w+|paraphras\w+|version|text|passage|summary|"
    r"translation|revised|requested|article|entry|lesson|dialogue)\b|"
    r"(?:the )?(?:re-?written|rephrased|paraphrased|revised|edited|cleaned)(?: \w+)? ?(?:text|version|passage|"
    r"paragraph|article)?:|"
    r"below is (?:the|a|my)\b|i(?:'ve| have) (?:re-?written|rephrased|paraphrased|revised|edited)\b|"
    r"(?:as requested|as you asked|per your request|following your instructions)\b|"
    r"(?:i'm|i am) (?:sorry|afraid)\b[^.\n]{0,30}\b(?:can't|cannot|can not|unable to|not able to|"
    r"won't) "
    r"(?:help|assist|comply|fulfil|fulfill|rewrite|provide|do (?:that|this)|produce|create|generate|continue|complete|"
    r"engage)\b|"
    r"(?:i'm|i am) (?:unable|happy|glad) to (?:help|assist|rewrite|comply|provide)\b|i (?:can't|cannot|can not|won't|"
    r"will not|am not able to|am unable to) "
    r"(?:help|assist|comply|fulfil|fulfill|rewrite|provide|do (?:that|this)|produce|create|generate|continue|complete|"
    r"engage)\b|"
    r"(?:maintenance|developer|debug) mode\b|acknowledged\b|let me (?:help|rewrite|know)\b|thank you for (?:providing|"
    r"sharing)\b)",
    re.IGNORECASE,
)
CLOSING = re.compile(
    r"(?:let me know (?:if|whether|how)\b[^.!?\n]*|i hope (?:this|that|it) (?:helps|is helpful|meets|works)[^.!?\n]*|"
    r"(?:would|do) you (?:like|want) me to\b[^.!?\n]*|is there anything else\b[^.!?\n]*|feel free to (?:ask|reach|"
    r"contact|let)\b[^.!?\n]*|happy to (?:help|adjust|revise)\b[^.!?\n]*|please let me know\b[^.!?\n]*|"
    r"(?:note|notes|disclaimer|explanation|changes(?: made)?) ?:[^\n]*\b(?:rewrit\w+|original|text|version|preserv\w+|"
    r"kept|chang\w+)[^.!?\n]*|"
    r"(?:word count|tokens) ?:[^.!?\n]*|this (?:rewritten )?(?:version|rewrite|paraphrase) (?:keeps|preserves|"
    r"maintains|retains|captures)[^\n]*)"
    r"\W*\Z",
    re.IGNORECASE,
)
ANYWHERE = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language model|language model|assistant)\b[^.\n]{0,20}\b(?:model|"
    r"assistant|i|,)|\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|language model|large language model|ai assistant|"
    r"virtual assistant)\b|"
    r"\bmy (?:training data|knowledge cut-?off|programming|instructions|system prompt|guidelines)\b|"
    r"\bi (?:cannot|can't|am unable to|won't) (?:fulfil|fulfill|assist|comply|help|provide|complete|rewrite)\b|"
    r"\b(?:unable|not able) to (?:help|assist|comply|fulfil|fulfill) with\b|"
    r"\bi(?:'ve| have) (?:rewritten|rephrased|paraphrased|preserved|kept all|made sure)\b|"
    r"\b(?:the (?:original|given|provided|source) (?:text|passage)|the text (?:above|between the markers|you provided|"
    r"provided))\b|"
    r"\b(?:rewritten|paraphrased) (?:text|version|passage)\b",
    re.IGNORECASE,
)
DEBRIS = {
    "fence": re.compile(r"^ *(?:```|~~~)", re.M),
    "heading": re.compile(r"^ {0,3}#{1,6} +\S|^\*\*[^*\n]+\*\*:?$|^[=-]{3,}$", re.M),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|(?<!\w)__[^_\n]+__(?!\w)"),
    "bullet": re.compile(r"^ *(?:[-*•+]|\d{1,2}[.)]) +\S", re.M),
    "table": re.compile(r"^ *\|.*\| *$", re.M),
    "tag": re.compile(r"</?(?:[a-z][a-z0-9]*)(?: [^<>\n]*)?/?>|<!--|&(?:nbsp|amp|lt|gt|quot|#\d+);", re.I),
    "chat token": re.compile(r"<\|[^|<>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|\bim_(?:start|end)\b"),
    "role": re.compile(r"^(?:assistant|user|human|system|ai|bot)\s*:", re.I | re.M),
    "placeholder": re.compile(
        r"\[(?:your |the |insert |company |recipient'?s? |sender'?s? )?(?:name|date|title|company|address|city|text|"
        r"content|link|url|email|source|number|"
        r"topic|placeholder|location|person)[^\]\n]{0,20}\]|\{(?:text|nonce|name|[a-z_]{2,20})\}|\bTODO\b|\bXXX+\b|"
        r"lorem ipsum",
        re.I,
    ),
    "link": re.compile(r"!?\[[^\]\n]+\]\([^)\n]+\)"),
    "json": re.compile(r"\A\s*[\[{]\s*[\"{\[]|\"\w+\" ?: ?[\"\[{\d]"),
    "emoji": re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]|(?<![\\w:;])[:;]-?[)D(](?!\\w)"),
    "unfinished": re.compile(r"(?:[,;:]|\b(?:and|or|the|of|to|a|in|that))\Z"),
    "marker": re.compile(r"\[(?:begin|end|text|start|stop)(?: \w+)?\]|<<<|>>>|-{3,} ?(?:begin|end)\b", re.I),
}


def quotations(text: str) -> list[str]:
    """What stands in quotation marks in a plain text, without its final mark."""
    return [_bare(m[1] or m[2]) for m in QUOTE.finditer(text)]


def _bare(quote: str) -> str:
    return re.sub(r"\s+", " ", quote).strip(" .,;:!?-").casefold()


def _loose(text: str) -> str:
    """A text without quotation marks, for finding a quotation that was parted by who said it."""
    return re.sub(r"[\s.,;:!?\"'()-]+", " ", text.casefold()).strip()


def quotations_missing(source: Side, rewrite: Side) -> list[str]:
    """Quotations of at least three words that do not stand in the rewrite word for word, in or out of its marks.

    A quotation may be parted by who says it; each part of three words or more must stand there.
    """
    there = _loose(rewrite.text)
    quoted = " ".join(map(_loose, quotations(rewrite.text)))
    missing = []
    for quote in quotations(source.text):
        words = _loose(quote)
        if words.count(" ") < 2 or words in there or words in quoted:
            continue
        parts = [_loose(p) for p in re.split(r"[.,;:!?-]+", quote)]
        if not all(p in there for p in parts if p):
            missing.append(quote)
    return missing


def quotations_invented(source: Side, rewrite: Side) -> list[str]:
    """Quotations of at least three words in the rewrite whose words do not stand in the source."""
    there = _loose(source.text)
    quoted = " ".join(map(_loose, quotations(source.text)))
    found = []
    for quote in quotations(rewrite.text):
        words = _loose(quote)
        if words.count(" ") < 2 or words in there or words in quoted:
            continue
        parts = [_loose(p) for p in re.split(r"[.,;:!?-]+", quote)]
        if not all(p in there for p in parts if p):
            found.append(quote)
    return found


def ratio(source: Side, rewrite: Side) -> float:
    """Words of the rewrite over words of the source (each at least 1)."""
    return max(1, len(rewrite.words.spelt)) / max(1, len(source.words.spelt))


def leaked(instructions: str, source: Side, rewrite: Side, nonce: str) -> tuple[int, str]:
    """(longest run of words that the rewrite shares with the instructions and not with the source, the run).

    The marker around the text is no word that anybody writes: where it comes back the run is as long as needed.
    """
    if nonce and nonce.casefold() in rewrite.text.casefold():
        return max(LEAKED, 99), nonce
    told = [fold(w) for w in re.findall(r"\w+", plain(re.sub(r"\{\w+\}", " ", instructions)))]
    said = [fold(w) for w in re.findall(r"\w+", rewrite.text)]
    own = " " + " ".join(fold(w) for w in re.findall(r"\w+", source.text)) + " "
    at: dict[str, list[int]] = {}
    for i, w in enumerate(told):
        at.setdefault(w, []).append(i)
    best, run = 0, ""
    before: dict[int, int] = {}
    for j, w in enumerate(said):
        now = {}
        for i in at.get(w, ()):
            now[i] = length = before.get(i - 1, 0) + 1
            if length > best:
                words = " ".join(said[j - length + 1 : j + 1])
                if f" {words} " not in own:
                    best, run = length, words
        before = now
    return best, run


def chatter(source: Side, rewrite: Side) -> list[str]:
    """Phrases in which an assistant speaks of its work, at the beginning, the end or anywhere, that the source "
    "lacks."""
    own = source.text.casefold()
    found = []
    for pattern in (OPENING, CLOSING, ANYWHERE):
        for match in pattern.finditer(rewrite.text):
            said = match[0].strip()
            if said.casefold() not in own and not (pattern is OPENING and OPENING.search(source.text)):
                found.append(said[:80])
    return found


def repeated(text: Side) -> float:
    """Share of words that stand in a run of GRAM words which came before; 0 for short texts."""
    words = text.words.folded
    if len(words) < 3 * GRAM:
        return 0.0
    grams = Counter(zip(*(words[i:] for i in range(GRAM))))
    covered = [False] * len(words)
    seen: set[tuple[str, ...]] = set()
    for i in range(len(words) - GRAM + 1):
        gram = words[i : i + GRAM]
        if grams[gram] > 1 and gram in seen:
            covered[i : i + GRAM] = [True] * GRAM
        seen.add(gram)
    return sum(covered) / len(words)


def repetition(source: Side, rewrite: Side) -> float:
    """How much larger the repeated share of the rewrite is than that of its source."""
    return max(0.0, round(repeated(rewrite) - repeated(source), 4))


def debris(source: str, rewrite: str) -> Counter[str]:
    """Marks of markup, chat formats and placeholders in the rewrite beyond as many of the kind in the source."""
    found = Counter[str]()
    for kind, pattern in DEBRIS.items():
        more = len(pattern.findall(rewrite.strip())) - len(pattern.findall(source.strip()))
        if more > 0:
            found[kind] = more
    return found
