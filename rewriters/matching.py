"""Which texts make up a twin? Of its accepted candidates, one for each role, as alike in length and topic as may be.

    candidates --every combination of one a role--> least spread of length + distance of topic --caliper--> chosen

Every twin is decided by itself: with k candidates a role and three roles there are k^3 combinations. Ties go to the
smallest ids. A twin that lacks a role, or in which a text is too long or too short for the caliper, is dropped whole.
rows in = chosen + dropped, and `checks` says of each which it is. How good the match is: rewriters/match_report.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np

from leaven.manifest import fingerprint
from rewriters.topics import topic_vectors
from rewriters.twins import ROLES

MATCHING_VERSION = "1"
CALIPER = 1.2  # times the twin's geometric mean length, either way, that a text may have
TOPIC_WEIGHT = 0.5  # what a cosine distance of 1 counts beside a spread of 1 in log length
EXACT = 512  # documents among which `trim` looks for an exact sum
Vectors = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """One accepted rewrite that may become the text of a role."""

    id: str
    twin: str
    role: str
    form: str
    tokens: int
    text: str = field(repr=False)


@dataclass
class Matched:
    """`chosen[twin][role]`, in the order of the twins; `outcome` of every candidate's id, and what was counted.

    `numbers` are absolute log ratios of a candidate's tokens to the geometric mean of those chosen for its twin, or
    considered for it; null where its twin lacks a role.
    """

    roles: tuple[str, ...]
    caliper: float
    chosen: dict[str, dict[str, Candidate]] = field(default_factory=dict)
    outcome: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float | None] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def ids(self) -> list[str]:
        """Ids of the chosen texts, twin by twin."""
        return [c.id for texts in self.chosen.values() for c in texts.values()]

    def checks(self) -> Iterator[dict[str, Any]]:
        """The check `matched` of every candidate: columns rewrite, check, number, limit, passed and detail."""
        for id_, outcome in self.outcome.items():
            yield {
                "rewrite": id_, "check": "matched", "number": self.numbers[id_], "limit": math.log(self.caliper),
                "passed": outcome == "chosen", "detail": None if outcome == "chosen" else outcome,
            }  # fmt: skip


def match(
    rows: Sequence[Candidate], *, roles: Sequence[str] = ROLES, caliper: float = CALIPER,
    topic_weight: float = TOPIC_WEIGHT, vectors: Vectors = topic_vectors,
) -> Matched:  # fmt: skip
    """Choose one candidate a role for every twin; `vectors` gives a unit vector a text.

    Combinations within the caliper go before others; among them the one with the least spread of log length (longest
    to shortest) plus `topic_weight` times the mean cosine distance between its texts. Raises ValueError for two rows of
    one id, or a row of another role.
    """
    if len({c.id for c in rows}) < len(rows):
        raise ValueError("two candidates share an id")
    if strange := {c.role for c in rows} - set(roles):
        raise ValueError(f"candidates of other roles: {sorted(strange)}")
    places = {c.id: i for i, c in enumerate(rows)}
    topics = vectors([c.text for c in rows]) if rows else np.zeros((0, 1), np.float32)
    twins: dict[str, dict[str, list[Candidate]]] = {}
    for c in rows:
        twins.setdefault(c.twin, {}).setdefault(c.role, []).append(c)
    made = Matched(tuple(roles), caliper, outcome=dict.fromkeys(places, ""), numbers=dict.fromkeys(places))
    for twin, by_role in twins.items():
        own = [c for told in by_role.values() for c in told]
        if len(by_role) < len(roles):
            made.outcome |= {c.id: "missing_role" for c in own}
            continue
        sorted_roles = [sorted(by_role[role], key=lambda c: c.id) for role in roles]
        best = min(product(*sorted_roles), key=lambda told: _cost(told, topics, places, caliper, topic_weight))
        mean = _log_mean(best)
        within = _far(best) <= math.log(caliper)
        made.numbers |= {c.id: abs(math.log(max(c.tokens, 1)) - mean) for c in own}
        made.outcome |= {c.id: "not_chosen" if within else "caliper" for c in own}
        if within:
            made.outcome |= {c.id: "chosen" for c in best}
            made.chosen[twin] = dict(zip(roles, best))
    outcomes = Counter(made.outcome.values())
    lacking = sum(len(by_role) < len(roles) for by_role in twins.values())
    made.counts = {
        "candidates": len(rows), **{k: outcomes[k] for k in ("chosen", "not_chosen", "missing_role", "caliper")},
        "twins": len(twins), "twins_kept": len(made.chosen), "twins_missing_role": lacking,
        "twins_caliper": len(twins) - len(made.chosen) - lacking,
    }  # fmt: skip
    if sum(outcomes.values()) != len(rows) or outcomes[""]:
        raise AssertionError(f"candidates do not add up: {made.counts}")
    return made


def _cost(
    told: Sequence[Candidate], topics: np.ndarray, places: Mapping[str, int], caliper: float, weight: float
) -> tuple[bool, float, tuple[str, ...]]:
    logs = [math.log(max(c.tokens, 1)) for c in told]
    alike = [float(topics[places[a.id]] @ topics[places[b.id]]) for a, b in combinations(told, 2)]
    distance = 1 - sum(alike) / len(alike) if alike else 0.0
    cost = max(logs) - min(logs) + weight * distance
    return _far(told) > math.log(caliper), round(cost, 6), tuple(c.id for c in told)  # rounded: ties are ties anywhere


def _log_mean(told: Sequence[Candidate]) -> float:
    return sum(math.log(max(c.tokens, 1)) for c in told) / len(told)


def _far(told: Sequence[Candidate]) -> float:
    """The largest absolute log ratio of a text's tokens to the geometric mean of all."""
    mean = _log_mean(told)
    return max(abs(math.log(max(c.tokens, 1)) - mean) for c in told)


