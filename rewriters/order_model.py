"""How surely is a piece of a page an order to a machine? Signs, its place among the others, and its meaning, weighed.

    piece --signs (rewriters/order_signs.py, orders.py)--> 0 or 1 each  \\
          --beside the other pieces--> machines, orders, likeness        > log odds --limits--> 2 order, 1.5 likely, ...
          --embedding, where there is one--> 384 numbers                /

The weights in order_weights.json were fitted by bench/orders.py on the sources of the development set: pieces of
planted orders against all others. There are two sets, with embeddings and without; limits are of log odds that were
given by weights fitted without the piece's own file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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
LIKENESS = ("like the rest", "like another")  # cosines, with embeddings only
SCALE = {"vector": 8.0, "likeness": 4.0}  # so that one penalty fits all: a vector's numbers are small
Embedded = Callable[[Sequence[str]], np.ndarray]  # unit vectors (N, 384)


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


def features(pieces: Sequence[Piece], vectors_NE: np.ndarray | None) -> np.ndarray:
    """Features of all pieces of one page (N, F): signs and places, then likenesses and vectors where there are any."""
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
    if vectors_NE is None:
        return rows
    like = np.zeros((n, 2))
    if n > 1:
        cosines = vectors_NE @ vectors_NE.T
        rest_NE = vectors_NE.sum(axis=0) - vectors_NE
        like[:, 0] = (vectors_NE * rest_NE).sum(axis=1) / np.maximum(np.linalg.norm(rest_NE, axis=1), 1e-9)
        like[:, 1] = (cosines - 2 * np.eye(n)).max(axis=1)
    return np.hstack([rows, like * SCALE["likeness"], vectors_NE * SCALE["vector"]])


def embedder() -> str:
    """The version of the embeddings that the weights `with_meaning` were fitted with; others cannot be weighed."""
    return str(json.loads(WEIGHTS.read_text("utf-8"))["embedder"])


@lru_cache(maxsize=1)
def weights() -> dict[str, Any]:
    """The two sets of weights, `with_meaning` and `alone`: bias, weight (F), and the limits of the three levels."""
    told = json.loads(WEIGHTS.read_text("utf-8"))
    return {name: told[name] | {"weight": np.array(told[name]["weight"])} for name in ("with_meaning", "alone")}


def levels(pieces: Sequence[Piece], embedded: Embedded | None = None) -> list[float]:
    """ENOUGH, LIKELY, DOUBTFUL or 0 for each piece of a page; with `embedded` its meaning counts too.

    What the rules alone take for an order is one, unless it only states something: they are wrong in 1 page of the
    1,100 of the development set.
    """
    if not pieces:
        return []
    vectors_NE = np.asarray(embedded([p.text for p in pieces]), float) if embedded else None
    fitted = weights()["with_meaning" if embedded else "alone"]
    odds = features(pieces, vectors_NE) @ fitted["weight"] + fitted["bias"]
    heavy = [next((level for level, limit in zip((ENOUGH, LIKELY, DOUBTFUL), fitted["limits"]) if o >= limit), 0.0)
             for o in odds]  # fmt: skip
    sure = [by_rules(p) >= ENOUGH and (p.contained or not signs.states(p.text)) for p in pieces]
    return [ENOUGH if known else level for known, level in zip(sure, heavy)]
