"""Does a trace walk from a training sequence to page, prompt, teacher and every check of what a model wrote?"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from edited_home import STYLE, make_edited_home, write_mix, write_recipe
from small_home import find_hits

from flows.ask import sql, trace
from flows.show import trace_text
from leaven.edits import Edit, apply_edits
from leaven.home import Home
from leaven.tokens import Tokenizer
from mixes.build import build_mix
from mixes.pools import build_pool


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    home = make_edited_home(tmp_path_factory.mktemp("traced"))
    for name, keys in (("rewritten", {}), ("edited", {"documents": '"web@1"'})):
        pool = build_pool(write_recipe(home, name, "", rewrites='"told@1"', **keys), home)[0]
        build_mix(write_mix(home, f"of-{name}", {"c": f"{name}@1"}, pool.counts["sequences"], "c = 1"), home)
    return home


def tables(home: Home) -> tuple[dict, dict, dict]:
    """Documents, rewrites and the checks of each rewrite, by id."""
    read = lambda kind, ref, stem: [  # noqa: E731
        r for p in sorted(home.folder(kind, ref).glob(f"{stem}-*.parquet")) for r in pq.read_table(p).to_pylist()
    ]
    checks: dict[str, list] = {}
    for c in read("rewrites", "told@1", "checks"):
        checks.setdefault(c["rewrite"], []).append(c)
    by_id = lambda rows: {r["id"]: r for r in rows}  # noqa: E731
    return by_id(read("documents", "web@1", "part")), by_id(read("rewrites", "told@1", "part")), checks


def seats(home: Home, mix: str) -> int:
    return home.find("mixes", f"{mix}@1", "seed-1").counts["sequences"]


def test_a_sequence_of_rewrites_leads_to_page_prompt_teacher_and_checks(home):
    documents, rewrites, checks = tables(home)
    seen = 0
    for seat in range(seats(home, "of-rewritten")):
        found = trace(home, "of-rewritten", seat)
        for p in found.pieces:
            (r,) = p.rewrites
            row, source = rewrites[p.item_id], documents[rewrites[p.item_id]["document_id"]]
            assert (p.item_kind, r["rewrite"], r["rewrites"]) == ("rewrite", p.item_id, "told@1")
            told = ("style", "operation", "teacher", "teacher_revision", "teacher_family", "sampling", "prompt_hash",
                    "completion", "sample", "text")  # fmt: skip
            assert {k: r[k] for k in told} == {k: row[k] for k in told} and row["accepted"]
            assert [(c["check"], c["number"], c["limit"], c["passed"]) for c in r["checks"]] == [
                (c["check"], c["number"], c["limit"], c["passed"]) for c in checks[p.item_id]
            ]
            assert r["source_text"] == source["text"][row["start"] : row["end"]]
            assert p.document["locator"] == source["locator"] and p.document["documents"] == "web@1"
            assert [h["start"] for h in p.hits] == [h["start"] for h in find_hits(source["text"])]
            assert {s["measure"] for s in p.scores} == {"language", "words", "chars"}
            assert r["prompt"] == STYLE and not r["gone"]
            assert (r["first_token"], r["tokens"]) == (p.first_token, p.tokens)
            assert (r["first_char"], r["end_char"]) == (0, len(p.text))
            assert "\ufffd" in p.text or (p.in_document and p.text in row["text"])
            seen += 1
    assert seen > 100
    json.dumps(found.to_json())
    text = trace_text(found)
    page = found.pieces[-1].document
    assert page["locator"] in text and "meaning 0.1 (limit 0.4) passed, length" in text and "Write anew: {text}" in text
    assert "    | {text}" in trace_text(found, full=True)


def test_an_edited_document_says_which_tokens_which_rewrite_wrote(home):
    """By a slow account: put the rewrites in, encode, and ask of each token's first byte whose character it is."""
    documents, rewrites, _ = tables(home)
    pool = home.find("pools", "edited@1")
    tokenizer = Tokenizer.load(pool.folder / "tokenizer.json")
    edits: dict[str, list[Edit]] = {}
    for path in sorted(pool.folder.glob("edits-*.parquet")):
        for e in pq.read_table(path).to_pylist():
            r = rewrites[e["rewrite"]]
            mine = edits.setdefault(e["item_id"], [])
            mine.append(Edit(r["start"], r["end"], r["text"], r["id"], r["operation"] == "append"))
    wrote = untouched = 0
    for seat in range(seats(home, "of-edited")):
        for p in trace(home, "of-edited", seat).pieces:
            assert p.item_kind == "document" and p.document["id"] == p.item_id
            text, spans = apply_edits(documents[p.item_id]["text"], edits.get(p.item_id, []))
            assert p.text in text if "\ufffd" not in p.text else not p.in_document
            authors = [next((s.rewrite for s in spans if s.start <= at < s.end), None) for at in range(len(text))]
            whose = [a for c, a in zip(text, authors) for _ in c.encode()]  # of every byte
            ids = tokenizer.encode_batch([text])[0]
            begins = np.concatenate([[0], np.cumsum(tokenizer.token_bytes[ids])[:-1]])
            want = [whose[b] for b in begins.tolist()][p.doc_offset : p.doc_offset + p.tokens]
            want += [None] * (p.tokens - len(want))  # end-of-text
            have: list[str | None] = [None] * p.tokens
            for r in p.rewrites:
                first = r["first_token"] - p.first_token
                have[first : first + r["tokens"]] = [r["rewrite"]] * r["tokens"]
                assert rewrites[r["rewrite"]]["accepted"] and r["document_id"] == p.item_id
                assert r["source_text"] == documents[p.item_id]["text"][r["start"] : r["end"]]
                inside = p.text[r["first_char"] : r["end_char"]]
                assert (
                    inside == tokenizer.decode(ids[p.doc_offset :][first : first + r["tokens"]]) or "\ufffd" in p.text
                )
                wrote += 1
            assert have == want
            untouched += not p.rewrites
    assert wrote > 100 and untouched


