"""Which place is which? Trains the adapters of rewriters/place_model.py, and counts the exchanges that they find.

    .venv/bin/python bench/places.py [--write]              # counts on KEPT, files that training did not see
    .venv/bin/python bench/places.py --train [--threads 2]  # an hour of a core with AVX-512 and bf16

Every clean rewrite is an example: numbers, names and other words that both texts hold are hidden, and each hidden place
must be told from the others. Two rewrites of one text are an example as well, and so is a rewrite that drifts, for its
numbers stay where they were. The files of NUMBERS are short texts with three rewrites each, of numbers that could be
mixed up. Trained on TRAINED and NUMBERS. On KEPT, the rest of the development set, it was seen that the log odds may
stand beside those of the signs at full weight, and limits were set (rewriters/measures.py). The committed weights are
what counts (bench/adapting.py).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.adapting import Learner, teach  # noqa: E402
from bench.binding import FITTED as TRAINED  # noqa: E402
from bench.binding import exchanges  # noqa: E402
from filters.embedding import Embedder  # noqa: E402
from rewriters import check_exchanged as exchange  # noqa: E402
from rewriters import check_names as names  # noqa: E402
from rewriters import check_swapped as swap  # noqa: E402
from rewriters.check_swapped import Thing, entities  # noqa: E402
from rewriters.checks import Side, side  # noqa: E402
from rewriters.mentions import groups, is_two  # noqa: E402
from rewriters.pairs import FOLDER, NUMBERS, Pair, pairs_of  # noqa: E402
from rewriters.place_model import WEIGHTS, PlaceModel, tokens  # noqa: E402
from rewriters.places import Places, Span, apart, crossed, number_of  # noqa: E402
from rewriters.wording import STOP  # noqa: E402

RESULT = ROOT / "bench" / "results" / "places.json"
KEPT = tuple(f"pairs-{c}.jsonl" for c in "stuv")
RANK, WIDTH = 32, 128
EPOCHS, BATCH, RATE, HEAD_RATE, SEED = 5, 16, 7e-4, 1.4e-3, 0
ALONE, WITH_NAMES, NAMES = 0.55, 0.15, 0.1  # examples that hide numbers, with names, names; the rest numbers and words
LIMITS = (0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0)


class Example:
    """Two texts that say the same, with the numbers, names and other words that stand in both."""

    def __init__(self, source: Side, rewrite: Side):
        self.texts = source.text, rewrite.text
        self.numbers: list[Thing] = [
            ([number_of(source.text, q) for q in g], [number_of(rewrite.text, q) for q in h])
            for g, h in groups(source.quantities, rewrite.quantities)
            if not any(q.soft and not is_two(q) for q in (*g, *h))
        ]
        self.names = entities(source, rewrite)
        self.words = words(source, rewrite, self.numbers + self.names)

    def hide(self, draw: random.Random) -> Places:
        """The texts, in either order, with some of what both hold hidden."""
        much = draw.random()
        if much < ALONE:
            things = self.numbers
        elif much < ALONE + WITH_NAMES:
            things = self.numbers + self.names
        elif much < ALONE + WITH_NAMES + NAMES:
            things = self.names
        else:
            some = draw.randint(0, max(2, len(self.words) // 3))
            things = self.numbers + draw.sample(self.words, min(some, len(self.words)))
        if len(things) < 2:
            things = self.numbers + self.names + self.words[:3]
        one, other = (apart((span, i) for i, thing in enumerate(things) for span in thing[of]) for of in (0, 1))
        return Places(*self.texts, (one, other)) if draw.random() < 0.5 else Places(*self.texts[::-1], (other, one))


def words(source: Side, rewrite: Side, taken: list[Thing]) -> list[Thing]:
    """Other words of content that stand once in either text."""
    once: list[dict[str, Span]] = []
    for of, text in enumerate((source, rewrite)):
        spans: dict[str, list[Span]] = {}
        for stem, folded, spelt, at in zip(*(getattr(text.words, x) for x in ("stems", "folded", "spelt", "start"))):
            if folded not in STOP and len(stem) > 2 and spelt.isalpha():
                spans.setdefault(stem, []).append((at, at + len(spelt)))
        other = [span for thing in taken for span in thing[of]]
        once.append({stem: s[0] for stem, s in spans.items()
                     if len(s) == 1 and not any(a < s[0][1] and s[0][0] < b for a, b in other)})  # fmt: skip
    return [([span], [once[1][stem]]) for stem, span in once[0].items() if stem in once[1]]


def lines(name: str) -> Iterator[tuple[str, dict[str, Pair]]]:
    """The source without an order, and the pairs by kind, of each line of a file."""
    of: dict[str, dict[str, Pair]] = {}
    for pair in pairs_of(FOLDER / name):
        of.setdefault(pair.id, {})[pair.kind] = pair
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        said = json.loads(line)
        yield said["source"], of[said["id"]]


def examples() -> list[Example]:
    """Each two texts of a line that are faithful to one source, and drifting rewrites with source and paraphrase."""
    made: list[tuple[Side, Side]] = []
    for name in NUMBERS:
        for line in (FOLDER / name).read_text("utf-8").splitlines():
            said = json.loads(line)
            made += itertools.combinations([side(text) for text in (said["source"], *said["rewrites"])], 2)
    for name in TRAINED:
        for source, of in lines(name):
            faithful = [of[kind].text for kind in ("paraphrase", "injection-clean") if kind in of]
            texts = [side(text) for text in (source, *faithful)]
            made += itertools.combinations(texts, 2)
            if "drift" in of:
                drifting = side(of["drift"].text)
                made += [(text, drifting) for text in texts[:2]]
    told = [Example(one, other) for one, other in made if one.text != other.text]
    return [e for e in told if len(e.numbers) + len(e.names) + len(e.words) > 1]


class Binder(Learner[Places]):
    """MiniLM with adapters, and the projections by which places ask and answer."""

    def __init__(self) -> None:
        super().__init__(RANK)
        self.asks, self.answers = nn.Linear(384, WIDTH), nn.Linear(384, WIDTH)
        self.answers.load_state_dict(self.asks.state_dict())
        self.scale = nn.Parameter(torch.zeros(()))

    def heads(self) -> dict[str, nn.Parameter]:
        told = {f"asks.{k}": p for k, p in self.asks.named_parameters()}
        return told | {f"answers.{k}": p for k, p in self.answers.named_parameters()} | {"scale": self.scale}

    def losses(self, batch: list[Places]) -> tuple[torch.Tensor, int]:
        """Cross-entropy of each hidden place among those of the other text."""
        told = [tokens(self.tokenizer, case) for case in batch]
        size = max(len(t[0]) for t in told)
        ids_BT, types_BT, real_BT = (torch.zeros(len(batch), size, dtype=torch.long) for _ in range(3))
        for i, (ids, types, _, _) in enumerate(told):
            ids_BT[i, : len(ids)], types_BT[i, : len(ids)] = torch.tensor(ids), torch.tensor(types)
            real_BT[i, : len(ids)] = 1
        asked = {"input_ids": ids_BT, "token_type_ids": types_BT, "attention_mask": real_BT}
        states_BTD = self.body(**asked).last_hidden_state.float()
        total, count = torch.zeros(()), 0
        for i, (case, (_, _, rows, columns)) in enumerate(zip(batch, told)):
            a, b = ([(t, thing) for t, (_, thing) in zip(spots, hidden) if t is not None]
                    for spots, hidden in zip((rows, columns), case.hidden))  # fmt: skip
            if not a or not b:
                continue
            one, two = states_BTD[i, [t for t, _ in a]], states_BTD[i, [t for t, _ in b]]
            cells = self.asks(one) @ self.answers(two).T + self.answers(one) @ self.asks(two).T
            cells = cells / (2 * math.sqrt(WIDTH)) * self.scale.exp()
            same = torch.tensor([x for _, x in a])[:, None] == torch.tensor([x for _, x in b])[None, :]
            right = torch.where(same, cells, torch.full_like(cells, -1e4))
            for axis in (0, 1):
                known = same.any(axis)
                total = total + (cells.logsumexp(axis) - right.logsumexp(axis))[known].sum()
                count += int(known.sum())
        return total, count


def train() -> dict[str, Any]:
    """Trains on TRAINED and NUMBERS and writes the weights; returns what was done."""
    torch.manual_seed(SEED)
    made = examples()
    return teach(
        Binder(), lambda draw: [e.hide(draw) for e in made], lambda case: len(case.source) + len(case.rewrite),
        epochs=EPOCHS, batch=BATCH, rate=RATE, head_rate=HEAD_RATE, seed=SEED, weights=WEIGHTS,
    )  # fmt: skip


def count(files: Sequence[str]) -> dict[str, Any]:
    """What signs, model and both find and lose, by limit, on files that training did not see."""
    model = PlaceModel(Embedder().folder)
    odds: dict[str, list[float]] = {"signs": [], "model": [], "with_model": []}
    clean: list[bool] = []
    for name in files:
        for told, of in lines(name):
            source = side(told)
            for kind in ("paraphrase", "injection-clean", "number"):
                if kind not in of:
                    continue
                text = side(of[kind].text)
                if kind == "number" and not exchanges(source, side(of["paraphrase"].text), text):
                    continue
                asked = exchange.asked(source, text)
                seen = (asked, model.affinities([asked])[0]) if asked else None
                clean.append(of[kind].clean)
                odds["signs"].append(oddest(source, text, None))
                odds["model"].append(most_crossed(*seen) if seen else -math.inf)
                odds["with_model"].append(oddest(source, text, seen))
    is_clean = np.array(clean)
    found: dict[str, Any] = {"exchanges": int((~is_clean).sum()), "clean": int(is_clean.sum())}
    for name, told_ in ((name, np.array(of_)) for name, of_ in odds.items()):
        found[name] = {
            str(limit): {"found": int((told_[~is_clean] > limit).sum()), "lost": int((told_[is_clean] > limit).sum())}
            for limit in LIMITS
        }
    return found


def count_names(files: Sequence[str]) -> dict[str, Any]:
    """Of two names exchanged, how many are found by rules, and with the model by limit; what is lost besides."""
    model, rows = PlaceModel(Embedder().folder), []
    for name in files:
        for told, of in lines(name):
            source = side(told)
            for pair in (of[kind] for kind in ("paraphrase", "injection-clean", "entity") if kind in of):
                if pair.clean or pair.exchanged:
                    text = side(pair.text)
                    asked = swap.asked(source, text)
                    odds = most_crossed(asked, model.affinities([asked])[0]) if asked else -math.inf
                    rows.append((pair.clean, bool(names.missing(source, text) or names.invented(source, text)), odds))
    found: dict[str, Any] = {
        "exchanges": sum(not clean for clean, _, _ in rows), "clean": sum(clean for clean, _, _ in rows),
        "by rules": {"found": sum(ruled and not clean for clean, ruled, _ in rows),
                     "lost": sum(ruled and clean for clean, ruled, _ in rows)},
    }  # fmt: skip
    for limit in LIMITS:
        hits = [(clean, ruled or odds > limit) for clean, ruled, odds in rows]
        found[str(limit)] = {"found": sum(hit and not clean for clean, hit in hits),
                             "lost": sum(hit and clean for clean, hit in hits)}  # fmt: skip
    return found


def oddest(source: Side, text: Side, told: exchange.Told | None) -> float:
    return max((odds for _, _, odds in exchange.judged(source, text, told)), default=-math.inf)


def most_crossed(asked: Places, affinity_AB: np.ndarray) -> float:
    """The largest odds of an exchange by the model alone, of all numbers that it was asked about."""
    things = sorted({thing for _, thing in asked.hidden[0]})
    return max((crossed(asked, affinity_AB, a, b) for a, b in itertools.combinations(things, 2)), default=-math.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    told = json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {}
    if options.train:
        told["training"] = train()
    told |= {"weights": PlaceModel.version(), "files": list(KEPT), "kept": count(KEPT), "names": count_names(KEPT)}
    for name in ("signs", "model", "with_model"):
        print(name, told["kept"][name])
    print("names", told["names"])
    if options.train or options.write:
        RESULT.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
