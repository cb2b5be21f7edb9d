"""How surely is a piece of a page known for an order? Fits the weights of rewriters/order_model.py, and counts.

    .venv/bin/python bench/orders.py [--write]      # after bench/order_tags.py

The sources of these files are cut into pieces; a piece is an order where most of its letters are those that
an injection added to its line's source. Weights of signs and places are fitted by logistic regression with a penalty on
TRAINED, the files on which the marks were trained; on KEPT those three that join signs and marks,
and all limits. `--write` puts both into rewriters/order_weights.json, and the counts into bench/results/orders.json.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import minimize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from filters.embedding import Embedder  # noqa: E402
from flows.calibrate import wilson  # noqa: E402
from rewriters.order_model import JOINED, PLACES, SIGNS, WEIGHTS, Piece, by_rules, features  # noqa: E402
from rewriters.order_pieces import blanked, cut, hidden  # noqa: E402
from rewriters.order_tags import OrderTags, of_spans  # noqa: E402
from rewriters.pairs import FOLDER  # noqa: E402
from rewriters.wording import plain  # noqa: E402

RESULT = ROOT / "bench" / "results" / "orders.json"
KEPT = tuple(f"pairs-{c}.jsonl" for c in "opqr")
TRAINED = (*(f"pairs-{c}.jsonl" for c in "abcdefghijklmn"), *(f"orders-{c}.jsonl" for c in "wxyz"))
PENALTY = {"alone": 8.0, "marked": 0.1}
ORDERS_WEIGH = 5.0  # of an order beside another piece, of which there are fifteen times as many
FALSE = {"enough": 5, "likely": 25, "doubtful": 100}  # pages of a thousand in which a piece that is none may pass


def planted(source: str, dirty: str) -> list[tuple[int, int]]:
    """Spans of a text that another has not, by words."""
    words = [[(m.span(), m[0]) for m in re.finditer(r"\S+", text)] for text in (source, dirty)]
    match = difflib.SequenceMatcher(None, [w for _, w in words[0]], [w for _, w in words[1]], autojunk=False)
    return [
        (words[1][j][0][0], words[1][k - 1][0][1]) for tag, *_, j, k in match.get_opcodes() if tag != "equal" and k > j
    ]


def pages(files: tuple[str, ...]) -> list[dict[str, Any]]:
    """One for each source and each source with an injection: its text, pieces, and which of them are orders."""
    made = []
    for name in files:
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
                made.append({"text": text, "clean": not added, "spans": [span for span, _ in found],
                             "pieces": [piece for _, piece in found], "share": share})  # fmt: skip
    return made


def _share(text: str, span: tuple[int, int], added: list[tuple[int, int]]) -> float:
    letters = [i for i in range(*span) if text[i].isalnum()]
    return sum(any(a <= i < b for a, b in added) for i in letters) / max(len(letters), 1)


def fit(rows_NF: np.ndarray, orders_N: np.ndarray, strength: float) -> np.ndarray:
    """Weights (F + 1), the bias last; `strength` of the penalty on all but that."""
    x = np.c_[rows_NF, np.ones(len(rows_NF))]
    y = orders_N.astype(float)
    weigh = np.where(orders_N, ORDERS_WEIGH, 1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        p = 1 / (1 + np.exp(-z))
        penalty = np.r_[w[:-1], 0.0]
        return float((weigh * (np.logaddexp(0, z) - y * z)).sum() + strength * (penalty**2).sum()), (
            x.T @ (weigh * (p - y)) + 2 * strength * penalty
        )

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x


class Table:
    """The pieces of pages as rows, which of them are orders, and which count for fitting."""

    def __init__(self, files: tuple[str, ...]):
        self.pages = pages(files)
        self.rows = np.vstack([features(p["pieces"]) for p in self.pages])
        share = np.concatenate([np.array(p["share"]) for p in self.pages])
        self.orders, self.sure = share > 0.5, (share > 0.5) | (share == 0)
        self.page_of = np.concatenate([[i] * len(p["pieces"]) for i, p in enumerate(self.pages)])
        self.pieces: list[Piece] = [piece for p in self.pages for piece in p["pieces"]]

    def marks(self) -> np.ndarray:
        """Mean and largest mark of every piece (N, 2)."""
        model = OrderTags(Embedder().folder)
        return np.vstack([of_spans(model.marks(p["text"]), p["spans"]) for p in self.pages])


def told(weights: np.ndarray, odds: np.ndarray, table: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights with the limits that leave as many false pages as FALSE allows, and what they find."""
    worst = np.sort([odds[table.page_of == i].max() for i, p in enumerate(table.pages) if p["clean"]])
    fitted: dict[str, Any] = {"bias": round(float(weights[-1]), 4), "limits": [],
                              "weight": [round(float(v), 4) for v in weights[:-1]]}  # fmt: skip
    dirty = [(table.page_of == i) & table.orders for i, p in enumerate(table.pages) if not p["clean"]]
    counts: dict[str, Any] = {"pieces": len(odds), "orders": int(table.orders.sum()), "clean pages": len(worst),
                              "pages with orders": sum(bool(mine.any()) for mine in dirty)}  # fmt: skip
    for level, thousandth in FALSE.items():
        limit = round(float(worst[len(worst) - 1 - round(thousandth * len(worst) / 1000)]) + 1e-4, 4)
        fitted["limits"].append(limit)
        hits = int((odds[table.orders] >= limit).sum())
        share, low, high = wilson(hits, int(table.orders.sum()))
        counts[level] = {"found": hits, "share": round(share, 4), "low": round(low, 4), "high": round(high, 4),
                         "pages found": sum(bool((odds[mine] >= limit).any()) for mine in dirty),
                         "false pages": int((worst >= limit).sum())}  # fmt: skip
    return fitted, counts


def by_the_rules(table: Table) -> dict[str, Any]:
    """What the rules of a piece by itself find."""
    rules = np.array([by_rules(piece) for piece in table.pieces])
    clean = np.array([table.pages[i]["clean"] for i in table.page_of])
    return {level: {"found": int((rules[table.orders] >= limit).sum()),
                    "false pages": len(set(table.page_of[(rules >= limit) & clean]))}
            for level, limit in (("enough", 2.0), ("likely", 1.5), ("doubtful", 1.0))}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    learnt, kept = Table(TRAINED), Table(KEPT)
    alone = fit(learnt.rows[learnt.sure], learnt.orders[learnt.sure], PENALTY["alone"])
    odds = kept.rows @ alone[:-1] + alone[-1]
    joined = np.c_[odds, kept.marks()]
    marked = fit(joined[kept.sure], kept.orders[kept.sure], PENALTY["marked"])
    found = {"alone": told(alone, odds, kept), "marked": told(marked, joined @ marked[:-1] + marked[-1], kept)}
    counts = {name: of for name, (_, of) in found.items()} | {"rules of a piece": by_the_rules(kept)}
    print(json.dumps(counts, indent=1))
    if options.write:
        features_told = {"alone": [*SIGNS, *PLACES], "marked": list(JOINED)}
        fitted = {name: of | {"features": features_told[name]} for name, (of, _) in found.items()}
        WEIGHTS.write_text(json.dumps(fitted | {"marks": OrderTags.version()}) + "\n", "utf-8")
        RESULT.write_text(json.dumps(counts, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
