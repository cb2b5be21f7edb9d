"""Benchmarks of a recipe become an index, matches and a condition; items get a stratum against what is held."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from contamination_kit import questions, sentence, write_items
from rewritekit import rewrite_row, write_rewrites
from small_home import make_tokenizer

from filters.contamination import ALIKE, Contamination
from filters.embedding import Embedder, available
from flows.contamination import build_benchmarks, match_rewrites
from flows.curation import curate
from leaven import catalog
from leaven.errors import UserError
from leaven.home import Home
from mixes.build import build_mix
from mixes.pools import build_pool
from schemas import views

ASKED = [9, 13, 20, 40, 30, 8]  # words of the items; the first three are put into documents
RECIPE = """
name = "web"
version = "1"
inputs = ["{folder}/web.jsonl"]
benchmarks = ["{folder}/asked*.jsonl"]
"""
POOL = """
name = "{name}"
version = "1"
documents = "web@1"
tokenizer = "tokenizer.json"
sequence_length = 32
[keep]
{keep}
"""
MIX = """
name = "{pool}-mix"
version = "1"
tokenizer = "tokenizer.json"
sequence_length = 32
batch = 2
seed = 1
[pools]
web = "{pool}@1"
[[phase]]
name = "main"
steps = 2
ratio = {{ web = 1 }}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Forty documents of which three hold an item each, curated; pools with and without them, and a mix of each."""
    folder = tmp_path_factory.mktemp("contaminated")
    asked = questions(ASKED)
    texts = [sentence(120, f"document {i}") for i in range(40)]
    for i in range(3):
        texts[10 * i] += f". {asked[i]['question'].upper()}! {sentence(20, i)}"
    write_items(folder / "web.jsonl", [{"text": t} for t in texts])
    write_items(folder / "asked.jsonl", [*asked, {"id": "bare", "question": "Why so?", "choices": ["Yes", "No"]}])
    (folder / "web.toml").write_text(RECIPE.format(folder=folder))
    make_tokenizer(folder / "tokenizer.json")
    home = Home(folder / "home")
    result = curate(folder / "web.toml", home)
    keeps = {"all": "any = \"score('words') > 1\"", "clean": "decontaminated = \"label('contamination') <> 'matched'\""}
    for name, keep in keeps.items():
        (folder / f"{name}.toml").write_text(POOL.format(name=name, keep=keep))
        build_pool(folder / f"{name}.toml", home)
        (folder / f"{name}-mix.toml").write_text(MIX.format(pool=name))
        build_mix(folder / f"{name}-mix.toml", home, seed=1)
    views.refresh(home)
    return folder, home, result


def ask(home: Home, query: str) -> list[dict]:
    with catalog.connect(home) as con:
        done = con.execute(query)
        return [dict(zip([c[0] for c in done.description], row)) for row in done.fetchall()]


def strata(home: Home, ref: str) -> dict[str, str]:
    return {r["item_id"]: r["stratum"] for r in ask(home, f"from item_strata('{ref}')")}


def test_documents_that_hold_items_are_matched_and_others_clean(made):
    _, home, _ = made
    labels = ask(home, "SELECT label, count(*) AS n FROM scores WHERE measure = 'contamination' GROUP BY ALL")
    assert {r["label"]: r["n"] for r in labels} == {"matched": 3, "clean": 37}
    rows = ask(home, """SELECT m.*, substring(d.text, m.start + 1, m."end" - m.start) AS surface, d.text FROM matches m
                        JOIN documents d ON d.id = m.document_id ORDER BY item_id, rule""")  # fmt: skip
    assert [(r["item_id"], r["rule"]) for r in rows] == [
        ("q0", "short"), ("q1", "ngram13"), ("q1", "short"), ("q2", "ngram13"), ("q2", "short"),
    ]  # fmt: skip
    asked = questions(ASKED)
    for row in rows:
        assert row["surface"] == asked[int(row["item_id"][1:])]["question"].upper() and row["coverage"] == 1
    every = ask(home, "SELECT measure, status, count(*) AS n FROM scores WHERE scorer = 'contamination' GROUP BY ALL")
    assert {r["measure"]: r["n"] for r in every} == dict.fromkeys(Contamination.measures, 40)
    if not available():
        assert {r["status"] for r in every if r["measure"] == "contamination_similarity"} == {"not_reached"}


def test_a_pool_may_leave_them_out_and_a_mix_is_judged_by_what_it_holds(made):
    _, home, _ = made
    [row] = ask(home, "SELECT count(*) AS n FROM decisions WHERE name = 'clean' AND reason = 'decontaminated'")
    assert row["n"] == 3
    clean = {"q0": "clean", "q1": "clean", "q2": "clean", "q3": "clean", "q4": "clean", "q5": "clean",
             "bare": "too_short"}  # fmt: skip
    planted = clean | {"q0": "matched", "q1": "matched", "q2": "matched"}
    assert strata(home, "web@1") == strata(home, "web") == planted
    assert strata(home, "all@1") == planted
    assert strata(home, "clean") == strata(home, "clean-mix") == clean
    held = {r["item_id"] for r in ask(home, """SELECT m.item_id FROM matches m WHERE m.document_id IN (
            SELECT unnest(item_ids) FROM shards WHERE mix = 'all-mix')""")}  # fmt: skip
    assert strata(home, "all-mix@1") == clean | dict.fromkeys(held, "matched")  # four sequences hold a few documents


def test_the_index_is_built_once_whatever_folder_its_files_lie_in(made, tmp_path):
    folder, home, _ = made
    [built] = home.manifests("benchmarks")
    assert built.counts["items"] == 7 and built.counts["too_short"] == 1
    again = curate(folder / "web.toml", home)
    assert again.up_to_date and home.manifests("benchmarks")[0].created == built.created
    (tmp_path / "asked.jsonl").write_bytes((folder / "asked.jsonl").read_bytes())
    other = Home(tmp_path / "home")
    elsewhere = build_benchmarks([str(tmp_path / "*.jsonl")], other)
    assert elsewhere.version == built.version
    assert elsewhere.files == built.files  # byte by byte


def test_a_corpus_that_was_not_searched_is_not_called_clean(made, tmp_path):
    home = made[1]
    (tmp_path / "plain.jsonl").write_text(json.dumps({"text": sentence(50, "plain")}) + "\n")
    curate([str(tmp_path / "plain.jsonl")], home, name="plain", version="1")
    views.refresh(home)
    assert strata(home, "plain") == {}


def test_wrong_benchmarks_are_told_before_any_work(made, tmp_path):
    folder, _, _ = made
    home = Home(tmp_path / "home")
    for value, said in (('["none/*.jsonl"]', "names no file"), ("[1]", "array of strings")):
        (tmp_path / "bad.toml").write_text(RECIPE.format(folder=folder).replace(f'["{folder}/asked*.jsonl"]', value))
        with pytest.raises(UserError, match=said):
            curate(tmp_path / "bad.toml", home)
    assert not (home.path / "documents").exists()
    with pytest.raises(UserError, match="no index"):
        Contamination(tmp_path)


def test_rewrites_are_searched_as_documents_are(made):
    _, home, _ = made
    asked = questions(ASKED)
    texts = [sentence(60, "r0"), f"So: {asked[3]['question']}", f"{asked[5]['question']} {sentence(9, 'r2')}"]
    rows = [
        rewrite_row(text, id=f"r{i}", document_id=None if i == 2 else f"d{i}", segment=None if i == 2 else i)
        for i, text in enumerate(texts)
    ]
    told = write_rewrites(home, [rows])
    [index] = home.manifests("benchmarks")
    searched = match_rewrites(told, home, index, embedding=False)
    assert searched.counts == {"rewrites": 3, "matches": 2}
    assert match_rewrites(told, home, index, embedding=False).created == searched.created
    views.refresh(home)
    found = ask(home, "SELECT rewrite, document_id, segment, item_id FROM matches WHERE name = 'told' ORDER BY rewrite")
    assert found == [
        {"rewrite": "r1", "document_id": "d1", "segment": 1, "item_id": "q3"},
        {"rewrite": "r2", "document_id": None, "segment": None, "item_id": "q5"},
    ]
    matched = {i for i, stratum in strata(home, "told@1").items() if stratum == "matched"}
    assert matched == {"q3", "q5"}


@pytest.mark.skipif(not available(), reason="the embedding package is optional")
def test_a_passage_on_the_same_subject_is_topic_and_another_is_not(tmp_path):
    background = [{"id": f"b{i}", "question": sentence(30, f"background {i}")} for i in range(200)]
    asked = {"id": "umbrella", "question": "What bad luck follows whoever opens a dripping umbrella indoors at home?"}
    rain = {"id": "rain", "question": "Is it true that the municipal waterworks voted on a budget of its own?"}
    home = Home(tmp_path / "home")
    index = build_benchmarks([str(write_items(tmp_path / "x.jsonl", [*background, asked, rain]))], home)
    scorer = Contamination(index.folder, embedding=True)
    texts = [
        "Some say it is bad luck if somebody opens a dripping umbrella indoors, and nobody knows quite why.",
        "Poets of the municipal school voted for moonlight; their budget for verses on waterworks is small.",
        sentence(50, "far away"),
    ]
    batch = pa.RecordBatch.from_pydict({"name": ["w"] * 3, "version": ["1"] * 3, "id": ["a", "b", "c"], "text": texts})
    scores, tables = scorer.measure(batch)
    rows = {(r["document_id"], r["measure"]): r for r in scores.to_pylist()}
    assert [rows[i, "contamination_similarity"]["status"] for i in "abc"] == ["scored", "scored", "not_reached"]
    near, far = (rows[i, "contamination_similarity"]["number"] for i in "ab")
    assert near >= ALIKE and near > far + 0.1
    said = ["topic", "topic" if far >= ALIKE else "clean", "clean"]
    assert [rows[i, "contamination"]["label"] for i in "abc"] == said
    assert {r["item_id"]: r["stratum"] for r in tables["matches"].to_pylist()} == dict(zip(("umbrella", "rain"), said))
    assert scorer.flops > 0 and scorer.measure(batch)[0].equals(scores)


def test_without_the_package_the_embedding_says_so(monkeypatch):
    if available():
        pytest.skip("the embedding package is installed")
    with pytest.raises(UserError, match="not installed"):
        Embedder()
