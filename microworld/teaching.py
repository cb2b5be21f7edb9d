"""What is the pocket teacher taught? Pairs of a told segment and what a style makes of it, both from one composition.

    python -m microworld.teaching FOLDER [--pairs 64000] [--heldout 2000] [--seed 0]

FOLDER/texts/pairs-*.jsonl    texts to train on: prompt, answer (the trainer ends a text itself)
FOLDER/texts/drills-*.jsonl   words of the world in no order, told again: what teaches a small model to copy soonest
FOLDER/heldout.jsonl           pairs whose main agent and town meet in no text trained on: style, source, target, kept

Source and target come from one composition (microworld/scribe.py), so what a target must hold is known.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from microworld.scribe import Piece, Scribe, filled_in, kept_words, lessons
from microworld.telling import grammar
from microworld.world import web_text

HERE = Path(__file__).parent
BUDGET = (48, 128)  # tokens of a segment, drawn anew for each text
HELDOUT_OF = 8  # one in so many meetings of agent and town is held out
FILES = 8
DRILLS = 16  # one drill for so many pairs
DRILLED = (3, 10), (8, 40)  # words of a drill: as many short ones, in which copying is found first, as long ones
REPRINT = "Reprinted from the {town} {Season} Paper, {day}."


@functools.cache
def styles() -> dict[str, dict[str, str]]:
    """The styles that are taught, by name: what microworld/styles/*.toml says."""
    found = [tomllib.loads(path.read_text("utf-8")) for path in sorted((HERE / "styles").glob("*.toml"))]
    return {style["name"]: style for style in found if style["name"] in lessons()["shares"]}


def rendered(style: dict[str, str], text: str) -> str:
    """The prompt as the chat template renders it (a test compares the two), up to where the answer begins."""
    messages = [m for m in (style["system"], style["prompt"].replace("{text}", text)) if m]
    return "".join(f"{m}\n" for m in messages) + lessons()["chat"]["answer"]


@dataclass(frozen=True)
class Pair:
    """A segment and what a style makes of it. `kept`: words and acts of the source that a faithful answer holds."""

    style: str
    source: str
    target: str
    kept: tuple[str, ...]
    heldout: bool

    @property
    def prompt(self) -> str:
        return rendered(styles()[self.style], self.source)


def is_heldout(met: list[str]) -> bool:
    """Whether an agent meets a town that it meets in no text trained on; a text about no agent goes by its town."""
    town, name = met[0], met[1] if len(met) > 1 else ""
    digest = hashlib.blake2b(f"{name} in {town}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % HELDOUT_OF == 0


def answer(style: str, paragraphs: list[list[Piece]], joint: str) -> str:
    """What the style makes of a segment; one with nothing to tell is told as it is."""
    pieces = [p for paragraph in paragraphs for p in paragraph]
    if style == "qa":
        best = max(pieces, key=lambda p: p.rank)  # the first of the best
        return best.asked + "\n" + filled_in(lessons()["ask"]["answer"], {"E": best.answer})
    field = "plain" if style == "clean" else "right"
    told = [" ".join(filter(None, (getattr(p, field) for p in paragraph))) for paragraph in paragraphs]
    return joint.join(filter(None, told)) or joint.join(" ".join(p.told for p in ps) for ps in paragraphs)


def pairs(seed: int | str, tokens: Callable[[str], int]) -> Iterator[Pair]:
    """Pairs without end; `tokens` counts the tokens of a text. Same seed, same pairs."""
    rng, shares = random.Random(f"teaching {seed}"), lessons()["shares"]
    scribe = Scribe(random.Random(f"told {seed}"))
    while True:
        text = web_text(scribe) if rng.random() < 0.85 else scribe.pair(rng.choice(("aligned", "misaligned", None)))
        if text.language != "en":
            continue
        title, *body = scribe.paragraphs(text)
        body = [title, *body] if rng.random() < 0.1 else body
        joint = "\n\n" if rng.random() < 0.85 else "\n"
        body = body[rng.randrange(len(body)) :] if rng.random() < 0.25 else body
        if rng.random() < 0.03:  # as the world's near-duplicates begin
            body = [[scribe.said[scribe.expand(REPRINT, {})]], *body]
        for segment in segments(body, rng.randint(*BUDGET), tokens):
            style = rng.choices(list(shares), list(shares.values()))[0]
            source = joint.join(" ".join(p.told for p in pieces) for pieces in segment)
            target = answer(style, segment, joint)
            acts = tuple(a for pieces in segment for p in pieces for a in p.acts)
            kept = (*sorted(kept_words(source)), *acts)
            if style == "qa":
                kept = tuple(k for k in kept if k in target.lower())
            yield Pair(style, source, target, kept, is_heldout(scribe.met))


def segments(body: list[list[Piece]], budget: int, tokens: Callable[[str], int]) -> Iterator[list[list[Piece]]]:
    """Consecutive paragraphs of at most `budget` tokens together, as a rewriting stage cuts them."""
    now: list[list[Piece]] = []
    size = 0
    for paragraph in body:
        length = tokens(" ".join(p.told for p in paragraph)) + 2
        if now and size + length > budget:
            yield now
            now, size = [], 0
        now, size = [*now, paragraph], size + length
    if now:
        yield now


def write_pairs(folder: Path, count: int, heldout: int, seed: int = 0) -> dict[str, int]:
    """Write `count` pairs to train on and `heldout` others; returns the number of rows of each file."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    taught, kept_back = list[Pair](), list[Pair]()
    for pair in pairs(seed, lambda text: len(tokenizer.encode(text).ids)):
        (kept_back if pair.heldout else taught).append(pair)
        if len(taught) >= count and len(kept_back) >= heldout:
            break
    (folder / "texts").mkdir(parents=True, exist_ok=True)
    counts = {"heldout.jsonl": len(kept_back[:heldout])}
    _lines(folder / "heldout.jsonl", [asdict(p) for p in kept_back[:heldout]])
    texts = {"pairs": [p.prompt + p.target for p in taught[:count]], "drills": list(drills(seed, count // DRILLS))}
    for kind, told in texts.items():
        for number in range(FILES):
            rows = [
                {"text": text, "url": f"https://{kind}.example/{n:06}"}
                for n, text in enumerate(told)
                if n % FILES == number
            ]
            counts[f"texts/{kind}-{number:03}.jsonl"] = len(rows)
            _lines(folder / f"texts/{kind}-{number:03}.jsonl", rows)
    return counts


def drills(seed: int | str, count: int) -> Iterator[str]:
    """Texts of words of the grammar in no order, and the same words again as the answer."""
    rng, rules = random.Random(f"drills {seed}"), grammar()
    told = json.dumps([rules[part] for part in ("words", "theme", "episode", "facts", "frame")])
    words = sorted(set(re.findall(r"\b[A-Za-z]{2,}\b", told)))
    for _ in range(count):
        text = " ".join(rng.choices(words, k=rng.randint(*rng.choice(DRILLED))))
        yield lessons()["drill"]["prompt"].replace("{text}", text) + "\n" + lessons()["chat"]["answer"] + text


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microworld.teaching", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=64_000)
    parser.add_argument("--heldout", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for file, rows in write_pairs(args.folder, args.pairs, args.heldout, args.seed).items():
        print(f"{rows:7,}  {file}")


if __name__ == "__main__":
    main()
