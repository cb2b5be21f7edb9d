"""What is a task that a program can verify? A family: problems, the one next step of each state, and lines that say it.

    problem --statement--> first line;   state --step--> values --line--> text --read--> values --advance--> next state

A line's template both writes and reads it, so `verify` needs the text alone: it reads the problem off the first line,
and of every further line whether it is the next step from where the lines before it have led. A wrong step is a fault,
and the verifier goes on from what that step says: so it can tell a trace with one wrong step, whose others follow from
it, from one whose order is lost. The families are in rewriters/tasks_*.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

TASKS_VERSION = "1"
MOST_STEPS = 60
SLOT = re.compile(r"\{(\w+)(:text)?\}")
LOST = object()  # a state from which the rules lead nowhere
Values = dict[str, str]  # what a template's slots hold; numbers as they are written
Step = tuple[str, Values]  # kind of line, and what it says


class Family:
    """A kind of task. A problem is what the slots of its statement hold, so it can be read off the statement.

    `statements`, `answers` and `lines` (by kind) hold templates: `{x}` is a whole number, `{x:text}` text without the
    signs . ; : in it. `results` are the slots of a step that can be wrong; all others follow from problem and state.
    `step` gives the next step of a state, or None at the end; `advance` the state after a step, right or wrong
    (ValueError where no state can follow); `alter` other results that look right, or None.
    """

    name: ClassVar[str]
    statements: ClassVar[tuple[str, ...]]
    lines: ClassVar[Mapping[str, tuple[str, ...]]]
    results: ClassVar[frozenset[str]]
    answers: ClassVar[tuple[str, ...]]

    def make(self, rng: random.Random) -> Values:
        raise NotImplementedError

    def start(self, problem: Values) -> Any:
        raise NotImplementedError

    def step(self, problem: Values, state: Any) -> Step | None:
        raise NotImplementedError

    def advance(self, problem: Values, state: Any, step: Step) -> Any:
        raise NotImplementedError

    def answer(self, problem: Values, state: Any) -> Values:
        raise NotImplementedError

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        raise NotImplementedError


@dataclass(frozen=True)
class Trace:
    """A problem worked through: its steps in order, and the answer; `flaw` is the wrong step's number from 1."""

    family: Family
    problem: Values
    steps: tuple[Step, ...]
    answer: Values
    flaw: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What the verifier says of a text.

    `faults` are the numbers, from 1, of the lines of steps that do not follow; one past the last where steps are
    missing. `follows` is whether the answer is that of the last state, `right` whether it is that of the problem.
    """

    faults: tuple[int, ...]
    follows: bool
    right: bool
    why: str = ""

    @property
    def accepted(self) -> bool:
        return not self.faults and self.right

    @property
    def fault(self) -> int | None:
        """The number of the first step that does not follow, or None."""
        return self.faults[0] if self.faults else None


def work(family: Family, problem: Values, rng: random.Random | None = None, at: int | None = None) -> Trace | None:
    """The trace of a problem; with `at` its step of that number is wrong, as `rng` draws it, and the others follow.

    None where that step cannot be altered, or where what follows from it makes no sense.
    """
    state, steps = family.start(problem), list[Step]()
    while (step := family.step(problem, state)) is not None:
        if len(steps) == MOST_STEPS:
            return None
        if len(steps) + 1 == at:
            assert rng is not None
            altered = family.alter(rng, problem, state, step)
            if altered is None or altered == step[1]:
                return None
            step = step[0], altered
        steps.append(step)
        try:
            state = family.advance(problem, state, step)
        except ValueError:
            return None
    if at is not None and at > len(steps):
        return None
    return Trace(family, problem, tuple(steps), family.answer(problem, state), at)


def tell(trace: Trace, surface: random.Random) -> list[str]:
    """The lines of a trace: statement, steps, answer. Equal surfaces word equal steps alike."""
    family = trace.family
    lines = [fill(surface.choice(family.statements), trace.problem)]
    for kind, values in trace.steps:
        lines.append(fill(surface.choice(family.lines[kind]), values))
    return [*lines, fill(surface.choice(family.answers), trace.answer)]


def verify(family: Family, text: str) -> Verdict:
    """Whether every line of a text follows and its answer is right. Raises ValueError where it states no problem."""
    first, *said, last = text.split("\n")
    problem = read(family.statements, first)
    if problem is None:
        raise ValueError(f"this states no problem of {family.name}: {first!r}")
    try:
        truth = work(family, problem)
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"this problem of {family.name} cannot be: {first!r}") from error
    if truth is None:
        raise ValueError(f"this problem of {family.name} has no end: {first!r}")
    state, faults, why = family.start(problem), list[int](), ""
    for number, line in enumerate(said, 1):
        expected = None if state is LOST else family.step(problem, state)
        step = _read_step(family, line)
        if expected is None or step != expected:
            faults.append(number)
            should = fill(family.lines[expected[0]][0], expected[1]) if expected else "left out"
            why = why or f"step {number} should be: {should}"
        if expected is not None:
            state = _go_on(family, problem, state, step, expected)
    if state is not LOST and family.step(problem, state) is not None:
        faults.append(len(said) + 1)
        why, state = why or "steps are missing", LOST
    answer = read(family.answers, last)
    right = answer == truth.answer
    why = why or ("" if right else f"the answer should be: {fill(family.answers[0], truth.answer)}")
    follows = state is not LOST and answer == family.answer(problem, state)
    return Verdict(tuple(faults), follows, right, why)


def _go_on(family: Family, problem: Values, state: Any, said: Step | None, expected: Step) -> Any:
    """The state after what a line says, or after what it should say where it is another step or makes no sense.

    LOST where neither can be: a step that is wrong, and makes sense, may lead where no further step does.
    """
    for step in (said, expected):
        if step is not None and _but_results(family, step) == _but_results(family, expected):
            try:
                return family.advance(problem, state, step)
            except ValueError:
                continue
    return LOST


def _but_results(family: Family, step: Step) -> Step:
    return step[0], {k: v for k, v in step[1].items() if k not in family.results}


def _read_step(family: Family, line: str) -> Step | None:
    for kind, templates in family.lines.items():
        values = read(templates, line)
        if values is not None:
            return kind, values
    return None


def fill(template: str, values: Mapping[str, str]) -> str:
    return SLOT.sub(lambda m: values[m[1]], template)


def read(templates: tuple[str, ...], line: str) -> Values | None:
    """What the slots of the first template that fits hold, or None."""
    for template in templates:
        if found := _pattern(template).fullmatch(line):
            return found.groupdict()
    return None


@lru_cache(maxsize=1024)
def _pattern(template: str) -> re.Pattern[str]:
    """A template as a pattern: a slot that comes again must hold the same again."""
    parts, seen, at = [], set[str](), 0
    for slot in SLOT.finditer(template):
        name, kind = slot[1], r"[^.;:]+?" if slot[2] else r"-?\d+"
        parts.append(re.escape(template[at : slot.start()]))
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{kind})")
        seen.add(name)
        at = slot.end()
    return re.compile("".join(parts) + re.escape(template[at:]))
