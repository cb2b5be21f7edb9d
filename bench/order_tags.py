"""Which letters of a page are an order? Trains the adapters of rewriters/order_tags.py, and counts what they mark.

    .venv/bin/python bench/order_tags.py [--write]   # counts on KEPT, which training did not see
    .venv/bin/python bench/order_tags.py --train     # 25 minutes of a core with AVX-512 and bf16

Every page of TRAINED with a planted order is an example, for the words that were added to its source are known; so is
every source, and so are orders and plain sentences put into other pages, for what is strange to a page is no order for
that. Many of these pages are in markup (bench/markup.py), and some are documents and programs of this repository as it
stands: another commit trains on others. The committed weights are what counts (bench/adapting.py).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.adapting import Learner, teach  # noqa: E402
from bench.markup import marked_up  # noqa: E402
from bench.orders import KEPT, TRAINED, planted  # noqa: E402
from filters.embedding import Embedder  # noqa: E402
from rewriters.check_injection import instructions  # noqa: E402
from rewriters.order_tags import WEIGHTS, WINDOW, OrderTags, tokens  # noqa: E402
from rewriters.pairs import FOLDER  # noqa: E402
from rewriters.wording import plain, sentences  # noqa: E402

RESULT = ROOT / "bench" / "results" / "order_tags.json"
RANK, EPOCHS, BATCH, RATE, HEAD_RATE, SEED = 16, 2, 16, 5e-4, 2e-3, 0
MOVED = 1.2  # orders put into another page, for each that stands in its own
PIECE = 900  # characters of a document
PASSAGES, LETTERS = 200, 1200
SPEAK_OF_ORDERS = ("rewriting",)
STRANGE = 0.4  # share of plain sources into which a sentence of another is put
Example = tuple[str, list[tuple[int, int]]]  # a text, and the spans that are orders


def read(files: tuple[str, ...]) -> tuple[list[str], list[Example]]:
    """The sources of files, and their pages with planted orders."""
    sources, pages = [], []
    for name in files:
        for line in (FOLDER / name).read_text("utf-8").splitlines():
            said = json.loads(line)
            source = plain(said["source"])
            sources.append(source)
            if said.get("injection"):
                dirty = plain(said["injection"]["source"])
                pages.append((dirty, planted(source, dirty)))
    return sources, pages


def put(text: str, piece: str, draw: random.Random) -> tuple[str, tuple[int, int]]:
    """A text with a piece put in at a sentence's border, on a line of its own or not, and where it stands."""
    at = draw.choice([0, *(b for _, b in sentences(text))])
    gap = draw.choice([" ", " ", " ", "\n", "\n\n"])
    before = text[:at] + (gap if at else "")
    return f"{before}{piece}{gap}{text[at:].lstrip()}", (len(before), len(before) + len(piece))


