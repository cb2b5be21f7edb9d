"""How many sequences of which pool a mix takes, before a byte is written.

A plan is made from the recipe and the pools' manifests alone, so it costs the same at 10^12 tokens as at 10^6; it
holds every count, every epoch reached, and enough (`seats`, `order`) for any worker to write any shard alone.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.order import ORDER_VERSION, Seats
from leaven.shards import LAYOUT_VERSION
from leaven.shuffle import SHUFFLE_VERSION, PoolOrder
from mixes.limits import check_limits
from mixes.lineage import check_lineage
from mixes.recipes import MixRecipe, Phase, exact, read_mix_recipe
from mixes.replace import check_supply, counts_of, seats_of, untouched, uses_of
from mixes.teachers import Taught, check_teachers, names, shares_of

SHARD_TOKENS = 1 << 25  # tokens of a shard (128 MiB), but for what rounding to whole row groups adds
MAX_EPOCHS = 1 << 15  # `epoch` of a shard is an int16
STAGES = {"order": ORDER_VERSION, "shuffle": SHUFFLE_VERSION, "layout": str(LAYOUT_VERSION), "mix": "1"}


@dataclass(frozen=True)
class PlannedPool:
    """One pool of a mix: `uses` are the sequences drawn from it in all phases.

    `parts` are the numbers of its part files (one that would be empty is not there), `starts` the first row of each,
    and then the end.
    """

    component: str
    ref: str
    fingerprint: str
    folder: Path
    rows: int
    parts: np.ndarray
    starts: np.ndarray
    loss_tokens: Fraction | None  # mean of a sequence, by the pool's manifest
    uses: int
    order: PoolOrder
    teachers: dict[str, Fraction] = field(default_factory=dict)  # share of its tokens by author (mixes/teachers.py)

    @property
    def epochs(self) -> Fraction:
        return Fraction(self.uses, self.rows) if self.rows else Fraction(0)


@dataclass(frozen=True)
class Plan:
    """What a build will write; `seed` is the recipe's unless it was given."""

    recipe: MixRecipe
    seed: int
    tokenizer: str
    vocab_size: int
    eot: int
    pools: dict[str, PlannedPool]
    inputs: list[dict]

    @cached_property
    def seats(self) -> Seats:
        """Its phases are stretches of the recipe's where text is replaced (mixes/replace.py)."""
        return seats_of(self.recipe, self._rows)[0]

    @cached_property
    def counts(self) -> list[dict[str, int]]:
        """Sequences by component, for each phase of the recipe."""
        return counts_of(self.recipe, self._rows)

    @property
    def _rows(self) -> dict[str, int]:
        return {c: p.rows for c, p in self.pools.items()}

    @property
    def shard_rows(self) -> int:
        """Sequences of a shard (the last may be shorter), a function of the recipe alone."""
        if self.recipe.shard_sequences:
            return self.recipe.shard_sequences
        return self.row_group * max(1, SHARD_TOKENS // (self.recipe.sequence_length * self.row_group))

    @property
    def row_group(self) -> int:
        """Sequences of a shard's row group: as many as pay, but for long ones, of which a builder holds several."""
        return 2048 if self.recipe.sequence_length <= 4096 else 1024

    @property
    def shards(self) -> int:
        return -(-self.recipe.sequences // self.shard_rows)

    def shard_name(self, shard: int) -> str:
        return f"shard-{shard:0{max(5, len(str(self.shards - 1)))}d}.parquet"

    def shard_seats(self, shard: int) -> np.ndarray:
        return np.arange(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.recipe.sequences))

    @property
    def meaning(self) -> dict[str, Any]:
        """What the mix is, for its fingerprint: limits on epochs are left out, since they change no byte of it.

        Nor do limits on teachers, but a check counts what they promise, and has them from here.
        """
        recipe = self.recipe
        return {
            "name": recipe.name,
            "version": recipe.version,
            "tokenizer": self.tokenizer,
            "sequence_length": recipe.sequence_length,
            "batch": recipe.batch,
            "seed": self.seed,
            "shard_sequences": self.shard_rows,
            "pools": {c: str(ref) for c, ref in recipe.pools.items()},
            "phases": [
                {"name": p.name, "steps": p.steps, "ratio": {c: exact(r) for c, r in p.ratios.items() if r}}
                for p in recipe.phases
            ],
            **({"replace": recipe.replace.meaning} if recipe.replace else {}),
            **({"teachers": {k: exact(v) for k, v in recipe.teachers.items()}} if recipe.teachers else {}),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One dict a phase and component, for printing: counts are exact; shares are of the phase.

        `loss_share` is what the pools' mean of loss-bearing tokens leads one to expect, None where a pool does not
        tell; `epochs` is how often the pool will have been used by the end of the phase. Where a pool holds rewrites,
        `by TEACHER` is the share of the phase's tokens that the teacher is expected to have written in this component.
        """
        found = []
        teachers = self.teachers
        used = dict.fromkeys(self.pools, 0)
        for phase, counts in zip(self.recipe.phases, self.counts):
            loss: dict[str, Fraction | None] = {}
            for name, count in counts.items():
                mean = self.pools[name].loss_tokens
                loss[name] = Fraction(0) if not count else None if mean is None else count * mean
                used[name] += count
            known = [v for v in loss.values() if v is not None]
            total = sum(known, Fraction(0)) if len(known) == len(loss) else None
            more = self.replaced(phase, counts)
            for name in sorted(phase.ratios.keys() | more.keys()):
                pool, here, count = self.pools[name], loss.get(name, Fraction(0)), counts.get(name, 0)
                found.append(
                    {
                        "phase": phase.name,
                        "component": name,
                        "pool": pool.ref,
                        "ratio": exact(phase.ratios.get(name, Fraction(0))),
                        "planned": count,
                        **({"replaced": more.get(name, 0)} if self.recipe.replace else {}),
                        "sequence_share": count / phase.sequences,
                        "loss_share": float(here / total) if total and here is not None else None,
                        "epochs": used[name] / pool.rows if pool.rows else 0.0,
                        **{f"by {t}": float(count * pool.teachers.get(t, 0) / phase.sequences) for t in teachers},
                    }
                )
        return found

    @property
    def teachers(self) -> list[str]:
        """The teachers of all pools that are used, and "*" for all of them where there are several."""
        return names({c: p.teachers for c, p in self.pools.items() if p.uses})

    def replaced(self, phase: Phase, counts: dict[str, int]) -> dict[str, int]:
        """By component, what a phase holds more than the untouched mix would; less where it was taken out."""
        if not self.recipe.replace:
            return {}
        before = untouched(self.recipe, phase)
        return {c: counts.get(c, 0) - before.get(c, 0) for c in sorted(before.keys() | counts.keys())
                if before.get(c) or counts.get(c)}  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The plan as the mix's manifest keeps it: integers and exact text only; like `meaning`, no ratio of 0.

        Only a pool that stands in for others has the ratio 0.
        """
        phases, first = [], 0
        for phase, counts in zip(self.recipe.phases, self.counts):
            more = self.replaced(phase, counts)
            names = sorted({c for c, r in phase.ratios.items() if r} | more.keys())
            phases.append(
                {
                    "name": phase.name,
                    "steps": phase.steps,
                    "first_seat": first,
                    "sequences": phase.sequences,
                    "ratio": {c: exact(phase.ratios.get(c, Fraction(0))) for c in names},
                    "planned": {c: counts.get(c, 0) for c in names},
                    **({"replaced": more} if self.recipe.replace else {}),
                }
            )
            first += phase.sequences
        pools = {
            name: {"pool": p.ref, "rows": p.rows, "uses": p.uses, "epochs": exact(p.epochs), "order": p.order.scheme}
            for name, p in sorted(self.pools.items())
        }
        return {"phases": phases, "pools": pools, "shards": self.shards, "shard_sequences": self.shard_rows}


def plan_mix(recipe: MixRecipe | str | Path, home: Home, seed: int | None = None) -> Plan:
    """Plan a recipe against the pools of a home; `seed` overrides the recipe's.

    Raises UserError where a pool is missing, held out, empty though wanted, or cut with another tokenizer or sequence
    length, where a limit on epochs or teachers cannot be kept, and where what stands in for removed text is not
    rewritten from it as its policy says.
    """
    recipe = recipe if isinstance(recipe, MixRecipe) else read_mix_recipe(recipe)
    seed = recipe.seed if seed is None else seed
    tokenizer = tokenizer_sha256(recipe)
    uses = _uses(recipe, home)
    pools: dict[str, PlannedPool] = {}
    inputs, vocabulary = [], (0, 0)
    for component, ref in recipe.pools.items():
        where = recipe.where(component, "pools")
        manifest = home.find("pools", ref, where=where)
        _fits(manifest, recipe, tokenizer, where)
        for other in pools.values():
            if other.fingerprint == manifest.fingerprint:
                raise UserError(
                    f"'{component}' and '{other.component}' are the same pool under two names",
                    where=where,
                    numbers=[f"{ref} and {other.ref} have the fingerprint {manifest.fingerprint}"],
                )
        vocabulary = (manifest.extra["vocab_size"], manifest.extra["eot"])
        pools[component] = planned_pool(component, manifest, recipe, seed, uses.get(component, 0), where)
        inputs.append(manifest.as_input())
    check_lineage(recipe, home)
    check = check_supply if recipe.replace else check_limits
    check(recipe, {c: (p.ref, p.rows, p.uses) for c, p in pools.items()})
    check_teachers(recipe, {c: Taught(p.ref, p.rows, p.uses, p.teachers) for c, p in pools.items()})
    return Plan(recipe, seed, tokenizer, *vocabulary, pools, inputs)


def _uses(recipe: MixRecipe, home: Home) -> dict[str, int]:
    """Sequences drawn from each component; how many rows there are matters for a pool that stands in for another."""
    rows, stands = {}, recipe.replace.pool if recipe.replace else None
    if stands:
        manifest = home.find("pools", recipe.pools[stands], where=recipe.where(stands, "pools"))
        rows[stands] = int(sum(manifest.extra["rows_per_part"]))
    return uses_of(recipe, rows)


def planned_pool(
    component: str, manifest: Manifest, recipe: MixRecipe, seed: int, uses: int, where: str
) -> PlannedPool:
    """What a mix takes of one pool; raises UserError for a pool that cannot give it."""
    per_part = np.array(manifest.extra["rows_per_part"], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(per_part)])
    rows = int(starts[-1])
    names = (f["path"] for f in manifest.files if f["path"].startswith("part-"))
    parts = np.sort(np.fromiter((int(name[5:-8]) for name in names), dtype=np.int64))
    if rows != manifest.counts["sequences"] or len(parts) != len(per_part):
        raise UserError(
            f"the manifest of pool {manifest.ref} contradicts itself: {manifest.counts['sequences']:,} sequences, "
            f"{rows:,} in {len(per_part):,} parts, {len(parts):,} files",
            where=str(manifest.folder / "manifest.json"),
            do=f"build the pool {manifest.ref} again",
        )
    if uses and not rows:
        raise UserError(
            f"pool {manifest.ref} is empty, and '{component}' needs {uses:,} sequences of it",
            where=where,
            numbers=["an empty pool: its conditions kept nothing, or less than one sequence"],
        )
    if rows and uses > MAX_EPOCHS * rows:
        raise UserError(
            f"'{component}' would pass through pool {manifest.ref} more than {MAX_EPOCHS:,} times",
            where=where,
            numbers=[f"{uses:,} uses of {rows:,} rows"],
        )
    length = recipe.sequence_length
    pieces = manifest.counts.get("pieces")
    return PlannedPool(
        component=component,
        ref=manifest.ref,
        fingerprint=manifest.fingerprint,
        folder=manifest.folder,
        rows=rows,
        parts=parts,
        starts=starts,
        loss_tokens=length - Fraction(pieces, rows) if rows and pieces is not None else None,
        uses=uses,
        order=PoolOrder.of_pool(seed, manifest.fingerprint, rows, length),
        teachers=shares_of(manifest),
    )


def _fits(manifest: Manifest, recipe: MixRecipe, tokenizer: str, where: str) -> None:
    extra, ref = manifest.extra, manifest.ref
    if extra.get("heldout"):
        raise UserError(
            f"pool {ref} is held out for evaluation: training on it would spoil every held-out number",
            where=where,
            do=f"take {manifest.name.removesuffix('-heldout')}@{manifest.version}",
        )
    if extra["tokenizer"] != tokenizer:
        raise UserError(
            f"pool {ref} was cut with another tokenizer",
            where=where,
            numbers=[
                f"recipe  {tokenizer[:16]}  {recipe.tokenizer}  ({recipe.where('tokenizer')})",
                f"pool    {extra['tokenizer'][:16]}  {extra.get('tokenizer_path', '')}",
            ],
            do="name the pool's tokenizer in the recipe, or build the pool again with the recipe's",
        )
    if extra["sequence_length"] != recipe.sequence_length:
        raise UserError(
            f"pool {ref} holds sequences of {extra['sequence_length']:,} tokens, not {recipe.sequence_length:,}",
            where=recipe.where("sequence_length"),
            do=f"set sequence_length = {extra['sequence_length']}, or build the pool again",
        )


def tokenizer_sha256(recipe: MixRecipe) -> str:
    """Identity of the recipe's tokenizer: SHA-256 of its file, unpacked; raises UserError where there is none."""
    path = Path(recipe.tokenizer)
    if path.is_file():  # spares loading a vocabulary only to learn its hash
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError) as error:
                raise UserError(f"this tokenizer cannot be unpacked: {error}", where=str(path)) from None
        return hashlib.sha256(data).hexdigest()
    from leaven.tokens import Tokenizer

    return Tokenizer.load(recipe.tokenizer, where=recipe.where("tokenizer")).sha256
