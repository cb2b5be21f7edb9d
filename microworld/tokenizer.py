"""Rebuild microworld/tokenizer.json: a byte-level BPE of the world's texts. `python -m microworld.tokenizer [PATH]`."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from microworld.telling import Teller
from microworld.world import CORPORA, PAGES, SYNTHETIC, web_pages

VOCABULARY = 1200  # entries, <|endoftext|> among them; a quarter of a 0.4M-parameter model
COMMITTED = Path(__file__).with_name("tokenizer.json")


def texts() -> Iterator[str]:
    """The texts of the world of seed 0."""
    yield from (page.text.text for page in web_pages(Teller(random.Random("web 0")), PAGES))
    for corpus, act in CORPORA.items():
        teller = Teller(random.Random(f"{corpus} 0"))
        yield from (teller.pair(act).text for _ in range(SYNTHETIC))


def train(path: Path) -> int:
    """Train and write `path`; returns the number of entries."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.save(str(path))
    return tokenizer.get_vocab_size()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED
    print(f"{train(target):,} entries in {target}")
