"""Worked tasks right, wrong and out of order, at equal tokens: `python -m rewriters.traces OUT --tokenizer FILE`.

    family, number --hash--> problem --> correct: the verifier accepts every step and the answer
                                     --> wrong:   one step is wrong, the others follow from it, so the answer is wrong
                                     --> shuffled: the lines of `correct`, its steps in another order

The three texts of a task have exactly the same number of tokens, so three pools cut from them have the same documents,
tokens and sequences. A problem for which no wrong or shuffled text of that length is found is drawn anew, and counted.

OUT/{correct,wrong,shuffled}.jsonl  texts, in the order of the tasks
OUT/tasks.parquet                   what the verifier says of each text, and its tokens
OUT/traces.toml, OUT/pools/*.toml   recipes for `leaven curate` and `leaven pool`; OUT/tokenizer.json
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaven import console
from leaven.errors import UserError
from leaven.manifest import fingerprint
from leaven.tokens import Tokenizer
from rewriters.tasks import TASKS_VERSION, Family, Values, Verdict, tell, verify, work
from rewriters.tasks_lists import Brackets, Distances, Letters, Sorting, Stacks
from rewriters.tasks_numbers import Addition, Dates, Multiplication, Remainders, Units
from rewriters.tasks_programs import Programs, Truths

KINDS = ("correct", "wrong", "shuffled")
FAMILIES: tuple[Family, ...] = (
    Addition(), Multiplication(), Remainders(), Units(), Dates(), Sorting(), Letters(), Brackets(), Stacks(),
    Distances(), Programs(), Truths(),
)  # fmt: skip
TRIES = 64  # wrong versions, and orders, that are tried of one problem
BATCH = 8  # of them tokenized at once
LEAST_STEPS = 4  # of fewer, most orders are nearly the right one
HOST = "https://traces.example"
CURATION = """\
# Worked tasks, right, wrong and out of order; the address says which.
name = "traces"
version = "{version}"
inputs = ["correct.jsonl", "wrong.jsonl", "shuffled.jsonl"]
source = "leaven-traces"
licence = "Apache-2.0"
duplicates = false  # the three texts of a task are near-duplicates on purpose
"""
POOL = """\
name = "traces-{kind}"
version = "{version}"
documents = "traces@{version}"
tokenizer = "../tokenizer.json"
sequence_length = {length}
heldout_share = 0  # what is held out is decided by the text, which would tear the three of a task apart

