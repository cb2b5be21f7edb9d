"""What does each check measure? A case as the gate reads it, what was said of it, and a number with what it found.

source, rewrite --without orders, in plain spelling--> Read --MEASURES[check], Answers--> number, detail
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewriters import check_exchanged as exchange
from rewriters import check_form as form
from rewriters import check_injection as injection
from rewriters import check_meaning as meaning
from rewriters import check_names as names
from rewriters import check_negation as negation
from rewriters import check_numbers as numbers
from rewriters import check_obeyed as obeyed
from rewriters import check_swapped as swap
from rewriters.check_meaning import Vectors
from rewriters.checks import Case, Side, side
from rewriters.furniture import furniture
from rewriters.order_tags import Marker
from rewriters.wording import plain


class Read:
    """A case as the checks read it: the source without orders to a machine, and both texts in plain spelling."""

    def __init__(self, case: Case, checks: tuple[str, ...], marker: Marker | None):
        self.case, self.checks, self.marker = case, checks, marker
        self.orders = self.orders_of(plain(case.source)).settled(plain(case.text))
        self.source, self.text = side(self.orders.without), side(case.text)
        free = furniture(self.orders.text)  # menus and calls to click may be told
        self.sure = side(self.orders.sure(free))  # what must be told: without what may be an order either
        self.as_found = Side(self.orders.text)
        if self.orders.spans:  # that a page gives orders may be told
            self.text = Side(injection.reported(self.text.text, self.source.text))

    def orders_of(self, text: str) -> injection.Instructions:
        """The orders to a machine in a plain text."""
        return injection.instructions(text, self.marker(text) if self.marker and text else None)


class Answers:
    """What the functions handed in said of all cases of a batch."""

    def __init__(self, vectors: Vectors | None):
        self.vectors = vectors
        self.of: dict[str, dict[Any, Any]] = {}
        self.placed: dict[int, exchange.Told] = {}  # numbers, by the case as read
        self.named: dict[int, exchange.Told] = {}  # names


def asked(name: str, text: Side) -> list[str]:
    """The texts of one side that a function is asked about."""
    if name != "language":
        return [text.text]
    return [text.text, *(p for p in text.pieces if len(p) >= FOREIGN)]


FOREIGN = 40  # characters of a sentence whose language is looked at: shorter ones are guessed wrong


def _listed(found: Sequence[str]) -> tuple[float, str]:
    return float(len(found)), "; ".join(found)


def _language(read: Read, answers: Answers) -> tuple[float, str]:
    said = answers.of["language"]
    home = {said[t][0] for t in asked("language", read.source)}
    worst, detail = 0.0, ""
    for piece in asked("language", read.text):
        language, sure = said[piece]
        if language not in home and sure > worst:
            worst, detail = float(sure), f"{language}: {piece[:100]}"
    return round(min(worst, 1.0), 4), detail


def _less(cosine: float) -> float:
    return round(1 - cosine, 4)


def _meaning(read: Read, answers: Answers) -> tuple[float, str]:
    assert answers.vectors
    return _less(meaning.whole(read.source, read.text, answers.vectors)), ""


def _left_out(read: Read, answers: Answers) -> tuple[float, str]:
    assert answers.vectors
    cosine, piece = meaning.least(read.sure, read.text, answers.vectors)
    return _less(cosine), piece


def _put_in(read: Read, answers: Answers) -> tuple[float, str]:
    assert answers.vectors
    cosine, piece = meaning.least(read.text, read.source, answers.vectors)
    return _less(cosine), piece


def _negations(read: Read, answers: Answers) -> tuple[float, str]:
    cosines = None
    if answers.vectors and read.source.sentences and read.text.sentences:
        cosines = meaning.alike(read.source, read.text, answers.vectors)
    number, told = negation.unmatched(read.source, read.text, cosines)
    return number, "; ".join(told)


def _entailed(read: Read, answers: Answers, back: bool) -> tuple[float | None, str]:
    pair = (read.text.text, read.source.text) if back else (read.source.text, read.text.text)
    said = answers.of["entails"][pair]
    return (None, "the judge gave no answer") if said is None else (round(1 - said, 4), "")


def _stance(read: Read, answers: Answers) -> tuple[float, str]:
    before, after = (answers.of["stance"][t.text] for t in (read.source, read.text))
    return float(None not in (before, after) and before != after), f"{before} -> {after}"


def _contamination(read: Read, answers: Answers) -> tuple[float, str]:
    before, after = (int(answers.of["contamination"][t.text]) for t in (read.source, read.text))
    return float(max(0, after - before)), f"{after} in the rewrite, {before} in the source"


def _obeyed(read: Read, answers: Answers) -> tuple[float, str]:
    number, signs = obeyed.followed(read.orders, read.source, read.text, answers.vectors)
    return number, "; ".join(signs)


def _instructions(read: Read) -> list[str]:
    """Orders in the rewrite; of a source's, such as say what its orders say, for the rest is its matter."""
    if not read.case.source:
        return injection.certain(read.text.text)
    if not read.orders.spans:
        return []
    found = read.orders_of(read.text.text).told_apart
    told = injection.matter(read.orders.told)
    return [piece for piece in found if 2 * len(injection.matter(piece) & told) >= len(injection.matter(piece)) > 0]


