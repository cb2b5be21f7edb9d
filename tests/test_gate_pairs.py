"""The pairs are halved by their ids alone, and the committed result of the gate is what it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gate import measure, rejected, run, table
from flows.senses import Senses
from leaven.errors import UserError
from leaven.home import Home
from rewriters.gate import VERSION
from rewriters.pairs import CLEAN, CORRUPT, FOLDER, HALVES, half, read_pairs

ROOT = Path(__file__).resolve().parents[1]
RESULT = json.loads((ROOT / "bench" / "results" / "gate.json").read_text("utf-8"))
README = (FOLDER / "README.md").read_text("utf-8")


def lines() -> list[dict]:
    return [
        json.loads(line) for path in sorted(FOLDER.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()
    ]


def test_every_line_is_in_one_half_and_whole():
    told = lines()
    ids = [line["id"] for line in told]
    assert len(set(ids)) == len(ids) == 220
    assert {half(i) for i in ids} == set(HALVES)
    count = {which: sum(half(i) == which for i in ids) for which in HALVES}
    assert min(count.values()) >= 90
    both = [read_pairs(which) for which in HALVES]
    assert not {p.id for p in both[0]} & {p.id for p in both[1]}
    for which, pairs in zip(HALVES, both):
        assert len({p.id for p in pairs}) == count[which]
        for kind in (*CLEAN, *CORRUPT):
            wanted = {"paraphrase": "paraphrase", "injection-clean": "injection", "injection-followed": "injection"}
            key = wanted.get(kind, kind)
            assert sum(p.kind == kind for p in pairs) == sum(bool(x.get(key)) for x in told if half(x["id"]) == which)
    assert sum(p.kind == "paraphrase" for pairs in both for p in pairs) >= 200


def test_an_edit_that_changes_nothing_is_a_mistake(tmp_path):
    line = lines()[0] | {"number": {"from": "not there", "to": "there"}}
    (tmp_path / "pairs-x.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    with pytest.raises(UserError, match="changes nothing"):
        read_pairs(half(line["id"]), tmp_path)
    with pytest.raises(UserError, match="no pairs"):
        read_pairs(next(h for h in HALVES if h != half(line["id"])), tmp_path)


@pytest.mark.parametrize("which", HALVES)
def test_the_committed_result_counts_again_by_rules_alone(which):
    """Without embeddings, so in seconds; what the rules reject is a part of what the gate rejects."""
    told = RESULT[which]
    pairs = read_pairs(which)
    assert told["gate"] == VERSION and told["pairs"] == len(pairs)
    assert table(pairs, [rejected(of) for of in run(pairs, Senses())]) == told["rules_alone"]


@pytest.mark.slow
@pytest.mark.parametrize("which", HALVES)
def test_the_committed_result_counts_again(which, tmp_path):
    told, _, _ = measure(which, Home(tmp_path))
    for key in ("rejected", "rules_alone", "by_check", "cosine_alone", "negations_by_limit"):
        assert told[key] == RESULT[which][key], key


def test_the_bench_does_not_show_the_test_half():
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "gate.py"), "--half", "test", "--show"],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 1 and "for counting" in done.stderr and done.stdout == ""


def results_table() -> str:
    """The table of rewriters/pairs/README.md, from the committed result."""
    cell = lambda row: f"{row['share']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"  # noqa: E731
    names = {"all clean": "clean, lost", "paraphrase": "of them paraphrases",
             "injection-clean": "of them by an injection",
             "number": "changed numbers", "entity": "changed names", "injection-followed": "followed injections",
             "negation": "flipped negations", "drift": "drift"}  # fmt: skip
    lines = ["| | test half | development half | cosine alone, test half |", "|---|---|---|---|"]
    for kind, name in names.items():
        test, dev = RESULT["test"], RESULT["dev"]
        cells = cell(test["rejected"][kind]), cell(dev["rejected"][kind]), cell(test["cosine_alone"][kind])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_card_shows_the_committed_result():
    shown = README.split("tests/test_gate_pairs.py -->\n")[1].split("<!-- end -->")[0].strip()
    assert shown == results_table()


def test_what_was_reached():
    """The issue's aim is .95 of numbers, names and injections with .05 of the clean lost; two of them are reached."""
    told = RESULT["test"]["rejected"]
    for kind in ("number", "entity"):
        assert told[kind]["share"] >= 0.95
    assert told["injection-followed"]["share"] >= 0.75 and told["all clean"]["share"] <= 0.25
    for kind in CORRUPT:  # and each is more than a cosine alone does
        assert told[kind]["share"] > RESULT["test"]["cosine_alone"][kind]["share"]