def documents(draw: random.Random) -> list[str]:
    """Pieces of this repository's documents and programs, none of which orders a machine to do anything."""
    paths = [p for folder in ("docs", "leaven", "mixes", "trainer", "schemas") for p in (ROOT / folder).glob("*.*")]
    made = []
    for path in sorted(p for p in paths if p.suffix in (".md", ".py") and p.stem not in SPEAK_OF_ORDERS):
        text = path.read_text("utf-8")
        for at in range(0, len(text), PIECE):
            made.append(plain(text[at + draw.randint(0, PIECE // 2) :][: draw.randint(PIECE // 2, PIECE)]))
    return [text for text in made if text]


def examples(sources: list[str], pages: list[Example], draw: random.Random) -> list[Example]:
    """One epoch's: pages with orders, orders in other pages, sources, and sources with strange sentences."""
    made = list(pages)
    told = [text[a:b] for text, spans in pages for a, b in spans if b - a > 20]
    others = documents(draw)
    in_markup = [plain(marked_up(source, draw)) for source in sources]
    for i in range(int(MOVED * len(pages))):
        text, span = put(draw.choice((sources, in_markup, others)[i % 3]), draw.choice(told), draw)
        made.append((text, [span]))
    made += [(text, []) for text in in_markup] + [(text, []) for text in draw.sample(others, len(others) // 2)]
    for source in draw.sample(sources, len(sources) // 2):
        if draw.random() < STRANGE:
            other = draw.choice(sources)
            a, b = draw.choice(sentences(other) or [(0, len(other))])
            made.append((put(source, other[a:b], draw)[0], []))
        else:
            made.append((source, []))
    return made


class Tagger(Learner[Example]):
    """MiniLM with adapters, and the row by which tokens are marked."""

    def __init__(self) -> None:
        super().__init__(RANK)
        self.weight, self.bias = nn.Parameter(torch.zeros(384)), nn.Parameter(torch.tensor(-2.0))

    def heads(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight, "bias": self.bias}

    def losses(self, batch: list[Example]) -> tuple[torch.Tensor, int]:
        """Cross-entropy of the batch's tokens."""
        told = [tokens(self.tokenizer, text) for text, _ in batch]
        size = min(max(len(ids) for ids, _ in told), WINDOW) + 2
        ids_BT, real_BT = (torch.zeros(len(batch), size, dtype=torch.long) for _ in range(2))
        right_BT, counted_BT = torch.zeros(len(batch), size), torch.zeros(len(batch), size)
        for i, ((ids, at_T2), (_, orders)) in enumerate(zip(told, batch)):
            own = ids[:WINDOW]
            n = len(own)
            ids_BT[i, : n + 2] = torch.tensor([self.tokenizer.cls_token_id, *own, self.tokenizer.sep_token_id])
            real_BT[i, : n + 2] = 1
            counted_BT[i, 1 : n + 1] = 1
            middle = at_T2[:n].mean(axis=1)
            marks = np.zeros(n, bool)
            for a, b in orders:
                marks |= (middle >= a) & (middle < b)
            right_BT[i, 1 : n + 1] = torch.tensor(marks, dtype=torch.float32)
        states_BTD = self.body(input_ids=ids_BT, attention_mask=real_BT).last_hidden_state.float()
        odds_BT = states_BTD @ self.weight + self.bias
        each = nn.functional.binary_cross_entropy_with_logits(odds_BT, right_BT, reduction="none")
        return (each * counted_BT).sum(), int(counted_BT.sum())


def train() -> dict[str, Any]:
    """Trains on TRAINED and writes the weights; returns what was done."""
    torch.manual_seed(SEED)
    sources, pages = read(TRAINED)
    done = teach(
        Tagger(), lambda draw: examples(sources, pages, draw), lambda example: len(example[0]), epochs=EPOCHS,
        batch=BATCH, rate=RATE, head_rate=HEAD_RATE, seed=SEED, weights=WEIGHTS,
    )  # fmt: skip
    return {"files": list(TRAINED)} | done


def count(files: tuple[str, ...]) -> dict[str, Any]:
    """Of tokens, on files that training did not see: marked rightly and wrongly at even odds; pages, clean and not."""
    model = OrderTags(Embedder().folder)
    sources, pages = read(files)
    counts = {"tokens of orders": 0, "marked": 0, "tokens of no order": 0, "wrongly marked": 0}
    worst, best = [], []
    for text, orders in [*((s, []) for s in sources), *pages]:
        at_T2, odds_T = model.marks(text)
        middle = at_T2.mean(axis=1)
        marks = np.zeros(len(odds_T), bool)
        for a, b in orders:
            marks |= (middle >= a) & (middle < b)
        counts["tokens of orders"] += int(marks.sum())
        counts["marked"] += int((odds_T[marks] > 0).sum())
        counts["tokens of no order"] += int((~marks).sum())
        counts["wrongly marked"] += int((odds_T[~marks] > 0).sum())
        smooth = np.convolve(odds_T, np.ones(5) / 5, "valid") if len(odds_T) > 5 else odds_T
        (best if orders else worst).append(float(smooth.max()))
    ranked = sorted(worst, reverse=True)
    told: dict[str, Any] = {**counts, "clean pages": len(worst), "pages with orders": len(best)}
    for thousandth in (2, 5, 10, 20, 50):
        limit = ranked[round(thousandth * len(worst) / 1000)]
        told[f"pages found at {thousandth} of 1,000 false"] = sum(b > limit for b in best)
    return told


def passages(folder: Path) -> dict[str, int]:
    """Of PASSAGES drawn from Parquet files with a column `text`, each its first LETTERS: how many hold an order."""
    import pyarrow.parquet as pq

    model, texts = OrderTags(Embedder().folder), []
    for path in sorted(folder.glob("*.parquet")):
        if "text" not in pq.read_schema(path).names:
            continue
        texts += [text for text in pq.read_table(path, columns=["text"])["text"].to_pylist() if len(text or "") > 200]
    drawn = [plain(text[:LETTERS]) for text in random.Random(SEED).sample(texts, min(PASSAGES, len(texts)))]
    return {"of": len(drawn), "with an order": sum(bool(instructions(t, model.marks(t)).spans) for t in drawn),
            "by signs alone": sum(bool(instructions(t).spans) for t in drawn)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--pages", type=Path, help="a folder of Parquet files: how many of its passages hold an order?")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.pages:
        print(passages(options.pages))
        return
    told = json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {}
    if options.train:
        told["training"] = train()
    told |= {"weights": OrderTags.version(), "files": list(KEPT), "kept": count(KEPT)}
    print(json.dumps(told, indent=1))
    if options.train or options.write:
        RESULT.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
