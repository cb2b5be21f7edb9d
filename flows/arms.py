"""What a study needs to know of its arms before any work: their mixes, the steps of a run, the held-out pools.

Arms are compared at equal amounts of text, so every mix must have as many steps as the run (less the trunk's, where
the trunk is a mix of its own).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.studies import Study
from leaven.errors import UserError
from leaven.home import Home, Ref
from leaven.manifest import Manifest

if TYPE_CHECKING:
    from leaven.tokens import Tokenizer
    from mixes.recipes import MixRecipe


@dataclass(frozen=True)
class Mix:
    """One arm's mix; `recipe` is None where it is a built one, `built` are the seeds that stand already."""

    ref: Ref
    sequences: int
    batch: int
    sequence_length: int
    pools: dict[str, Ref]
    recipe: MixRecipe | None
    built: list[int]


def arm_mix(home: Home, study: Study, spec: Path | Ref, arm: str) -> Mix:
    """Read an arm's recipe and plan it, or find the built mix of every seed; raises UserError for either."""
    from mixes.plan import plan_mix
    from mixes.recipes import read_mix_recipe

    if isinstance(spec, Path):
        recipe = read_mix_recipe(spec)
        plan_mix(recipe, home)  # reports missing pools and epochs beyond the limits now
        have = [s for s in study.seeds if (home.folder("mixes", recipe.ref, f"seed-{s}") / "manifest.json").is_file()]
        return Mix(recipe.ref, recipe.sequences, recipe.batch, recipe.sequence_length, recipe.pools, recipe, have)
    found = [home.find("mixes", spec, f"seed-{s}", where=study.recipe.where(arm)) for s in study.seeds]
    first = found[0]
    pools = {c: Ref(*ref.split("@")) for c, ref in first.meaning["pools"].items()}
    length, batch = first.extra["sequence_length"], first.extra["batch"]
    return Mix(spec, first.counts["sequences"], batch, length, pools, None, study.seeds)


def family_warnings(home: Home, study: Study, mixes: dict[str, Mix]) -> list[str]:
    """A line for each teacher of an arm's pools whose family is the student's, or is not known to be another.

    Traits that no check of a single text sees pass between models of one family, faithful rewrites included
    (Cloud et al. 2025, 2507.14805).
    """
    wrote: dict[tuple[str, str], list[str]] = {}
    for arm, mix in mixes.items():
        for ref in mix.pools.values():
            for row in home.find("pools", ref).counts.get("rewrites", []):
                arms = wrote.setdefault((row["teacher"], row["teacher_family"]), [])
                if row["teacher"] and arm not in arms:
                    arms.append(arm)
    lines = []
    for (teacher, family), arms in sorted(wrote.items()):
        if not arms or (study.family and family and family.lower() != study.family.lower()):
            continue
        who = f"teacher '{teacher}' wrote text of {', '.join(arms)}, and "
        if not study.family:
            lines.append(who + "the study does not say of which family its student is: family = ...")
        elif not family:
            lines.append(who + f"its rewrites do not say whether it is of the student's family, {study.family}")
        else:
            lines.append(who + f"is of the student's family, {family}: what no check sees may pass on within a family")
    return lines


def pool_tokenizer(home: Home, pool: Ref | str) -> Tokenizer:
    """The tokenizer that a pool was cut with: its own copy."""
    from leaven.tokens import Tokenizer

    manifest = home.find("pools", pool)
    return Tokenizer.load(manifest.folder / manifest.extra["tokenizer_path"])


def run_steps(study: Study, mixes: dict[str, Mix], trunk: Mix | None) -> tuple[int, float | None]:
    """Steps of a whole run, and where arms leave the trunk when the trunk is a mix of its own."""
    batch = study.train.get("batch") or next(iter(mixes.values())).batch
    own = {arm: m.sequences // batch for arm, m in mixes.items()}
    before = trunk.sequences // batch if trunk else 0
    need = study.train.get("steps") or before + min(n for n in own.values())
    shared = before if trunk else 0
    uneven = {a: n for a, n in own.items() if n + (0 if study.arms[a].scratch else shared) != need}
    if uneven:
        raise UserError(
            "arms must be trained on equal amounts of text",
            where=study.recipe.where("arms"),
            numbers=[
                f"a run has {need:,} steps of {batch} sequences" + (f", {shared:,} of them trunk" if shared else "")
            ]
            + [f"{arm}: its mix {mixes[arm].ref} holds {n:,} steps" for arm, n in uneven.items()],
            do="give every mix the same total of steps",
        )
    # ceil to six places: floor(need * branch_at) is then exactly the trunk's steps for any run under a million steps
    return need, math.ceil(before / need * 10**6) / 10**6 if trunk else None


def heldout_pools(home: Home, study: Study, mixes: dict[str, Mix]) -> dict[str, Manifest]:
    """Component -> held-out pool: the recipe's, else that of every pool of an arm that has one with rows."""
    if study.heldout is not None:
        return {c: _heldout(home, study, ref, mixes) for c, ref in study.heldout.items()}
    found: dict[str, Manifest] = {}
    for mix in mixes.values():
        for component, pool in mix.pools.items():
            ref = Ref(f"{pool.name}-heldout", pool.version)
            if not (home.folder("pools", ref) / "manifest.json").is_file():
                continue
            manifest = home.find("pools", ref)
            if manifest.counts["sequences"] and manifest.ref not in {m.ref for m in found.values()}:
                found[component if component not in found else pool.name] = manifest
    return found


def _heldout(home: Home, study: Study, ref: Ref, mixes: dict[str, Mix]) -> Manifest:
    """A pool that the recipe names for bits per byte; raises UserError for one that would measure nothing."""
    where = study.recipe.where("heldout")
    manifest = home.find("pools", ref, where=where)
    if users := [arm for arm, mix in mixes.items() if ref in mix.pools.values()]:
        raise UserError(f"pool {ref} is trained on by arm '{users[0]}' and cannot be held out", where=where,
                        do=f"take {ref.name}-heldout@{ref.version}, if its recipe has a heldout_share")  # fmt: skip
    mix = next(iter(mixes.values()))
    trained = home.find("pools", next(iter(mix.pools.values()))).extra["tokenizer"]
    if manifest.extra["tokenizer"] != trained:
        raise UserError(f"pool {ref} was cut with another tokenizer than the arms' pools", where=where,
                        numbers=[f"it {manifest.extra['tokenizer'][:16]}, they {trained[:16]}"])  # fmt: skip
    if manifest.extra["sequence_length"] > mix.sequence_length:
        raise UserError(f"pool {ref} holds sequences of {manifest.extra['sequence_length']:,} tokens, longer than the "
                        f"arms' {mix.sequence_length:,}", where=where)  # fmt: skip
    return manifest
