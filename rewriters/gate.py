"""Which rewrites pass? Every check measures one defect, stores its number, and has a limit; all must hold.

    Case(source, text, style, nonce) --source without orders to a machine--> what the rewrite should be of
         --checks of the style, cheap ones first--> [Check]      accepted: every one passed

What the gate needs from elsewhere is handed in: embeddings, marks of orders, places of numbers and names, stance,
language, contamination, entailment. A check whose function is missing is not run (but orders, and exchanged numbers,
are then known by words alone), and `meaning` says so. Limits were set on
the development set of the pairs (rewriters/pairs/README.md); CHECKS says what set each. A style may name its checks and
set limits of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from leaven.errors import UserError
from rewriters import check_exchanged as exchange
from rewriters import check_meaning as meaning
from rewriters import check_swapped as swap
from rewriters.check_meaning import Vectors
from rewriters.checks import AnyStyle, Case, Check
from rewriters.measures import MEASURES, Answers, Read, asked
from rewriters.order_tags import Marker
from rewriters.places import Affinities

VERSION = "6"

Embed = meaning.Embed
Stance = Callable[[list[str]], Sequence[str | None]]  # a label a text, None where there is none
Language = Callable[[list[str]], Sequence[tuple[str | None, float]]]  # (language, probability) a text
Contaminated = Callable[[list[str]], Sequence[int]]  # evaluation items that stand in a text
Entails = Callable[
    [list[tuple[str, str]]], Sequence[float | None]
]  # of (premise, hypothesis): 0 no to 1 yes, None unknown


@dataclass(frozen=True)
class About:
    """A check's limit by default, what set it, and what it measures (a sentence with its unit)."""

    limit: Decimal
    set_by: str
    number: str


def _about(limit: str, set_by: str, number: str) -> About:
    return About(Decimal(limit), set_by, number)


NONE = "one is one too many"
DEV = "the largest among clean rewrites was, when it was set,"
CHECKS: dict[str, About] = {  # in the order in which a failed one is named as the reason
    "chatter": _about("0", NONE, "Phrases in which an assistant speaks of its work."),
    "leakage": _about("7", f"{DEV} 3", "Longest run of words copied from the instructions; the marker counts 99."),
    "markdown": _about("0", NONE, "Marks of markup, chat formats, placeholders and emoji beyond the source's."),
    "repetition": _about("0.2", f"{DEV} 0", "Share of words in repeated runs of 4 words, less the source's."),
    "too_short": _about("1.8", f"{DEV} 1.18", "Words of the source for each of the rewrite."),
    "too_long": _about("1.8", f"{DEV} 1.39", "Words of the rewrite for each of the source."),
    "language": _about("0.7", f"{DEV} .531", "Probability of a language that the source lacks, of text or sentence."),
    "instructions": _about("0", NONE, "Orders to a machine that stand in the rewrite."),
    "obeyed": _about("1", "one word alone may be chance", "Words (1), phrases and forms (2) that only orders ask for."),
    "numbers_missing": _about("0", NONE, "Numbers and dates of the source that the rewrite lacks."),
    "numbers_invented": _about("0", NONE, "Numbers and dates of the rewrite that the source lacks."),
    "numbers_exchanged": _about("0", NONE, "Numbers that stand in the place of another."),
    "names_missing": _about("0", NONE, "Names of the source of which the rewrite has no part."),
    "names_invented": _about("0", NONE, "Names of the rewrite that the source lacks."),
    "names_exchanged": _about("0", NONE, "Names that stand in the place of another, by a model of places."),
    "quotations_missing": _about("0", NONE, "Quotations of three words or more that are not kept word for word."),
    "quotations_invented": _about("0", NONE, "Quotations of three words or more whose words the source lacks."),
    "negations": _about("1.9", "lower ones lose more of the clean than they find",
                        "Negations of what the other text says (1), or without a counterpart (0.1)."),
    "meaning": _about("0.4", f"{DEV} .29", "1 less the cosine of the two texts."),
    "left_out": _about("0.9", f"{DEV} .885", "1 less the lowest best cosine of a sentence of the source."),
    "put_in": _about("0.91", f"{DEV} .907", "1 less the lowest best cosine of a sentence of the rewrite."),
    "not_entailed": _about("0.5", "the middle", "1 less how surely the source says what the rewrite says, by a judge."),
    "not_covered": _about("0.5", "the middle", "1 less how surely the rewrite says what the source says, by a judge."),
    "stance": _about("0", NONE, "1 where rewrite and source have a stance, and not the same."),
    "contamination": _about("0", NONE, "Evaluation items that stand in the rewrite and not in its source."),
}  # fmt: skip
OWN = ("chatter", "leakage", "markdown", "repetition", "instructions", "contamination")  # need no source
ADDED = (*OWN, "language", "obeyed", "numbers_invented", "names_invented", "quotations_invented", "put_in")
FAITHFUL = tuple(name for name in CHECKS)
TOLD_OTHERWISE = (*ADDED, "too_short", "too_long", "meaning")  # the act is changed; place and people stay
BY_OPERATION = {"replace": FAITHFUL, "append": ADDED, "new": OWN}
NEEDS = {"language": "language", "meaning": "embed", "left_out": "embed", "put_in": "embed", "stance": "stance",
         "contamination": "contamination", "not_entailed": "entails", "not_covered": "entails",
         "names_exchanged": "places"}  # fmt: skip