[keep]
kind = "starts_with(url, '{host}/{kind}/')"
"""


@dataclass(frozen=True)
class Told:
    """One text of a task and what the verifier says of it."""

    kind: str
    text: str
    verdict: Verdict


@dataclass(frozen=True)
class Task:
    """Three texts of one problem, of `tokens` tokens each; `flaw` is the wrong step of the wrong one."""

    number: int
    family: Family
    problem: Values
    tokens: int
    flaw: int
    told: tuple[Told, ...]


def make_tasks(tokenizer: Tokenizer, count: int, seed: int, drawn_anew: Counter[str] | None = None) -> Iterator[Task]:
    """`count` tasks, the families in turn, no problem twice.

    `drawn_anew` counts problems that would not do, as `family reason`: repeated, short (under LEAST_STEPS steps), wrong
    or shuffled (no such text of equal tokens). Raises UserError where a family has no problem left.
    """
    counts = Counter[str]() if drawn_anew is None else drawn_anew
    seen = set[str]()
    for number in range(count):
        family = FAMILIES[number % len(FAMILIES)]
        for attempt in range(1000):
            key = f"traces {TASKS_VERSION} {seed} {family.name} {number} {attempt}"
            made = _task(tokenizer, family, number, key, seen)
            if isinstance(made, Task):
                yield made
                break
            counts[f"{family.name} {made}"] += 1
        else:
            raise UserError(f"no further problem of {family.name} was found in 1,000 draws",
                            numbers=[f"{v:,} {k}" for k, v in counts.items()], do="ask for fewer tasks")  # fmt: skip


def _task(tokenizer: Tokenizer, family: Family, number: int, key: str, seen: set[str]) -> Task | str:
    """A task, or why this problem gives none."""
    problem = family.make(random.Random(key))
    name = fingerprint([family.name, problem])
    if name in seen:
        return "repeated"
    trace = work(family, problem)
    if trace is None or len(trace.steps) < LEAST_STEPS:
        return "short"
    lines = tell(trace, random.Random(f"{key} surface"))
    text = "\n".join(lines)
    tokens = _counts(tokenizer, [text])[0]
    shuffled = _first(tokenizer, tokens, _orders(lines, random.Random(f"{key} order")))
    if shuffled is None:
        return "shuffled"
    wrong = _first(tokenizer, tokens, _flawed(family, problem, trace.answer, len(trace.steps), key))
    if wrong is None:
        return "wrong"
    told = tuple(Told(kind, t, verify(family, t)) for kind, t in zip(KINDS, (text, wrong, shuffled)))
    correct, flawed, torn = (t.verdict for t in told)
    if not correct.accepted or flawed.accepted or len(flawed.faults) != 1 or not flawed.follows or flawed.right:
        raise AssertionError(f"{key}: {correct}, {flawed}\n{text}\n\n{wrong}")
    if torn.accepted or not torn.right:
        return "shuffled"  # an order that the verifier takes as well
    seen.add(name)
    return Task(number, family, problem, tokens, flawed.faults[0], told)


def _orders(lines: list[str], rng: random.Random) -> Iterator[str]:
    """The text with its steps in other orders."""
    first, *steps, last = lines
    for _ in range(TRIES):
        order = rng.sample(steps, len(steps))
        if order != steps:
            yield "\n".join([first, *order, last])


def _flawed(family: Family, problem: Values, answer: Values, steps: int, key: str) -> Iterator[str]:
    """Texts of the same problem, worded alike, with one wrong step at any place and another answer."""
    rng, seen = random.Random(f"{key} wrong"), set[str]()
    for _ in range(TRIES):
        trace = work(family, problem, rng, rng.randint(1, steps))
        if trace is None or trace.answer == answer:
            continue
        text = "\n".join(tell(trace, random.Random(f"{key} surface")))
        if text not in seen:
            seen.add(text)
            yield text


def _first(tokenizer: Tokenizer, tokens: int, texts: Iterator[str]) -> str | None:
    """The first text of so many tokens."""
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            if found := _of_length(tokenizer, tokens, batch):
                return found
            batch = []
    return _of_length(tokenizer, tokens, batch)


def _of_length(tokenizer: Tokenizer, tokens: int, texts: list[str]) -> str | None:
    return next((t for t, n in zip(texts, _counts(tokenizer, texts)) if n == tokens), None)


def _counts(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    offsets = tokenizer.encode_batch(texts)[1]
    return (offsets[1:] - offsets[:-1]).tolist()


def write(
    out: Path, tokenizer: Tokenizer, count: int, seed: int, length: int = 512, version: str = "1",
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:  # fmt: skip
    """Write the folder; returns what was counted: tasks, tokens of each kind, problems drawn anew.

    Files are made in a hidden sibling and put in place when all are whole. Raises UserError for fewer than one task,
    and where `out` is a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if count < 1:
        raise UserError(f"{count:,} tasks are wanted, at least 1 can be", do="--tasks 1200")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; the traces take a folder")
    target, out = out, out.with_name(f".partial-{out.name}")
    shutil.rmtree(out, ignore_errors=True)
    (out / "pools").mkdir(parents=True)
    anew, rows = Counter[str](), list[dict[str, Any]]()
    with ExitStack() as stack:
        files = {kind: stack.enter_context(open(out / f"{kind}.jsonl", "w", encoding="utf-8")) for kind in KINDS}
        for task in make_tasks(tokenizer, count, seed, anew):
            if progress:
                progress(f"{task.number + 1:,} of {count:,} tasks")
            for told in task.told:
                url = f"{HOST}/{told.kind}/{task.family.name}/{task.number:07d}"
                about = {"family": task.family.name, "task": task.number, "kind": told.kind}
                files[told.kind].write(json.dumps({"text": told.text, "url": url} | about, ensure_ascii=False) + "\n")
                rows.append(about | {
                    "url": url, "accepted": told.verdict.accepted, "first_fault": told.verdict.fault,
                    "faults": len(told.verdict.faults), "answer_right": told.verdict.right, "tokens": task.tokens,
                    "steps": told.text.count("\n") - 1, "why": told.verdict.why or None,
                })  # fmt: skip
    schema = pa.schema([("family", pa.string()), ("task", pa.int64()), ("kind", pa.string()), ("url", pa.string()),
                        ("accepted", pa.bool_()), ("first_fault", pa.int32()), ("faults", pa.int32()),
                        ("answer_right", pa.bool_()), ("tokens", pa.int32()), ("steps", pa.int32()),
                        ("why", pa.string())])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out / "tasks.parquet")
    (out / "tokenizer.json").write_bytes(tokenizer.data)
    (out / "traces.toml").write_text(CURATION.format(version=version))
    for kind in KINDS:
        recipe = POOL.format(kind=kind, version=version, length=length, host=HOST)
        (out / "pools" / f"{kind}.toml").write_text(recipe)
    (target / "pools").mkdir(parents=True, exist_ok=True)
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        path.replace(target / path.relative_to(out))
    shutil.rmtree(out)
    tokens = {f"tokens_{kind}": sum(r["tokens"] for r in rows if r["kind"] == kind) for kind in KINDS}
    return {"tasks": count} | tokens | {f"drawn anew, {k}": n for k, n in sorted(anew.items())}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rewriters.traces", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json, or a Hub name in the local cache")
    parser.add_argument("--tasks", type=int, default=1200, help="tasks, each told three times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sequence-length", type=int, default=512, help="of the pools' recipes")
    given = parser.parse_args(arguments)

    def command() -> None:
        tokenizer = Tokenizer.load(given.tokenizer)
        counts = write(
            given.out, tokenizer, given.tasks, given.seed, given.sequence_length, progress=console.Talk().step
        )
        print(console.table(("counted", "number"), list(counts.items())))

    return console.run(command)


if __name__ == "__main__":
    sys.exit(main())
