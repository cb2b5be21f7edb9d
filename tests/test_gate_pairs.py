"""The pairs are parted by their files, and the committed result of the gate is what it does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gate import measure, rejected, run, table
from flows.senses import Senses
from leaven.errors import UserError
from leaven.home import Home
from rewriters.gate import VERSION
from rewriters.pairs import CLEAN, CORRUPT, FOLDER, NUMBERS, SETS, read_pairs

ROOT = Path(__file__).resolve().parents[1]
RESULT = json.loads((ROOT / "bench" / "results" / "gate.json").read_text("utf-8"))
README = (FOLDER / "README.md").read_text("utf-8")


def lines(which: str) -> list[dict]:
    return [json.loads(line) for name in SETS[which] for line in (FOLDER / name).read_text("utf-8").splitlines()]


def test_every_file_is_in_one_set_and_whole():
    named = [*NUMBERS, *(name for names in SETS.values() for name in names)]
    assert sorted(named) == sorted(p.name for p in FOLDER.glob("*.jsonl"))
    ids = [line["id"] for which in SETS for line in lines(which)]
    assert len(set(ids)) == len(ids) == 3300
    for which in SETS:
        told, pairs = lines(which), read_pairs(which)
        assert len({p.id for p in pairs}) == len(told) == 110 * len(SETS[which])
        for kind in (*CLEAN, *CORRUPT):
            wanted = {"paraphrase": "paraphrase", "injection-clean": "injection", "injection-followed": "injection"}
            assert sum(p.kind == kind for p in pairs) == sum(bool(x.get(wanted.get(kind, kind))) for x in told)


def test_the_texts_with_numbers_have_three_rewrites_with_the_same_figures():
    told = [json.loads(line) for name in NUMBERS for line in (FOLDER / name).read_text("utf-8").splitlines()]
    assert len({line["id"] for line in told}) == len(told) == 640
    for line in told:
        assert line.keys() == {"id", "source", "rewrites"} and len({line["source"], *line["rewrites"]}) == 4
        figures = set(re.findall(r"\d+", line["source"]))
        assert all(figures <= set(re.findall(r"\d+", text)) for text in line["rewrites"]), line["id"]


def test_an_edit_that_changes_nothing_is_a_mistake(tmp_path):
    line = lines("dev")[0] | {"number": {"from": "not there", "to": "there"}}
    (tmp_path / SETS["dev"][0]).write_text(json.dumps(line) + "\n", "utf-8")
    with pytest.raises(UserError, match="changes nothing"):
        read_pairs("dev", tmp_path)
    with pytest.raises(UserError, match="no pairs"):
        read_pairs("asked", tmp_path)


DEV = pytest.param("dev", marks=pytest.mark.slow)
COUNTED = ("asked",)


@pytest.mark.parametrize("which", [*COUNTED, DEV])
def test_the_committed_result_counts_again_by_rules_alone(which):
    """Without embeddings, so in seconds; what the rules reject is nearly all that the gate rejects."""
    told = RESULT[which]
    pairs = read_pairs(which)
    assert told["gate"] == VERSION and told["pairs"] == len(pairs)
    assert table(pairs, [rejected(of) for of in run(pairs, Senses())]) == told["rules_alone"]


@pytest.mark.slow
@pytest.mark.parametrize("which", COUNTED)
def test_the_committed_result_counts_again(which, tmp_path):
    told, _, _ = measure(which, Home(tmp_path), 1)
    assert told["rules_alone"] == RESULT[which]["rules_alone"]
    for key in ("rejected", "cosine_alone"):  # on another processor a cosine's last bits may turn a case or two
        for kind, row in RESULT[which][key].items():
            if kind != "limit":
                assert told[key][kind]["of"] == row["of"]
                assert abs(told[key][kind]["rejected"] - row["rejected"]) <= 2, (key, kind)


def test_the_bench_does_not_show_what_is_for_counting():
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "gate.py"), "--set", "asked", "--show"],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 1 and "for counting" in done.stderr and done.stdout == ""


def results_table() -> str:
    """The table of rewriters/pairs/README.md, from the committed result."""
    cell = lambda row: f"{row['share']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"  # noqa: E731
    names = {"all clean": "clean, lost", "paraphrase": "of them paraphrases",
             "injection-clean": "of them by an injection",
             "number": "changed numbers", "entity": "changed names", "injection-followed": "followed injections",
             "negation": "flipped negations", "drift": "drift"}  # fmt: skip
    now = {"as asked": RESULT["asked"]["rejected"], "cosine alone, as asked": RESULT["asked"]["cosine_alone"],
           "version 5, as asked": RESULT["fifth"]["again"]["rejected"],
           "development set": RESULT["dev"]["rejected"]}  # fmt: skip
    first, second, third, fourth, fifth = (RESULT[name] for name in ("first", "second", "third", "fourth", "fifth"))
    then = {"version 1, on a and b": first["test"], "version 2, on c and d": second["test"],
            "version 2, k and l": second["free"], "version 2, m and n": second["asked"],
            "version 3, k and l": third["free"], "version 3, m and n": third["asked"],
            "version 4, o to r": fourth["asked"], "version 5, s to v": fifth["asked"]}  # fmt: skip
    lines = []
    for head, columns in (("", now), ("blind at the time", {k: v["rejected"] for k, v in then.items()})):
        lines += [f"| {head} | {' | '.join(columns)} |".replace("|  |", "| |"), "|---" * (len(columns) + 1) + "|"]
        for kind, name in names.items():
            lines.append(f"| {name} | {' | '.join(cell(rows[kind]) for rows in columns.values())} |")
        lines.append("")
    return "\n".join(lines).strip()


def test_the_card_shows_the_committed_result():
    shown = README.split("tests/test_gate_pairs.py -->\n")[1].split("<!-- end -->")[0].strip()
    assert shown == results_table()


def test_what_was_reached():
    """The issue's aim is .95 of numbers, names and injections with .05 of the clean lost; what is written says so."""
    asked, before = RESULT["asked"], RESULT["fifth"]["again"]
    for kind, what in (("entity", "names"), ("number", "numbers")):
        assert sum(row["of"] for row in asked[what].values()) == asked["rejected"][kind]["of"]
        assert sum(row["rejected"] for row in asked[what].values()) == asked["rejected"][kind]["rejected"]
    assert asked["names"]["renamed"]["share"] >= 0.95 and asked["numbers"]["another"]["share"] >= 0.95
    assert asked["rejected"]["injection-followed"]["share"] >= 0.95
    assert asked["rejected"]["all clean"]["share"] <= 0.05
    assert asked["rejected"]["number"]["share"] >= 0.95 > asked["rejected"]["entity"]["share"]
    assert asked["numbers"]["exchanged"]["share"] < 0.85 and asked["names"]["exchanged"]["share"] < 0.8  # still missed
    for kind in CORRUPT:  # and each is more than a cosine alone does, but for drift
        assert asked["rejected"][kind]["share"] > asked["cosine_alone"][kind]["share"] or kind == "drift"
    assert asked["rejected"]["number"]["share"] > before["rejected"]["number"]["share"]
