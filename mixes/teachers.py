"""How much of a mix did which teacher write, and is that within the recipe's limits?

    pools' counts by author, uses --> planned shares --check_teachers--> limits kept, or numbers that keep them
    shards, pools' edits --count_teachers--> tokens by teacher, exactly

A share is of all tokens of the mix's sequences; whose a token is says mixes/edits.py. The plan takes a pool's own share
as that of the sequences drawn from it: exact where a pool is all one teacher's, or is seen in whole epochs and had no
tail; else an expectation, of which `leaven check` counts what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from leaven.catalog import escape, literal, parquet
from leaven.errors import UserError
from leaven.manifest import Manifest
from leaven.order import MAX_PERIOD, apportion, period
from mixes.limits import largest, shortened
from mixes.recipes import ALL_TEACHERS, FAMILY, MixRecipe, Phase, as_toml, exact

Shares = Mapping[str, Fraction]  # what a limit names ("*", a teacher, family:NAME) -> share of a pool's tokens


@dataclass(frozen=True)
class Taught:
    """One component as limits see it: its pool, rows, sequences drawn, and who wrote which share of its tokens."""

    pool: str
    rows: int
    uses: int
    shares: Shares


def shares_of(pool: Manifest) -> dict[str, Fraction]:
    """What each teacher, each family and all teachers together wrote of a pool's tokens, by its manifest."""
    rows = pool.counts.get("rewrites", [])
    total, found = sum(r["tokens_out"] for r in rows), dict[str, Fraction]()
    for row in rows if total else ():
        if row["operation"] == "original":
            continue
        family = [FAMILY + row["teacher_family"]] if row["teacher_family"] else []
        for key in (ALL_TEACHERS, row["teacher"], *family):
            found[key] = found.get(key, Fraction(0)) + Fraction(row["tokens_out"], total)
    return found


def names(pools: Mapping[str, Shares]) -> list[str]:
    """The teachers of some pools, and where there are several all of them together."""
    own = {k for shares in pools.values() for k in shares if k != ALL_TEACHERS and not k.startswith(FAMILY)}
    return [*sorted(own), *([ALL_TEACHERS] if len(own) > 1 else [])]


def check_teachers(recipe: MixRecipe, pools: Mapping[str, Taught]) -> None:
    """Raises UserError where a teacher, a family or all teachers wrote more of the mix than its limit allows."""
    uses = {c: p.uses for c, p in pools.items()}
    shares = {c: p.shares for c, p in pools.items()}
    planned = {key: _share(uses, shares, key) for key in recipe.teachers}
    over = [key for key, limit in recipe.teachers.items() if planned[key] > limit]
    if not over:
        return
    key = max(over, key=lambda k: (planned[k] - recipe.teachers[k], k))
    limit, share = recipe.teachers[key], planned[key]
    wrote = {c: n * shares[c].get(key, Fraction(0)) for c, n in uses.items()}
    limiting = max(wrote, key=lambda c: (wrote[c], c))
    tokens = sum(uses.values()) * recipe.sequence_length
    of_pool = shares[limiting][key]
    numbers = [
        f"target           at most {exact(limit)} of the mix's tokens: {int(limit * tokens):,} of {tokens:,}",
        f"planned          {float(share):.6g}: {int(share * tokens):,} tokens",
        f"limiting pool    {pools[limiting].pool} ('{limiting}'): {float(of_pool):.6g} of its tokens, "
        f"{uses[limiting]:,} sequences",
    ]
    numbers += [
        f"also over        {_called(k)}: {float(planned[k]):.6g}, at most {exact(recipe.teachers[k])}"
        for k in over if k != key
    ]  # fmt: skip
    numbers.append(f"any one of these is enough{f' for {_called(key)}' if len(over) > 1 else ''}:")
    numbers.append(f"  teachers       {_quoted(key)} = {as_toml(Fraction(ceil(share * 10**6), 10**6))}")
    if not recipe.replace:  # what is taken out and what stands in is not the recipe's ratios alone
        caps = {k: v for k, v in recipe.teachers.items() if k == key or k not in over}
        fits = lambda phases: _fits(recipe, phases, pools, caps)  # noqa: E731
        numbers += _smaller_ratios(recipe, limiting, {c: s.get(key, Fraction(0)) for c, s in shares.items()}, fits)
        numbers += _fewer_steps(recipe, fits)
    raise UserError(
        f"the mix {recipe.ref} takes more of {_called(key)} than its limit allows",
        where=recipe.where("teachers", "limits"),
        numbers=numbers,
        do=f"change one, then: leaven plan {recipe.path or 'RECIPE.toml'}",
    )


def _share(uses: Mapping[str, int], shares: Mapping[str, Shares], key: str) -> Fraction:
    wrote = sum((n * shares[c].get(key, Fraction(0)) for c, n in uses.items()), Fraction(0))
    return wrote / (sum(uses.values()) or 1)


def _called(key: str) -> str:
    if key == ALL_TEACHERS:
        return "all teachers together"
    return f"the family '{key.removeprefix(FAMILY)}'" if key.startswith(FAMILY) else f"teacher '{key}'"


