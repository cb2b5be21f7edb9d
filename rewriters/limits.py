"""May these rewrites be used? Limits on the measures of diversity, as a recipe states them, against what was measured.

[limits]
least_texts     = 100                                    # below it nothing is judged, and that is said
distinct_2      = { min = 0.3 }
compression     = { max_ratio = 1.3 }                    # the rewrites' number over their sources'
opening_share   = { max = 0.1, styles = ["plain"] }      # of one style; without `styles`: of each, and of all
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from leaven.errors import UserError
from leaven.recipe import Recipe
from rewriters.diversity import MEASURES, WITHOUT_SOURCE

LEAST_TEXTS = 100  # accepted rewrites (for accepted_share: rewrites asked for) of a group before it is judged
LEAST_CANARIES = 20  # for obeyed_share
SIDES = ("min", "max", "min_ratio", "max_ratio")
KEYS = ("least_texts", "least_canaries")


@dataclass(frozen=True)
class Bound:
    """The limits on one measure, for the styles named (none: each style, and all together)."""

    measure: str
    where: str
    sides: Mapping[str, Decimal]
    styles: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{side} {number}" for side, number in self.sides.items())

    def is_about(self, style: str | None) -> bool:
        return not self.styles or (style is not None and not {style, style.partition("@")[0]}.isdisjoint(self.styles))


@dataclass(frozen=True)
class Limits:
    """What a recipe's [limits] say; without bounds nothing is refused."""

    bounds: tuple[Bound, ...] = ()
    least_texts: int = LEAST_TEXTS
    least_canaries: int = LEAST_CANARIES

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that are limited, in the order of MEASURES."""
        return tuple(m for m in MEASURES if any(b.measure == m for b in self.bounds))


@dataclass(frozen=True)
class Finding:
    """A row that has a limit; `passed` is null where it could not be judged, and `why` says why not."""

    row: Mapping[str, Any]
    bound: Bound
    passed: bool | None
    why: str = ""

    def __str__(self) -> str:
        row = self.row
        group = f"{row['style']} by {row['teacher']}" if row["style"] else "all together"
        shown = lambda n: "-" if n is None else f"{n:.4g}"  # noqa: E731
        source = f", source {shown(row['source_number'])}" if row["measure"] not in WITHOUT_SOURCE else ""
        seen = f"{row['sampled']:,} of {row['texts']:,}" if row["sampled"] != row["texts"] else f"{row['texts']:,}"
        detail = f': "{row["detail"]}"' if row["detail"] else ""
        why = f"; not judged: {self.why}" if self.passed is None else ""
        return f"{group}: {row['measure']} {shown(row['number'])}{source}, {self.bound} ({seen} texts){detail}{why}"


def read_limits(recipe: Recipe, styles: Sequence[str] | None = None, sources: bool = True) -> Limits:
    """The limits of a recipe's `limits` table.

    `styles` are those that a limit may name, as name@version (null: any); without `sources` (net-new documents) nothing
    can be limited in ratio to them. Raises UserError for a measure, key, style or number that will not do.
    """
    bounds = []
    least = {"least_texts": LEAST_TEXTS, "least_canaries": LEAST_CANARIES}
    for name, value in recipe["limits"].items():
        where = recipe.where(name, "limits")
        if name in KEYS:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"'{name}' must be a whole number of 1 or more, not {value!r}", where=where)
            least[name] = value
        elif name not in MEASURES:
            raise _unknown(f"nothing called '{name}' is measured", name, (*MEASURES, *KEYS), where)
        else:
            bounds.append(_bound(name, value, where, styles, sources))
    return Limits(tuple(bounds), **least)


def _bound(name: str, value: Any, where: str, styles: Sequence[str] | None, sources: bool) -> Bound:
    if not isinstance(value, dict) or not set(value) - {"styles"}:
        raise UserError(f"the limit of '{name}' must be a table, not {value!r}", where=where,
                        numbers=[f"such as {name} = {{ max = 0.1 }}; sides: {', '.join(SIDES)}"])  # fmt: skip
    for side, number in value.items():
        if side == "styles":
            continue
        if side not in SIDES:
            raise _unknown(f"the limit of '{name}' has no key '{side}'", side, (*SIDES, "styles"), where)
        if not isinstance(number, (int, Decimal)) or isinstance(number, bool) or not Decimal(number).is_finite():
            raise UserError(f"'{side}' of '{name}' must be a number, not {number!r}", where=where)
        if number < 0:
            raise UserError(f"'{side}' of '{name}' is {number}: no measure is below 0", where=where)
        if side.endswith("_ratio") and (name in WITHOUT_SOURCE or not sources):
            why = "it has none" if sources else "net-new documents have none"
            raise UserError(f"'{name}' cannot be limited in ratio to its source: {why}", where=where,
                            do=f"write {name} = {{ {side.removesuffix('_ratio')} = ... }}")  # fmt: skip
    if name == "tail_mass" and not sources:
        raise UserError("'tail_mass' is measured against sources, and net-new documents have none", where=where)
    for low, high in (("min", "max"), ("min_ratio", "max_ratio")):
        if low in value and high in value and value[low] > value[high]:
            raise UserError(f"'{low}' of '{name}' is above '{high}'", where=where)
    return Bound(name, where, {s: Decimal(value[s]) for s in SIDES if s in value}, _styles(value, where, styles))


def _styles(value: dict[str, Any], where: str, known: Sequence[str] | None) -> tuple[str, ...]:
    named = value.get("styles", [])
    if not isinstance(named, list) or not all(isinstance(s, str) for s in named) or ("styles" in value and not named):
        raise UserError("'styles' must be an array of names of styles", where=where)
    if known is not None:
        may = (*dict.fromkeys(s.partition("@")[0] for s in known), *known)
        for style in named:
            if style not in may:
                raise _unknown(f"the recipe has no style '{style}'", style, may, where)
    return tuple(named)


def _unknown(what: str, name: str, may: Sequence[str], where: str) -> UserError:
    near = difflib.get_close_matches(name, may, 1)
    return UserError(
        what, where=where, numbers=[f"did you mean '{near[0]}'?" if near else "there is: " + ", ".join(may)]
    )


def judge(limits: Limits, rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """A finding for each row (rewriters/diversity.py) and limit on it, in the order of the rows."""
    return [
        Finding(row, bound, *_judge(limits, row, bound))
        for row in rows
        for bound in limits.bounds
        if bound.measure == row["measure"] and bound.is_about(row["style"])
    ]


def _judge(limits: Limits, row: Mapping[str, Any], bound: Bound) -> tuple[bool | None, str]:
    """Whether a row is within a bound; null and why where that cannot be said."""
    canaries = row["measure"] == "obeyed_share"
    least, what = (limits.least_canaries, "canaries") if canaries else (limits.least_texts, "texts")
    if row["texts"] < least:
        return None, f"fewer than {least:,} {what}"
    number, source = row["number"], row["source_number"]
    if number is None:
        return None, "too few words or texts to measure it by"
    unsaid = ""
    for side, limit in bound.sides.items():
        if side.endswith("_ratio") and source is None:
            unsaid = "too few words or texts in the sources"
            continue
        against = float(limit) * (source if side.endswith("_ratio") else 1)
        if number < against if side.startswith("min") else number > against:
            return False, ""
    return (None, unsaid) if unsaid else (True, "")
