"""What does a rewriting's recipe ask for? Documents and conditions, styles and weights, a teacher, a gate, limits.

    name = "plain"   documents = "web@1"   tokenizer = "tokenizer.json"   segment_tokens = 256
    [keep]     which documents, as in a pool      [teacher]  rewriters/teachers.py
    [styles]   style = weight                     [gate]     flows/senses.py      [limits]   rewriters/limits.py

A recipe with [twins] makes net-new documents (rewriters/twins.py) and names no documents and no styles.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from flows.twinning import Twins, read_twins
from leaven.errors import UserError
from leaven.home import Home
from leaven.recipe import REQUIRED, Recipe, read_recipe
from leaven.tokens import Tokenizer
from mixes.select import Selection, select
from rewriters.requests import Asking
from rewriters.styles import Style, find_style
from rewriters.teachers import Teacher, read_teacher

NUMBER = (int, Decimal)
KEYS: dict[str, Any] = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "documents": (str, ""),  # corpus of which segments are rewritten; none with [twins]
    "tokenizer": (str, REQUIRED),  # path from the recipe's folder, or a Hub name in the local cache
    "segment_tokens": (int, 256),  # budget of a segment
    "seed": (int, 17),  # of the share and of which document gets which style
    "share": ((*NUMBER, str), 1),  # of the documents that pass [keep]
    "samples": (int, 1),  # rewrites of each segment
    "declared": (bool, False),  # whether every rewrite begins by saying that it is synthetic
    "canary_share": (NUMBER, Decimal("0.01")),  # of segments, asked again with an instruction of ours planted in them
    "failed_share": (NUMBER, Decimal("0.05")),  # of the answers that may fail
    "keep": (dict, {}),
    "scores": (list, []),  # scorer@version or list@version to use instead of the newest
    "styles": (dict, {}),  # packaged name or path -> weight
    "twins": (dict, {}),
    "teacher": (dict, REQUIRED),
    "gate": (dict, {}),
    "limits": (dict, {}),
}


@dataclass(frozen=True)
class Rewriting:
    """A checked recipe with all that it names found: nothing is asked and nothing written yet."""

    recipe: Recipe
    asking: Asking
    teacher: Teacher
    tokenizer: Tokenizer
    selection: Selection | None
    twins: Twins | None

    @property
    def inputs(self) -> list[dict]:
        return list(self.selection.inputs) if self.selection else []

    @property
    def styles(self) -> list[Style]:
        return list(self.twins.styles.values()) if self.twins else list(self.asking.styles)

    @property
    def meaning(self) -> dict[str, Any]:
        """What decides the rewrites, but for the gate: prices, limits and how the teacher is reached change none."""
        r, a = self.recipe, self.asking
        return {
            "documents": r["documents"], "keep": self.selection.meaning if self.selection else [],
            "tokenizer": self.tokenizer.sha256, "segment_tokens": a.segment_tokens, "seed": a.seed, "share": a.share,
            "samples": a.samples, "declared": r["declared"], "canary_share": Fraction(r["canary_share"]),
            "styles": [[s.meaning, w] for s, w in zip(a.styles, a.weights)], "teacher": self.teacher.meaning,
            "twins": self.twins.meaning if self.twins else None,
        }  # fmt: skip


def read_rewriting(path: str | Path, home: Home) -> Rewriting:
    """Read a recipe and find what it names; raises UserError with the key that will not do."""
    recipe = read_recipe(path, KEYS)
    beside = recipe.path.parent if recipe.path else Path()
    if bool(recipe["documents"]) == bool(recipe["twins"]):
        raise UserError("a rewriting has documents, or [twins] for net-new ones: one of the two",
                        where=recipe.where("documents"))  # fmt: skip
    for key, least in (("segment_tokens", 8), ("samples", 1), ("seed", 0)):
        if recipe[key] < least:
            raise UserError(f"'{key}' must be at least {least}, not {recipe[key]}", where=recipe.where(key))
    share = _fraction(recipe["share"], recipe.where("share"), "the share of documents")
    if not 0 < share <= 1:
        raise UserError(f"share is {share}, not above 0 and at most 1", where=recipe.where("share"))
    for key in ("failed_share", "canary_share"):
        if not 0 <= recipe[key] <= 1:
            raise UserError(f"'{key}' must lie between 0 and 1", where=recipe.where(key))
    teacher = read_teacher(recipe, beside, home.scratch / "served")
    named = recipe["tokenizer"]
    tokenizer = Tokenizer.load(beside / named if (beside / named).exists() else named, where=recipe.where("tokenizer"))
    styles, weights = _styles(recipe, beside)
    asking = Asking(styles, weights, recipe["seed"], recipe["segment_tokens"], recipe["samples"], share)
    selection = None
    if recipe["documents"]:
        selection = select(home, recipe["documents"], recipe["keep"], where=lambda k: recipe.where(k, "keep"),
                           pins=recipe["scores"], heldout=True)  # fmt: skip
    return Rewriting(recipe, asking, teacher, tokenizer, selection, read_twins(recipe, beside))


def _styles(recipe: Recipe, beside: Path) -> tuple[tuple[Style, ...], tuple[Fraction, ...]]:
    if not recipe["styles"] and not recipe["twins"]:
        raise UserError("a rewriting names at least one style", where=recipe.where("styles"),
                        do="write [styles] and below it: clean = 1")  # fmt: skip
    styles: list[Style] = []
    weights = []
    for named, weight in recipe["styles"].items():
        where = recipe.where(named, "styles")
        style = find_style(named, beside, where)
        if style.operation == "new":
            raise UserError(f"the style '{named}' makes net-new documents: it belongs to [twins]", where=where)
        if style.ref in [s.ref for s in styles]:
            raise UserError(f"two styles are called {style.ref}", where=where)
        styles.append(style)
        weights.append(_fraction(weight, where, f"the weight of '{named}'"))
    if styles and not sum(weights):
        raise UserError("no style has a weight above 0", where=recipe.where("styles"))
    return tuple(styles), tuple(weights)


def _fraction(value: Any, where: str, what: str) -> Fraction:
    """An exact number of 0 or more."""
    try:
        made = Fraction(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        made = Fraction(-1)
    if made < 0 or isinstance(value, bool):
        raise UserError(f"{what} must be an exact number of 0 or more, not {value!r}", where=where,
                        numbers=['such as 0.12, 1 or "1/3"'])  # fmt: skip
    return made
