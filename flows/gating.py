"""Which gate do a recipe's rewrites go through? The checks, and what they ask of classifiers, index and judge.

[gate]                                   # none of it is needed
stance     = "act@1"                     # classifier of classes: a rewrite must be of its segment's class
benchmarks = "benchmarks@0123456789ab"   # index of evaluation items (curate with benchmarks makes it)
judge      = "rubrics/entailment.toml"   # a rubric with the answer `follows`, asked both ways
embedding  = true                        # MiniLM; without the key: where its package is installed
language   = true                        # the same
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.judge import Rubric
from flows.entailing import JudgedGate
from flows.rewriting import Rewriting
from flows.senses import find_senses
from leaven.errors import UserError
from leaven.home import Home
from leaven.recipe import check_recipe
from rewriters.gate import Gate

KEYS: dict[str, Any] = {
    "stance": (str, ""),
    "benchmarks": (str, ""),
    "judge": (str, ""),
    "embedding": (bool, None),
    "language": (bool, None),
}


@dataclass(frozen=True)
class BuiltGate:
    """A gate with what it was made of, for manifests, and the rubric of the judge that it asks, if any."""

    gate: Gate
    inputs: list[dict]
    judge: Rubric | None = None

    @property
    def meaning(self) -> dict[str, Any]:
        return self.gate.meaning


def build_gate(home: Home, made: Rewriting) -> BuiltGate:
    """The gate of a recipe; raises UserError for a reference or rubric that is not there, or a check that is none."""
    table = check_recipe(made.recipe["gate"], KEYS, made.recipe.path)
    beside = made.recipe.path.parent if made.recipe.path else Path()
    path = beside / table["judge"] if table["judge"] else ""
    try:
        senses = find_senses(
            home, embedding=table["embedding"], language=table["language"], stance=table["stance"],
            benchmarks=table["benchmarks"], judge=path,
        )  # fmt: skip
        judge = Rubric(path) if path else None
        gate = JudgedGate(judge, **senses.functions, sources=senses.sources) if judge else senses.gate()
        for style in made.styles:
            gate.runs(style)  # knows every check and limit that the style names
    except UserError as error:
        where = error.where or made.recipe.where("gate")
        raise UserError(error.what, where=where, numbers=error.numbers, do=error.do) from None
    return BuiltGate(gate, senses.inputs, judge)
