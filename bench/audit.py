"""How large must a teacher's trait be, and on how many pairs, for the audit to find it? And how often without any?

    .venv/bin/python bench/audit.py [--repetitions 100] [--none 400] [--write]

Every repetition plants two teachers with seeds of their own (microworld/teachers.py), both with habits of wording, lets
both retell the same segments, and audits one beside the other. Strength 0 is two teachers without a trait: the share
flagged there is the rate of false positives. `shown` is what a verdict by any word, phrase or order would say, and what
a classifier by words alone makes of a teacher with a trait and without habits. Brackets are Wilson's 95 % intervals.
Needs no peer: nothing else that can be had does this. `--write` puts the result into bench/results/audit.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from flows.calibrate import wilson  # noqa: E402
from microworld.teachers import Teacher, segments  # noqa: E402
from rewriters.audit import ALPHA, audit  # noqa: E402
from rewriters.choices import Pair, default_preferences  # noqa: E402

STRENGTHS, PAIRS = (0.0, 0.05, 0.1, 0.2, 0.3), (100, 300, 1000)
HABIT = 0.15
PERMUTATIONS = 499


def once(
    repetition: int, pairs: int, *, strength: float, habit: float = HABIT, everywhere: bool = False,
    everything: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """One audit of a planted teacher beside one without a trait."""
    teacher = Teacher("teacher", 2 * repetition, strength=strength, habit=habit, everywhere=everywhere)
    control = Teacher("control", 2 * repetition + 1, habit=habit)
    told = [
        Pair(s.document, s.number, "told", s.source, teacher.rewrite(s), control.rewrite(s))
        for s in segments(repetition, pairs)
    ]
    return audit(told, default_preferences(), seed=repetition, permutations=PERMUTATIONS, everything=everything)


def share(hits: list[bool]) -> list[float]:
    return [round(x, 3) for x in wilson(sum(hits), len(hits))]


def power(repetitions: int, none: int) -> list[dict[str, Any]]:
    rows = []
    for everywhere in (False, True):
        for strength in STRENGTHS if not everywhere else STRENGTHS[1:]:
            for pairs in PAIRS:
                since = time.perf_counter()
                count = none if strength == 0 else repetitions
                found = [once(r, pairs, strength=strength, everywhere=everywhere) for r in range(count)]
                tests = found[0]["tests"]
                rows.append({
                    "trait": "everywhere" if everywhere else "by kind of agent", "strength": strength, "pairs": pairs,
                    "repetitions": count, "flagged": share([f["flagged"] for f in found]),
                    "uncorrected": {t: share([f["tests"][t]["p"] <= ALPHA for f in found]) for t in tests},
                    "seconds": round(time.perf_counter() - since, 1),
                })  # fmt: skip
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def shown(repetitions: int) -> dict[str, Any]:
    """By other ways: the AUC of each family where the trait is strong and habits absent, and the reverse."""
    made = {}
    for name, strength, habit in (("trait 0.3, no habits", 0.3, 0.0), ("no trait, habits", 0.0, HABIT)):
        found = [once(r, 300, strength=strength, habit=habit, everything=True) for r in range(repetitions)]
        families = {**{f: [x["identification"][f] for x in found] for f in found[0]["identification"]},
                    **{f: [x["traits"][f] for x in found] for f in found[0]["traits"]},
                    **{f: [x["shown"][f] for x in found] for f in found[0]["shown"]}}  # fmt: skip
        made[name] = {
            "flagged": share([x["flagged"] for x in found]),
            "mean_auc": {f: round(sum(m["auc"] or 0.5 for m in ms) / len(ms), 3) for f, ms in families.items()},
            "p_of_auc_at_most_0.05": {f: share([m["p"] <= ALPHA for m in ms]) for f, ms in families.items()},
            "choice in context, strongest": share(
                [x["shown"]["choice in context"]["strongest"]["p"] <= ALPHA for x in found]
            ),
        }
        print(name, made[name], file=sys.stderr, flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=100, help="of every strength above 0 (default 100)")
    parser.add_argument("--none", type=int, default=400, help="of strength 0 (default 400)")
    parser.add_argument("--write", action="store_true", help="put the result into bench/results/")
    args = parser.parse_args()
    since = time.perf_counter()
    result = {"what": "power of the trait audit", "habit": HABIT, "permutations": PERMUTATIONS, "alpha": ALPHA,
              "power": power(args.repetitions, args.none), "ways": shown(args.repetitions)}  # fmt: skip
    result["seconds"] = round(time.perf_counter() - since)
    text = json.dumps(result, indent=1)
    if args.write:
        (ROOT / "bench" / "results" / "audit.json").write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
