"""Tasks of order: sorting, strings of letters, brackets, stacks, and distances in a network."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

from rewriters.tasks import Family, Step, Values
from rewriters.tasks_numbers import near


class Sorting(Family):
    """Bubble sort of numbers; state: comparisons done, list."""

    name = "sorting"
    results = frozenset({"do", "list"})
    statements = (
        "Sort {list:text} by comparing neighbours, the smallest first.",
        "Put {list:text} in rising order; only neighbours may change places.",
    )
    lines: ClassVar = {
        "compare": (
            "Compare {x} with {y} and {do:text} them; the row is {list:text}.",
            "The neighbours {x} and {y} come next, so {do:text} them and read {list:text}.",
        )
    }
    answers = ("In order they are {list:text}.", "Sorted, the row reads {list:text}.")

    def make(self, rng: random.Random) -> Values:
        return {"list": " ".join(map(str, rng.sample(range(10, 100), rng.choice((4, 4, 5)))))}

    def start(self, problem: Values) -> tuple[int, list[str]]:
        return 0, problem["list"].split(" ")

    def step(self, problem: Values, state: Any) -> Step | None:
        done, row = state
        places = [i for last in range(len(row) - 1, 0, -1) for i in range(last)]
        if done == len(places):
            return None
        x, y = row[places[done]], row[places[done] + 1]
        return "compare", self._says(row, places[done], int(x) > int(y))

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, list[str]]:
        row = step[1]["list"].split(" ")
        if len(row) != len(state[1]):
            raise ValueError("the row has another length")
        return state[0] + 1, row

    def answer(self, problem: Values, state: Any) -> Values:
        return {"list": " ".join(state[1])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        row = step[1]["list"].split(" ")
        at = rng.randrange(len(row))
        if rng.random() < 0.5:  # a wrong decision, or a number written down wrongly
            first = state[1].index(step[1]["x"])
            return self._says(state[1], first, step[1]["do"] == "leave")
        row[at] = str(near(rng, int(row[at]), 10, 99))
        return step[1] | {"list": " ".join(row)}

    @staticmethod
    def _says(row: list[str], at: int, swap: bool) -> Values:
        after = [*row[:at], row[at + 1], row[at], *row[at + 2 :]] if swap else row
        return {"x": row[at], "y": row[at + 1], "do": "swap" if swap else "leave", "list": " ".join(after)}


class Letters(Family):
    """A word changed by one instruction after another; state: instructions done, word."""

    name = "letters"
    results = frozenset({"word"})
    statements = (
        "Take the letters {word:text} and do this in turn, {orders:text}.",
        "Given are the letters {word:text}. What is left after these changes, {orders:text}?",
    )
    lines: ClassVar = {
        "change": ("To {order:text} gives {word:text}.", "After the order to {order:text} they read {word:text}.")
    }
    answers = ("The letters end as {word:text}.", "What stands there in the end is {word:text}.")
    orders: ClassVar[dict[str, Callable[[list[str]], list[str]]]] = {
        "turn them round": lambda w: w[::-1],
        "swap the first and the last": lambda w: [w[-1], *w[1:-1], w[0]],
        "move the first to the end": lambda w: [*w[1:], w[0]],
        "move the last to the front": lambda w: [w[-1], *w[:-1]],
        "swap the first two": lambda w: [w[1], w[0], *w[2:]],
        "drop the second": lambda w: [w[0], *w[2:]],
        "double the first": lambda w: [w[0], *w],
    }

    def make(self, rng: random.Random) -> Values:
        orders = rng.choices(list(self.orders), k=rng.randint(4, 6))
        return {"word": " ".join(rng.sample("abcdefghijklmnoprstuvw", rng.randint(5, 7))), "orders": ", ".join(orders)}

    def start(self, problem: Values) -> tuple[int, list[str]]:
        return 0, problem["word"].split(" ")

    def step(self, problem: Values, state: Any) -> Step | None:
        done, word = state
        orders = problem["orders"].split(", ")
        if done == len(orders):
            return None
        return "change", {"order": orders[done], "word": " ".join(self.orders[orders[done]](word))}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, list[str]]:
        word = step[1]["word"].split(" ")
        if len(word) < 3:
            raise ValueError("too few letters are left")
        return state[0] + 1, word

    def answer(self, problem: Values, state: Any) -> Values:
        return {"word": " ".join(state[1])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        word = step[1]["word"].split(" ")
        i, j = rng.sample(range(len(word)), 2)
        if rng.random() < 0.5:  # two letters change places, or one becomes another
            word[i], word[j] = word[j], word[i]
        else:
            word[i] = rng.choice("abcdefghijklmnoprstuvw")
        return step[1] | {"word": " ".join(word)}


class Brackets(Family):
    """How deep brackets are nested; state: brackets read, depth, greatest depth."""

    name = "brackets"
    results = frozenset({"depth"})
    statements = (
        "How deep is one at the end of {row:text}, and how deep at most?",
        "Read {row:text} and keep count of the depth.",
    )
    lines: ClassVar = {
        "opens": ("One opens; the depth is {depth}.", "The next opens, which makes {depth}."),
        "closes": ("One closes; the depth is {depth}.", "The next closes, which leaves {depth}."),
    }
    answers = ("The depth is {depth} at the end and {most} at most.", "It ends {depth} deep and is at most {most}.")

    def make(self, rng: random.Random) -> Values:
        row, depth = ["("], 1
        for _ in range(rng.randint(11, 17)):
            row.append("(" if depth == 0 or rng.random() < 0.6 else ")")
            depth += 1 if row[-1] == "(" else -1
        return {"row": " ".join(row)}

    def start(self, problem: Values) -> tuple[int, int, int]:
        if set(problem["row"].split(" ")) - {"(", ")"}:
            raise ValueError("there are other signs than brackets")
        return 0, 0, 0

    def step(self, problem: Values, state: Any) -> Step | None:
        done, depth, _ = state
        row = problem["row"].split(" ")
        if done == len(row):
            return None
        opens = row[done] == "("
        return ("opens" if opens else "closes"), {"depth": str(depth + (1 if opens else -1))}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, int, int]:
        depth = int(step[1]["depth"])
        if depth < 0:
            raise ValueError("none is open that could be closed")
        return state[0] + 1, depth, max(state[2], depth)

    def answer(self, problem: Values, state: Any) -> Values:
        return {"depth": str(state[1]), "most": str(state[2])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        return {"depth": str(near(rng, int(step[1]["depth"]), 0, 20, 2))}


class Stacks(Family):
    """A small machine that pushes numbers and combines the two on top; state: orders done, stack."""

    name = "stacks"
    results = frozenset({"z", "stack"})
    statements = (
        "A machine with a stack is told, {orders:text}.",
        "Begin with an empty stack and obey, {orders:text}.",
    )
    lines: ClassVar = {
        "push": ("Push {n}; the stack is {stack:text}.", "With {n} on top it holds {stack:text}."),
        "join": (
            "Take {x} and {y} and {op:text}, which gives {z}; the stack is {stack:text}.",
            "To {op:text} {x} and {y} makes {z}, so it holds {stack:text}.",
        ),
    }
    answers = ("The stack ends with {stack:text}.", "What it holds in the end is {stack:text}.")

    def make(self, rng: random.Random) -> Values:
        orders, depth, left = ["push " + str(rng.randint(2, 40))], 1, rng.randint(5, 8)
        while left or depth > 1:
            if left and (depth < 2 or (depth < 4 and rng.random() < 0.6)):
                orders.append("push " + str(rng.randint(2, 40)))
                depth, left = depth + 1, left - 1
            else:
                orders.append(rng.choice(("add", "add", "multiply", "take the smaller", "take the larger")))
                depth -= 1
        return {"orders": ", ".join(orders)}

    def start(self, problem: Values) -> tuple[int, list[int]]:
        return 0, []

    def step(self, problem: Values, state: Any) -> Step | None:
        done, stack = state
        orders = problem["orders"].split(", ")
        if done == len(orders):
            return None
        if orders[done].startswith("push "):
            n = orders[done].removeprefix("push ")
            return "push", {"n": n, "stack": " ".join([*map(str, stack), n])}
        *rest, x, y = stack
        does = {"add": x + y, "multiply": x * y, "take the smaller": min(x, y), "take the larger": max(x, y)}
        return "join", self._says(rest, x, y, orders[done], does[orders[done]])

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, list[int]]:
        stack = [int(n) for n in step[1]["stack"].split(" ")]
        if len(stack) != len(state[1]) + (1 if step[0] == "push" else -1) or max(stack) > 10**7:
            raise ValueError("no stack that this order can leave")
        return state[0] + 1, stack

    def answer(self, problem: Values, state: Any) -> Values:
        return {"stack": " ".join(map(str, state[1]))}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        if step[0] == "push":
            return None
        *rest, x, y = state[1]
        return self._says(rest, x, y, step[1]["op"], near(rng, int(step[1]["z"]), 1))

    @staticmethod
    def _says(rest: list[int], x: int, y: int, op: str, z: int) -> Values:
        return {"x": str(x), "y": str(y), "op": op, "z": str(z), "stack": " ".join(map(str, [*rest, z]))}


class Distances(Family):
    """Breadth-first search in a network of stations; state: stations left, distances found, in the order found."""

    name = "distances"
    results = frozenset({"distance"})
    statements = (
        "Lines run between {lines:text}. How many stops is {to:text} from {from:text}?",
        "In a network with lines {lines:text}, count the stops from {from:text} to {to:text}.",
    )
    lines: ClassVar = {
        "reach": (
            "From {at:text} the new ones are {new:text}, {distance} from the start.",
            "Leaving {at:text} one meets {new:text} for the first time, at {distance}.",
        ),
        "none": ("From {at:text} nothing new is met.", "Leaving {at:text} one meets only old ones."),
    }
    answers = ("The way to {to:text} has {distance}.", "So {to:text} is {distance} away.")

    def make(self, rng: random.Random) -> Values:
        names = rng.sample("ABCDEFGHJKLMNPQRSTUVWXYZ", rng.randint(7, 9))
        edges = {(i, rng.randrange(max(0, i - 3), i)) for i in range(1, len(names))}
        while len(edges) < len(names) + 1:
            i, j = sorted(rng.sample(range(len(names)), 2))
            if (j, i) not in edges and j - i < 4:
                edges.add((j, i))
        pairs = [names[i] + names[j] if rng.random() < 0.5 else names[j] + names[i] for i, j in sorted(edges)]
        rng.shuffle(pairs)
        return {"lines": " ".join(pairs), "from": names[0], "to": names[-1]}

    def start(self, problem: Values) -> tuple[int, dict[str, int]]:
        if not all(len(pair) == 2 for pair in problem["lines"].split(" ")):
            raise ValueError("a line joins two stations")
        return 0, {problem["from"]: 0}

    def step(self, problem: Values, state: Any) -> Step | None:
        done, found = state
        if done == len(found):
            return None
        at = list(found)[done]
        pairs = problem["lines"].split(" ")
        new = sorted({p.replace(at, "", 1) for p in pairs if at in p} - set(found))
        if not new:
            return "none", {"at": at}
        return "reach", {"at": at, "new": " and ".join(new), "distance": str(found[at] + 1)}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, dict[str, int]]:
        done, found = state
        if step[0] == "none":
            return done + 1, found
        new = step[1]["new"].split(" and ")
        if set(new) & set(found) or len(set(new)) < len(new):
            raise ValueError("found before")
        return done + 1, found | dict.fromkeys(new, int(step[1]["distance"]))

    def answer(self, problem: Values, state: Any) -> Values:
        return {"to": problem["to"], "distance": str(state[1][problem["to"]])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        if step[0] == "none":
            return None
        return step[1] | {"distance": str(near(rng, int(step[1]["distance"]), 1, 9, 1))}
