"""Which gate do a recipe's rewrites go through? The checks, and what they ask of classifiers, index and judge.

[gate]                                   # none of it is needed
stance     = "act@1"                     # classifier of classes: the rewrite must be of its segment's class
benchmarks = "benchmarks@0123456789ab"   # index of evaluation items (curate with benchmarks makes it)
judge      = "rubrics/entailment.toml"   # a rubric with the answer `follows`; both ways are asked
embedding  = true                        # MiniLM
language   = true
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.rewriting import Rewriting
from leaven.home import Home
from rewriters.gate import Gate


@dataclass(frozen=True)
class BuiltGate:
    """A gate with what it was made of, for manifests."""

    gate: Gate
    inputs: list[dict]

    @property
    def meaning(self) -> dict[str, Any]:
        return self.gate.meaning


def build_gate(home: Home, made: Rewriting) -> BuiltGate:
    """The gate of a recipe; raises UserError for a reference or rubric that is not there, or a check that is none."""
    from filters.embedding import Embedder

    embedder = Embedder()
    gate = Gate(embed=lambda texts: embedder.embed(texts)[0], sources={"embed": "minilm"})
    for style in made.styles:
        gate.runs(style)
    return BuiltGate(gate, [])