def _quoted(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else f'"{key}"'


def _fits(recipe: MixRecipe, phases: list[Phase], pools: Mapping[str, Taught], caps: Shares) -> bool:
    """Whether phases keep these limits on teachers, and the recipe's on epochs."""
    uses = dict.fromkeys(pools, 0)
    for phase in phases:
        for component, n in apportion(phase.ratios, phase.sequences).items():
            uses[component] += n
    epochs = all(uses[c] <= int(limit * pools[c].rows) for c, limit in recipe.limits.items())
    drawn = all(p.rows or not uses[c] for c, p in pools.items())
    shares = {c: p.shares for c, p in pools.items()}
    return epochs and drawn and any(uses.values()) and all(_share(uses, shares, k) <= v for k, v in caps.items())


def _smaller_ratios(
    recipe: MixRecipe, component: str, wrote: Mapping[str, Fraction], fits: Callable[[list[Phase]], bool]
) -> list[str]:
    """The line that cuts the component in every phase alike and gives the rest to what the teacher wrote least of."""

    def cut(thousandths: int) -> tuple[list[Phase], list[str]]:
        phases, said = [], []
        for phase in recipe.phases:
            mine = phase.ratios.get(component, Fraction(0))
            others = [c for c, r in phase.ratios.items() if c != component and r]
            if not mine or not others:
                phases.append(phase)
                continue
            taker = min(others, key=lambda c: (wrote[c], -phase.ratios[c], c))
            p = period(phase.ratios)
            fine = MAX_PERIOD if MAX_PERIOD % p == 0 else p * 10 ** (len(str(MAX_PERIOD // p)) - 1)
            ratio = Fraction(int(mine * thousandths * fine / 1000), fine)
            rest = phase.ratios[taker] + mine - ratio
            phases.append(replace(phase, ratios=phase.ratios | {component: ratio, taker: rest}))
            said.append(f"{component} = {as_toml(ratio)}, {taker} = {as_toml(rest)} in {phase.name}")
        return phases, said

    if not fits(cut(0)[0]):
        return []
    return [f"  ratio          {'; '.join(cut(largest(1000, lambda n: fits(cut(n)[0])))[1])}"]


def _fewer_steps(recipe: MixRecipe, fits: Callable[[list[Phase]], bool]) -> list[str]:
    """One line for each phase whose shortening alone would do."""
    lines = []
    for phase in recipe.phases if len(recipe.phases) > 1 else ():

        def kept(steps: int, name: str = phase.name) -> bool:
            return fits(shortened(recipe, {name: steps}))

        if kept(0):
            steps = largest(phase.steps, kept)
            said = f"{steps:,} in {phase.name}, now {phase.steps:,}" if steps else f"leave out the phase {phase.name}"
            lines.append(f"  steps          {said}")
    return lines


def count_teachers(shards: list[Path], edits: Mapping[str, list[Path]], length: int) -> list[dict[str, Any]] | str:
    """Tokens that each teacher wrote, by phase and component, counted from the shards; or why they cannot be.

    `edits` are the files of that table of each pool (name@version) that holds rewrites. Rows have phase, component,
    teacher, family and tokens.
    """
    import duckdb

    if not shards or not edits:
        return []
    tables = " UNION ALL ".join(
        f"SELECT {literal(pool)} AS pool, item_id, first_token, tokens, teacher, teacher_family FROM "
        f"{parquet([escape(p) for p in paths])}"
        for pool, paths in sorted(edits.items())
    )
    query = f"""
        WITH pieces AS (
          SELECT phase, component, pool, unnest(item_ids) AS item_id, unnest(doc_offsets) AS first,
                 unnest(list_append(doc_starts[2:], {length})) - unnest(doc_starts) AS tokens
          FROM {parquet([escape(p) for p in shards])} WHERE list_contains({literal(sorted(edits))}, pool)
        ), edits AS ({tables})
        SELECT p.phase, p.component, e.teacher, e.teacher_family AS family,
               sum(least(e.first_token + e.tokens, p.first + p.tokens) - greatest(e.first_token, p.first))::BIGINT
               AS tokens
        FROM pieces p JOIN edits e ON e.pool = p.pool AND e.item_id = p.item_id
          AND e.first_token < p.first + p.tokens AND p.first < e.first_token + e.tokens
        GROUP BY ALL ORDER BY ALL
    """
    try:
        with duckdb.connect() as con:
            cursor = con.execute(query)
            columns = [column[0] for column in cursor.description]
            return [dict(zip(columns, row)) for row in cursor.fetchall()]
    except duckdb.Error as error:
        return str(error).splitlines()[0][:200]


def passed_limits(recipe: MixRecipe, counted: list[dict[str, Any]], tokens: int) -> list[str]:
    """A line for each limit on teachers that what was counted passes; `tokens` are all of the mix."""
    found = []
    for key, limit in recipe.teachers.items():
        wrote = sum(r["tokens"] for r in counted if key in (ALL_TEACHERS, r["teacher"], FAMILY + r["family"]))
        if wrote > limit * tokens:
            found.append(f"{_called(key)} wrote {wrote:,} of {tokens:,} tokens = {wrote / tokens:.6g}, above the limit "
                         f"of {exact(limit)}")  # fmt: skip
    return found
