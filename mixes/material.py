"""What does a pool's recipe ask for, and where does what it is made of lie? Nothing is read here but manifests.

recipe --read_pool_recipe--> checked values --find_material--> conditions bound to documents or rewrites,
                                                               spans to mask, tags' sources, rewrites to put in
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.masking import PLACEHOLDERS
from leaven.recipe import REQUIRED, Recipe, read_recipe
from mixes.deciding import part_path
from mixes.rewrites import find_rewrites, select_rewrites
from mixes.select import Selection, select, spans_beside
from mixes.tagging import Sources, Tagging, find_sources, read_tags
from mixes.tokenizing import Part

MASKED_BY = "pii"  # the scorer whose spans `mask` names
KEYS: dict[str, Any] = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "documents": ((str, list), None),  # one reference or several
    "rewrites": ((str, list), None),  # the same: put into the documents, or without any documents the pool's own items
    "tokenizer": (str, REQUIRED),  # path from the recipe's folder, or a Hub name in the local cache
    "sequence_length": (int, REQUIRED),  # tokens
    "heldout_share": ((Decimal, int), Decimal(0)),
    "keep": (dict, {}),  # name -> condition, in order
    "mask": (list, []),  # kinds of spans of the scorer `pii` that are replaced by values that are nobody's
    "tags": (dict, None),  # single tokens before segments and inside flagged spans; keys in mixes/tagging.py
    "scores": (list, []),  # scorer@version or list@version to use instead of the newest
}


@dataclass(frozen=True)
class Material:
    """What a pool is made of. `plain` are the inputs of the held-out pool, which is never tagged."""

    selection: Selection
    plain: list[dict]
    item: str  # kind of its items: document or rewrite
    spans: dict[str, Manifest]  # corpus -> what `mask` replaces in it
    tags: Tagging | None
    sources: dict[str, Sources]  # corpus -> where its tags stand
    rewrites: dict[str, list[Manifest]]  # corpus -> what is put into it

    @property
    def edited(self) -> bool:
        return self.item == "rewrite" or bool(self.rewrites)

    def parts(self, threads: int) -> Iterator[Part]:
        for number, decided in enumerate(self.selection.decide(threads=threads)):
            ref, path = decided.documents, decided.path
            spans = part_path(self.spans[ref].folder, decided.part) if self.spans else None
            tags = self.sources[ref].part(decided.part) if self.tags else None
            beside = [(m.ref, part_path(m.folder, decided.part)) for m in self.rewrites.get(ref, [])]
            rewrites = tuple((r, p) for r, p in beside if p.is_file())
            yield Part(number, ref, path, decided.table, decided.duplicates, spans, tags, rewrites)


def read_pool_recipe(path: str | Path) -> tuple[Recipe, Fraction]:
    """A pool's recipe and its held-out share; raises UserError for values that cannot be."""
    recipe = read_recipe(path, KEYS)
    share = Fraction(recipe["heldout_share"])
    if not 0 <= share < 1:
        raise UserError(f"heldout_share is {share}, not a share in [0, 1)", where=recipe.where("heldout_share"))
    if not 2 <= recipe["sequence_length"] <= 1 << 20:
        raise UserError(f"sequence_length is {recipe['sequence_length']}, not 2 to {1 << 20} tokens",
                        where=recipe.where("sequence_length"))  # fmt: skip
    if recipe["name"].endswith("-heldout"):
        raise UserError("a pool's name cannot end in -heldout: held-out shares have it", where=recipe.where("name"))
    for key in ("documents", "rewrites"):
        named = refs(recipe, key)
        strings = all(isinstance(r, str) and r for r in named)
        if recipe[key] is not None and (not named or not strings or len(set(named)) < len(named)):
            raise UserError(f"{key} must be name@version, or several different ones", where=recipe.where(key))
    if not refs(recipe, "documents") and not refs(recipe, "rewrites"):
        raise UserError("the recipe lacks 'documents'", where=str(recipe.path or "recipe"),
                        do='add a line above the first [table]: documents = "...", or rewrites = "..."')  # fmt: skip
    if not all(isinstance(pin, str) and "@" in pin for pin in recipe["scores"]):
        raise UserError("scores pins versions, each as name@version", where=recipe.where("scores"))
    if wrong := [k for k in recipe["mask"] if not isinstance(k, str) or k not in PLACEHOLDERS]:
        raise UserError(f"'{wrong[0]}' is no kind that can be masked", where=recipe.where("mask"),
                        numbers=["kinds: " + ", ".join(PLACEHOLDERS)])  # fmt: skip
    if refs(recipe, "rewrites"):
        if recipe["mask"]:
            raise UserError("a pool with rewrites cannot mask: no one looked for personal data in what was rewritten",
                            where=recipe.where("mask"))  # fmt: skip
        if recipe["tags"] is not None:
            raise UserError("a pool with rewrites cannot have tags: they go by segments and hits of the texts as found",
                            where=recipe.where("tags"))  # fmt: skip
        if recipe["scores"] and not refs(recipe, "documents"):
            raise UserError("a pool of rewrites has no scores to pin", where=recipe.where("scores"))
    return recipe, share


def refs(recipe: Recipe, key: str) -> list[str]:
    """The references under `documents` or `rewrites`, which may be one or several."""
    value = recipe[key]
    return value if isinstance(value, list) else [] if value is None else [value]


def find_material(recipe: Recipe, home: Home, share: Fraction) -> Material:
    """Find what the recipe names and bind its conditions to it; raises UserError for what is not there."""
    tags = read_tags(recipe, home)
    names, rewrites = refs(recipe, "documents"), refs(recipe, "rewrites")
    where = lambda key: recipe.where(key, "keep")  # noqa: E731
    if not names:
        selection = select_rewrites(home, rewrites, recipe["keep"], where=where, named_at=recipe.where("rewrites"),
                                    heldout=bool(share))  # fmt: skip
        return Material(selection, selection.inputs, "rewrite", {}, None, {}, {})
    selection = select(home, names, recipe["keep"], where=where, pins=recipe["scores"], heldout=bool(share))
    corpora = selection.corpora
    spans = {
        c.ref: spans_beside(home, c.ref, MASKED_BY, recipe["scores"], recipe.where("mask"))
        for c in (corpora if recipe["mask"] else ())
    }
    put = find_rewrites(home, rewrites, corpora, recipe.where("rewrites"))
    more = [*spans.values()] + [m for found in put.values() for m in found]
    plain = [*selection.inputs, *(m.as_input() for m in more)]
    sources = {c.ref: find_sources(home, c.ref, tags, recipe["scores"], recipe) for c in corpora if tags}
    beside = [m.as_input() for found in sources.values() for m in found.manifests]
    selection = replace(selection, inputs=[*plain, *(i for i in beside if i not in plain)])
    return Material(selection, plain, "document", spans, tags, sources, put)
