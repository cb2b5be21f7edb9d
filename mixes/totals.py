"""Do a pool's counts add up? The parts' counts summed, and every sum that must hold asserted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from leaven.errors import UserError
from leaven.recipe import Recipe
from mixes.edits import LEFT
from mixes.tagging import COUNTED, Tagging
from mixes.tokenizing import SIDES


def add(counted: list[dict], keep: list[str]) -> dict:
    """Sum the parts' counts; conditions in the recipe's order."""
    totals: dict = {}
    for key in (
        "documents_considered",
        "tokens_removed",
        *(f"{k}_{s}" for k in ("documents", "tokens") for s in SIDES),
    ):
        totals[key] = sum(c[key] for c in counted)
    for key in ("removed", "removed_only"):
        totals[key] = {name: sum(c[key].get(name, 0) for c in counted) for name in keep}
    considered = totals["documents_kept"] + totals["documents_heldout"] + sum(totals["removed"].values())
    if considered != totals["documents_considered"]:
        raise AssertionError(f"documents do not add up: {totals}")
    return totals


def add_tags(counted: list[dict[str, int]], tags: Tagging) -> dict:
    """Sum the parts' counts of tags: every segment has its tag, lost it to the share, or has a reason for none."""
    totals = {key: sum(c[key] for c in counted) for key in COUNTED}
    tagged = {c.name: sum(n[c.name] for n in counted) for c in tags.segments}
    if totals["segments"] != sum(tagged.values()) + totals["untagged"] + totals["without"] + totals["unplaced"]:
        raise AssertionError(f"segments do not add up: {totals}, tagged {tagged}")
    return totals | {"tagged": tagged}


def account(counted: list[dict], authors: list[dict[str, Any]]) -> dict:
    """What became of the rewrites of a pool's documents, and the tokens that were taken out, put in and left."""
    of = lambda operation, key: sum(a[key] for a in authors if a["operation"] == operation)  # noqa: E731
    return {
        "rewrites_left": {why: sum(c.get("rewrites_left", {}).get(why, 0) for c in counted) for why in LEFT},
        "tokens_original": of("original", "tokens_out"),
        "tokens_replaced": of("replace", "tokens_in"),
        "tokens_rewritten": of("replace", "tokens_out"),
        "tokens_appended": of("append", "tokens_out"),
    }


def side_counts(totals: dict, side: str) -> dict:
    """The counts of one of the two pools, in which `kept` is what that pool itself holds."""
    if side == "kept":
        return dict(totals)
    return {
        "documents_considered": totals["documents_considered"],
        "documents_kept": totals["documents_heldout"],
        "tokens_kept": totals["tokens_heldout"],
    }


def refuse_empty(totals: dict, recipe: Recipe, length: int, item: str) -> None:
    funnel = [f"{totals['documents_considered']:>9,} {item}s considered"]
    funnel += [f"{-n:>9,} failed {name} first" for name, n in totals["removed"].items()]
    funnel += [f"{-totals['documents_heldout']:>9,} held out", f"{totals['documents_kept']:>9,} kept"]
    where = f"{recipe.path} (keep)" if recipe.path else "recipe (keep)"
    if not totals["documents_kept"]:
        raise UserError(
            f"the pool {recipe.ref} would be empty: no {item} is kept",
            where=where, numbers=funnel, do=f"loosen a condition of [keep], or name other {item}s",
        )  # fmt: skip
    if totals["tokens_kept"] < length:
        raise UserError(
            f"the pool {recipe.ref} would be empty: {totals['tokens_kept']:,} tokens fill no sequence of {length:,}",
            where=where, numbers=funnel, do=f"loosen a condition, add {item}s, or lower sequence_length",
        )  # fmt: skip


def tally(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found
