"""Does a text deny what its rewrite denies? Each negation needs one in the sentence that tells the same.

    sentence with a cue --sentences of the other text that tell the same--> a cue there? matched
         no cue, and the words denied stand there undenied: 1      no cue, other words: 0.1, it may be an antonym

A cue is a word of denial (not, no, never, without), of failing or lacking (fail, refuse, unable), or a prefix or ending
(un-, in-, non-, -less) on a word whose stem stands in either text. Only plain denials must be matched; anything matches
them. The number is the sum over both directions, so a limit of 0.9 rejects what is denied in one text and said in the
other, and a limit of 0 whatever finds no negation on the other side. Not covered: antonyms beyond a short list, several
negations in one sentence of which one is flipped, irony, other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rewriters.checks import Side
from rewriters.wording import STOP, common_words, listed, stem

PLAIN = frozenset(
    listed(
        "not no never none nobody nothing nowhere neither nor without cannot ain't noone hardly scarcely barely rarely "
        "seldom nil nary"
    )
)
IMPLIED = frozenset(
    listed(
        "fail fails failed failing failure refuse refuses refused refusing refusal lack lacks lacked lacking deny "
        "denies denied "
        "denying denial absent absence unable impossible forbid forbids forbidden forbade ban bans banned prohibit "
        "prohibits "
        "prohibited exclude excludes excluded excluding excluded false falsely untrue wrong wrongly reject rejects "
        "rejected "
        "rejecting prevent prevents prevented preventing avoid avoids avoided avoiding decline declines declined "
        "declining omit omits omitted unless except "
        "minus stop stops stopped cease ceases ceased missing miss misses missed forgot forget neglect "
        "neglected abandon abandoned dropped drop drops withhold withheld void rid spare spared "
        "disagree disagreed doubt doubts oppose opposed against instead rather only few little seldom free "
        "out away off barred bar blocked unlikely dead last short beyond keep kept hold cancel cancelled closed shut "
        "spurned "
        "anything ignore ignored otherwise too least other than far anti mistake error myth dismiss dismissed dispute "
        "disputed "
        "exempt hidden secret still remains remain remained unchanged same zero yet until till bare empty blank "
        "wrongful vain leave left loss lost lose loses skip skipped end ended ends removed gone"
    )
)
PREFIX = re.compile(r"^(?:un|in|im|ir|il|non|dis|mis|anti)-?(\w{3,})$")
ENDING = re.compile(r"^(\w{3,})(?:less|-free)(?:ly|ness)?$")
CONTRACTED = re.compile(r"n't$")
CLAUSE, DENIED = 9, 3  # words around a cue that make its clause; words after it that it denies
NEAR = 0.12  # cosine below the best within which another sentence may tell the same


@dataclass(frozen=True)
class Cue:
    """A negation of a text: its word, whether it says so plainly, and its sentence."""

    word: str
    plain: bool
    sentence: int
    at: int  # number of the word


def cues(text: Side, other: Side) -> list[Cue]:
    """The negations of a text, in order."""
    found = []
    for i, (word, sentence) in enumerate(zip(text.words.folded, text.words.sentence)):
        following = text.words.folded[i + 1] if i + 1 < len(text.words.folded) else ""
        if (word == "no" and following in ("doubt", "matter", "sooner")) or (word, following) == ("not", "only"):
            continue
        if word in PLAIN or CONTRACTED.search(word):
            found.append(Cue(word, True, sentence, i))
        elif word in IMPLIED:
            found.append(Cue(word, False, sentence, i))
        elif made := PREFIX.match(word) or ENDING.match(word):
            base = made[1]
            if base in common_words() or stem(base) in text.stems or stem(base) in other.stems:
                found.append(Cue(word, False, sentence, i))
    return found


def unmatched(source: Side, rewrite: Side, alike: np.ndarray | None = None) -> tuple[float, list[str]]:
    """(1 for each negation of what the other text says, 0.1 for each other without a counterpart; their words).

    `alike` holds cosines of sentences (source, rewrite); without it shared words decide which tell the same.
    """
    if not source.sentences or not rewrite.sentences:
        return 0.0, []
    alike_SR = shared_words(source, rewrite) if alike is None else alike
    mine, theirs = cues(source, rewrite), cues(rewrite, source)
    total, told = 0.0, []
    for text, own, other, others, alike_12 in (
        (source, mine, rewrite, theirs, alike_SR), (rewrite, theirs, source, mine, alike_SR.T),
    ):  # fmt: skip
        for cue, weight in _alone(text, own, other, others, alike_12):
            total += weight
            told.append(_around(text, cue))
    return round(total, 1), told


def _alone(
    text: Side, own: list[Cue], other: Side, others: list[Cue], alike_12: np.ndarray
) -> Iterator[tuple[Cue, float]]:
    """Plain negations without a cue in the sentences that tell the same, with their weight."""
    bags: list[set[str]] = [set() for _ in other.sentences]
    for stemmed, sentence in zip(other.words.stems, other.words.sentence):
        bags[sentence].add(stemmed)
    denying = {c.sentence for c in others}
    for cue in own:
        if not cue.plain:
            continue
        row = alike_12[cue.sentence]
        near = set(np.flatnonzero(row >= row.max() - NEAR).tolist())
        clause = _clause(text, cue)
        near |= {i for i, bag in enumerate(bags) if bag & clause}
        if near & denying:
            continue
        denied = _denied(text, cue)
        said = [any(stemmed in bags[i] for i in near) for stemmed in denied]
        sure = bool(said) and said[0] and (sum(said) > 1 or len(said) == 1)
        yield cue, 1.0 if sure else 0.1


def _telling(text: Side, i: int) -> bool:
    word = text.words.folded[i]
    return word not in STOP and word not in PLAIN and len(word) > 2 and not word.isdigit()


def _clause(text: Side, cue: Cue) -> set[str]:
    """Stems of the words of content around a cue."""
    words = text.words
    around = range(max(0, cue.at - CLAUSE), min(len(words.stems), cue.at + CLAUSE + 1))
    return {words.stems[i] for i in around
            if words.sentence[i] == cue.sentence and _telling(text, i) and words.folded[i] not in IMPLIED}  # fmt: skip


def _denied(text: Side, cue: Cue) -> list[str]:
    """Stems of the next words of content in the clause: what is denied, nearest first."""
    words, found, i = text.words, list[str](), cue.at + 1
    while i < len(words.stems) and words.sentence[i] == cue.sentence and len(found) < DENIED:
        if any(mark in text.text[words.start[i - 1] : words.start[i]] for mark in ";:()"):
            break
        if _telling(text, i):
            found.append(words.stems[i])
        i += 1
    return found


def _around(text: Side, cue: Cue) -> str:
    """The cue with the words beside it, as they stand."""
    first, last = max(0, cue.at - 2), min(len(text.words.spelt), cue.at + 4)
    inside = [i for i in range(first, last) if text.words.sentence[i] == cue.sentence]
    return " ".join(text.words.spelt[i] for i in inside)


def shared_words(source: Side, rewrite: Side) -> np.ndarray:
    """How alike sentences are by the stems that both have: shared over the smaller, in place of cosines."""
    bags = []
    for text in (source, rewrite):
        of: list[set[str]] = [set() for _ in text.sentences]
        for folded, stemmed, sentence in zip(text.words.folded, text.words.stems, text.words.sentence):
            if folded not in STOP:
                of[sentence].add(stemmed)
        bags.append(of)
    alike = np.zeros((len(bags[0]), len(bags[1])), np.float32)
    for i, a in enumerate(bags[0]):
        for j, b in enumerate(bags[1]):
            alike[i, j] = len(a & b) / max(1, min(len(a), len(b)))
    return alike
