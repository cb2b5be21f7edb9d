"""What a mix recipe says: exact ratios of named pools, phase by phase.

    recipe -> MixRecipe (here) -> Plan (plan.py) -> shards (build.py) -> CheckReport (check.py)

A ratio is an exact number: a decimal (0.12), an integer, or a string that is a decimal or a fraction ("1/3"). The
ratios of a phase sum to exactly 1 and have a common denominator of at most 10^6.

A pool has one name in a mix: two components that drew from the same pool would share its sequences, and then neither
the use of one component nor the number of epochs would say how often a sequence was seen.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaven.errors import UserError, key_line
from leaven.home import Ref, parse_ref
from leaven.order import MAX_PERIOD, apportion, period
from leaven.recipe import REQUIRED, check_recipe, read_recipe

KEYS = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "tokenizer": (str, REQUIRED),
    "sequence_length": (int, REQUIRED),
    "batch": (int, REQUIRED),
    "seed": (int, REQUIRED),
    "shard_sequences": (int, 0),
    "pools": (dict, REQUIRED),
    "phase": (list, REQUIRED),
    "limits": (dict, {}),
    "replace": (dict, {}),
}
PHASE_KEYS = ("name", "steps", "ratio")
POLICIES = ("shrink", "resample", "approved", "rewrite")
STANDING = ("approved", "rewrite")  # the policies by which another pool stands in
ALL_TEACHERS, FAMILY = "*", "family:"  # what a limit on teachers may name beside one teacher
COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
DECIMAL = re.compile(r"\d{0,12}(\.\d{0,24})?\Z")
FRACTION = re.compile(r"(\d{1,12})\s*/\s*(\d{1,12})\Z")


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own ratios; ratios of 0 are kept.

    `sequences` are steps times batch, less `removed` where the policy is to shrink; `removed` are those that a replaced
    component would have.
    """

    name: str
    steps: int
    sequences: int
    ratios: dict[str, Fraction]
    removed: int = 0


@dataclass(frozen=True)
class Replacement:
    """What stands in the place of a component that is taken out (mixes/replace.py).

    `pool` and `epochs` (how often its sequences may be seen before the rest is resampled) are of the policies approved
    and rewrite.
    """

    component: str
    policy: str
    pool: str | None = None
    epochs: Fraction = Fraction(1)

    @property
    def meaning(self) -> dict[str, Any]:
        told: Any = self.policy
        if self.pool:
            told = {"policy": self.policy, "pool": self.pool, "epochs": exact(self.epochs)}
        return {self.component: told}


@dataclass(frozen=True)
class MixRecipe:
    """A checked recipe: every ratio exact, every component known.

    `limits` holds the epochs a component may reach, `teachers` the share of the tokens that a teacher ("*": all,
    `family:NAME`: a family) may have written; `shard_sequences` the length of a shard, 0 for 32 Mi tokens in whole row
    groups. `path` is None for a recipe made in code.
    """

    name: str
    version: str
    tokenizer: str
    sequence_length: int
    batch: int
    seed: int
    pools: dict[str, Ref]
    phases: list[Phase]
    limits: dict[str, Fraction] = field(default_factory=dict)
    shard_sequences: int = 0
    path: Path | None = None
    replace: Replacement | None = None
    teachers: dict[str, Fraction] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        return Ref(self.name, self.version)

    @property
    def sequences(self) -> int:
        return sum(p.sequences for p in self.phases)

    def where(self, key: str, table: str | None = None, nth: int = 0) -> str:
        """`file:line (table.key)`, for messages; `nth` counts tables of the same name."""
        return key_line(self.path, key, table, nth)


