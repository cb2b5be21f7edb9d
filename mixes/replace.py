"""What stands in the place of text that an arm takes out? Nothing, more of the rest, or another pool's text.

    untouched counts --less the component's--> shrink:    the other counts stay, the phase is shorter by these
                                               resample:  the rest in its own ratio, to the same length
                                               approved:  another pool's sequences; when it runs out, the rest
                                               rewrite:   the same, of rewrites of that very text (mixes/lineage.py)

Counts. What is taken out of a phase is the count that largest remainder gives the component in the untouched mix. Under
`shrink`, and while the pool of `approved` or `rewrite` lasts, every other component has its untouched count. That pool
is used from the first phase on, up to its rows times its epochs; the other seats of the phase in which it runs out are
the largest remainder of the rest's ratios, rounded once.

Order. A phase becomes stretches, each of them whole periods of exact counts or one apportioned tail, so that the seat
of a sequence stays a matter of tables (leaven/order.py) and every prefix of a stretch is within `1 - 1/(2k-2)` of a
sequence of its share. A pool's sequences come in the order of its own permutation: arms that share it draw the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil

from leaven.errors import UserError
from leaven.order import Seats, apportion, period
from mixes.recipes import MixRecipe, Phase, Replacement, exact

Ratios = dict[str, Fraction]
Stretch = tuple[int, Ratios]  # sequences, and their ratios


def seats_of(recipe: MixRecipe, rows: Mapping[str, int]) -> tuple[Seats, list[int]]:
    """The seats of a recipe, and for each phase of them (a stretch) the recipe's phase that it belongs to.

    `rows` are the sequences of the pools by component; only those of a pool that stands in matter.
    """
    said, of = [], []
    supply = 0
    if recipe.replace and recipe.replace.pool:
        supply = int(recipe.replace.epochs * rows[recipe.replace.pool])
    for i, phase in enumerate(recipe.phases):
        made = _stretches(phase, recipe.replace, supply)
        if recipe.replace:
            supply -= min(supply, phase.removed)
            made = [(n, ratios) for n, ratios in made if n]
        said += [(phase.name, n, ratios) for n, ratios in made]
        of += [i] * len(made)
    return Seats(said), of


def counts_of(recipe: MixRecipe, rows: Mapping[str, int]) -> list[dict[str, int]]:
    """Sequences by component, for each phase."""
    seats, of = seats_of(recipe, rows)
    counts = [dict.fromkeys(seats.components, 0) for _ in recipe.phases]
    for stretch, phase in enumerate(of):
        for c, component in enumerate(seats.components):
            counts[phase][component] += int(seats.counts[stretch, c])
    return counts


def uses_of(recipe: MixRecipe, rows: Mapping[str, int]) -> dict[str, int]:
    """Sequences by component, over all phases."""
    uses: dict[str, int] = {}
    for counts in counts_of(recipe, rows):
        for component, n in counts.items():
            uses[component] = uses.get(component, 0) + n
    return uses


def untouched(recipe: MixRecipe, phase: Phase) -> dict[str, int]:
    """What the phase would hold if nothing were taken out."""
    return apportion(phase.ratios, phase.steps * recipe.batch)


def _stretches(phase: Phase, replacement: Replacement | None, supply: int) -> list[Stretch]:
    n, ratios = phase.sequences, phase.ratios
    if not replacement or not ratios.get(replacement.component):
        return [(n, ratios)]
    gone, share = replacement.component, ratios[replacement.component]
    rest = {c: r / (1 - share) for c, r in ratios.items() if c != gone and r}
    if replacement.policy == "resample":
        return [(n, rest)]
    whole = n + phase.removed if replacement.policy == "shrink" else n
    p = period(ratios)
    per = {c: int(r * p) for c, r in ratios.items()}
    tail = apportion(ratios, whole % p)
    if replacement.policy == "shrink":
        return [_exact(_less(per, gone), whole // p), _exact(_less(tail, gone))]
    assert replacement.pool
    if supply >= phase.removed:
        return [_exact(_renamed(counts, gone, replacement.pool), n) for counts, n in ((per, whole // p), (tail, 1))]
    if not rest:
        raise UserError(f"'{replacement.pool}' runs out in phase '{phase.name}', which has nothing else to resample")
    times, left = divmod(supply, per[gone])
    others = whole - times * p - left
    made = [_exact(_renamed(per, gone, replacement.pool), times)]
    if left:  # one period more, in which the pool has what is left of it
        beside = _less(per, gone) if others >= p - per[gone] else apportion(rest, others)
        made.append(_exact(beside | {replacement.pool: left}))
        others -= sum(beside.values())
    return [*made, (others, rest)]


def _less(counts: dict[str, int], gone: str) -> dict[str, int]:
    return {c: n for c, n in counts.items() if c != gone}


def _renamed(counts: dict[str, int], gone: str, pool: str) -> dict[str, int]:
    return _less(counts, gone) | {pool: counts[gone]}


def _exact(counts: dict[str, int], times: int = 1) -> Stretch:
    """A stretch that holds so many times exactly these counts."""
    total = sum(counts.values())
    return (times * total, {c: Fraction(n, total) for c, n in counts.items() if n}) if total else (0, {})


def check_supply(recipe: MixRecipe, pools: dict[str, tuple[str, int, int]]) -> None:
    """Raises UserError where a mix that replaces text uses a component more often than its limit of epochs allows.

    `pools` maps each component to its pool, rows and uses.
    """
    allowed = {c: int(limit * pools[c][1]) for c, limit in recipe.limits.items()}
    over = [c for c in allowed if pools[c][2] > allowed[c]]
    if not over or not recipe.replace:
        return
    stands = recipe.replace
    limiting = min(over, key=lambda c: (Fraction(allowed[c], pools[c][2]), c))
    pool, rows, uses = pools[limiting]
    removed = sum(p.removed for p in recipe.phases)
    numbers = [
        f"taken out        {removed:,} sequences of '{stands.component}', by the policy {stands.policy}",
        f"limiting pool    {pool} ('{limiting}')",
        f"needs            {uses:,} sequences = {float(Fraction(uses, rows)) if rows else float('inf'):.4g} epochs",
        f"has              {allowed[limiting]:,} sequences = {rows:,} rows x {exact(recipe.limits[limiting])} epochs",
    ]
    numbers += [
        f"also over        '{c}' needs {pools[c][2]:,} sequences and has {allowed[c]:,}" for c in over if c != limiting
    ]
    numbers.append("any one of these is enough" + (f" for '{limiting}':" if len(over) > 1 else ":"))
    if rows:
        numbers.append(f"  epochs         {limiting} = {ceil(Fraction(uses, rows))} in [limits]")
    if stands.pool == limiting:
        numbers.append(f"  rows           {ceil(removed / recipe.limits[limiting]):,} in the pool, now {rows:,}")
        numbers.append(f"  replace        epochs = {exact(recipe.limits[limiting])}, and the rest is resampled")
    else:
        numbers.append(f"  rows           {ceil(uses / recipe.limits[limiting]):,} in the pool, now {rows:,}")
        if stands.pool:
            given = {c: r for c, (_, r, _) in pools.items()}
            most = ceil(removed / stands.epochs)

            def fits(supply: int) -> bool:
                counts = counts_of(recipe, given | {str(stands.pool): supply})
                return sum(n.get(limiting, 0) for n in counts) <= allowed[limiting]

            if fits(most):
                least = _least(given[stands.pool], most, fits)
                numbers.append(f"  {stands.policy:<14} {least:,} rows in '{stands.pool}', now {given[stands.pool]:,}")
    raise UserError(
        f"the mix {recipe.ref} needs more of '{limiting}' than its limit of epochs allows",
        where=recipe.where("epochs", "limits"),
        numbers=numbers,
        do=f"change one, then: leaven plan {recipe.path or 'RECIPE.toml'}",
    )


def _least(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """A number above `low` that fits while the one before does not; `high` fits."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
