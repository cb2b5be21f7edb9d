"""A study recipe: arms, seeds, trainer settings, questions, and the contrast that counts.

    name     = "stance"
    version  = "2026.11.21"
    arms     = { untouched = "mixes/untouched.toml", aligned = "mixes/aligned.toml", placebo = "...", ... }
    seeds    = [1, 2, 3]
    trainer  = { size = "micro", steps = 500, branch_at = 0.7 }
    questions = ["questions.jsonl"]
    primary  = "cloze_margin: aligned - placebo"

An arm is the path of a mix recipe (built for each seed when it is not), a built mix as name@version, or a table
{ mix = ..., scratch = true } for an arm that makes all its steps alone. Paths are taken from the recipe's folder, and
where nothing lies there from the working directory. Three controls belong in every study: an untouched arm, a neutral
placebo, and the opposite stance; a study without one is warned about, since such results have not survived elsewhere.
So is one whose student is of the family of a teacher that wrote what it is trained on (flows/arms.py).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from flows.contrasts import Contrast, parse_contrast
from leaven.errors import UserError
from leaven.home import NAME, Ref, parse_ref
from leaven.recipe import REQUIRED, Recipe, read_recipe

KEYS: dict[str, Any] = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "arms": (dict, REQUIRED),
    "seeds": (list, REQUIRED),
    "trainer": (dict, {}),
    "trunk": (str, None),  # a mix of its own for the shared steps; without it they are the arms' common beginning
    "questions": (list, []),
    "heldout": (dict, None),  # component -> held-out pool; absent: every one that the arms' mixes have
    "primary": (str, None),  # MEASURE [of SET]: A - B [in GROUP]
    "contrasts": (list, None),  # the same, measure at will; absent: each arm less the untouched one, and the placebo
    "keep_checkpoints": (str, "weights"),  # of a study that is whole: none, weights, all
    "family": (str, ""),  # of models that the student is of, such as the one whose weights it starts from
    "controls": (dict, {}),  # untouched, placebo, opposite -> arm, where the names do not say it
}
NUMBER = (int, Decimal)
JOB = {"device": str, "threads": int, "dtype": str, "compile": (str, bool), "heldout_rows": int}
TRAIN = {
    "steps": int, "batch": int, "micro_batch": int, "lr": NUMBER, "warmup": int, "decay_share": NUMBER,
    "weight_decay": NUMBER, "betas": list, "clip": NUMBER, "branch_at": NUMBER, "log_every": int, "save_every": int,
    "keep": int,
}  # fmt: skip
KEEP = ("none", "weights", "all")
CONTROLS = {
    "untouched": ("an untouched arm (the corpus at its natural shares)", ("untouched",)),
    "placebo": ("a neutral placebo (equal tokens about the same topic, no stance)", ("placebo", "neutral")),
    "opposite": ("an arm of the opposite stance", ("misaligned", "opposite")),
}


@dataclass(frozen=True)
class Arm:
    """One mix of a study: a recipe's path or a built mix; `scratch` trains it without the trunk."""

    mix: Path | Ref
    scratch: bool = False


@dataclass(frozen=True)
class Study:
    """A study recipe, read and checked. `job`, `model` and `train` are what goes into the trainer's job file."""

    recipe: Recipe
    name: str
    version: str
    arms: dict[str, Arm]
    seeds: list[int]
    trunk: Path | Ref | None
    job: dict[str, Any]
    model: dict[str, Any]
    train: dict[str, Any]
    questions: list[Path]
    heldout: dict[str, Ref] | None
    primary: Contrast | None
    contrasts: list[Contrast]
    controls: dict[str, str]
    keep_checkpoints: str
    warnings: list[str] = field(default_factory=list)
    family: str = ""


def read_study(path: str | Path) -> Study:
    """Read a study recipe; raises UserError with file and line for whatever is wrong in it."""
    recipe = read_recipe(path, KEYS)
    arms = {name: _arm(recipe, name, value) for name, value in recipe["arms"].items()}
    if not arms:
        raise UserError("a study needs at least one arm", where=recipe.where("arms"))
    seeds = recipe["seeds"]
    if not seeds or len(set(seeds)) != len(seeds) or any(type(s) is not int or s < 0 for s in seeds):
        raise UserError("'seeds' must be different whole numbers from 0", where=recipe.where("seeds"))
    heldout = recipe["heldout"]
    if heldout is not None:
        heldout = {c: parse_ref(str(ref), where=recipe.where(c, None)) for c, ref in heldout.items()}
    primary = parse_contrast(recipe["primary"], where=recipe.where("primary")) if recipe["primary"] else None
    if primary and not primary.measure:
        raise UserError("'primary' needs a measure", where=recipe.where("primary"),
                        numbers=["like: cloze_margin: aligned - placebo"])  # fmt: skip
    controls = _controls(recipe, arms)
    if recipe["contrasts"] is None:
        contrasts = [Contrast(a, controls[c]) for c in ("untouched", "placebo") if c in controls
                     for a in arms if a not in (controls[c], controls.get("untouched"))]  # fmt: skip
    else:
        contrasts = [parse_contrast(str(t), where=recipe.where("contrasts")) for t in recipe["contrasts"]]
    for contrast, key in [*((c, "contrasts") for c in contrasts), *([(primary, "primary")] if primary else [])]:
        for arm in (contrast.a, contrast.b):
            if arm not in arms:
                raise UserError(f"there is no arm '{arm}'", where=recipe.where(key), numbers=[_near(arm, list(arms))])
    keep = recipe["keep_checkpoints"]
    if keep not in KEEP:
        raise UserError(f"'keep_checkpoints' cannot be '{keep}'", where=recipe.where("keep_checkpoints"),
                        numbers=[_near(keep, list(KEEP))])  # fmt: skip
    job, model, train = _trainer(recipe)
    return Study(
        recipe, recipe["name"], recipe["version"], arms, list(seeds),
        _mix(recipe, recipe["trunk"], "trunk") if recipe["trunk"] else None, job, model, train,
        [_file(recipe, str(q), "questions") for q in recipe["questions"]], heldout, primary, contrasts, controls,
        keep, _warnings(recipe, controls, primary), recipe["family"].strip(),
    )  # fmt: skip


