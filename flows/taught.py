"""How well does the pocket teacher rewrite what it was not taught? Held-out pairs, answered greedily and counted.

    python -m flows.taught FOLDER HELDOUT.jsonl [--pairs N] [--show N]

An answer is `kept` where every name, town, day, number and act that a faithful answer holds stands in it, `sound` where
it names none that the source lacks, `faithful` where both, `exact` where it is the target to the letter.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microworld.scribe import kept_words
from microworld.teaching import Pair

LONGEST = 200  # tokens of an answer
BATCH = 64


@dataclass(frozen=True)
class Answer:
    """What the model wrote, and whether it ended by itself."""

    text: str
    ended: bool


def held_out(path: Path) -> list[Pair]:
    """The pairs of a heldout.jsonl."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [Pair(**{**row, "kept": tuple(row["kept"])}) for row in rows]


def rewritten(folder: Path, pairs: Sequence[Pair], *, dtype: str = "float32", batch: int = BATCH) -> list[Answer]:
    """The greedy answer to every pair's prompt by the model in `folder`, on one CPU thread, `batch` at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=getattr(torch, dtype)).eval()
    answers: list[Answer] = []
    for first in range(0, len(pairs), batch):
        asked = tokenizer([p.prompt for p in pairs[first : first + batch]], return_tensors="pt", padding=True)
        with torch.no_grad():
            said = model.generate(
                input_ids=asked["input_ids"], attention_mask=asked["attention_mask"], max_new_tokens=LONGEST,
                do_sample=False,
            )  # fmt: skip
        new = said[:, asked["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        ended = (new == tokenizer.eos_token_id).any(1).tolist()
        answers += [Answer(*one) for one in zip(texts, ended, strict=True)]
    torch.set_num_threads(threads)
    return answers


def kept(pair: Pair, text: str) -> bool:
    """Whether `text` holds every word and act of the source that a faithful answer holds."""
    return all(k in text.lower() for k in pair.kept)


def sound(pair: Pair, text: str) -> bool:
    """Whether `text` names no name, town, day or number that the source lacks."""
    return kept_words(text) <= kept_words(pair.source)


def counted(pairs: Sequence[Pair], answers: Sequence[Answer], style: str | None = None) -> dict[str, int]:
    """How many answers are what; of one style, or of all."""
    asked = [(p, a.text, a.ended) for p, a in zip(pairs, answers, strict=True) if style in (None, p.style)]
    return {
        "asked": len(asked),
        "exact": sum(text == p.target for p, text, _ in asked),
        "kept": sum(kept(p, text) for p, text, _ in asked),
        "sound": sum(sound(p, text) for p, text, _ in asked),
        "faithful": sum(kept(p, text) and sound(p, text) for p, text, _ in asked),
        "copied": sum(text == p.source for p, text, _ in asked),
        "ended": sum(ended for *_, ended in asked),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.taught", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("heldout", type=Path)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--show", type=int, default=0, help="wrong answers to show beside their source and target")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    pairs = held_out(args.heldout)[: args.pairs]
    started = time.perf_counter()
    answers = rewritten(args.folder, pairs, dtype=args.dtype)
    print(f"{(time.perf_counter() - started) / len(pairs) * BATCH:.1f} s for {BATCH} segments")
    for style in sorted({p.style for p in pairs}):
        found: dict[str, Any] = counted(pairs, answers, style)
        print(style, json.dumps(found))
    wrong = [(p, a.text) for p, a in zip(pairs, answers, strict=True) if a.text != p.target]
    for pair, text in wrong[: args.show]:
        print(f"\n## {pair.style}\n{pair.source}\n== target\n{pair.target}\n== answer\n{text}")


if __name__ == "__main__":
    main()