def checks_of(style: AnyStyle) -> tuple[str, ...]:
    """The checks that a style's rewrites must pass, in the gate's order; raises UserError for a name that is none.

    A style that names none gets those of its operation: `replace` all of them (less those on content where it is meant
    to take another stance), `append` those against invention, `new` those of a text by itself.
    """
    for name in (*style.checks, *style.limits):
        if name not in CHECKS:
            raise UserError(f"the gate has no check '{name}'", numbers=["checks: " + ", ".join(CHECKS)])
    chosen = style.checks or BY_OPERATION[style.operation]
    if not style.checks and style.operation == "replace" and style.flips_stance:
        chosen = TOLD_OTHERWISE
    return tuple(n for n in CHECKS if n in chosen and not (n == "stance" and style.flips_stance))


class Gate:
    """Checks cases by batches; `meaning` says for a fingerprint which checks can run, by what, and with which limits.

    `sources` names what each function handed in stands for (a model's version), and is part of the meaning.
    """

    version = VERSION

    def __init__(
        self,
        *,
        embed: Embed | None = None,
        stance: Stance | None = None,
        language: Language | None = None,
        contamination: Contaminated | None = None,
        entails: Entails | None = None,
        marks: Marker | None = None,
        places: Affinities | None = None,
        sources: Mapping[str, str] | None = None,
    ):
        self.functions: dict[str, Any] = {
            "embed": embed, "stance": stance, "language": language, "contamination": contamination, "entails": entails,
            "marks": marks, "places": places,
        }  # fmt: skip
        self.sources = dict(sources or {})

    @property
    def meaning(self) -> dict[str, Any]:
        """All that decides what the gate says of a case, but for the style."""
        return {
            "gate": VERSION,
            "limits": {name: about.limit for name, about in CHECKS.items()},
            "checks": {op: list(names) for op, names in BY_OPERATION.items()} | {"flips_stance": list(TOLD_OTHERWISE)},
            "by": {name: self.sources.get(name, "given") if fn else None for name, fn in self.functions.items()},
        }

    def runs(self, style: AnyStyle) -> tuple[str, ...]:
        """The checks that apply to a style and that this gate can run."""
        return tuple(n for n in checks_of(style) if n not in NEEDS or self.functions[NEEDS[n]] is not None)

    def run(self, cases: Sequence[Case]) -> list[list[Check]]:
        """The checks of each case, in the gate's order; no case depends on the others."""
        vectors = Vectors(self.functions["embed"]) if self.functions["embed"] else None
        marks = cache(self.functions["marks"]) if self.functions["marks"] else None  # a source has several rewrites
        read = [Read(case, self.runs(case.style), marks) for case in cases]
        answers = self._ask(read, vectors)
        return [[self._check(name, r, answers) for name in r.checks] for r in read]

    def _ask(self, read: list[Read], vectors: Vectors | None) -> Answers:
        """What the functions handed in say of all cases: every text is asked about once."""
        answers = Answers(vectors)
        if answers.vectors:
            need = [r for r in read if {"meaning", "left_out", "put_in", "negations", "obeyed"} & set(r.checks)]
            answers.vectors.need([t for r in need for s in (r.source, r.sure, r.text) for t in meaning.wanted(s)])
            answers.vectors.need([t for r in need for t in r.orders.told_apart])
        for name in ("stance", "language", "contamination"):
            if not (function := self.functions[name]):
                continue
            need = [r for r in read if name in r.checks]
            texts = [t for r in need for s in (r.source, r.text) for t in asked(name, s)]
            distinct = list(dict.fromkeys(texts))
            answers.of[name] = dict(zip(distinct, function(distinct))) if distinct else {}
        if entails := self.functions["entails"]:
            pairs = [(r.source.text, r.text.text) for r in read if "not_entailed" in r.checks]
            pairs += [(r.text.text, r.source.text) for r in read if "not_covered" in r.checks]
            distinct_pairs = list(dict.fromkeys(pairs))
            answers.of["entails"] = dict(zip(distinct_pairs, entails(distinct_pairs))) if distinct_pairs else {}
        if places := self.functions["places"]:
            for check, asks, of in (("numbers_exchanged", exchange.asked, answers.placed),
                                    ("names_exchanged", swap.asked, answers.named)):  # fmt: skip
                need = [r for r in read if check in r.checks]
                open_ = [(r, told) for r in need if (told := asks(r.source, r.text))]
                affinities = places([told for _, told in open_]) if open_ else []
                of |= {id(r): (told, seen) for (r, told), seen in zip(open_, affinities, strict=True)}
        return answers

    def _check(self, name: str, read: Read, answers: Answers) -> Check:
        limit = read.case.style.limits.get(name, CHECKS[name].limit)
        number, detail = MEASURES[name](read, answers)
        passed = number is not None and number <= float(limit)  # what was not answered was not verified
        return Check(name, number, float(limit), passed, "" if passed else detail[:500])
