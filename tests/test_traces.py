"""Is every right trace accepted and every other rejected, by the verifier and by hand, and are their pools equal?"""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sequences import write_tokenizer

from flows.curation import curate
from leaven.home import Home
from leaven.tokens import Tokenizer
from mixes.pools import build_pool
from rewriters import traces
from rewriters.tasks import Family, fill, read, tell, verify, work
from rewriters.traces import FAMILIES, KINDS, Task, make_tasks

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "microworld" / "tokenizer.json"
NAMED = {family.name: family for family in FAMILIES}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(TOKENIZER)


@pytest.fixture(scope="module")
def tasks(tokenizer) -> list[Task]:
    return list(make_tasks(tokenizer, 20 * len(FAMILIES), seed=5))


# --- every family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_right_trace_is_accepted_and_one_wrong_step_is_found_where_it_stands(family: Family, seed: int):
    rng = random.Random(seed)
    problem = family.make(rng)
    trace = work(family, problem)
    assert trace is not None and trace.steps
    lines = tell(trace, rng)
    assert verify(family, "\n".join(lines)).accepted
    assert read(family.statements, lines[0]) == problem
    at = rng.randint(1, len(trace.steps))
    flawed = work(family, problem, rng, at)
    if flawed is None:
        return
    verdict = verify(family, "\n".join(tell(flawed, rng)))
    assert verdict.faults == (at,) and verdict.follows and not verdict.accepted and f"step {at} " in verdict.why
    assert verdict.right == (flawed.answer == trace.answer)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@given(
    seed=st.integers(0, 10**6), where=st.floats(0, 1, exclude_max=True), how=st.sampled_from(["cut", "twice", "word"])
)
@settings(max_examples=20, deadline=None)
def test_a_line_too_few_too_many_or_garbled_is_rejected(family: Family, seed: int, where: float, how: str):
    rng = random.Random(seed)
    trace = work(family, family.make(rng))
    assert trace is not None
    lines = tell(trace, rng)
    at = 1 + int(where * len(trace.steps))
    if how == "cut":
        del lines[at]
    elif how == "twice":
        lines.insert(at, lines[at])
    else:
        lines[at] = lines[at].replace(" ", " perhaps ", 1)
    assert not verify(family, "\n".join(lines)).accepted


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_wrong_answer_after_right_steps_is_rejected_and_a_text_without_a_problem_is_an_error(family: Family):
    rng = random.Random(3)
    trace = work(family, family.make(rng))
    assert trace is not None
    lines = tell(trace, rng)
    other = {k: re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10 or 1), v) for k, v in trace.answer.items()}
    if other == trace.answer:
        swap = {"true": "false", "false": "true"}
        other = {k: swap.get(v, v[::-1]) for k, v in trace.answer.items()}
    lines[-1] = fill(family.answers[0], other)
    verdict = verify(family, "\n".join(lines))
    assert verdict.faults == () and not verdict.follows and not verdict.right and not verdict.accepted
    with pytest.raises(ValueError, match="no problem"):
        verify(family, "\n".join(["Hello there.", *lines[1:]]))


def test_the_example_in_the_docs_is_what_it_says():
    text = re.search(r"```text\n(.*?)\n```", (ROOT / "docs" / "traces.md").read_text("utf-8"), re.DOTALL)
    assert text
    verdict = verify(NAMED["remainders"], text[1])
    assert verdict.faults == (2,) and verdict.follows and not verdict.right


# --- the three texts of a task


def test_the_three_texts_of_a_task_are_of_one_length_and_of_three_kinds(tasks, tokenizer):
    assert Counter(t.family.name for t in tasks) == dict.fromkeys(NAMED, 20)
    for task in tasks:
        correct, wrong, shuffled = (t.text for t in task.told)
        offsets = tokenizer.encode_batch([correct, wrong, shuffled])[1]
        assert set((offsets[1:] - offsets[:-1]).tolist()) == {task.tokens}
        first, *steps, last = correct.split("\n")
        assert len(steps) >= traces.LEAST_STEPS
        assert shuffled.split("\n")[0] == first == wrong.split("\n")[0] and shuffled.split("\n")[-1] == last
        assert wrong.split("\n")[-1] != last
        assert sorted(shuffled.split("\n")[1:-1]) == sorted(steps) and shuffled != correct
        verdicts = [verify(task.family, text) for text in (correct, wrong, shuffled)]
        assert [v.accepted for v in verdicts] == [True, False, False]
        assert [v.right for v in verdicts] == [True, False, True]
        assert verdicts[1].faults == (task.flaw,) and wrong.split("\n")[task.flaw] != correct.split("\n")[task.flaw]
        assert wrong.split("\n")[1 : task.flaw] == steps[: task.flaw - 1]
    assert len({(t.family.name, json.dumps(t.problem)) for t in tasks}) == len(tasks)