def _exchanged(read: Read, answers: Answers) -> tuple[float, str]:
    told = answers.placed.get(id(read))
    return _listed(exchange.misplaced(read.source, read.text, SEEN if told else EXCHANGE, told))


def _names_exchanged(read: Read, answers: Answers) -> tuple[float, str]:
    told = answers.named.get(id(read))
    return _listed(swap.swapped(*told, SWAPPED) if told else [])


def _leakage(read: Read, answers: Answers) -> tuple[float, str]:
    style = read.case.style
    run, words = form.leaked(f"{style.system}\n{style.prompt}", read.as_found, read.text, read.case.nonce)
    return float(run), words


def _markdown(read: Read, answers: Answers) -> tuple[float, str]:
    found = form.debris(read.case.source, read.case.text)
    return float(sum(found.values())), "; ".join(f"{kind} {n}" for kind, n in found.items())


def _ratio(read: Read) -> float:
    return form.ratio(read.source, read.text)


EXCHANGE = 2.75  # log odds of an exchange: finds most at .010 of the clean lost (bench/binding.py)
SEEN, SWAPPED = 2.5, 3.5  # of numbers with a model, of names by it alone: each loses .011 and .002 (bench/places.py)
Measure = Callable[[Read, Answers], tuple[float | None, str]]
MEASURES: dict[str, Measure] = {
    "chatter": lambda r, a: _listed(form.chatter(r.as_found, r.text)),
    "leakage": _leakage,
    "markdown": _markdown,
    "repetition": lambda r, a: (form.repetition(r.source, r.text), ""),
    "too_short": lambda r, a: (round(1 / _ratio(r), 4), ""),
    "too_long": lambda r, a: (round(_ratio(r), 4), ""),
    "language": _language,
    "instructions": lambda r, a: _listed(_instructions(r)),
    "obeyed": _obeyed,
    "numbers_missing": lambda r, a: _listed(numbers.missing(r.sure, r.text)),
    "numbers_invented": lambda r, a: _listed(numbers.invented(r.source, r.text)),
    "numbers_exchanged": _exchanged,
    "names_missing": lambda r, a: _listed(names.missing(r.sure, r.text)),
    "names_invented": lambda r, a: _listed(names.invented(r.source, r.text)),
    "names_exchanged": _names_exchanged,
    "quotations_missing": lambda r, a: _listed(form.quotations_missing(r.sure, r.text)),
    "quotations_invented": lambda r, a: _listed(form.quotations_invented(r.source, r.text)),
    "negations": _negations,
    "meaning": _meaning,
    "left_out": _left_out,
    "put_in": _put_in,
    "not_entailed": lambda r, a: _entailed(r, a, False),
    "not_covered": lambda r, a: _entailed(r, a, True),
    "stance": _stance,
    "contamination": _contamination,
}
