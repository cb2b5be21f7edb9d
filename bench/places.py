"""Which place is which? Trains the adapters of rewriters/place_model.py, and counts the exchanges that they find.

    .venv/bin/python bench/places.py [--write]      # counts on files that training did not see: KEPT, and `asked`
    .venv/bin/python bench/places.py --train        # half an hour on a core with AVX-512 and bf16

Every clean rewrite is an example: numbers and names are hidden in both texts, and each hidden place must be told from
the others. Two rewrites of one text are an example as well, and so is a rewrite that drifts, for its numbers stay where
they were. Trained on TRAINED, files of the development set; on KEPT, the rest of it, the weight and the limit of
rewriters/check_exchanged.py were set. The body computes in bf16, the adapters are kept in fp32: another machine gives
other last digits, so the committed weights are what counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.binding import exchanges  # noqa: E402
from filters.embedding import Embedder  # noqa: E402
from rewriters import check_exchanged as exchange  # noqa: E402
from rewriters import check_names as names  # noqa: E402
from rewriters.checks import Side, side  # noqa: E402
from rewriters.pairs import FOLDER, SETS, Pair, pairs_of  # noqa: E402
from rewriters.place_model import MATRICES, WEIGHTS, PlaceModel, tokens  # noqa: E402
from rewriters.places import Places, Span, crossed, number_of  # noqa: E402

RESULT = ROOT / "bench" / "results" / "places.json"
TRAINED = tuple(f"pairs-{c}.jsonl" for c in "abcdefghij")
KEPT = tuple(f"pairs-{c}.jsonl" for c in "klmn")
RANK, WIDTH = 32, 128
EPOCHS, BATCH, RATE, HEAD_RATE, SEED = 6, 16, 5e-4, 1e-3, 0
NEAR = 256  # examples that are sorted by length, so that batches are full
NUMBERS, NAMES, ALL = 0.45, 0.1, 0.25  # shares of examples that hide all numbers, all names, both; the rest hide two
LIMITS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0)
Thing = tuple[list[Span], list[Span]]  # where it stands in either text


class Example:
    """Two texts that say the same, with the numbers and names that stand in both."""

    def __init__(self, source: Side, rewrite: Side):
        self.texts = source.text, rewrite.text
        self.numbers: list[Thing] = [
            ([number_of(source.text, q) for q in g], [number_of(rewrite.text, q) for q in h])
            for g, h in exchange.bindable(source, rewrite)
        ]
        self.names = entities(source, rewrite)

    def hide(self, draw: random.Random) -> Places:
        """The texts, in either order, with some of the numbers and names hidden."""
        much = draw.random()
        if much < NUMBERS:
            things = self.numbers
        elif much < NUMBERS + NAMES:
            things = self.names
        elif much < NUMBERS + NAMES + ALL:
            things = self.numbers + self.names
        else:
            pool = self.numbers if draw.random() < 0.6 and len(self.numbers) > 1 else self.names
            things = draw.sample(pool, 2) if len(pool) > 2 else pool
        if len(things) < 2:
            things = self.numbers + self.names
        turned = draw.random() < 0.5
        texts = self.texts[::-1] if turned else self.texts
        hidden = [
            tuple(sorted((span, i) for i, thing in enumerate(things) for span in thing[of])) for of in (0, 1)
        ]  # fmt: skip
        return Places(*texts, tuple(hidden[::-1] if turned else hidden))  # type: ignore[arg-type]


def entities(source: Side, rewrite: Side) -> list[Thing]:
    """Names of both texts; names are one where they share a word that is no title and no general one."""
    spots: list[tuple[int, Span, set[str]]] = []
    for of, (text, other) in enumerate(((source, rewrite), (rewrite, source))):
        for run in names.names(text, other):
            words = {n.folded.removesuffix("'s") for n in run} - names.TITLES - names.GENERIC
            spots.append((of, (run[0].start, run[-1].start + len(run[-1].spelt.removesuffix("'s"))), words))
    groups: list[tuple[set[str], Thing]] = []
    for of, span, words in spots:
        mine = [g for g in groups if g[0] & words]
        merged: tuple[set[str], Thing] = (set(words), ([], []))
        for group in mine:
            merged[0].update(group[0])
            for a, b in zip(merged[1], group[1]):
                a += b
            groups.remove(group)
        merged[1][of].append(span)
        groups.append(merged)
    return [thing for _, thing in groups if thing[0] and thing[1]]


def examples(files: tuple[str, ...]) -> list[Example]:
    """Source with each faithful or drifting rewrite, and the paraphrase with each of the others."""
    made = []
    for name in files:
        of: dict[str, dict[str, Pair]] = {}
        for pair in pairs_of(FOLDER / name):
            of.setdefault(pair.id, {})[pair.kind] = pair
        for line in of.values():
            source, told = side(line["paraphrase"].source), side(line["paraphrase"].text)
            made.append(Example(source, told))
            for kind in ("injection-clean", "drift"):
                if kind in line:
                    other = side(line[kind].text)
                    made += [Example(source, other), Example(told, other)]
    return [e for e in made if len(e.numbers) + len(e.names) > 1]


class Adapted(nn.Module):
    """A frozen matrix with a low-rank addition: it begins as the matrix alone."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(RANK, base.in_features) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + (x @ self.down.to(x.dtype).T) @ (2 * self.up).to(x.dtype).T