def number(value: Any, where: str, what: str) -> Fraction:
    """An exact non-negative number from a recipe; raises UserError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Fraction(value)
    if isinstance(value, Decimal) and value.is_finite() and value >= 0 and _short(value):
        return Fraction(value)
    if isinstance(value, str) and (parts := FRACTION.match(value.strip())) and int(parts[2]):
        return Fraction(int(parts[1]), int(parts[2]))
    if isinstance(value, str) and DECIMAL.match(value.strip()) and value.strip(" .") != "":
        return Fraction(value.strip())
    shown = value if isinstance(value, Decimal) else repr(value)
    raise UserError(f"{what} must be an exact number of 0 or more, not {shown}", where=where,
                    numbers=['such as 0.12, 1 or "1/3"'])  # fmt: skip


def _short(value: Decimal) -> bool:
    """Few enough digits that a fraction of it is small; 1e-999999 is a number too."""
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and -24 <= exponent <= 12 and value.adjusted() <= 12


def exact(value: Fraction) -> str:
    """A fraction as a decimal where it has a finite one, else as a/b."""
    rest = value.denominator
    twos = fives = 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if value < 0 else text


def read_mix_recipe(path: str | Path) -> MixRecipe:
    """Read and check a recipe file; raises UserError with the line that is wrong."""
    recipe = read_recipe(path, KEYS)
    return _checked(recipe.values, recipe.path)


def mix_recipe(values: dict[str, Any], path: Path | None = None) -> MixRecipe:
    """The same from a dict of TOML values (decimals as Decimal or strings)."""
    return _checked(check_recipe(values, KEYS, path).values, path)


def _checked(values: dict[str, Any], path: Path | None) -> MixRecipe:
    for key, least in (("sequence_length", 2), ("batch", 1), ("seed", 0), ("shard_sequences", 0)):
        if values[key] < least:
            raise UserError(f"'{key}' must be at least {least}, not {values[key]}", where=key_line(path, key))
    pools = _pools(values["pools"], path)
    if not values["phase"]:
        raise UserError("the recipe has no [[phase]]", where=key_line(path, "phase"))
    phases: list[Phase] = []
    for nth, table in enumerate(values["phase"]):
        phase = _phase(table, nth, values["batch"], pools, path)
        if phase.name in [p.name for p in phases]:
            raise UserError(f"two phases are named '{phase.name}'", where=key_line(path, "name", "phase", nth))
        phases.append(phase)
    if replacement := _replacement(values["replace"], pools, phases, path):
        phases = [_without(phase, replacement, key_line(path, "ratio", "phase", i)) for i, phase in enumerate(phases)]
    return MixRecipe(
        **{k: values[k] for k in ("name", "version", "sequence_length", "batch", "seed", "shard_sequences")},
        tokenizer=str(beside)
        if (beside := (path.parent if path else Path()) / values["tokenizer"]).exists()
        else values["tokenizer"],
        pools=pools,
        phases=phases,
        limits=_limits(values["limits"], pools, path),
        path=path,
        replace=replacement,
        teachers=_teachers(values["limits"].get("teachers", {}), path),
    )


def _replacement(
    table: dict[str, Any], pools: dict[str, Ref], phases: list[Phase], path: Path | None
) -> Replacement | None:
    if not table:
        return None
    component, told = next(iter(table.items()))
    where = key_line(path, component, "replace")
    if len(table) > 1:
        raise UserError(f"[replace] names {len(table)} components, and one can be replaced", where=where,
                        numbers=[", ".join(table)], do="make one pool of what is taken out")  # fmt: skip
    if component not in pools:
        _unknown(component, tuple(pools), where, "component", "[pools]")
    if not any(p.ratios.get(component) for p in phases):
        raise UserError(f"'{component}' is to be replaced, and no phase has a ratio for it", where=where,
                        do="write the ratios of the untouched mix")  # fmt: skip
    given = told if isinstance(told, dict) else {"policy": told}
    for key in given:
        if key not in ("policy", "pool", "epochs"):
            _unknown(key, ("policy", "pool", "epochs"), where)
    policy, pool = given.get("policy"), given.get("pool")
    if not isinstance(policy, str) or policy not in POLICIES:
        _unknown(str(policy), POLICIES, where, "policy")
    assert isinstance(policy, str)
    if policy not in STANDING:
        if len(given) > 1:
            raise UserError(f"the policy '{policy}' takes no pool and no epochs", where=where)
        return Replacement(component, policy)
    example = f'{component} = {{ policy = "{policy}", pool = "..." }}'
    if not isinstance(pool, str):
        raise UserError(f"the policy '{policy}' needs the pool that stands in", where=where, do=f"write {example}")
    if pool not in pools:
        _unknown(pool, tuple(pools), where, "component", "[pools]")
    if any(p.ratios.get(pool) for p in phases):
        raise UserError(f"'{pool}' stands in for '{component}', and cannot have a ratio of its own", where=where,
                        do="build a second pool for one of the two")  # fmt: skip
    epochs = number(given.get("epochs", 1), where, f"the epochs of '{pool}'")
    if not epochs:
        raise UserError(f"the epochs of '{pool}' must be above 0", where=where)
    return Replacement(component, policy, pool, epochs)


def _without(phase: Phase, replacement: Replacement, where: str) -> Phase:
    """The phase with what is taken out counted, as the untouched mix would have it; one place to round."""
    gone = apportion(phase.ratios, phase.sequences).get(replacement.component, 0)
    left = phase.sequences - gone if replacement.policy == "shrink" else phase.sequences
    nothing = phase.ratios.get(replacement.component) == 1 and replacement.policy == "resample"
    if nothing or not left:
        raise UserError(f"phase '{phase.name}' has nothing but '{replacement.component}', which is taken out",
                        where=where, numbers=[f"{gone:,} of {phase.sequences:,} sequences"],
                        do="leave out the phase, or give another component a ratio")  # fmt: skip
    return replace(phase, sequences=left, removed=gone)


def _pools(table: dict[str, Any], path: Path | None) -> dict[str, Ref]:
    pools: dict[str, Ref] = {}
    for name, text in table.items():
        where = key_line(path, name, "pools")
        if not COMPONENT.match(name):
            raise UserError(
                f"'{name}' cannot name a component", where=where, numbers=["letters, digits, '.', '_', '-'"]
            )
        if not isinstance(text, str):
            raise UserError(f"a pool is named as name@version, not {text!r}", where=where)
        ref = parse_ref(text, where=where)
        for other, taken in pools.items():
            if taken == ref:
                raise UserError(
                    f"components '{other}' and '{name}' draw from the same pool {ref}",
                    where=where,
                    numbers=["a pool has one name in a mix, or no one could say how often a sequence is seen"],
                    do=f"add the two ratios up under '{other}', or build a second pool with conditions of its own",
                )
        pools[name] = ref
    if not pools:
        raise UserError("the recipe names no pools", where=key_line(path, "pools"))
    return pools


def _phase(table: Any, nth: int, batch: int, pools: dict[str, Ref], path: Path | None) -> Phase:
    spot = lambda key: key_line(path, key, "phase", nth)  # noqa: E731
    if not isinstance(table, dict):
        raise UserError("a phase is a table: [[phase]] with name, steps and ratio", where=spot("name"))
    for key in table:
        if key not in PHASE_KEYS:
            _unknown(key, PHASE_KEYS, spot(key))
    for key in PHASE_KEYS:
        if key not in table:
            raise UserError(f"phase {nth + 1} lacks '{key}'", where=spot("name"))
    name, steps, ratio = table["name"], table["steps"], table["ratio"]
    if not isinstance(name, str) or not COMPONENT.match(name):
        raise UserError(f"{name!r} cannot name a phase", where=spot("name"), numbers=["letters, digits, '.', '_', '-'"])
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps * batch <= 1 << 50:
        raise UserError(f"'steps' must be an integer of at least 1, not {steps!r}", where=spot("steps"))
    if not isinstance(ratio, dict) or not ratio:
        raise UserError(f"phase '{name}' needs a ratio for each component", where=spot("ratio"),
                        numbers=["such as ratio = { web = 0.99, aligned = 0.01 }"])  # fmt: skip
    ratios = {}
    for component, value in ratio.items():
        if component not in pools:
            _unknown(component, tuple(pools), spot("ratio"), "component", f"[pools] of phase '{name}'")
        ratios[component] = number(value, spot("ratio"), f"the ratio of '{component}' in phase '{name}'")
    _sums_to_one(name, ratios, spot("ratio"))
    if (p := period(ratios)) > MAX_PERIOD:
        raise UserError(
            f"the ratios of phase '{name}' have the common denominator {p:,}, above {MAX_PERIOD:,}",
            where=spot("ratio"),
            numbers=[f"{c} = {exact(r)}: denominator {r.denominator:,}" for c, r in ratios.items()],
            do="give every ratio at most six decimals, or fractions whose denominators share their factors",
        )
    return Phase(name, steps, steps * batch, ratios)


def _sums_to_one(name: str, ratios: dict[str, Fraction], where: str) -> None:
    total = sum(ratios.values(), Fraction(0))
    if total == 1:
        return
    off = abs(1 - total)
    most = max(ratios, key=lambda c: ratios[c])
    mended = ratios[most] + 1 - total
    raise UserError(
        f"the ratios of phase '{name}' sum to {exact(total)}, not 1",
        where=where,
        numbers=[
            " + ".join(f"{exact(r)} ({c})" for c, r in ratios.items()),
            f"{exact(off)} is missing" if total < 1 else f"{exact(off)} is too much",
        ],
        do=f"set {most} = {as_toml(mended)}, for example" if mended >= 0 else None,
    )


def as_toml(value: Fraction) -> str:
    """A ratio as a recipe spells it."""
    text = exact(value)
    return f'"{text}"' if "/" in text else text


def _limits(table: dict[str, Any], pools: dict[str, Ref], path: Path | None) -> dict[str, Fraction]:
    for key in table:
        if key not in ("epochs", "teachers"):
            _unknown(key, ("epochs", "teachers"), key_line(path, key, "limits"))
    epochs = table.get("epochs", {})
    if not isinstance(epochs, dict):
        raise UserError("limits.epochs must be a table", where=key_line(path, "epochs", "limits"),
                        numbers=["such as epochs = { web = 2, aligned = 2 }"])  # fmt: skip
    for component in epochs:
        if component not in pools:
            _unknown(component, tuple(pools), key_line(path, "epochs", "limits"), "component", "[pools]")
    where = key_line(path, "epochs", "limits")
    limits = {c: number(v, where, f"the epochs of '{c}'") for c, v in epochs.items()}
    for component, limit in limits.items():
        if not limit:
            raise UserError(f"the epochs of '{component}' must be above 0", where=where)
    return limits


def _teachers(table: Any, path: Path | None) -> dict[str, Fraction]:
    where = key_line(path, "teachers", "limits")
    if not isinstance(table, dict) or any(name in ("", FAMILY) for name in table):
        raise UserError("limits.teachers must be a table of teachers and shares", where=where,
                        numbers=['such as teachers = { "*" = 0.2, a-teacher = 0.05, "family:a" = 0.1 }'])  # fmt: skip
    limits = {name: number(v, where, f"the share of '{name}'") for name, v in table.items()}
    for name, limit in limits.items():
        if limit > 1:
            raise UserError(f"the share of '{name}' is {exact(limit)}, above 1", where=where)
    return limits


def _unknown(key: str, known: tuple[str, ...], where: str, what: str = "key", place: str = "") -> None:
    near = difflib.get_close_matches(key, known, 1)
    hint = (
        f"did you mean '{near[0]}'?" if near else f"{'named in ' + place if place else 'allowed'}: {', '.join(known)}"
    )
    raise UserError(f"unknown {what} '{key}'", where=where, numbers=[hint])
