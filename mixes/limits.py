"""Whether a mix sees no sequence more often than its recipe allows, and if it does, which numbers would mend that.

Every number that the error proposes was tried on the recipe before it was printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil

from leaven.errors import UserError
from leaven.order import MAX_PERIOD, apportion, period
from mixes.recipes import MixRecipe, Phase, as_toml, exact

Pools = dict[str, tuple[str, int, int]]  # component -> (pool, rows, uses)


def check_limits(recipe: MixRecipe, pools: Pools) -> None:
    """Raises UserError where a component is used more often than its limit of epochs allows."""
    allowed = {c: int(limit * pools[c][1]) for c, limit in recipe.limits.items()}
    over = [c for c in allowed if pools[c][2] > allowed[c]]
    if not over:
        return
    limiting = min(over, key=lambda c: (Fraction(allowed[c], pools[c][2]), c))
    pool, rows, uses = pools[limiting]
    limit = recipe.limits[limiting]
    by_phase = {p.name: apportion(p.ratios, p.sequences).get(limiting, 0) for p in recipe.phases}
    steps = sum(p.steps for p in recipe.phases)
    best = _best(recipe, steps, allowed)
    numbers = [
        f"target           {steps:,} steps = {recipe.sequences:,} sequences",
        f"best achievable  {best:,} steps = {best * recipe.batch:,} sequences, all phases shortened alike",
        f"limiting pool    {pool} ('{limiting}')",
        f"needs            {uses:,} sequences = {float(Fraction(uses, rows)) if rows else float('inf'):.4g} epochs: "
        + ", ".join(f"{n:,} in {phase}" for phase, n in by_phase.items() if n),
        f"has              {allowed[limiting]:,} sequences = {rows:,} rows x {exact(limit)} epochs",
    ]
    for c in over:
        if c != limiting:
            numbers.append(f"also over        '{c}' needs {pools[c][2]:,} sequences and has {allowed[c]:,}")
    numbers.append(f"any one of these is enough{f' for {limiting!r}' if len(over) > 1 else ''}:")
    if rows:
        numbers.append(f"  epochs         {limiting} = {ceil(Fraction(uses, rows))}")
    numbers.append(f"  rows           {ceil(uses / limit):,} in the pool, now {rows:,}")
    kept = {c: n for c, n in allowed.items() if c == limiting or c not in over}
    numbers += _smaller_ratios(recipe, limiting, by_phase, kept)
    numbers += _fewer_steps(recipe, limiting, by_phase, kept)
    raise UserError(
        f"the mix {recipe.ref} needs more of '{limiting}' than its limit of epochs allows",
        where=recipe.where("epochs", "limits"),
        numbers=numbers,
        do=f"change one, then: leaven plan {recipe.path or 'RECIPE.toml'}",
    )


def _fits(phases: list[Phase], allowed: dict[str, int]) -> bool:
    counts = [apportion(p.ratios, p.sequences) for p in phases]
    return all(sum(n.get(c, 0) for n in counts) <= most for c, most in allowed.items())


def largest(most: int, fits: Callable[[int], bool]) -> int:
    """A number below `most` that fits while the next does not; 0 is taken to fit."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def shortened(recipe: MixRecipe, steps: dict[str, int]) -> list[Phase]:
    return [
        replace(p, steps=steps[p.name], sequences=steps[p.name] * recipe.batch) if p.name in steps else p
        for p in recipe.phases
    ]


def _best(recipe: MixRecipe, steps: int, allowed: dict[str, int]) -> int:
    def shares(total: int) -> dict[str, int]:
        return {p.name: p.steps * total // steps for p in recipe.phases}

    found = largest(steps, lambda total: _fits(shortened(recipe, shares(total)), allowed))
    return sum(shares(found).values())


def _smaller_ratios(recipe: MixRecipe, component: str, by_phase: dict[str, int], allowed: dict[str, int]) -> list[str]:
    """The line that cuts the component in every phase alike and gives the rest to one other component, if any can."""
    uses = sum(by_phase.values())
    phases, said = [], []
    for phase in recipe.phases:
        others = [c for c, r in phase.ratios.items() if c != component and r]
        if not by_phase[phase.name]:
            phases.append(phase)
            continue
        if not others:
            return []
        taker = max(others, key=lambda c: (c not in recipe.limits, phase.ratios[c], c))
        p = period(phase.ratios)
        fine = MAX_PERIOD if MAX_PERIOD % p == 0 else p * 10 ** (len(str(MAX_PERIOD // p)) - 1)
        budget = by_phase[phase.name] * allowed[component] // uses
        ratio = Fraction(budget * fine // phase.sequences, fine)
        rest = phase.ratios[taker] + phase.ratios[component] - ratio
        phases.append(replace(phase, ratios=phase.ratios | {component: ratio, taker: rest}))
        said.append(f"{component} = {as_toml(ratio)}, {taker} = {as_toml(rest)} in {phase.name}")
    return [f"  ratio          {'; '.join(said)}"] if _fits(phases, allowed) else []


def _fewer_steps(recipe: MixRecipe, component: str, by_phase: dict[str, int], allowed: dict[str, int]) -> list[str]:
    """One line for each phase whose shortening alone would do."""
    lines = []
    for phase in recipe.phases:
        if not by_phase[phase.name] or not _fits(shortened(recipe, {phase.name: 0}), allowed):
            continue

        def fits(steps: int, name: str = phase.name) -> bool:
            return _fits(shortened(recipe, {name: steps}), allowed)

        steps = largest(phase.steps, fits)
        if not steps and len(recipe.phases) == 1:
            continue
        said = f"{steps:,} in {phase.name}, now {phase.steps:,}" if steps else f"leave out the phase {phase.name}"
        lines.append(f"  steps          {said}")
    return lines