def test_lineage_and_edits_say_the_same_in_sql(home):
    columns, rows = sql(home, "from lineage('of-rewritten', 3)")
    found = trace(home, "of-rewritten", 3)
    by_name = [dict(zip(columns, row)) for row in rows]
    assert [(r["item_id"], r["item_kind"], r["locator"], r["documents"]) for r in by_name] == [
        (p.item_id, "rewrite", p.document["locator"], "web@1") for p in found.pieces
    ]
    assert [(r["teacher"], r["style"]) for r in by_name] == [
        (p.rewrites[0]["teacher"], p.rewrites[0]["style"]) for p in found.pieces
    ]
    columns, rows = sql(home, "from lineage('of-edited', 0)")
    assert [r[columns.index("item_id")] for r in rows] == [p.item_id for p in trace(home, "of-edited", 0).pieces]


def test_what_has_gone_is_said(tmp_path):
    home = make_edited_home(tmp_path)
    pool = build_pool(write_recipe(home, "rewritten", "", rewrites='"told@1"'), home)[0]
    edited = build_pool(write_recipe(home, "edited", "", documents='"web@1"', rewrites='"told@1"'), home)[0]
    for name, made in (("rewritten", pool), ("edited", edited)):
        build_mix(write_mix(home, f"of-{name}", {"c": f"{name}@1"}, made.counts["sequences"], "c = 1"), home)
    for path in home.folder("rewrites", "told@1").glob("checks-*"):
        path.unlink()
    found = trace(home, "of-rewritten", 1)
    assert all(r["gone"] == ["checks"] and not r["checks"] for p in found.pieces for r in p.rewrites)
    shutil.rmtree(home.folder("documents", "web@1"))
    found = trace(home, "of-rewritten", 1)
    assert all(
        r["gone"] == ["checks", "document"] and r["source_text"] is None for p in found.pieces for r in p.rewrites
    )
    assert all(p.document is None and p.in_document is not None for p in found.pieces)
    shutil.rmtree(home.folder("rewrites", "told@1"))
    found = trace(home, "of-rewritten", 1)
    assert all(r["gone"] == ["rewrite", "checks", "prompt", "document"] for p in found.pieces for r in p.rewrites)
    assert all(p.in_document is None and p.text and p.rewrites[0]["teacher"] for p in found.pieces)
    assert "its rewrite, its checks, its prompt, its document" in trace_text(found)
    assert trace(home, "of-edited", 1).pieces[0].in_document is None