@dataclass(frozen=True)
class Trimmed:
    """Ids that stay, a list a role; their tokens, what was left out, and the twins that are whole no longer."""

    ids: dict[str, list[str]]
    tokens: dict[str, int]
    left_out: dict[str, int]
    broken_twins: int


def trim(matched: Matched, seed: int) -> Trimmed:
    """Leave whole texts out of the larger roles until all have the tokens of the smallest, or a few more.

    First texts in a keyed order while far above; then, of the EXACT next, those whose tokens add up closest to what is
    too many. Whole twins alone would leave every difference between the roles as it is, so some twins are broken.
    """
    sets = {role: [texts[role] for texts in matched.chosen.values()] for role in matched.roles}
    totals = {role: sum(c.tokens for c in texts) for role, texts in sets.items()}
    least, gone = min(totals.values(), default=0), set[str]()
    for role, texts in sets.items():
        excess = totals[role] - least
        order = sorted(texts, key=lambda c: fingerprint(["trim", seed, c.id]))
        near = 4 * max((c.tokens for c in texts), default=0)
        while excess > near:
            c = order.pop(0)
            gone.add(c.id)
            excess -= c.tokens
        gone.update(c.id for c in _adding_up(order[:EXACT], excess))
    kept = {role: [c for c in texts if c.id not in gone] for role, texts in sets.items()}
    return Trimmed(
        {role: [c.id for c in texts] for role, texts in kept.items()},
        {role: sum(c.tokens for c in texts) for role, texts in kept.items()},
        {role: len(sets[role]) - len(texts) for role, texts in kept.items()},
        sum(any(c.id in gone for c in texts.values()) for texts in matched.chosen.values()),
    )


def _adding_up(texts: Sequence[Candidate], most: int) -> list[Candidate]:
    """Texts whose tokens add up to the largest sum that is at most `most`; bit s of a number: s can be reached."""
    reached = [1]
    for c in texts:
        reached.append(reached[-1] | (reached[-1] << c.tokens) & ((1 << (most + 1)) - 1))
    left, taken = reached[-1].bit_length() - 1, []
    for before, c in zip(reached[-2::-1], reversed(texts)):
        if not before >> left & 1:
            taken.append(c)
            left -= c.tokens
    return taken
