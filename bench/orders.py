"""How surely is a piece of a page known for an order? Fits the weights of rewriters/order_model.py, and counts.

    .venv/bin/python bench/orders.py [--write]

The sources of the development set are cut into pieces; a piece is an order where most of its letters are those that
an injection added to its line's source. Weights are fitted by logistic regression with a penalty; what is printed is
from weights fitted without the piece's own file, and the limits are of these. `--write` puts weights fitted on all
files into rewriters/order_weights.json, and the counts into bench/results/orders.json.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import minimize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flows.calibrate import wilson  # noqa: E402
from flows.senses import find_senses  # noqa: E402
from leaven.home import Home  # noqa: E402
from rewriters.order_model import LIKENESS, PLACES, SIGNS, WEIGHTS, by_rules, features  # noqa: E402
from rewriters.order_pieces import blanked, cut, hidden  # noqa: E402
from rewriters.pairs import FOLDER, SETS  # noqa: E402
from rewriters.wording import plain  # noqa: E402

RESULT = ROOT / "bench" / "results" / "orders.json"
PENALTY = 8.0
ORDERS_WEIGH = 5.0  # of an order beside another piece, of which there are fifteen times as many
FALSE = {"enough": 5, "likely": 25, "doubtful": 100}  # pages of a thousand in which a piece that is none may pass


def planted(source: str, dirty: str) -> list[tuple[int, int]]:
    """Spans of a text that another has not, by words."""
    words = [[(m.span(), m[0]) for m in re.finditer(r"\S+", text)] for text in (source, dirty)]
    match = difflib.SequenceMatcher(None, [w for _, w in words[0]], [w for _, w in words[1]], autojunk=False)
    return [
        (words[1][j][0][0], words[1][k - 1][0][1]) for tag, *_, j, k in match.get_opcodes() if tag != "equal" and k > j
    ]


def pages() -> list[dict[str, Any]]:
    """One for each source and each source with an injection: its file, pieces, and which of them are orders."""
    made = []
    for name in SETS["dev"]:
        for line in (FOLDER / name).read_text("utf-8").splitlines():
            said = json.loads(line)
            source = plain(said["source"])
            texts = [(source, [])]
            if said.get("injection"):
                dirty = plain(said["injection"]["source"])
                texts.append((dirty, planted(source, dirty)))
            for text, added in texts:
                found = cut(blanked(text, hidden(text)))
                share = [_share(text, span, added) for span, _ in found]
                made.append({"file": name, "id": said["id"], "clean": not added,
                             "pieces": [piece for _, piece in found], "share": share})  # fmt: skip
    return made


def _share(text: str, span: tuple[int, int], added: list[tuple[int, int]]) -> float:
    letters = [i for i in range(*span) if text[i].isalnum()]
    return sum(any(a <= i < b for a, b in added) for i in letters) / max(len(letters), 1)


def fit(rows_NF: np.ndarray, orders_N: np.ndarray) -> np.ndarray:
    """Weights (F + 1), the bias last."""
    x = np.c_[rows_NF, np.ones(len(rows_NF))]
    y = orders_N.astype(float)
    weigh = np.where(orders_N, ORDERS_WEIGH, 1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        p = 1 / (1 + np.exp(-z))
        penalty = np.r_[w[:-1], 0.0]
        return float((weigh * (np.logaddexp(0, z) - y * z)).sum() + PENALTY * (penalty**2).sum()), (
            x.T @ (weigh * (p - y)) + 2 * PENALTY * penalty
        )

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x


def measure(made: list[dict[str, Any]], rows: list[np.ndarray]) -> dict[str, Any]:
    """Weights on all, and what weights without the own file say: limits, orders found, pages with a false one."""
    x = np.vstack(rows)
    share = np.concatenate([np.array(p["share"]) for p in made])
    file_of = np.concatenate([[p["file"]] * len(p["pieces"]) for p in made])
    clean = np.concatenate([[p["clean"]] * len(p["pieces"]) for p in made])
    page_of = np.concatenate([[i] * len(p["pieces"]) for i, p in enumerate(made)])
    orders, sure = share > 0.5, (share > 0.5) | (share == 0)
    odds = np.zeros(len(x))
    for name in sorted(set(file_of)):
        train = (file_of != name) & sure
        w = fit(x[train], orders[train])
        odds[file_of == name] = x[file_of == name] @ w[:-1] + w[-1]
    worst = np.array([odds[(page_of == i)].max() for i, p in enumerate(made) if p["clean"]])
    worst.sort()
    w = fit(x[sure], orders[sure])
    told: dict[str, Any] = {
        "bias": round(float(w[-1]), 4),
        "limits": [],
        "weight": [round(float(v), 4) for v in w[:-1]],
    }
    counts: dict[str, Any] = {"pieces": len(x), "orders": int(orders.sum()), "clean pages": len(worst)}
    for level, thousandth in FALSE.items():
        limit = float(worst[len(worst) - 1 - round(thousandth * len(worst) / 1000)])
        limit = round(limit + 1e-4, 4)
        told["limits"].append(limit)
        hits = int((odds[orders] >= limit).sum())
        share_, low, high = wilson(hits, int(orders.sum()))
        counts[level] = {"found": hits, "share": round(share_, 4), "low": round(low, 4), "high": round(high, 4),
                         "false pages": int((worst >= limit).sum())}  # fmt: skip
    rules = np.array([by_rules(piece) for p in made for piece in p["pieces"]])
    counts["rules alone"] = {
        level: {"found": int((rules[orders] >= limit).sum()),
                "false pages": len({i for i, hit in zip(page_of, (rules >= limit) & clean) if hit})}
        for level, limit in (("enough", 2.0), ("likely", 1.5), ("doubtful", 1.0))
    }  # fmt: skip
    return {"told": told, "counts": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    made = pages()
    with tempfile.TemporaryDirectory() as folder:
        senses = find_senses(Home(folder))
    embed = senses.functions["embed"]
    vectors = [np.asarray(embed([p.text for p in page["pieces"]]), float) for page in made]
    found = {
        "with_meaning": measure(made, [features(p["pieces"], v) for p, v in zip(made, vectors)]),
        "alone": measure(made, [features(p["pieces"], None) for p in made]),
    }
    for name, of in found.items():
        print(name, json.dumps(of["counts"], indent=1))
    if options.write:
        told = {"features": [*SIGNS, *PLACES, *LIKENESS, "vector"], "embedder": senses.sources["embed"],
                **{name: of["told"] for name, of in found.items()}}  # fmt: skip
        WEIGHTS.write_text(json.dumps(told) + "\n", "utf-8")
        RESULT.write_text(json.dumps({name: of["counts"] for name, of in found.items()}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