class Learner(nn.Module):
    """MiniLM in bf16 without dropout, with adapters, and the projections by which places ask and answer."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = Embedder().folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # attention written out: its backward is faster in bf16 on a CPU than the fused one
        self.body = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager",
                                              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
        self.body.requires_grad_(False).to(torch.bfloat16)
        self.adapters: dict[str, Adapted] = {}
        for at, layer in enumerate(self.body.encoder.layer):
            for name in MATRICES:
                self.adapters[f"{at}.{name}"] = Adapted(layer.get_submodule(name))
                layer.set_submodule(name, self.adapters[f"{at}.{name}"])
        self.asks, self.answers = nn.Linear(384, WIDTH), nn.Linear(384, WIDTH)
        self.answers.load_state_dict(self.asks.state_dict())
        self.scale = nn.Parameter(torch.zeros(()))

    def losses(self, batch: list[Places]) -> tuple[torch.Tensor, int]:
        """Summed cross-entropy of each hidden place among those of the other text, and how many there are."""
        told = [tokens(self.tokenizer, case) for case in batch]
        size = max(len(t[0]) for t in told)
        ids_BT, types_BT, real_BT = (torch.zeros(len(batch), size, dtype=torch.long) for _ in range(3))
        for i, (ids, types, _, _) in enumerate(told):
            ids_BT[i, : len(ids)], types_BT[i, : len(ids)] = torch.tensor(ids), torch.tensor(types)
            real_BT[i, : len(ids)] = 1
        states_BTD = self.body(
            input_ids=ids_BT, token_type_ids=types_BT, attention_mask=real_BT
        ).last_hidden_state.float()
        total, count = torch.zeros(()), 0
        for i, (case, (_, _, rows, columns)) in enumerate(zip(batch, told)):
            a, b = ([(t, thing) for t, (_, thing) in zip(spots, hidden) if t is not None]
                    for spots, hidden in zip((rows, columns), case.hidden))  # fmt: skip
            one, two = states_BTD[i, [t for t, _ in a]], states_BTD[i, [t for t, _ in b]]
            cells = self.asks(one) @ self.answers(two).T + self.answers(one) @ self.asks(two).T
            cells = cells / (2 * math.sqrt(WIDTH)) * self.scale.exp()
            same = torch.tensor([x for _, x in a])[:, None] == torch.tensor([x for _, x in b])[None, :]
            right = torch.where(same, cells, torch.full_like(cells, -1e4))
            for axis in (0, 1):
                known = same.any(axis)
                if known.any():
                    total = total + (cells.logsumexp(axis) - right.logsumexp(axis))[known].sum()
                    count += int(known.sum())
        return total, count

    def learnt(self) -> dict[str, torch.Tensor]:
        """What place_model.py reads: adapters and projections, in halves."""
        told = {f"{name}.up": 2 * a.up for name, a in self.adapters.items()}
        told |= {f"{name}.down": a.down for name, a in self.adapters.items()}
        told |= {f"asks.{k}": v for k, v in self.asks.state_dict().items()}
        told |= {f"answers.{k}": v for k, v in self.answers.state_dict().items()}
        return {name: w.detach().half().contiguous() for name, w in (told | {"scale": self.scale}).items()}


def train() -> dict[str, Any]:
    """Trains on TRAINED and writes the weights; returns what was done."""
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    draw, made, model = random.Random(SEED), examples(TRAINED), Learner()
    heads = [*model.asks.parameters(), *model.answers.parameters(), model.scale]
    adapters = [p for a in model.adapters.values() for p in (a.up, a.down)]
    optimizer = torch.optim.AdamW([{"params": adapters, "lr": RATE}, {"params": heads, "lr": HEAD_RATE}])
    steps, started, losses = EPOCHS * (len(made) // BATCH), time.process_time(), []
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 100) * max(0.02, 1 - s / steps))
    for epoch in range(EPOCHS):
        draw.shuffle(made)
        near = [
            e
            for at in range(0, len(made), 256)
            for e in sorted(made[at : at + 256], key=lambda e: len("".join(e.texts)))
        ]
        starts = [at * BATCH for at in range(len(made) // BATCH)]
        draw.shuffle(starts)
        told = [0.0, 0]
        for at in starts:
            loss, count = model.losses([e.hide(draw) for e in near[at : at + BATCH]])
            if count:
                (loss / count).backward()
                nn.utils.clip_grad_norm_(adapters + heads, 1.0)
                optimizer.step()
                told = [told[0] + float(loss.detach()), told[1] + count]
            optimizer.zero_grad()
            schedule.step()
        losses.append(round(told[0] / told[1], 4))
        print(f"epoch {epoch}: loss {losses[-1]} nats a place, {time.process_time() - started:.0f} CPU s", flush=True)
    save_file(model.learnt(), WEIGHTS)
    return {
        "examples": len(made),
        "steps": steps,
        "losses": losses,
        "cpu_seconds": round(time.process_time() - started),
    }


def oddest(source: Side, text: Side, told: exchange.Told | None) -> float:
    return max((odds for _, _, odds in exchange.judged(source, text, told)), default=-math.inf)


def most_crossed(asked: Places, affinity_AB: np.ndarray) -> float:
    """The largest odds of an exchange by the model alone, of all numbers that it was asked about."""
    things = sorted({thing for _, thing in asked.hidden[0]})
    return max(crossed(asked, affinity_AB, a, b) for a, b in itertools.combinations(things, 2))


def count(files: Sequence[str]) -> dict[str, Any]:
    """What signs, model and both find and lose, by limit, on files that training did not see."""
    model, signs_alone, alone, together = PlaceModel(Embedder().folder), [], [], []
    clean: list[bool] = []
    for name in files:
        of_line: dict[str, Pair] = {}
        for pair in pairs_of(FOLDER / name):
            if pair.kind == "paraphrase":
                of_line[pair.id] = pair
            if pair.kind not in ("paraphrase", "injection-clean", "number"):
                continue
            source, text = side(of_line[pair.id].source), side(pair.text)
            if pair.kind == "number" and not exchanges(source, side(of_line[pair.id].text), text):
                continue
            clean.append(pair.clean)
            signs_alone.append(oddest(source, text, None))
            asked = exchange.asked(source, text)
            told = (asked, model.affinities([asked])[0]) if asked else None
            alone.append(most_crossed(*told) if told else -math.inf)
            together.append(oddest(source, text, told))
    is_clean = np.array(clean)
    found: dict[str, Any] = {"exchanges": int((~is_clean).sum()), "clean": int(is_clean.sum())}
    counted = {"signs": signs_alone, "model": alone, "with_model": together}
    for name, odds in ((name, np.array(odds)) for name, odds in counted.items()):
        found[name] = {
            str(limit): {"found": int((odds[~is_clean] > limit).sum()), "lost": int((odds[is_clean] > limit).sum())}
            for limit in LIMITS
        }
        print(name, found[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    told = json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {}
    if options.train:
        told["training"] = train()
    for name, files in (("kept", KEPT), ("asked", SETS["asked"])):
        print(name)
        told[name] = count(files)
    if options.train or options.write:
        RESULT.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
