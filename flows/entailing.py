"""What is a judge of entailment asked about a rewrite, and under which key does its answer lie?

    (premise, hypothesis) --question--> rubric --leaven/generate.py--> how much follows, 0 to 1
    check `not_entailed`, `not_covered` --detail--> "completion KEY"      flows/ledger.py counts what it took

The gate reads a page before it asks (what orders it gives a machine is left out), so which question was put is known to
the gate alone; that its checks name the answers is what makes them countable afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from filters.judge import Rubric
from leaven.errors import UserError
from leaven.generate import Store, completion_keys
from rewriters.checks import AnyStyle, Case, Check
from rewriters.gate import NEEDS, Entails, Gate
from rewriters.styles import Style

ANSWER = "follows"  # the rubric's answer that says how much follows
JUDGED = tuple(name for name, need in NEEDS.items() if need == "entails")  # the checks that ask a judge
BACKWARDS = "not_covered"  # whether the rewrite says what the source says; the other asks the other way
NAMED = re.compile(r"completion ([0-9a-f]{32})$")  # how a check's detail ends that rests on a completion


def question(premise: str, hypothesis: str) -> str:
    """What stands in the place of the rubric's {text}."""
    return f"FIRST TEXT:\n{premise}\n\nSECOND TEXT:\n{hypothesis}"


def fits(rubric: Rubric, text: str) -> bool:
    """Whether a question is put at all: two texts are judged whole or not."""
    return len(text) <= rubric.recipe["characters"]


def answer_key(rubric: Rubric, text: str) -> str | None:
    """The key of the completion that answers a question, or None for one that is not put."""
    if not fits(rubric, text):
        return None
    return completion_keys([rubric.prompt(text)], rubric.model, rubric.sampling, rubric.hash)[0]


def entails(rubric: Rubric, store: Store) -> Entails:
    """How surely each hypothesis follows from its premise, 0 to 1; None where the judge gave no valid answer.

    Raises UserError for a rubric that does not ask for `follows` as a number.
    """
    said = rubric.answers.get(ANSWER)
    if said is None or said["max"] is None or said["labels"]:
        raise UserError(f"a judge of entailment answers '{ANSWER}' with a number, min to max",
                        where=rubric.recipe.where("answers"))  # fmt: skip
    low, high = float(said["min"]), float(said["max"])

    def asked(pairs: list[tuple[str, str]]) -> list[float | None]:
        texts = [question(premise, hypothesis) for premise, hypothesis in pairs]
        fit = [i for i, text in enumerate(texts) if fits(rubric, text)]
        answers: list[float | None] = [None] * len(pairs)
        for i, completion in zip(fit, rubric.ask([texts[i] for i in fit], store)):
            _, answer, _ = rubric.read(completion)
            if answer is not None:
                answers[i] = (float(answer[ANSWER]) - low) / (high - low)
        return answers

    return asked


class JudgedGate(Gate):
    """A gate with a judge: each check that asks it names the completion that it rests on."""

    def __init__(self, rubric: Rubric, **functions: Any):
        super().__init__(**functions)
        self.rubric = rubric

    def asks(self, style: AnyStyle) -> tuple[str, ...]:
        """The checks of a style that are questions to the judge."""
        return tuple(name for name in self.runs(style) if name in JUDGED)

    def keys(self, style: Style, texts: Sequence[tuple[str, str]]) -> list[list[str]]:
        """The keys of the answers that would judge each (segment, rewrite) of a style; nobody is asked."""
        silent = JudgedGate(self.rubric, marks=self.functions["marks"], sources=self.sources,
                            entails=lambda pairs: [None] * len(pairs))  # fmt: skip
        only = replace(style, checks=self.asks(style))
        found = silent.run([Case(source, text, only) for source, text in texts]) if only.checks else [[] for _ in texts]
        return [[named[1] for c in checks if (named := NAMED.search(c.detail))] for checks in found]

    def _check(self, name: str, read: Any, answers: Any) -> Check:
        check = super()._check(name, read, answers)
        if name not in JUDGED:
            return check
        texts = (read.source.text, read.text.text)
        key = answer_key(self.rubric, question(*(texts[::-1] if name == BACKWARDS else texts)))
        if key is None:
            return check
        return replace(check, detail=f"{check.detail}, completion {key}" if check.detail else f"completion {key}")
