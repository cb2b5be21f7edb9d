"""How good is the match of twins? Length and topic of each pair of roles, every number beside what chance gives.

    Matched --> lines (measure, two roles, value, interval, the same without the match) --> a table for people

Length: mean log ratio, distance, standardised mean difference, Kolmogorov-Smirnov distance. Topic: similarity of twins
beside that of texts of the same form that are no twins, and how often a text's nearest among the other role's is its
own twin. Both: how well a logistic regression that sees the length alone, or the topic alone, tells the two roles
apart (area under the curve, folds of whole twins), beside the same with roles exchanged by chance within twins.

Legend: N twins, D numbers of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from leaven import console
from leaven.manifest import fingerprint
from rewriters.matching import Candidate, Matched, Vectors
from rewriters.topics import BUCKETS, topic_vectors

FOLDS = 5
SHUFFLES = 20
FEATURES = 256  # of a topic, for the regression: buckets are added up to so many
RIDGE = 1.0  # penalty of a standardised weight
STEPS = 12  # of Newton's method
BLOCK = 1024  # texts compared with all others at once
KS_5_PERCENT = 1.358  # times sqrt(2 / N): passed by chance once in twenty (Smirnov 1948)


@dataclass(frozen=True)
class Line:
    """One measure of two roles; `beside` is what it is without the match, `beside_is` says how that was had.

    `low` and `high` are a 95 % interval over twins; `beside_low` and `beside_high` the range of the shuffles.
    """

    measure: str
    a: str
    b: str
    value: float | None
    low: float | None = None
    high: float | None = None
    beside: float | None = None
    beside_low: float | None = None
    beside_high: float | None = None
    beside_is: str = ""


def match_report(matched: Matched, *, seed: int, meaning: Vectors | None = None) -> list[Line]:
    """The lines of every pair of roles; `meaning`, an embedder, adds similarity and nearest twin by its vectors.

    A value is null where there are too few twins for it (2 for an interval, FOLDS for a regression).
    """
    twins = list(matched.chosen)
    texts = {role: [matched.chosen[t][role] for t in twins] for role in matched.roles}
    every = [c.text for role in matched.roles for c in texts[role]]
    kinds = {"topic": topic_vectors(every)} | ({"meaning": meaning(every)} if meaning else {})
    split = {kind: dict(zip(matched.roles, np.split(vectors, len(matched.roles)))) for kind, vectors in kinds.items()}
    lines = []
    for a, b in combinations(matched.roles, 2):
        logs = [np.log([max(c.tokens, 1) for c in texts[role]]) for role in (a, b)]
        lines += [Line("twins", a, b, len(twins))]
        lines += _length(a, b, texts[a], *logs)
        for kind, of in split.items():
            lines += _alike(kind, a, b, texts[a], of[a], of[b])
        length = [np.stack([x, x**2], axis=1) for x in logs]
        topic = [
            v.reshape(len(v), BUCKETS // FEATURES, FEATURES).sum(1) for v in (split["topic"][a], split["topic"][b])
        ]
        lines += [_told_apart("length", a, b, twins, seed, *length), _told_apart("topic", a, b, twins, seed, *topic)]
    return lines


def tokens_of(matched: Matched) -> dict[str, int]:
    """Tokens of the chosen texts of each role."""
    return {role: sum(texts[role].tokens for texts in matched.chosen.values()) for role in matched.roles}


def table(lines: Sequence[Line]) -> str:
    """The lines as text, a pair of roles after another."""
    span = lambda low, high: "" if low is None or high is None else f"{low:.4f} to {high:.4f}"  # noqa: E731
    rows = [
        (f"{x.a}, {x.b}", x.measure, x.value, span(x.low, x.high), "" if x.beside is None else x.beside,
         span(x.beside_low, x.beside_high), x.beside_is)
        for x in lines
    ]  # fmt: skip
    return console.table(("roles", "measure", "value", "95 % interval", "beside", "range", "which is"), rows)


def _length(a: str, b: str, of: Sequence[Candidate], la: np.ndarray, lb: np.ndarray) -> list[Line]:
    n = len(la)
    if not n:
        return []
    ratio = la - lb
    far = [np.abs(la[same][:, None] - lb[same][None]) for same in _forms(of)]
    others = sum(d.size - len(d) for d in far)
    apart = sum(float(d.sum() - np.trace(d)) for d in far) / others if others else None
    spread = math.sqrt((np.exp(la).var(ddof=1) + np.exp(lb).var(ddof=1)) / 2) if n > 1 else 0.0
    smd = float(np.exp(la).mean() - np.exp(lb).mean()) / spread if spread else None
    every = np.sort(np.concatenate([la, lb]))
    below = [np.searchsorted(np.sort(x), every, side="right") / n for x in (la, lb)]
    return [
        Line("log length ratio", a, b, float(ratio.mean()), *_interval(ratio), 0.0, beside_is="no difference"),
        Line("log length distance", a, b, float(np.abs(ratio).mean()), *_interval(np.abs(ratio)), apart,
             beside_is="of non-twins of one form"),
        Line("length smd", a, b, smd, beside=0.0, beside_is="no difference"),
        Line("length ks", a, b, float(np.abs(below[0] - below[1]).max()), beside=KS_5_PERCENT * math.sqrt(2 / n),
             beside_is="passed by chance 1 time in 20"),
    ]  # fmt: skip


def _alike(kind: str, a: str, b: str, of: Sequence[Candidate], va_ND: np.ndarray, vb_ND: np.ndarray) -> list[Line]:
    n = len(va_ND)
    if not n:
        return []
    own = (va_ND * vb_ND).sum(1).astype(float)
    total, pairs = 0.0, 0
    for same in _forms(of):  # the sum over all pairs is the product of the sums
        total += float(va_ND[same].sum(0) @ vb_ND[same].sum(0) - own[same].sum())
        pairs += len(same) * (len(same) - 1)
    nearest = 0.0
    for first in range(0, n, BLOCK):
        block = va_ND[first : first + BLOCK] @ vb_ND.T
        mine = block[np.arange(len(block)), np.arange(first, first + len(block))][:, None]
        better, equal = (block > mine + 1e-6).any(1), (np.abs(block - mine) <= 1e-6).sum(1)
        nearest += float((~better / equal).sum())  # a tie is as good as a draw among the tied
    return [
        Line(f"{kind} similarity", a, b, float(own.mean()), *_interval(own), total / pairs if pairs else None,
             beside_is="of non-twins of one form"),
        Line(f"{kind} nearest is own twin", a, b, nearest / n, beside=1 / n, beside_is="chance"),
    ]  # fmt: skip


def _forms(of: Sequence[Candidate]) -> list[np.ndarray]:
    """Positions of the texts of each form."""
    forms: dict[str, list[int]] = {}
    for i, c in enumerate(of):
        forms.setdefault(c.form, []).append(i)
    return [np.array(same) for same in forms.values()]


def _interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % t interval of the mean."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return None, None
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return float(values.mean()) - half, float(values.mean()) + half


def _told_apart(what: str, a: str, b: str, twins: Sequence[str], seed: int, xa: np.ndarray, xb: np.ndarray) -> Line:
    """How well `what` tells role a from role b, beside the same with some twins' roles exchanged."""
    name, n = f"told apart by {what} (auc)", len(twins)
    if n < 2 * FOLDS:
        return Line(name, a, b, None, beside=0.5, beside_is="chance")
    x = np.concatenate([xa, xb]).astype(float)
    x = (x - x.mean(0)) / np.where(x.std(0) > 1e-9, x.std(0), 1)
    keys = [fingerprint(["fold", seed, twin]) for twin in twins]
    fold = np.empty(n, int)
    fold[np.argsort(keys)] = np.arange(n) % FOLDS
    swaps = np.array([int(fingerprint(["swap", seed, twin]), 16) >> s & 1 for s in range(SHUFFLES) for twin in twins])
    shuffled = [_auc_of(x, swap, fold) for swap in swaps.reshape(SHUFFLES, n).astype(bool)]
    value = _auc_of(x, np.zeros(n, bool), fold)
    return Line(name, a, b, value, None, None, float(np.mean(shuffled)), min(shuffled), max(shuffled),
                f"roles exchanged in half of the twins, {SHUFFLES} times")  # fmt: skip


def _auc_of(x: np.ndarray, swap: np.ndarray, fold: np.ndarray) -> float:
    """Mean over folds of the area under the curve on the fold's twins, trained on the others."""
    y, fold = np.concatenate([~swap, swap]).astype(float), np.concatenate([fold, fold])
    areas = []
    for f in range(FOLDS):
        test = fold == f
        weights = _logistic(x[~test], y[~test])
        areas.append(auc(x[test] @ weights, y[test] == 1))
    return float(np.mean(areas))


def _logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights of a ridge-penalised logistic regression by Newton's method; the classes are even, so no intercept."""
    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        slope = x.T @ (p - y) + RIDGE * w
        bend = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(w))
        step = np.linalg.solve(bend, slope)
        w -= step
        if np.abs(step).max() < 1e-6:
            break
    return w


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive scores above a negative, a tie counting half; scores are rounded to 9 digits."""
    values, ranks = np.unique(np.round(scores, 9), return_inverse=True)
    pos = np.bincount(ranks[positive], minlength=len(values))
    neg = np.bincount(ranks[~positive], minlength=len(values))
    below = np.cumsum(neg) - neg
    return float((pos * (below + neg / 2)).sum() / (pos.sum() * neg.sum()))
