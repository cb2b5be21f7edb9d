"""Tasks of reckoning: addition and multiplication by columns, remainders, units, dates.

Every family's rule is stated once, in `step`; what a line of text must say follows from it.
"""

from __future__ import annotations

import calendar
import random
from typing import Any, ClassVar

from rewriters.tasks import Family, Step, Values

PLACES = ("ones", "tens", "hundreds", "thousands", "ten thousands", "hundred thousands", "millions")
MONTHS = tuple(calendar.month_name)[1:]


def near(rng: random.Random, number: int, low: int = 0, high: int = 10**12, most: int = 9) -> int:
    """Another number at most `most` away, within [low, high], of as many digits where there is one."""
    others = [n for n in range(max(low, number - most), min(high, number + most) + 1) if n != number]
    alike = [n for n in others if len(str(n)) == len(str(number))]
    return rng.choice(alike or others)


class Addition(Family):
    """Column by column from the right; state: column, carry, digits written so far."""

    name = "addition"
    results = frozenset({"sum", "digit", "carry"})
    statements = ("Add {a} and {b}.", "What is {a} plus {b}?", "Two counts are to be put together, {a} and {b}.")
    lines: ClassVar = {
        "column": (
            "In the {place:text}, {x} plus {y} plus the carry {c} makes {sum}; write {digit} and carry {carry}.",
            "The {place:text} give {x}, {y} and a carry of {c}, which is {sum}; write {digit}, carry {carry}.",
        ),
        "carry": ("The last carry, {carry}, goes in front.", "In front stands the carry that is left, {carry}."),
    }
    answers = ("The sum is {sum}.", "Together that is {sum}.")

    def make(self, rng: random.Random) -> Values:
        return {k: str(rng.randint(10 ** (n - 1), 10**n - 1)) for k, n in zip("ab", rng.choices((4, 5, 6), k=2))}

    def start(self, problem: Values) -> tuple[int, int, str]:
        return 0, 0, ""

    def step(self, problem: Values, state: Any) -> Step | None:
        column, carry, _ = state
        a, b = problem["a"][::-1], problem["b"][::-1]
        if column < max(len(a), len(b)):
            x, y = (int(n[column]) if column < len(n) else 0 for n in (a, b))
            return "column", self._says(PLACES[column], x, y, carry, x + y + carry)
        return ("carry", {"carry": str(carry)}) if carry else None

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, int, str]:
        column, _, digits = state
        if step[0] == "carry":
            return column, 0, step[1]["carry"] + digits
        return column + 1, int(step[1]["carry"]), step[1]["digit"] + digits

    def answer(self, problem: Values, state: Any) -> Values:
        return {"sum": str(int(state[2]))}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        if step[0] == "carry":
            return None
        x, y, c = (int(step[1][k]) for k in ("x", "y", "c"))
        return self._says(step[1]["place"], x, y, c, near(rng, x + y + c, 0, 19, 3))

    @staticmethod
    def _says(place: str, x: int, y: int, carry: int, total: int) -> Values:
        said = {"x": x, "y": y, "c": carry, "sum": total, "digit": total % 10, "carry": total // 10}
        return {"place": place} | {k: str(v) for k, v in said.items()}


class Multiplication(Family):
    """A long number times one digit; state: column, carry, digits written so far."""

    name = "multiplication"
    results = frozenset({"product", "sum", "digit", "carry"})
    statements = ("Multiply {a} by {b}.", "What is {a} times {b}?", "Each of {b} boxes holds {a} pins; how many pins?")
    lines: ClassVar = {
        "column": (
            "{b} times {x} is {product}, and {c} carried makes {sum}; write {digit} and carry {carry}.",
            "From {x} times {b} comes {product}; with the carry {c} it is {sum}; write {digit}, keep {carry}.",
        ),
        "carry": ("The carry {carry} is written in front.", "What is still carried, {carry}, goes in front."),
    }
    answers = ("The product is {product}.", "In all that makes {product}.")

    def make(self, rng: random.Random) -> Values:
        n = rng.choice((4, 5, 6))
        return {"a": str(rng.randint(10 ** (n - 1), 10**n - 1)), "b": str(rng.randint(3, 9))}

    def start(self, problem: Values) -> tuple[int, int, str]:
        return 0, 0, ""

    def step(self, problem: Values, state: Any) -> Step | None:
        column, carry, _ = state
        if column < len(problem["a"]):
            x, b = int(problem["a"][-1 - column]), int(problem["b"])
            return "column", self._says(x, b, x * b, carry)
        return ("carry", {"carry": str(carry)}) if carry else None

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, int, str]:
        column, _, digits = state
        if step[0] == "carry":
            return column, 0, step[1]["carry"] + digits
        return column + 1, int(step[1]["carry"]), step[1]["digit"] + digits

    def answer(self, problem: Values, state: Any) -> Values:
        return {"product": str(int(state[2]))}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        if step[0] == "carry":
            return None
        x, b, product, c = (int(step[1][k]) for k in ("x", "b", "product", "c"))
        return self._says(x, b, near(rng, product, 0, 81, 4), c)

    @staticmethod
    def _says(x: int, b: int, product: int, carry: int) -> Values:
        total = product + carry
        said = {"x": x, "b": b, "product": product, "c": carry, "sum": total}
        return {k: str(v) for k, v in (said | {"digit": total % 10, "carry": total // 10}).items()}


class Remainders(Family):
    """A chain of sums and products, each brought below a modulus; state: steps done, number."""

    name = "remainders"
    results = frozenset({"raw", "rest"})
    statements = (
        "Start with {start} and count modulo {modulus}; then {chain:text}.",
        "All reckoning is modulo {modulus}. Begin at {start}; then {chain:text}.",
    )
    lines: ClassVar = {
        "do": (
            "{x} {op:text} {y} is {raw}, which leaves {rest}.",
            "Now {x} {op:text} {y} gives {raw}; the remainder is {rest}.",
        )
    }
    answers = ("The chain ends at {rest}.", "What is left in the end is {rest}.")

    def make(self, rng: random.Random) -> Values:
        modulus = rng.randint(11, 97)
        chain = [f"{rng.choice(('plus', 'times'))} {rng.randint(2, 30)}" for _ in range(rng.randint(5, 8))]
        return {"start": str(rng.randrange(modulus)), "modulus": str(modulus), "chain": ", ".join(chain)}

    def start(self, problem: Values) -> tuple[int, int]:
        return 0, int(problem["start"])

    def step(self, problem: Values, state: Any) -> Step | None:
        done, x = state
        chain = problem["chain"].split(", ")
        if done == len(chain):
            return None
        op, y = chain[done].split(" ")
        return "do", self._says(x, op, y, x + int(y) if op == "plus" else x * int(y), int(problem["modulus"]))

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, int]:
        return state[0] + 1, int(step[1]["rest"])

    def answer(self, problem: Values, state: Any) -> Values:
        return {"rest": str(state[1])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        said, modulus = step[1], int(problem["modulus"])
        if rng.random() < 0.5:  # the sum or product is wrong, or the remainder alone
            return self._says(state[1], said["op"], said["y"], near(rng, int(said["raw"])), modulus)
        return said | {"rest": str(near(rng, int(said["rest"]), 0, modulus - 1))}

    @staticmethod
    def _says(x: int, op: str, y: str, raw: int, modulus: int) -> Values:
        return {"x": str(x), "op": op, "y": y, "raw": str(raw), "rest": str(raw % modulus)}


LADDERS = (
    (("weeks", "days", "hours", "minutes"), (7, 24, 60)),
    (("days", "hours", "minutes", "seconds"), (24, 60, 60)),
    (("tonnes", "kilograms", "grams", "milligrams"), (1000, 1000, 1000)),
    (("miles", "yards", "feet", "inches"), (1760, 3, 12)),
    (("stone", "pounds", "ounces", "drams"), (14, 16, 16)),
    (("sovereigns", "shillings", "pence", "farthings"), (20, 12, 4)),
    (("great gross", "gross", "dozens", "pieces"), (12, 12, 12)),
)
LADDER_TO = {units[-1]: (units, sizes) for units, sizes in LADDERS}


class Units(Family):
    """Down a ladder of units, adding what is given of each; state: steps done, amount of the unit reached."""

    name = "units"
    results = frozenset({"total"})
    statements = (
        "How many {last:text} are {amounts:text}?",
        "Turn {amounts:text} into {last:text}.",
        "A clerk must enter {amounts:text} as {last:text}.",
    )
    lines: ClassVar = {
        "down": (
            "{n} {unit:text} of {each} {next:text} each are {total} {next:text}.",
            "With {each} {next:text} in each, {n} {unit:text} make {total} {next:text}.",
        ),
        "add": (
            "Adding {more} {unit:text} to {n} makes {total} {unit:text}.",
            "The {more} {unit:text} beside {n} bring it to {total} {unit:text}.",
        ),
    }
    answers = ("That is {total} {unit:text}.", "So {total} {unit:text} are entered.")

    def make(self, rng: random.Random) -> Values:
        units, sizes = rng.choice(LADDERS)
        tops = (rng.randint(2, 40), *(rng.randint(2, size - 1) for size in sizes))
        return {"amounts": ", ".join(f"{n} {u}" for n, u in zip(tops, units)), "last": units[-1]}

    def start(self, problem: Values) -> tuple[int, int]:
        return 0, int(problem["amounts"].split(" ")[0])

    def step(self, problem: Values, state: Any) -> Step | None:
        done, n = state
        amounts = [a.split(" ", 1) for a in problem["amounts"].split(", ")]
        if done == 2 * (len(amounts) - 1):
            return None
        at, adding = divmod(done, 2)
        more, unit = amounts[at + 1]
        if adding:
            return "add", {"more": more, "unit": unit, "n": str(n), "total": str(n + int(more))}
        units, sizes = LADDER_TO[problem["last"]]
        if (units[at], units[at + 1]) != (amounts[at][1], unit):
            raise ValueError(f"no ladder leads from {amounts[at][1]} to {unit}")
        each = sizes[at]
        return "down", {"n": str(n), "unit": units[at], "each": str(each), "next": unit, "total": str(n * each)}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, int]:
        return state[0] + 1, int(step[1]["total"])

    def answer(self, problem: Values, state: Any) -> Values:
        return {"total": str(state[1]), "unit": problem["last"]}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        total = int(step[1]["total"])
        return step[1] | {"total": str(near(rng, total, 1, most=rng.choice((9, 100))))}


class Dates(Family):
    """Days counted on from a date, month by month; state: day, month, year, days still to go, whether at the end."""

    name = "dates"
    results = frozenset({"rest", "long", "to_go"})
    statements = (
        "Which date is {days} days after {day} {month:text} {year}?",
        "A bill of {day} {month:text} {year} is due in {days} days.",
        "Count {days} days on from {day} {month:text} {year}.",
    )
    lines: ClassVar = {
        "first": (
            "{month:text} {year} has {long} days, so after day {day} it has {rest} left; {to_go} remain.",
            "In {month:text} {year}, which has {long} days, {rest} follow day {day}; that leaves {to_go}.",
        ),
        "month": (
            "{month:text} {year} takes {long} days; {to_go} remain.",
            "All {long} days of {month:text} {year} pass; that leaves {to_go}.",
        ),
        "end": (
            "{month:text} {year} has {long} days, which is enough for {day}.",
            "Day {day} lies within the {long} days of {month:text} {year}.",
        ),
    }
    answers = ("The date is {day} {month:text} {year}.", "It falls on {day} {month:text} {year}.")

    def make(self, rng: random.Random) -> Values:
        year, month = rng.randint(1950, 2090), rng.randint(1, 12)
        day = rng.randint(1, calendar.monthrange(year, month)[1] - 1)
        days = rng.randint(110, 290)
        return {"day": str(day), "month": MONTHS[month - 1], "year": str(year), "days": str(days)}

    def start(self, problem: Values) -> tuple[int, int, int, int, bool]:
        month = MONTHS.index(problem["month"]) + 1
        return int(problem["day"]), month, int(problem["year"]), int(problem["days"]), False

    def step(self, problem: Values, state: Any) -> Step | None:
        day, month, year, to_go, ended = state
        if ended:
            return None
        long = calendar.monthrange(year, month)[1]
        said = {"month": MONTHS[month - 1], "year": str(year), "long": str(long)}
        if day:
            rest = long - day
            return "first", said | {"day": str(day), "rest": str(rest), "to_go": str(to_go - rest)}
        if to_go > long:
            return "month", said | {"to_go": str(to_go - long)}
        return "end", said | {"day": str(to_go)}

    def advance(self, problem: Values, state: Any, step: Step) -> tuple[int, int, int, int, bool]:
        _, month, year, _, _ = state
        if step[0] == "end":
            return int(step[1]["day"]), month, year, 0, True
        to_go = int(step[1]["to_go"])
        if to_go < 1:
            raise ValueError("no days remain")
        return 0, month % 12 + 1, year + month // 12, to_go, False

    def answer(self, problem: Values, state: Any) -> Values:
        return {"day": str(state[0]), "month": MONTHS[state[1] - 1], "year": str(state[2])}

    def alter(self, rng: random.Random, problem: Values, state: Any, step: Step) -> Values | None:
        kind, said = step
        if kind == "end":
            return None
        if kind == "first" and rng.random() < 0.5:  # the days left in the month are wrong, or what remains after them
            rest = near(rng, int(said["rest"]), 0, 31, 3)
            return said | {"rest": str(rest), "to_go": str(state[3] - rest)}
        if kind == "month" and rng.random() < 0.5:
            long = near(rng, int(said["long"]), 28, 31, 1)
            return said | {"long": str(long), "to_go": str(state[3] - long)}
        return said | {"to_go": str(near(rng, int(said["to_go"]), 1, most=5))}
