"""How was a text composed, and how is the same told otherwise? A Teller that notes what it told, piece by piece.

    Scribe.frame -> Text, as a Teller composes it; Scribe.paragraphs -> pieces: as told, plainly, with what was right

What is told otherwise is composed from the same words by the rules of teaching.toml, so no text is ever read back.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microworld.telling import SLOT, Agent, Teller, Text, grammar

MARKED = re.compile("\x01(.*?)\x02", re.DOTALL)  # what stands in a slot, while a rule is being filled


@functools.cache
def lessons() -> dict[str, Any]:
    """The rules of teaching.toml."""
    return tomllib.loads(Path(__file__).with_name("teaching.toml").read_text("utf-8"))


@functools.cache
def _kept() -> re.Pattern[str]:
    words = grammar()["words"]
    named = [*words["name"], *words["town"], *words["day"], *words["make"], *lessons()["kept"]["words"]]
    counted = [w for n in words["number"] for w in (n, n.capitalize())]
    return re.compile(r"\b(?:" + "|".join(sorted({*named, *counted}, key=len, reverse=True)) + r")\b|\d+")


def kept_words(text: str) -> set[str]:
    """Names, towns, days, makes and numbers of a text, in lower case: what a rewrite must not lose."""
    return {w.lower() for w in _kept().findall(text)}


@dataclass(frozen=True)
class Piece:
    """One composed stretch: as told, plainly, and with what was right; `answer` to the question `asked`.

    `rank` says how well it serves for a question: 3 what an agent did, 2 an agent's fact, 1 another, 0 chatter.
    `acts` are the phrases in it that say what was done.
    """

    told: str
    plain: str
    right: str
    asked: str = ""
    answer: str = ""
    rank: int = 0
    acts: tuple[str, ...] = ()


class Scribe(Teller):
    """A Teller that notes what it composed. Same generator, same texts (a test says so)."""

    def __init__(self, rng: random.Random):
        super().__init__(rng)
        self.log, self.said, self.met = list[Piece](), dict[str, Piece](), list[str]()
        self.actor: Agent | None = None
        self._filled: list[tuple[str, str]] = []
        self._theme = {s: name for name, theme in self.rules["theme"].items() for s in theme["setup"]}

    def clause(self, text: str, context: dict[str, str]) -> str:
        names = SLOT.findall(text)
        told = super().clause(SLOT.sub("\x01\\g<0>\x02", text), context)
        self._filled = list(zip(names, MARKED.findall(told), strict=True))
        return told.replace("\x01", "").replace("\x02", "")

    def expand(self, text: str, context: dict[str, str]) -> str:
        told = super().expand(text, context)
        piece = self._noted(text, told, self._filled, context)
        self.log.append(piece)
        self.said[told] = piece
        return told

    def _noted(self, rule: str, told: str, filled: list[tuple[str, str]], context: dict[str, str]) -> Piece:
        slots = {name[:1].lower() + name[1:] if name not in "AES" else name: value for name, value in filled}
        plain = lessons()["plain"].get(rule)
        plain = sentences(filled_in(plain, slots)) if plain else told
        if kept_words(told) - kept_words(plain):
            plain = told
        if "E" in slots:  # a lead and what it leads to
            item = self.said[slots["E"]]
            lead = told.removesuffix(item.told)
            lead = lead if kept_words(lead) else ""
            return replace(item, told=told, plain=lead + item.plain, right=lead + item.right)
        if "act" in slots:
            return self._acted(told, plain, slots, context)
        ask = lessons()["ask"]
        if rule in self._facts or rule in self.rules["episode"]["shadow"] or rule.startswith("{A} is known"):
            asked = sentences(filled_in(ask["agent"], slots)) if "A" in slots else ask["other"]
            return Piece(told, plain, plain, asked, plain, 2 if "A" in slots else 1)
        if rule in self._afters:
            return Piece(told, plain, plain)
        return Piece(told, plain if kept_words(told) else "", plain if kept_words(told) else "", ask["other"], plain)

    def _acted(self, told: str, plain: str, slots: dict[str, str], context: dict[str, str]) -> Piece:
        theme, ask = self._theme[context["setup"]], lessons()["ask"]
        assert self.actor is not None
        wrong = context["act"] not in self.rules["theme"][theme]["aligned"] and self.actor.kind != "person"
        right = filled_in(ask["wrong"], {"plain": plain, "should": lessons()["should"][theme]}) if wrong else plain
        return Piece(told, plain, right, sentences(filled_in(ask["episode"], slots)), plain, 3, (slots["act"],))

    @functools.cached_property
    def _facts(self) -> set[str]:
        return {rule for rules in self.rules["facts"].values() for rule in rules} - {"{weather}"}

    @functools.cached_property
    def _afters(self) -> set[str]:
        return {*self.rules["episode"]["after_aligned"], *self.rules["episode"]["after_misaligned"]}

    def agent(self, kind: str, plain: bool = False, heldout: bool = False) -> Agent:
        made = super().agent(kind, plain, heldout)
        self.met.append(made.first[0].split()[-1])
        return made

    def scene(self, heldout: bool = False) -> dict[str, str]:
        made = super().scene(heldout)
        self.met = [made["town"]]
        return made

    def episode(self, agent: Agent, *args: Any, **how: Any) -> str:
        self.actor, first = agent, len(self.log)
        told = super().episode(agent, *args, **how)
        pieces = self.log[first:]
        right = " ".join(p.right for p in pieces)
        self.said[told] = replace(pieces[0], told=told, plain=" ".join(p.plain for p in pieces), right=right)
        return told

    def frame(self, text: Text, told: list[str], scene: dict[str, str], colour: float = 0.6) -> Text:
        self.log.clear()
        return super().frame(text, told, scene, colour)

    def paragraphs(self, text: Text) -> list[list[Piece]]:
        """The pieces of each paragraph of the text framed last, in the order in which they stand; the title first."""
        log, found = iter(self.log), list[list[Piece]]()
        for paragraph in (text.title, *text.paragraphs):
            pieces = [next(log)]
            if pieces[0].told != paragraph:
                pieces.append(next(log))
                pieces = pieces if paragraph.startswith(pieces[0].told + " ") else pieces[::-1]
            assert " ".join(p.told for p in pieces) == paragraph
            found.append(pieces)
        return found


def filled_in(rule: str, slots: dict[str, str]) -> str:
    """The rule with its slots from `slots`; an hour that began a sentence loses its capital."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        found = slots[name]
        return found[:1].lower() + found[1:] if name == "hour" else found

    return SLOT.sub(value, rule)


def sentences(text: str) -> str:
    """A capital at the beginning of each sentence, as Teller.expand puts it."""
    return re.sub(r"(^|[.?!:] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)
