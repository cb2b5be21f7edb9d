"""Tasks of rules: a small program run line by line, and statements that are true or false."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from rewriters.tasks import Family, Step, Values
from rewriters.tasks_numbers import near

NAMES = "pqrstuvwxyz"


class Programs(Family):
    """Orders to three variables; state: orders done, values."""

    name = "programs"
    results = frozenset({"value"})
    statements = (
        "Run this, {orders:text}, and say what {asked:text} holds.",
        "What is in {asked:text} after these orders, {orders:text}?",
    )
    lines: ClassVar = {
        "set": (
            "By the order to {order:text}, {name:text} is {value}.",
            "Now comes {order:text}, after which {name:text} holds {value}.",
        )
    }
    answers = ("In the end {name:text} is {value}.", "So {name:text} holds {value}.")

    def make(self, rng: random.Random) -> Values:
        names = rng.sample(NAMES, 3)
        orders = [f"set {n} to {rng.randint(2, 30)}" for n in names]
        for _ in range(rng.randint(4, 6)):
            a, b = rng.sample(names, 2)
            orders.append(rng.choice((f"add {a} to {b}", f"double {a}", f"copy {a} into {b}", f"raise {a} by 3",
                                      f"put the larger of {a} and {b} into {a}")))  # fmt: skip
        last = orders[-1].split(" ")
        changed = last[1] if last[0] == "raise" else last[-1]
        return {"orders": ", ".join(orders), "asked": changed if rng.random() < 0.7 else rng.choice(names)}

    def start(self, problem: Values) -> tuple[int, dict[str, int]]:
        return 0, {}

    def step(self, problem: Values, state: Any) -> Step | None:
        done, held = state
        orders = problem["orders"].split(", ")
        if done == len(orders):
            return None
        name, value = self._obey(orders[done].split(" "), held)
        return "set", {"order": orders[done], "name": name, "value": str(value)}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, dict[str, int]]:
        return state[0] + 1, state[1] | {step[1]["name"]: int(step[1]["value"])}

    def answer(self, problem: Values, state: Any) -> Values:
        return {"name": problem["asked"], "value": str(state[1][problem["asked"]])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        if step[1]["order"].startswith(("set ", "copy ")):
            return None
        return step[1] | {"value": str(near(rng, int(step[1]["value"]), 0))}

    @staticmethod
    def _obey(order: list[str], held: dict[str, int]) -> tuple[str, int]:
        match order:
            case ["set", name, "to", number]:
                return name, int(number)
            case ["add", one, "to", name]:
                return name, held[name] + held[one]
            case ["double", name]:
                return name, 2 * held[name]
            case ["copy", one, "into", name]:
                return name, held[one]
            case ["raise", name, "by", number]:
                return name, held[name] + int(number)
            case ["put", "the", "larger", "of", one, "and", other, "into", name]:
                return name, max(held[one], held[other])
        raise ValueError(f"no order: {' '.join(order)}")


class Truths(Family):
    """Statements built from others by and, or and not; state: definitions worked through, truth of each."""

    name = "truths"
    results = frozenset({"truth"})
    statements = (
        "Given {given:text}, with {rules:text}. Is {asked:text} true?",
        "It is known that {given:text}. Further, {rules:text}. Decide {asked:text}.",
    )
    lines: ClassVar = {
        "rule": (
            "{name:text} asks for {rule:text}, that is {with:text}, so {name:text} is {truth:text}.",
            "Since {rule:text} comes to {with:text}, {name:text} is {truth:text}.",
        )
    }
    answers = ("So {name:text} is {truth:text}.", "In the end {name:text} is {truth:text}.")
    said: ClassVar = {False: "false", True: "true"}

    def make(self, rng: random.Random) -> Values:
        names = rng.sample("ABCDEFGHJKLMNPQRSTUVWXYZ", rng.randint(8, 10))
        given, rules = names[:3], []
        for i, name in enumerate(names[3:], 3):
            one, other = names[i - 1] if i > 3 else names[0], rng.choice(names[: max(1, i - 1)])
            if other == one:
                other = names[1]
            pair = (one, other) if rng.random() < 0.5 else (other, one)
            rules.append(f"{name} is {rng.choice(('not ', '', ''))}{pair[0]} {rng.choice(('and', 'or'))} {pair[1]}")
        truths = [f"{name} is {self.said[rng.random() < 0.5]}" for name in given]
        return {"given": ", ".join(truths), "rules": ", ".join(rules), "asked": names[-1]}

    def start(self, problem: Values) -> tuple[int, dict[str, bool]]:
        return 0, {said.split(" ")[0]: said.endswith(" true") for said in problem["given"].split(", ")}

    def step(self, problem: Values, state: Any) -> Step | None:
        done, known = state
        rules = problem["rules"].split(", ")
        if done == len(rules):
            return None
        name, rule = rules[done].split(" is ")
        *no, one, op, other = rule.split(" ")
        first, second = known[one] != bool(no), known[other]
        words = [*no, self.said[known[one]], op, self.said[second]]
        truth = (first and second) if op == "and" else (first or second)
        return "rule", {"name": name, "rule": rule, "with": " ".join(words), "truth": self.said[truth]}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, dict[str, bool]]:
        if step[1]["truth"] not in self.said.values():
            raise ValueError("neither true nor false")
        return state[0] + 1, state[1] | {step[1]["name"]: step[1]["truth"] == "true"}

    def answer(self, problem: Values, state: Any) -> Values:
        return {"name": problem["asked"], "truth": self.said[state[1][problem["asked"]]]}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        return step[1] | {"truth": self.said[step[1]["truth"] != "true"]}
