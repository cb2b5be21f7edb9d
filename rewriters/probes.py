"""Has a student taken over a preference? Preference questions asked of students of a teacher and of its control.

Questions have two options that mean nothing for the task (`right` and `wrong` only say which is which), a category
(`topic`) and a context (`group`). The margin of a question is the log-probability of the first option per byte less
that of the second; what counts is how far a teacher's students differ from the control's with the same seed. Of every
category two effects are taken: over all contexts, and each context less the others.

Students of one teacher read the same rewrites whatever their seed, so an interval over seeds leaves out the chance in
the rewrites themselves: two teachers without any trait differ a little, and enough seeds would show it. So a test asks
whether an effect lies beyond LEAST, not beyond 0.

Shapes: S seeds, G contexts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewriters.audit import holm

LEAST = 0.05  # nats a byte; above what teachers without a trait lay apart in a first run of one seed (.032 at most)
MIN_SEEDS = 3


@dataclass(frozen=True)
class Answer:
    """What one student made of one question: margin and the same by token counts of its mix, nats a byte."""

    arm: str
    seed: int
    topic: str
    group: str
    question: str
    margin: float
    unigram: float


def compare(
    answers: Sequence[Answer], teacher: str, control: str, before: str | None = None, least: float = LEAST
) -> dict[str, Any]:
    """Effects of every category and context, largest first, with 95 % t intervals over seeds and Holm-corrected p.

    `shift` is in nats a byte, `share` the difference in the share of questions whose first option is the likelier;
    `unigram` is the shift that token counts of the mixes give. Levels of the three arms stand beside (`before` may be
    missing). `p` of the whole is the smallest corrected one; with fewer than MIN_SEEDS common seeds it is 1.
    """
    arms = [teacher, control, *([before] if before else [])]
    seeds = sorted(set.intersection(*({a.seed for a in answers if a.arm == arm} for arm in arms)))
    effects: list[dict[str, Any]] = []
    for topic in sorted({a.topic for a in answers}):
        groups = sorted({a.group for a in answers if a.topic == topic})
        margin = {arm: _levels(answers, arm, topic, groups, seeds, lambda a: a.margin) for arm in arms}
        share = {
            arm: _levels(answers, arm, topic, groups, seeds, lambda a: (1 + np.sign(a.margin)) / 2) for arm in arms
        }
        unigram = {arm: _levels(answers, arm, topic, groups, seeds, lambda a: a.unigram) for arm in arms}
        for name, weights_G in _effects(groups).items():
            shift_S = (margin[teacher] - margin[control]) @ weights_G
            low, high, p = _t(shift_S, least)
            effects.append({
                "topic": topic, "effect": name, "shift": float(shift_S.mean()), "low": low, "high": high, "p": p,
                "by_seed": shift_S.tolist(), "share": float(((share[teacher] - share[control]) @ weights_G).mean()),
                "unigram": float(((unigram[teacher] - unigram[control]) @ weights_G).mean()),
                "levels": {arm: float((margin[arm] @ weights_G).mean()) for arm in arms},
            })  # fmt: skip
    for effect, p in zip(effects, holm([e["p"] for e in effects])):
        effect["holm"] = p
    effects.sort(key=lambda e: -abs(e["shift"]))
    return {"teacher": teacher, "control": control, "before": before, "seeds": seeds, "least": least,
            "effects": effects, "p": min((e["holm"] for e in effects), default=1.0)}  # fmt: skip


def _levels(answers: Sequence[Answer], arm: str, topic: str, groups: list[str], seeds: list[int], value: Any) -> Any:
    """(S, G) means over questions."""
    found: dict[tuple[int, str], list[float]] = {}
    for a in answers:
        if a.arm == arm and a.topic == topic:
            found.setdefault((a.seed, a.group), []).append(float(value(a)))
    return np.array([[np.mean(found[seed, group]) for group in groups] for seed in seeds]).reshape(-1, len(groups))


def _effects(groups: list[str]) -> dict[str, np.ndarray]:
    """Weights over the contexts: all alike, then each less the mean of the others (of two, the first alone)."""
    count = len(groups)
    found = {"all": np.full(count, 1 / count)}
    for at in range(count if count > 2 else count - 1):
        others = " and ".join(g for i, g in enumerate(groups) if i != at) if count == 2 else "others"
        found[f"{groups[at]} less {others}"] = np.where(np.arange(count) == at, 1.0, -1 / max(count - 1, 1))
    return found


def _t(shift_S: np.ndarray, least: float) -> tuple[float | None, float | None, float]:
    """95 % t interval of the mean, and p of the largest |mean| that is no larger than `least`."""
    if len(shift_S) < MIN_SEEDS:
        return None, None, 1.0
    from scipy.stats import t

    mean, error, freedom = float(shift_S.mean()), float(shift_S.std(ddof=1)) / math.sqrt(len(shift_S)), len(shift_S) - 1
    half = float(t.ppf(0.975, freedom)) * error
    if error == 0:
        return mean, mean, float(abs(mean) <= least)
    p = float(t.sf((abs(mean) - least) / error, freedom) + t.sf((abs(mean) + least) / error, freedom))
    return mean - half, mean + half, min(p, 1.0)
