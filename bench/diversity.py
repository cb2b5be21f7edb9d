"""What do measures of diversity cost, in time and memory, and how little do they depend on the number of texts?

    .venv/bin/python bench/diversity.py speed [--turns 5] [--write]
    .venv/bin/python bench/diversity.py memory [--write]
    .venv/bin/python bench/diversity.py sizes [--write]

`speed` measures 3,000 texts of MicroWorld by ours and by a plain Python implementation of the same measures, in turn,
CPU time of one process: self-BLEU by counters of n-grams made once a text, near-duplicates by comparing every pair of
sets (of 1,000 texts), distinct-n by sets of tuples (which has no rarefaction to do). `memory` adds so many rewrites to
a Diversity in a process of its own and prints the largest resident set after adding, and after measuring. `sizes`
measures ever more texts of one source: MicroWorld, and pages (the data beside the checkout, cut to 1,500 characters).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from microworld.telling import Teller  # noqa: E402
from microworld.world import web_text  # noqa: E402
from rewriters import variety  # noqa: E402
from rewriters.diversity import SAMPLED, Diversity  # noqa: E402

PAGES = ROOT.parent / "shared" / "data" / "text"
RESULTS = ROOT / "bench" / "results" / "diversity.json"
TEXTS, PAIRED = 3000, 1000


def microworld(seed: int = 0) -> Iterator[str]:
    teller = Teller(random.Random(seed))
    return (text.text for text in iter(lambda: web_text(teller), None) if text.language == "en")


# ------------------------------------------------------------------------------------------------------------ plainly


def plain_bleu(texts: list[list[str]]) -> float:
    grams = [[Counter(zip(*(t[i:] for i in range(n)))) for n in range(1, 5)] for t in texts]
    scores = []
    for first in range(0, len(texts) // variety.BLOCK * variety.BLOCK, variety.BLOCK):
        block = range(first, first + variety.BLOCK)
        for mine in block:
            others = [r for r in block if r != mine]
            log = 0.0
            for n in range(4):
                matched = sum(min(c, max(grams[r][n][g] for r in others)) for g, c in grams[mine][n].items())
                log += math.log((matched or 0.1) / max(grams[mine][n].total(), 1)) / 4
            length = len(texts[mine])
            closest = min((len(texts[r]) for r in others), key=lambda other: (abs(other - length), other))
            scores.append(math.exp(log) * (1 if length > closest else math.exp(1 - closest / length)))
    return statistics.fmean(scores)


def plain_near(texts: list[list[str]]) -> float:
    sets = [frozenset(zip(*(t[i:] for i in range(variety.SHINGLE)))) for t in texts]
    near = [False] * len(sets)
    for a, b in itertools.combinations(range(len(sets)), 2):
        if 5 * len(sets[a] & sets[b]) >= 4 * len(sets[a] | sets[b]):
            near[a] = near[b] = True
    return sum(near) / len(near)


def plain_distinct(texts: list[list[str]]) -> list[float]:
    made = []
    for n in (1, 2, 3):
        grams = [g for t in texts for g in zip(*(t[i:] for i in range(n)))]
        made.append(len(set(grams)) / len(grams))
    return made


def speed(turns: int) -> dict:
    texts = list(itertools.islice(microworld(), TEXTS))
    split = [variety.words(t) for t in texts]
    coded = variety.code(texts, {})
    some = variety.code(texts[:PAIRED], {})
    what: dict[str, tuple[Callable, Callable]] = {
        f"self-BLEU of {TEXTS}": (lambda: variety.self_bleu(coded), lambda: plain_bleu(split)),
        f"near-duplicates of {PAIRED}": (
            lambda: variety.near_duplicates(some)[0].mean(),
            lambda: plain_near(split[:PAIRED]),
        ),
        f"distinct-1, 2, 3 of {TEXTS}": (
            lambda: [variety.distinct(coded, n) for n in (1, 2, 3)],
            lambda: plain_distinct(split),
        ),
    }
    made: dict = {"texts": TEXTS, "words": int(coded.ids.size), "turns": turns}
    for name, (ours, plain) in what.items():
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        values = ours(), plain()
        if not name.startswith("distinct"):
            assert abs(values[0] - values[1]) < 1e-9, values
        for turn in range(turns):
            for who, run in (("ours", ours), ("plain", plain))[:: 1 if turn % 2 else -1]:
                started = time.process_time()
                run()
                seconds[who].append(time.process_time() - started)
        ratios = sorted(p / o for o, p in zip(seconds["ours"], seconds["plain"]))
        made[name] = {
            **{f"{who}_s": round(statistics.median(took), 4) for who, took in seconds.items()},
            "ratio": {"median": round(statistics.median(ratios), 1), "lowest": round(ratios[0], 1),
                      "highest": round(ratios[-1], 1)},
        }  # fmt: skip
        print(name, json.dumps(made[name]), flush=True)
    whole = Diversity()
    for number, text in enumerate(texts):
        whole.add("plain@1", "t", texts[-1 - number], text, f"{number}", number)
    took = []
    for _ in range(turns):
        started = time.process_time()
        whole.measures(SAMPLED)
        took.append(time.process_time() - started)
    made["a look"] = {"groups": 2, "texts_a_group": 1000, "s": round(statistics.median(took), 2)}
    print("a look", json.dumps(made["a look"]))
    return made


# ---------------------------------------------------------------------------------------------------------- memory

ADD = """
import itertools, json, resource, sys
sys.path[:0] = [{root!r}, {root!r} + "/bench"]
from diversity import microworld
from rewriters.diversity import Diversity
made, told = Diversity(), list(itertools.islice(microworld(), 500))
peak = lambda: round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
before = peak()
for number in range(int(sys.argv[1])):
    text = told[number % 500]
    made.count("plain@1", "t", asked=1)
    made.add("plain@1", "t", text + str(number), str(number) + text, str(number), number)
added = peak()
made.measures()
print(json.dumps({{"rewrites": made.added, "before_mb": before, "added_mb": added, "measured_mb": peak()}}))
"""


def memory() -> list[dict]:
    rows = []
    for count in (20_000, 200_000):
        done = subprocess.run([sys.executable, "-c", ADD.format(root=str(ROOT)), str(count)], capture_output=True,
                              text=True, check=True)  # fmt: skip
        rows.append(json.loads(done.stdout))
        print(rows[-1], flush=True)
    return rows


# ----------------------------------------------------------------------------------------------------------- sizes


def sizes() -> dict:
    import pyarrow.parquet as pq

    paths = sorted(PAGES.glob("general-*.parquet"))
    pages = [t for p in paths for t in pq.read_table(p)["text"].to_pylist()]
    sources = {"MicroWorld": list(itertools.islice(microworld(), TEXTS)), "pages": [p[:1500] for p in pages][:TEXTS]}
    made: dict = {}
    for source, texts in sources.items():
        for count in (100, 300, 1000, 3000):
            whole = Diversity(count)
            for number, text in enumerate(texts[:count]):
                whole.add("plain@1", "t", "", text, str(number))
            rows = {r["measure"]: r["number"] for r in whole.measures(SAMPLED) if r["style"]}
            shown = {m: round(n, 4) for m, n in rows.items() if n is not None}
            made.setdefault(source, {})[str(min(count, len(texts)))] = shown
            print(source, count, json.dumps(shown), flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "memory", "sizes"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    made = {"speed": lambda: speed(options.turns), "memory": memory, "sizes": sizes}[options.what]()
    if options.write:
        result = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        result |= {options.what: made, "machine": platform.machine(), "python": platform.python_version()}
        RESULTS.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
