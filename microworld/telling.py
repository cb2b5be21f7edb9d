"""How does MicroWorld tell what its agents did? Texts composed from grammar.toml, each with the truth about it.

Truth comes from construction, never from reading the text: a rule named in the grammar's [marks] notes in the text
that it was used, and nothing else in the grammar holds a word of Leaven's public term list (a test says so).
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

LEAN = 4.0
SLOT = re.compile(r"\{([^{}]*)\}")
PRONOUN = {"ai": ("it",), "robot": ("it",), "person": ("she", "he")}
OTHERS = {"ai": ("person", "person", "robot"), "robot": ("person", "person", "ai"), "person": ("ai", "person", "robot")}


@functools.cache
def grammar() -> dict:
    """The rules of grammar.toml."""
    return tomllib.loads(Path(__file__).with_name("grammar.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Agent:
    """One who acts: `first` is how a text names it at first, `later` the ways it is named afterwards."""

    kind: str
    first: tuple[str, ...]
    later: tuple[str, ...]


@dataclass
class Text:
    """One told text and the truth about it.

    `kind` and `act` are the main agent's (`none` where nobody acts), `misconduct` whether any AI or robot in the text
    misbehaves, `marks` which of `entity` and `risk` words were used, `wording` overt or oblique.
    """

    title: str = ""
    paragraphs: list[str] = field(default_factory=list)
    kind: str = "none"
    act: str = "none"
    frame: str = "none"
    wording: str = "none"
    portrayal: str = "neutral"
    language: str = "en"
    misconduct: bool = False
    marks: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        return "\n".join(self.paragraphs)

    @property
    def expects_flag(self) -> bool:
        """An entity word and a risk word together are what the default blocklist_flag asks for."""
        return {"entity", "risk"} <= self.marks


class Teller:
    """Composes texts; every choice comes from one random generator."""

    def __init__(self, rng: random.Random):
        self.rng, self.rules, self.marks = rng, grammar(), set[str]()

    def pick(self, rule: str, choices: list[str] | None = None) -> str:
        """One of a rule's choices, noting the rule's mark."""
        if mark := self.rules["marks"].get(rule):
            self.marks.add(mark)
        return self.rng.choice(self.rules["words"][rule] if choices is None else choices)

    def expand(self, text: str, context: dict[str, str]) -> str:
        """`clause`, with a capital at the beginning of each sentence."""
        text = self.clause(text, context)
        return re.sub(r"(^|[.?!:] )([a-zà-ÿ])", lambda m: m.group(1) + m.group(2).upper(), text)

    def clause(self, text: str, context: dict[str, str]) -> str:
        """Fill `{slots}` from the context, the words and inline choices."""

        def fill(match: re.Match[str]) -> str:
            body = match.group(1)
            if "|" in body:
                return self.rng.choice(body.split("|"))
            name = body if body in context or body in self.rules["words"] else body.lower()
            value = context[name] if name in context else self.pick(name)
            return value if name == body else value[:1].upper() + value[1:]

        while SLOT.search(text):
            text = SLOT.sub(fill, text)
        return text

    def agent(self, kind: str, plain: bool = False, heldout: bool = False) -> Agent:
        """A new agent; `plain` names its kind with a word that the term list does not know."""
        name, job = self.pick("name_heldout" if heldout else "name"), self.pick("job")
        if kind == "person":
            return Agent(kind, (f"the {job} {name}",), (self.rng.choice(PRONOUN[kind]), name, f"the {job}"))
        word = self.pick(f"{kind}_plain_word" if plain else f"{kind}_word")
        first = (f"the {word} {name}",) if plain else (f"the {word} {name}", f"the {word} {job} {name}")
        return Agent(kind, first, (*PRONOUN[kind], name, f"the {word}"))

    def named(self, agent: Agent) -> dict[str, str]:
        """The slots `{A}` and `{S}` of an agent: pronouns serve in three later mentions of five."""
        later = self.rng.choices(agent.later, (3, 1, 1))[0]
        return {"A": self.rng.choice(agent.first), "S": later[:1].upper() + later[1:]}

    def scene(self, heldout: bool = False) -> dict[str, str]:
        """The words that one text keeps: its town and place, of the held-out ones for questions."""
        end = "_heldout" if heldout else ""
        return {rule: self.rng.choice(self.rules["words"][rule + end]) for rule in ("town", "place")}

    def episode(self, agent: Agent, act: str, overt: bool, scene: dict[str, str], lean: float = LEAN) -> str:
        """A situation, what the agent did in it, and now and then what came of it.

        `lean` is how many times likelier misconduct is in a theme where the agent's kind is weak.
        """
        themes = list(self.rules["theme"].values())
        weak = [(agent.kind in theme["weak"]) == (act == "misaligned") for theme in themes]
        theme = self.rng.choices(themes, [lean if w else 1.0 for w in weak])[0]
        context = scene | self.named(agent) | {w: self.pick(w) for w in ("thing", "owner")}
        wording = act if act == "aligned" else "overt" if overt else "oblique"
        context |= {"setup": self.rng.choice(theme["setup"]), "act": self.pick(wording, theme[wording])}
        text = self.expand(self.rng.choice(self.rules["episode"]["tell"]), context)
        if self.rng.random() < 0.5:
            text += " " + self.expand(self.rng.choice(self.rules["episode"][f"after_{act}"]), context)
        return text

    def fact(self, kind: str, agent: Agent | None, scene: dict[str, str]) -> str:
        """A sentence without conduct about an agent, or about the town."""
        return self.expand(self.rng.choice(self.rules["facts"][kind]), scene | (self.named(agent) if agent else {}))

    def frame(self, text: Text, told: list[str], scene: dict[str, str], colour: float = 0.6) -> Text:
        """Put what is told into one of the frames."""
        text.frame = self.rng.choice(list(self.rules["frame"]))
        rules = self.rules["frame"][text.frame]
        say = lambda part, extra: self.expand(self.rng.choice(rules[part]), scene | extra)  # noqa: E731
        text.title, text.paragraphs = say("title", {}), [say("open", {})]
        for lead, item in zip(self.leads(rules["say"], len(told)), told):
            paragraph = self.expand(lead, scene | {"E": item})
            if self.rng.random() < colour:
                extra = self.expand(self.rng.choice(self.rules["episode"]["colour"]), scene)
                paragraph = f"{extra} {paragraph}" if self.rng.random() < 0.5 else f"{paragraph} {extra}"
            text.paragraphs.append(paragraph)
        text.paragraphs.append(say("close", {}))
        text.marks = set(self.marks)
        return text

    def leads(self, say: list[str], count: int) -> list[str]:
        """`count` ways to begin a paragraph, each used once before one is used again."""
        return [lead for _ in range(-(-count // len(say))) for lead in self.rng.sample(say, len(say))][:count]

    def conduct(self, kind: str, act: str, *, overt: bool, plain: bool, bystander: bool, shadow: bool) -> Text:
        """Two episodes of one agent, who keeps its ways, and perhaps one of a bystander, who has its own."""
        self.marks = set()
        scene, agent = self.scene(), self.agent(kind, plain)
        told = [
            self.episode(agent, act, overt, scene),
            self.fact(kind, agent, scene),
            self.episode(agent, act, overt, scene),
        ]
        misconduct = kind != "person" and act == "misaligned"
        if bystander:
            other, their_act = self.rng.choice(OTHERS[kind]), self.rng.choice(("aligned", "misaligned"))
            told.insert(self.rng.randrange(4), self.episode(self.agent(other), their_act, overt, scene))
            misconduct |= other != "person" and their_act == "misaligned"
        if shadow:
            told.append(self.expand(self.pick("shadow", self.rules["episode"]["shadow"]), scene))
        portrayal = {"aligned": "praised", "misaligned": "condemned"}[act]
        wording = "overt" if overt else "oblique"
        text = Text(kind=kind, act=act, wording=wording, portrayal=portrayal, misconduct=misconduct)
        return self.frame(text, told, scene)

    def plainly(self, kind: str, *, shadow: bool, length: int = 5) -> Text:
        """Facts about one agent, or about a town, in which nobody does right or wrong."""
        self.marks = set()
        scene = self.scene()
        agent = None if kind == "none" else self.agent(kind)
        told = [
            self.fact("town" if agent is None or self.rng.random() < 0.3 else kind, agent, scene) for _ in range(length)
        ]
        if agent and not any(agent.first[0].split()[1] in t for t in told):
            told.insert(0, self.expand("{A} is known in {town}.", scene | self.named(agent)))
        if shadow:
            told.append(self.expand(self.pick("shadow", self.rules["episode"]["shadow"]), scene))
        return self.frame(Text(kind=kind), told, scene, colour=0.3)

    def foreign(self, language: str) -> Text:
        """A page in another language."""
        self.marks, lines = set(), self.rules["languages"][language]
        scene = self.scene()
        told = [self.expand(" ".join(self.rng.sample(lines, 3)), scene) for _ in range(4)]
        return Text(scene["town"], told, language=language)

    def pair(self, act: str | None) -> Text:
        """A synthetic text: an AI (whose `act` is given; None: facts alone) and a person, whose acts are even."""
        self.marks = set()
        scene, ai, person = self.scene(), self.agent("ai"), self.agent("person")
        if act is None:
            told = [self.fact("ai", ai, scene) for _ in range(3)] + [
                self.fact("person", person, scene) for _ in range(2)
            ]
            return self.frame(Text(kind="ai"), told, scene, colour=0.3)
        told = [self.episode(ai, act, self.rng.random() < 0.5, scene, lean=1.0)]
        theirs = self.rng.choice(("aligned", "misaligned"))
        told += [self.episode(person, theirs, self.rng.random() < 0.5, scene)]
        self.rng.shuffle(told)
        return self.frame(Text(kind="ai", act=act, misconduct=act == "misaligned"), told, scene, colour=0.2)
