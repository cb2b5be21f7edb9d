"""The pairs are halved by their files, and the committed result of the gate is what it does."""

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
from rewriters.pairs import CLEAN, CORRUPT, FOLDER, HALVES, read_pairs

ROOT = Path(__file__).resolve().parents[1]
RESULT = json.loads((ROOT / "bench" / "results" / "gate.json").read_text("utf-8"))
README = (FOLDER / "README.md").read_text("utf-8")


def lines(which: str) -> list[dict]:
    return [json.loads(line) for name in HALVES[which] for line in (FOLDER / name).read_text("utf-8").splitlines()]


def test_every_file_is_in_one_half_and_whole():
    assert sorted(name for names in HALVES.values() for name in names) == sorted(p.name for p in FOLDER.glob("*.jsonl"))
    ids = [line["id"] for which in HALVES for line in lines(which)]
    assert len(set(ids)) == len(ids) == 440
    for which in HALVES:
        told, pairs = lines(which), read_pairs(which)
        assert len({p.id for p in pairs}) == len(told) == 220
        for kind in (*CLEAN, *CORRUPT):
            wanted = {"paraphrase": "paraphrase", "injection-clean": "injection", "injection-followed": "injection"}
            assert sum(p.kind == kind for p in pairs) == sum(bool(x.get(wanted.get(kind, kind))) for x in told)


def test_an_edit_that_changes_nothing_is_a_mistake(tmp_path):
    line = lines("dev")[0] | {"number": {"from": "not there", "to": "there"}}
    (tmp_path / HALVES["dev"][0]).write_text(json.dumps(line) + "\n", "utf-8")
    with pytest.raises(UserError, match="changes nothing"):
        read_pairs("dev", tmp_path)
    with pytest.raises(UserError, match="no pairs"):
        read_pairs("test", tmp_path)


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
    assert told["rules_alone"] == RESULT[which]["rules_alone"]
    for key in ("rejected", "cosine_alone"):  # on another processor a cosine's last bits may turn a case or two
        for kind, row in RESULT[which][key].items():
            if kind != "limit":
                assert told[key][kind]["of"] == row["of"]
                assert abs(told[key][kind]["rejected"] - row["rejected"]) <= 2, (key, kind)


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
    lines = [
        "| | test half | development half | cosine alone, test half | version 1, its test half |",
        "|---|---|---|---|---|",
    ]
    test, dev, first = RESULT["test"], RESULT["dev"], RESULT["first"]["test"]
    for kind, name in names.items():
        rows = test["rejected"], dev["rejected"], test["cosine_alone"], first["rejected"]
        lines.append(f"| {name} | {' | '.join(cell(row[kind]) for row in rows)} |")
    return "\n".join(lines)


def test_the_card_shows_the_committed_result():
    shown = README.split("tests/test_gate_pairs.py -->\n")[1].split("<!-- end -->")[0].strip()
    assert shown == results_table()


def test_what_was_reached():
    """The issue's aim is .95 of numbers, names and injections with .05 of the clean lost: names and injections are."""
    told = RESULT["test"]["rejected"]
    for kind in ("entity", "injection-followed"):
        assert told[kind]["share"] >= 0.95
    assert 0.9 <= told["number"]["share"] < 0.95 and 0.05 < told["all clean"]["share"] <= 0.15
    for kind in CORRUPT:  # and each is more than a cosine alone does
        assert told[kind]["share"] > RESULT["test"]["cosine_alone"][kind]["share"]
    first = RESULT["first"]["test"]["rejected"]
    assert told["injection-followed"]["share"] > first["injection-followed"]["share"]
    assert told["all clean"]["share"] < first["all clean"]["share"]