def numbers(line: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", line)]


def addition_by_hand(text: str) -> int | None:
    """The first wrong line of an addition, counted with Python's own sum of the digits and nothing of the family's."""
    first, *steps, last = text.split("\n")
    a, b = numbers(first)
    carry, written = 0, ""
    for n, line in enumerate(steps, 1):
        if len(numbers(line)) == 1:
            if n <= max(len(str(a)), len(str(b))) or numbers(line) != [carry]:
                return n
            written, carry = str(carry) + written, 0
            continue
        x, y, c, total, digit, out = numbers(line)
        if [x, y, c] != [a // 10 ** (n - 1) % 10, b // 10 ** (n - 1) % 10, carry] or x + y + c != total:
            return n
        if [digit, out] != [total % 10, total // 10]:
            return n
        carry, written = out, str(digit) + written
    return None if numbers(last) == [a + b] == [int(written)] else len(steps) + 1


def remainders_by_hand(text: str) -> int | None:
    first, *steps, last = text.split("\n")
    start, modulus = numbers(first)[:2] if first.startswith("Start") else numbers(first)[1::-1]
    orders = re.findall(r"(plus|times) (\d+)", first)
    value = start
    for n, (line, (op, y)) in enumerate(zip(steps, orders, strict=True), 1):
        raw = value + int(y) if op == "plus" else value * int(y)
        if numbers(line) != [value, int(y), raw, raw % modulus] or op not in line:
            return n
        value = raw % modulus
    return None if numbers(last) == [value] else len(steps) + 1


def dates_by_hand(text: str) -> int | None:
    """By the calendar of the standard library: each line's month is the next, and what remains is days to the end."""
    first, *steps, last = text.split("\n")
    day, month, year = re.search(r"(\d+) (\w+) (\d{4})", first).groups()  # type: ignore[union-attr]
    days = int(re.search(r"(\d+) days", first)[1])  # type: ignore[index]
    begin = datetime.datetime.strptime(f"{day} {month} {year}", "%d %B %Y").date()
    due = begin + datetime.timedelta(days)
    here = begin.replace(day=1)
    for n, line in enumerate(steps, 1):
        after = (here + datetime.timedelta(32)).replace(day=1)
        if f"{here:%B} {here.year}" not in line or (after - here).days not in numbers(line):
            return n
        rest = (due - after).days + 1  # days that remain once this month is over
        if rest > 0 and numbers(line)[-1] != rest:
            return n
        if n == 1 and (after - begin).days - 1 not in numbers(line):
            return n
        if rest <= 0 and due.day not in numbers(line):
            return n
        here = after
    return None if f"{due.day} {due:%B} {due.year}" in last else len(steps) + 1


def sorting_by_hand(text: str) -> int | None:
    """Every row is the row before with the named neighbours in order, and nothing else changed."""
    first, *steps, last = text.split("\n")
    row, place, end = numbers(first), 0, len(numbers(first)) - 1
    for n, line in enumerate(steps, 1):
        x, y, *after = numbers(line)
        low, high = sorted((x, y))
        if [x, y] != row[place : place + 2] or after != [*row[:place], low, high, *row[place + 2 :]]:
            return n
        if ("swap" in line) != (x > y):
            return n
        row, place = after, place + 1
        if place == end:
            place, end = 0, end - 1
    return None if numbers(last) == sorted(numbers(first)) else len(steps) + 1


BY_HAND = {
    "addition": addition_by_hand, "remainders": remainders_by_hand, "dates": dates_by_hand, "sorting": sorting_by_hand,
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_a_check_that_shares_no_code_with_the_verifier_says_the_same(tokenizer, name, monkeypatch):
    monkeypatch.setattr(traces, "FAMILIES", (NAMED[name],))
    for task in make_tasks(tokenizer, 60, seed=9):
        correct, wrong, shuffled = (t.text for t in task.told)
        assert BY_HAND[name](correct) is None
        assert BY_HAND[name](wrong) == task.flaw
        assert BY_HAND[name](shuffled) == task.told[2].verdict.fault


def test_a_family_that_runs_out_says_so(tokenizer, monkeypatch):
    class Tiny(type(NAMED["brackets"])):  # type: ignore[misc]
        def make(self, rng: random.Random):
            return {"row": "( ( ( ( )"}

    monkeypatch.setattr(traces, "FAMILIES", (Tiny(),))
    counts: Counter[str] = Counter()
    with pytest.raises(traces.UserError, match="no further problem of brackets"):
        list(make_tasks(tokenizer, 2, seed=0, drawn_anew=counts))
    assert counts == {"brackets repeated": 1000}


# --- the folder, and what the pipeline makes of it


def digests(folder: Path) -> dict[str, str]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def test_the_command_writes_the_same_folder_again_and_another_for_another_seed(tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = [str(tmp_path / name), "--tokenizer", str(TOKENIZER), "--tasks", "24", "--seed", str(seed)]
        assert traces.main(out) == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    same = {k for k, v in digests(tmp_path / "c").items() if digests(tmp_path / "a")[k] == v}
    assert same == {"tokenizer.json", "traces.toml", *(f"pools/{kind}.toml" for kind in KINDS)}
    rows = pq.read_table(tmp_path / "a" / "tasks.parquet").to_pylist()
    said = dict(re.findall(r"(?m)^(\w+) +([\d,]+)$", capsys.readouterr().out.split("counted")[1]))
    tokens = [sum(r["tokens"] for r in rows if r["kind"] == kind) for kind in KINDS]
    assert len(rows) == 72 and said["tasks"] == "24"
    assert [said[f"tokens_{kind}"] for kind in KINDS] == [f"{n:,}" for n in tokens] and len(set(tokens)) == 1
    for row in rows:
        assert row["accepted"] == (row["kind"] == "correct") and (row["first_fault"] is None) == row["accepted"]
        assert (row["why"] is None) == row["accepted"] and row["answer_right"] == (row["kind"] != "wrong")
    for kind in KINDS:
        lines = [json.loads(x) for x in (tmp_path / "a" / f"{kind}.jsonl").read_text().splitlines()]
        assert [x["url"] for x in lines] == [r["url"] for r in rows if r["kind"] == kind]


def test_what_cannot_be_is_a_message_and_exit_2_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").touch()
    for said, *words in (
        ("there is no tokenizer", "out", "--tokenizer", str(tmp_path / "none.json")),
        ("0 tasks are wanted", "out", "--tokenizer", str(TOKENIZER), "--tasks", "0"),
        ("is a file", "file", "--tokenizer", str(TOKENIZER)),
    ):
        assert traces.main([str(tmp_path / words[0]), *words[1:]]) == 2
        assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("small", [False, True], ids=["microworld", "hardly any merges"])
def test_pools_of_the_three_kinds_hold_equal_documents_tokens_and_sequences(tmp_path, small):
    path = write_tokenizer(tmp_path / "tokenizer.json") if small else TOKENIZER
    counts = traces.write(tmp_path / "traces", Tokenizer.load(path), 96, seed=4, length=256)
    home = Home(tmp_path / "home")
    made = curate(tmp_path / "traces" / "traces.toml", home, scorers="curation_scorers:ONE")
    assert made.documents == made.records_in == 3 * 96
    pools = {kind: build_pool(tmp_path / "traces" / "pools" / f"{kind}.toml", home) for kind in KINDS}
    assert all(len(manifests) == 1 for manifests in pools.values())  # nothing is held out
    first = pools["correct"][0].counts
    assert first["documents_kept"] == 96 and first["sequences"] > 50
    assert first["tokens_kept"] == counts["tokens_correct"] + 96  # an end-of-text each
    for kind in KINDS:
        found = pools[kind][0].counts
        for key in ("documents_kept", "tokens_kept", "sequences", "tokens_dropped_tail", "pieces", "documents_cut"):
            assert found[key] == first[key], (kind, key)
    texts = {p: pq.read_table(p)["text"].to_pylist() for p in home.folder("documents", "traces@1").glob("part-*")}
    written = [json.loads(x)["text"] for k in KINDS for x in (tmp_path / "traces" / f"{k}.jsonl").open()]
    assert sorted(t for some in texts.values() for t in some) == sorted(written)
