"""What is a case, and what is a check? A text and its rewrite, read once; a row that a check leaves of them.

A check measures one defect: `number` says how much of it there is, `limit` how much there may be, and a rewrite passes
where number <= limit. Numbers are counts, ratios or shares, in the unit that the check's sentence states
(rewriters/gate.py, CHECKS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Protocol

from rewriters.quantities import quantities
from rewriters.quantity import Quantity
from rewriters.wording import Words, fold, plain, sentences, words


class AnyStyle(Protocol):
    """What the gate needs of a style (rewriters/styles.py)."""

    @property
    def operation(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def checks(self) -> tuple[str, ...]: ...
    @property
    def limits(self) -> Mapping[str, Decimal]: ...
    @property
    def flips_stance(self) -> bool: ...


@dataclass(frozen=True)
class Case:
    """One rewrite to be checked: the segment's text (empty for a net-new document), the rewrite, style and nonce."""

    source: str
    text: str
    style: AnyStyle
    nonce: str = ""


@dataclass(frozen=True)
class Check:
    """What one check said; `detail` is what it found, such as the number that is missing."""

    name: str
    number: float | None
    limit: float | None
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Side:
    """One text in plain spelling with its sentences, words and quantities, each read when first asked for."""

    text: str

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        return sentences(self.text)

    @cached_property
    def words(self) -> Words:
        return words(self.text, self.sentences)

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(self.words.stems)

    @cached_property
    def folded(self) -> frozenset[str]:
        """Words as they stand, and the parts of words joined by hyphens and slashes."""
        whole = self.words.folded
        return frozenset(whole) | {fold(p) for w in whole if not w.isalpha() for p in w.replace("/", "-").split("-")}

    @cached_property
    def quantities(self) -> list[Quantity]:
        return quantities(self.text)

    @property
    def pieces(self) -> list[str]:
        return [self.text[a:b] for a, b in self.sentences]


def side(text: str) -> Side:
    """A text as the checks read it."""
    return Side(plain(text))
