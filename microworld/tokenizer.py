"""Rebuild microworld/tokenizer.json: a byte-level BPE of the world's texts. `python -m microworld.tokenizer [PATH]`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

VOCABULARY = 1200  # entries, <|endoftext|> among them; a quarter of a 0.4M-parameter model
COMMITTED = Path(__file__).with_name("tokenizer.json")


def texts(folder: Path) -> Iterator[str]:
    """The texts of a world's synthetic corpora and labels, which tell of the same things in the same words as its web."""
    for file in (*sorted((folder / "synthetic").glob("*.jsonl")), folder / "labels.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            yield json.loads(line)["text"]


def train(path: Path) -> int:
    """Train on the world of seed 0 and write `path`; returns the number of entries."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from microworld.world import write_world

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_world(folder)
        tokenizer.train_from_iterator(texts(Path(folder)), trainer)
    tokenizer.save(str(path))
    return tokenizer.get_vocab_size()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED
    print(f"{train(target):,} entries in {target}")