def _near(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean '{near[0]}'?" if near else "there are: " + ", ".join(words)


def _file(recipe: Recipe, text: str, key: str) -> Path:
    """A file named in the recipe: beside it, else from the working directory."""
    beside = (recipe.path.parent if recipe.path else Path()) / text
    found = next((p for p in (beside, Path(text)) if p.is_file()), None)
    if found is None:
        raise UserError(f"there is no file {beside}", where=recipe.where(key))
    return found.resolve()


def _mix(recipe: Recipe, text: str, key: str) -> Path | Ref:
    return _file(recipe, text, key) if text.endswith(".toml") else parse_ref(text, where=recipe.where(key))


def _arm(recipe: Recipe, name: str, value: Any) -> Arm:
    where = recipe.where(name)
    if not NAME.match(name) or name == "trunk":
        raise UserError(f"'{name}' cannot be the name of an arm", where=where,
                        numbers=["lower-case letters, digits, '.', '_', '-'; not 'trunk'"])  # fmt: skip
    if isinstance(value, dict) and set(value) <= {"mix", "scratch"} and isinstance(value.get("mix"), str):
        return Arm(_mix(recipe, value["mix"], name), bool(value.get("scratch", False)))
    if not isinstance(value, str):
        raise UserError(f"arm '{name}' must be a mix recipe, name@version, or {{ mix, scratch }}", where=where)
    return Arm(_mix(recipe, value, name))


def _trainer(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The trainer table split as the job file has it; numbers as plain JSON."""
    known: dict[str, Any] = {**JOB, **TRAIN, "size": str, "model": dict, "schedule": str}
    table = dict(recipe["trainer"])
    for key, value in table.items():
        where = recipe.where(key)
        if key not in known:
            raise UserError(f"unknown key '{key}' in trainer", where=where, numbers=[_near(key, list(known))])
        if not isinstance(value, known[key]) or (isinstance(value, bool) and key != "compile"):
            raise UserError(f"trainer.{key} cannot be {value!r}", where=where)
    if table.pop("schedule", "wsd") != "wsd":
        raise UserError("trainer.schedule can only be 'wsd' (warm-up, stable, decay)", where=recipe.where("schedule"))
    if not 0 <= table.get("branch_at", 0) < 1:
        raise UserError("trainer.branch_at must lie in [0, 1)", where=recipe.where("branch_at"))
    model = {**({"size": table["size"]} if "size" in table else {}), **table.get("model", {})}
    pick = lambda names: {k: plain(v) for k, v in table.items() if k in names}  # noqa: E731
    return pick(JOB), plain(model), pick(TRAIN)


def plain(value: Any) -> Any:
    """Decimals of a recipe as JSON numbers (their shortest spelling is the recipe's own)."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def _controls(recipe: Recipe, arms: dict[str, Arm]) -> dict[str, str]:
    """Which arm is which control: what the recipe says, else the arm whose name begins with the control's."""
    found: dict[str, str] = {}
    for role, arm in recipe["controls"].items():
        if role not in CONTROLS:
            raise UserError(
                f"unknown control '{role}'", where=recipe.where(role), numbers=[_near(role, list(CONTROLS))]
            )
        if arm not in arms:
            raise UserError(f"there is no arm '{arm}'", where=recipe.where(role), numbers=[_near(str(arm), list(arms))])
    for role, (_, starts) in CONTROLS.items():
        named = recipe["controls"].get(role) or next((a for a in arms if a.split("-")[0] in starts), None)
        if named:
            found[role] = named
    return found


def _warnings(recipe: Recipe, controls: dict[str, str], primary: Contrast | None) -> list[str]:
    lines = [f"this study lacks {about}; a difference may come from the topic or the tokens alone"
             for role, (about, _) in CONTROLS.items() if role not in controls]  # fmt: skip
    if primary is None:
        lines.append("no primary contrast is named; of many, one will look large by chance")
    if len(recipe["seeds"]) < 3:
        lines.append(f"{len(recipe['seeds'])} seed(s): no interval over seeds will be given; three are needed")
    return lines
