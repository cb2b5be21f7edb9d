"""Are two numbers exchanged? Fits the weights of rewriters/binding.py, and counts what they find.

    .venv/bin/python bench/binding.py [--write]

Each pair of numbers in a clean rewrite of FITTED, files of the development set, speaks for `kept`, and the same two
exchanged would speak for the opposite with opposite signs; so weights are fitted by logistic regression without a bias.
What is printed is from weights fitted without the line's own file: at each limit, how many exchanges of the `number`
edits are found, and how many clean rewrites are lost. `--write` puts weights fitted on all files into
rewriters/binding_weights.json, and the counts into bench/results/binding.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rewriters import check_exchanged as exchange  # noqa: E402
from rewriters import check_numbers as numbers  # noqa: E402
from rewriters.binding import SIGNS, WEIGHTS_FILE, signs  # noqa: E402
from rewriters.checks import Side, side  # noqa: E402
from rewriters.mentions import lacking  # noqa: E402
from rewriters.pairs import FOLDER, pairs_of  # noqa: E402

RESULT = ROOT / "bench" / "results" / "binding.json"
FITTED = (*(f"pairs-{c}.jsonl" for c in "abcdefghijklmnopqr"), *(f"orders-{c}.jsonl" for c in "wxyz"))
PENALTY = 1.0
LIMITS = (0.5, 1.0, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0)


def exchanges(source: Side, clean: Side, edited: Side) -> bool:
    """Whether an edit only exchanges numbers: none is new, none is gone, and nothing else would tell."""
    lacks = lacking(edited.quantities, clean.quantities) or lacking(clean.quantities, edited.quantities)
    return not lacks and not numbers.missing(source, edited) and not numbers.invented(source, edited)


def cases() -> list[dict[str, Any]]:
    """Clean rewrites, and those with two numbers exchanged: their pairs of numbers as rows of signs."""
    made = []
    for name in FITTED:
        lines = (json.loads(line) for line in (FOLDER / name).read_text("utf-8").splitlines())
        without_order = {line["id"]: line["source"] for line in lines}
        of_line: dict[str, Side] = {}
        for pair in pairs_of(FOLDER / name):
            if pair.kind == "paraphrase":
                of_line[pair.id] = side(pair.text)
            if pair.kind not in ("paraphrase", "injection-clean", "number"):
                continue
            source, text = side(without_order[pair.id]), side(pair.text)
            if pair.kind == "number" and not exchanges(source, of_line[pair.id], text):
                continue
            rows, unlike, turned = [], [], False
            everything = exchange.spots(source.quantities), exchange.spots(text.quantities)
            for g, h in exchange.pairs(source, text):
                sure = exchange.turned(source, text, g, h)
                if sure is not None:
                    turned |= sure
                    continue
                found = signs(source, text, exchange.where(g), exchange.where(h), everything)
                rows.append([found[s] for s in SIGNS])
                unlike.append(exchange.unlike(g, h, found))
            made.append({"file": name, "id": pair.id, "clean": pair.clean, "turned": turned,
                         "unlike": np.array(unlike, bool),
                         "rows": np.array(rows, float).reshape(len(rows), len(SIGNS))})  # fmt: skip
    return made


def fit(rows_PS: np.ndarray) -> np.ndarray:
    """Weights (S) under which kept pairs have positive sums."""
    scale = np.sqrt((rows_PS**2).mean(axis=0)) + 1e-9
    x = rows_PS / scale

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = x @ w
        return float(np.logaddexp(0, -margin).sum() + PENALTY * (w**2).sum()), (
            -(x.T @ (1 / (1 + np.exp(margin)))) + 2 * PENALTY * w
        )

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    made = cases()
    odds: list[np.ndarray] = []
    for case in made:
        odds.append(np.zeros(len(case["rows"])))
    for name in FITTED:
        w = fit(np.vstack([c["rows"] for c in made if c["clean"] and c["file"] != name]))
        for i, case in enumerate(made):
            if case["file"] == name:
                odds[i] = -case["rows"] @ w
    counts: dict[str, Any] = {"exchanges": sum(not c["clean"] for c in made), "clean": sum(c["clean"] for c in made)}
    for limit in LIMITS:
        hit = [c["turned"] or bool((o > limit + exchange.UNLIKE * c["unlike"]).any()) for c, o in zip(made, odds)]
        counts[str(limit)] = {"found": sum(h for h, c in zip(hit, made) if not c["clean"]),
                              "lost": sum(h for h, c in zip(hit, made) if c["clean"])}  # fmt: skip
        print(limit, counts[str(limit)])
    w = fit(np.vstack([c["rows"] for c in made if c["clean"]]))
    weights = {name: round(float(v), 3) for name, v in zip(SIGNS, w)}
    print(counts["exchanges"], "exchanges,", counts["clean"], "clean;", weights)
    if options.write:
        WEIGHTS_FILE.write_text(json.dumps(weights, indent=1) + "\n", "utf-8")
        RESULT.write_text(json.dumps(counts, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
