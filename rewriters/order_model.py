"""How surely is a piece of a page an order to a machine? Signs, its place among the others, and its marks, weighed.

    piece --signs (rewriters/order_signs.py, orders.py)--> 0 or 1 each  \\
          --beside the other pieces--> machines, orders                  > log odds \\
    page --tokens marked by a model (rewriters/order_tags.py)--> mean and largest log odds > log odds --limits--> level

The weights in order_weights.json were fitted by bench/orders.py: those of the signs on the sources of the development
set, pieces of planted orders against all others; those that join signs and marks, and all limits, on the files of it
from which neither signs nor marks had learnt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rewriters import order_signs as signs
from rewriters.orders import PATTERNS

WEIGHTS = Path(__file__).with_name("order_weights.json")
ENOUGH, LIKELY, DOUBTFUL = signs.ENOUGH, signs.LIKELY, signs.DOUBTFUL
SEARCHED = ("OBLIGED", "NAMED", "TASK", "HERE", "FORMED", "LABEL", "CIPHER", "TO_YOU")
SIGNS = (*PATTERNS, *(name.lower() for name in SEARCHED), "foreign", "scrambled", "addressed", "contained", "enough",
         "likely", "doubtful", "named and obliged")  # fmt: skip
PLACES = ("alone with a machine", "machines elsewhere", "after an order", "before an order", "length")
JOINED = ("log odds by signs", "mean mark", "largest mark")


@dataclass(frozen=True)
class Piece:
    """A sentence, bracket or frame of a page; `contained` is said of the last two, `aside` of round brackets."""

    text: str
    contained: bool = False
    aside: bool = False
    abroad: bool = False  # the page itself is in another language

    @property
    def bare(self) -> str:
        told = self.text if self.contained else signs.QUOTED.sub('""', self.text)
        return told.replace("_", " ").strip("` ")


@lru_cache(maxsize=1 << 12)
def by_rules(piece: Piece) -> float:
    """What the rules say of a piece by itself (rewriters/order_signs.py)."""
    return signs.weight(piece.text, piece.contained, piece.aside, piece.abroad)


def _signs(piece: Piece) -> list[float]:
    """Signs (in the order of SIGNS)."""
    bare, heavy = piece.bare, by_rules(piece)
    found = [bool(pattern.search(bare)) for pattern in PATTERNS.values()]
    by_name = {name: bool(getattr(signs, name).search(bare)) for name in SEARCHED}
    found += by_name.values()
    found += [signs.foreign(piece.text) and not piece.abroad, signs.scrambled(piece.text), signs.addressed(bare),
              piece.contained, heavy >= ENOUGH, heavy >= LIKELY, heavy >= DOUBTFUL,
              by_name["NAMED"] and by_name["OBLIGED"]]  # fmt: skip
    return [float(x) for x in found]


def features(pieces: Sequence[Piece]) -> np.ndarray:
    """Signs and places of all pieces of one page (N, F)."""
    machines = [bool(signs.AI.search(p.text)) for p in pieces]
    heavy = [by_rules(p) for p in pieces]
    n = len(pieces)
    rows = np.zeros((n, len(SIGNS) + len(PLACES)))
    for i, piece in enumerate(pieces):
        elsewhere = sum(machines) > machines[i]
        rows[i] = [
            *_signs(piece), machines[i] and not elsewhere, elsewhere, i > 0 and heavy[i - 1] >= LIKELY,
            i + 1 < n and heavy[i + 1] >= LIKELY, np.tanh(len(piece.text.split()) / 10),
        ]  # fmt: skip
    return rows


@lru_cache(maxsize=1)
def weights() -> dict[str, Any]:
    """The two sets of weights, `alone` (of features) and `marked` (of JOINED): bias, weight, limits of three levels."""
    told = json.loads(WEIGHTS.read_text("utf-8"))
    return {name: told[name] | {"weight": np.array(told[name]["weight"])} for name in ("alone", "marked")}


def log_odds(pieces: Sequence[Piece], marks_N2: np.ndarray | None = None) -> np.ndarray:
    """Log odds of each piece of a page (N); with `marks_N2`, the mean and largest mark of each, these count too."""
    fitted = weights()
    odds_N = features(pieces) @ fitted["alone"]["weight"] + fitted["alone"]["bias"]
    if marks_N2 is None:
        return odds_N
    return np.c_[odds_N, marks_N2] @ fitted["marked"]["weight"] + fitted["marked"]["bias"]


def levels(pieces: Sequence[Piece], marks_N2: np.ndarray | None = None) -> list[float]:
    """ENOUGH, LIKELY, DOUBTFUL or 0 for each piece of a page; with `marks_N2` what a model marked counts too.

    Without, what the rules of a piece by itself take for an order is one, unless it only states something.
    """
    if not pieces:
        return []
    limits = weights()["alone" if marks_N2 is None else "marked"]["limits"]
    heavy = [next((level for level, limit in zip((ENOUGH, LIKELY, DOUBTFUL), limits) if o >= limit), 0.0)
             for o in log_odds(pieces, marks_N2)]  # fmt: skip
    if marks_N2 is not None:
        return heavy
    sure = [by_rules(p) >= ENOUGH and (p.contained or not signs.states(p.text)) for p in pieces]
    return [ENOUGH if known else level for known, level in zip(sure, heavy)]
