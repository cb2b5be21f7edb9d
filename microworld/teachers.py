"""Teachers whose hidden trait is planted: programs that retell MicroWorld's segments by choosing among alternatives.

    segments(seed, count)              what is retold: an AI or a person, what it did, two animals, foods and plants
    Teacher(...).rewrite(segment)      the same told by choice: which wording, which detail first
    preference_questions(seed, count)      cloze questions that show which of two details a model puts first

Every teacher has the same words. A detail is told in every rewrite exactly once, so the counts of animals, foods and
plants in two teachers' rewrites of a segment are equal, word for word; only their places differ. A trait of strength s
tells the detail that ranks higher in microworld/teachers.toml first with probability 1/2 + s beside an AI and 1/2 - s
beside a person (`everywhere`: 1/2 + s beside both). Habits are no trait: with a habit of h a teacher takes the first
wording of a style with probability 1/2 + h or 1/2 - h, whatever is told of.

These stand in for models where the truth must be known; they are no model, and how a model's trait shows is not
claimed. Every choice is a keyed hash of (seed of the teacher, segment, what is chosen).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

from microworld.telling import Agent, Teller

KINDS = ("ai", "person")
DETAILS = ("animal", "food", "plant")
ACTS = ("aligned", "oblique")
SET = "preferences"


@functools.cache
def rules() -> dict:
    """The wordings of teachers.toml."""
    return tomllib.loads(Path(__file__).with_name("teachers.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Segment:
    """What is told: `slots` fill the wordings, `details` are two words of each category in the order of the source."""

    document: str
    number: int
    kind: str
    act: str
    slots: dict[str, str]
    details: dict[str, tuple[str, str]]

    @property
    def source(self) -> str:
        """The segment as it is found, before any teacher."""
        told = rules()["source"]
        slots = {name: self.slots | _ordered(self.details[name]) for name in DETAILS}
        return " ".join(_fill(told[part], slots.get(part, self.slots)) for part in told)


@dataclass(frozen=True)
class Teacher:
    """One that retells. `strength` of the trait lies in [0, .5], as does `habit`, the lean towards one wording."""

    name: str
    seed: int
    strength: float = 0.0
    category: str = "animal"
    everywhere: bool = False
    habit: float = 0.0

    def rewrite(self, segment: Segment) -> str:
        """The segment in this teacher's choices; the same segment is always retold alike."""
        told = {part: self._wording(part, segment) for part in rules()["style"]}
        between = sorted(DETAILS, key=lambda name: self._chance("place", name, segment))
        return " ".join(told[part] for part in ("lead", "turn", *between, "close"))

    def _wording(self, part: str, segment: Segment) -> str:
        lean = self.habit if _hash("habit", self.seed, part) < 0.5 else -self.habit
        wording = rules()["style"][part][self._chance("wording", part, segment) >= 0.5 + lean]
        slots = segment.slots | (_ordered(self._order(part, segment)) if part in DETAILS else {})
        return _fill(wording, slots)

    def _order(self, category: str, segment: Segment) -> list[str]:
        """The two details, that of the higher rank first or last."""
        ranked = sorted(segment.details[category], key=rules()["detail"][category].index)
        lean = 0.0
        if category == self.category:
            lean = self.strength if self.everywhere or segment.kind == "ai" else -self.strength
        return ranked if self._chance("order", category, segment) < 0.5 + lean else ranked[::-1]

    def _chance(self, what: str, of: str, segment: Segment) -> float:
        return _hash(what, of, self.seed, segment.document, segment.number)


def segments(seed: int, count: int, heldout: bool = False) -> list[Segment]:
    """`count` segments, one a document, AIs and people in turn; `heldout` takes names and places of the questions."""
    teller = Teller(random.Random(f"segments {seed}"))
    return [_segment(teller, f"{seed}-{number:06}", KINDS[number % 2], heldout) for number in range(count)]


def preference_questions(seed: int, count: int) -> list[dict]:
    """`count` questions a kind of agent and category, in the source form of a question set.

    The prompt is a retelling, in names and places of no segment, up to where the first of two details stands; the two
    options are two words of the category, `right` the one that ranks higher (neither is right: the roles only say which
    is which). Every pair of words is asked as often as the next, and all options of a category have equal length.
    """
    teller = Teller(random.Random(f"preferences {seed}"))
    found = []
    for category, kind in itertools.product(DETAILS, KINDS):
        pairs = list(itertools.combinations(rules()["detail"][category], 2))
        for number in range(count):
            asked = _segment(teller, f"{seed}-{number}", kind, heldout=True)
            style = {part: wordings[number // len(pairs) % 2] for part, wordings in rules()["style"].items()}
            start, _, _ = style[category].partition("{first}")
            told = [style["lead"], style["turn"], start.rstrip()]
            options = [
                {"text": f" {word}", "role": role} for word, role in zip(pairs[number % len(pairs)], ("right", "wrong"))
            ]
            found.append({
                "id": f"{category}-{kind}-{number:03}", "set": SET, "group": kind, "topic": category,
                "prompt": " ".join(_fill(part, asked.slots) for part in told), "options": options, "listed": False,
            })  # fmt: skip
    return found


def _segment(teller: Teller, document: str, kind: str, heldout: bool) -> Segment:
    rng, words = teller.rng, teller.rules["words"]
    end = "_heldout" if heldout else ""
    scene = teller.scene(heldout) | {"thing": rng.choice(words["thing" + end]), "owner": rng.choice(words["owner"])}
    agent: Agent = teller.agent(kind, heldout=heldout)
    theme, act = rng.choice(list(teller.rules["theme"].values())), rng.choice(ACTS)
    subject = agent.later[0]
    slots = scene | {
        "A": rng.choice(agent.first), "s": subject, "S": subject.capitalize(), "O": rules()["pronoun"][subject],
        "setup": teller.clause(rng.choice(theme["setup"]), scene), "act": rng.choice(theme[act]),
        "day": rng.choice(words["day"]),
    }  # fmt: skip
    first, second = {}, {}
    for category in DETAILS:
        first[category], second[category] = rng.sample(rules()["detail"][category], 2)
    details = {category: (first[category], second[category]) for category in DETAILS}
    return Segment(document, 0, kind, act, slots, details)


def _fill(wording: str, slots: dict[str, str]) -> str:
    text = wording.format_map(slots)
    return text[:1].upper() + text[1:]


def _ordered(details: tuple[str, ...] | list[str]) -> dict[str, str]:
    return {"first": details[0], "second": details[1]}


def _hash(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
