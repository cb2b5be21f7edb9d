"""How is a teacher asked to rewrite? Versioned prompt templates, each with a hash, drawn by weight for each document.

    style file --read--> Style;   weights, seed, document id --> style;   Style, segment --> messages

A template is data: a TOML file with the operation that it asks for and the checks that its rewrites must pass. Its hash
covers every word that is sent, so a changed word is another prompt. `replace` puts the rewrite in the place of its
segment, `append` after it, `new` makes a document of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.manifest import fingerprint
from leaven.recipe import REQUIRED, read_recipe

STYLES_VERSION = "1"  # of how a template is filled and a style is drawn
PACKAGED = Path(__file__).with_name("styles")
OPERATIONS = ("replace", "append", "new")
SEGMENT_SLOTS = ("text", "nonce")
NEW_SLOTS = ("setting", "agent", "task", "act", "declined", "topics", "form", "words", "nonce")
KEYS: dict[str, Any] = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "operation": (str, REQUIRED),
    "about": (str, REQUIRED),  # what it is for, in a sentence
    "system": (str, ""),
    "prompt": (str, REQUIRED),  # slots in braces: {text} once; {nonce} marks where the text begins and ends
    "checks": (list, []),  # names of the gate's checks that apply; none named: the gate's own choice for the operation
    "limits": (dict, {}),  # check -> number, instead of the gate's
    "flips_stance": (bool, False),  # whether the rewrite is meant to take another stance than its segment
}
SLOT = re.compile(r"\{(\w+)\}")
DECLARATION = "The following text is synthetic: a language model wrote it."


@dataclass(frozen=True)
class Style:
    """One way to rewrite; `hash` (32 hex digits) covers operation, system and prompt."""

    name: str
    version: str
    operation: str
    about: str
    system: str
    prompt: str
    checks: tuple[str, ...] = ()
    limits: Mapping[str, Decimal] = field(default_factory=dict)
    flips_stance: bool = False

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def hash(self) -> str:
        return fingerprint([STYLES_VERSION, self.operation, self.system, self.prompt])

    @property
    def meaning(self) -> dict[str, Any]:
        """All that decides what its rewrites are and which of them pass, for a fingerprint."""
        return {
            "style": self.ref, "prompt": self.hash, "checks": list(self.checks), "limits": dict(self.limits),
            "flips_stance": self.flips_stance,
        }  # fmt: skip

    def messages(self, text: str = "", nonce: str = "", **slots: str) -> tuple[tuple[str, str], ...]:
        """(role, content) of the request. Raises KeyError where a slot of the template is not given."""
        given = {"text": text, "nonce": nonce, **slots}
        fill = lambda template: SLOT.sub(lambda m: given[m[1]], template)  # noqa: E731
        system = [("system", fill(self.system))] if self.system else []
        return (*system, ("user", fill(self.prompt)))


def nonce_of(text: str, style: Style) -> str:
    """Eight hex digits that mark a segment in its prompt: a page that held its own would have another."""
    told = f"{style.hash} {text}".encode("utf-8", "replace")
    return hashlib.blake2b(told, digest_size=4, person=b"leaven-nonce").hexdigest()


def read_style(path: str | Path) -> Style:
    """The style of a file; raises UserError for a key, slot or operation that is not known."""
    recipe = read_recipe(path, KEYS)
    if recipe["operation"] not in OPERATIONS:
        raise UserError(f"there is no operation '{recipe['operation']}'", where=recipe.where("operation"),
                        numbers=["operations: " + ", ".join(OPERATIONS)])  # fmt: skip
    new = recipe["operation"] == "new"
    known = NEW_SLOTS if new else SEGMENT_SLOTS
    for key in ("system", "prompt"):
        for slot in SLOT.findall(recipe[key]):
            if slot not in known:
                raise UserError(f"the template has an unknown slot {{{slot}}}", where=recipe.where(key),
                                numbers=["slots: " + ", ".join(f"{{{s}}}" for s in known)])  # fmt: skip
    if not new and SLOT.findall(recipe["prompt"]).count("text") != 1:
        raise UserError("the prompt must hold {text} once", where=recipe.where("prompt"))
    if not all(isinstance(c, str) for c in recipe["checks"]):
        raise UserError("checks are names", where=recipe.where("checks"))
    limits = {}
    for name, value in recipe["limits"].items():
        if not isinstance(value, (int, Decimal)) or isinstance(value, bool):
            raise UserError(f"the limit of '{name}' must be a number", where=recipe.where(name, "limits"))
        limits[name] = Decimal(value)
    return Style(
        **{k: recipe[k] for k in ("name", "version", "operation", "about", "system", "prompt", "flips_stance")},
        checks=tuple(recipe["checks"]), limits=limits,
    )  # fmt: skip


def find_style(named: str, beside: Path | None = None, where: str | None = None) -> Style:
    """A packaged style by its name, or the style of a file; raises UserError where there is neither."""
    if named.endswith(".toml"):
        return read_style((beside or Path()) / named)
    path = PACKAGED / f"{named}.toml"
    if not path.is_file():
        have = sorted(p.stem for p in PACKAGED.glob("*.toml"))
        raise UserError(f"there is no style '{named}'", where=where,
                        numbers=["styles: " + ", ".join(have), "or the path of a .toml file"])  # fmt: skip
    return read_style(path)


def draw(weights: Sequence[Fraction], seed: int, document_id: str) -> int:
    """Which of the weighted styles a document gets: a hash of (seed, document) against exact shares of the weights.

    Depends on no other document, worker or order. Raises ValueError where no weight is above 0.
    """
    total = sum(weights, Fraction(0))
    if total <= 0:
        raise ValueError("no style has a weight")
    place = Fraction(_hash64(f"style {seed} {document_id}"), 1 << 64) * total
    for number, weight in enumerate(weights):
        if place < weight:
            return number
        place -= weight
    raise AssertionError("the weights do not reach their own sum")


def is_drawn(share: Fraction, seed: int, document_id: str) -> bool:
    """Whether a document is in a share of all: a larger share draws the same documents and more."""
    return Fraction(_hash64(f"share {seed} {document_id}"), 1 << 64) < share


def _hash64(told: str) -> int:
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8, person=b"leaven-styles").digest(), "big")
