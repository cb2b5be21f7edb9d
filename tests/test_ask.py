"""Do SQL, trace, listing and diff answer as they should, and refuse with a message?"""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from small_home import CLEAN, find_hits, make_documents, make_home, make_pool

from flows.ask import diff, find, listing, open_catalog, sql, trace
from leaven.errors import UserError
from leaven.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return make_home(tmp_path_factory.mktemp("whole"))


def test_sql_gives_columns_and_rows(home):
    columns, rows = sql(home, "SELECT name, count(*) AS n FROM documents GROUP BY name")
    assert (columns, rows) == (["name", "n"], [("web", 120)])
    assert sql(home, "SELECT 1 AS one WHERE false") == (["one"], [])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM documnets", "documnets does not exist"),
        ("SELECT wrong FROM documents", '"wrong" not found'),
        ("SELECT title::INT FROM documents", "Could not convert"),
        ("FROM flagged()", "flagged"),
        ("FROM flagged('web', window := 3)", "syntax error"),
        ("CREATE TABLE catalog.x AS SELECT 1", "read-only"),
        ("DROP VIEW documents", "read-only"),
        ("DELETE FROM outputs", "read-only"),
    ],
)
def test_bad_sql_is_a_persons_mistake_with_duckdbs_message(home, query, said):
    with pytest.raises(UserError, match=said) as caught:
        sql(home, query)
    assert caught.value.exit_code == 2
    with open_catalog(home) as con:  # and it changed nothing
        assert con.execute("SELECT count(*) FROM outputs").fetchall() == [(15,)]


def test_the_catalog_is_made_when_it_is_missing_or_stale(tmp_path):
    home = Home(tmp_path / "home")
    with pytest.raises(UserError, match="there is nothing at"):
        sql(home, "SELECT 1")
    make_documents(home, "a", parts=1)
    assert sql(home, "SELECT DISTINCT name FROM documents")[1] == [("a",)]
    make_documents(home, "b", parts=1)
    assert sql(home, "SELECT count(DISTINCT name) FROM documents")[1] == [(2,)]
    shutil.rmtree(home.folder("documents", "a@1"))
    assert sql(home, "SELECT DISTINCT name FROM documents")[1] == [("b",)]
    made = home.catalog.stat().st_mtime_ns
    sql(home, "SELECT 1")
    assert home.catalog.stat().st_mtime_ns == made  # nothing changed, so it was not written again


def test_a_trace_leads_from_tokens_to_text_scores_and_hits(home):
    documents = {
        d["id"]: d
        for p in sorted(home.folder("documents", "web@1").glob("*.parquet"))
        for d in pq.read_table(p).to_pylist()
    }
    with_hits = 0
    for seat in range(40):
        found = trace(home, "untouched@1", seat, seed=2)
        assert (found.mix, found.seed, found.seat, found.step) == ("untouched@1", 2, seat, seat // 4)
        assert found.loss_tokens == 32 - len(found.pieces)
        assert sum(p.tokens for p in found.pieces) == 32
        for p in found.pieces:
            document = documents[p.item_id]
            assert p.in_document and p.text and p.text in document["text"]
            if p.doc_offset == 0:
                assert document["text"].startswith(p.text)
            assert p.document and p.document["locator"] == document["locator"] and "text" not in p.document
            assert [(h["term"], h["start"]) for h in p.hits] == [
                (h["term"], h["start"]) for h in find_hits(document["text"])
            ]
            words = [s["number"] for s in p.scores if s["measure"] == "words"]
            assert words == [len(document["text"].split())]
            with_hits += bool(p.hits)
        if found.component == "web":
            assert [c["condition"] for c in found.conditions] == list(CLEAN)
            assert found.pool == "clean@1"
    assert with_hits
    json.dumps(found.to_json())


def test_a_trace_covers_every_token_of_a_document_once(home):
    """The pieces of a kept document, taken from its pool's first epoch, say its text from end to end."""
    rows = sql(home, "SELECT seat, item_ids FROM shards WHERE mix = 'filtered' AND epoch = 0 AND component = 'web'")[1]
    pieces: dict[str, dict[int, str]] = {}
    for seat, _ in rows:
        for p in trace(home, "filtered", seat).pieces:
            pieces.setdefault(p.item_id, {})[p.doc_offset] = p.text
    texts = dict(sql(home, "SELECT id, text FROM documents")[1])
    joined = {item: "".join(text for _, text in sorted(found.items())) for item, found in pieces.items()}
    assert all(text in texts[item] for item, text in joined.items() if 0 in pieces[item] and len(pieces[item]) == 1)
    assert sum(joined[item] == texts[item] for item in joined) > 0


@pytest.mark.parametrize(
    ("mix", "seat", "seed", "said"),
    [
        ("nothing@1", 0, None, "'nothing@1' names nothing in"),
        ("untouched@2", 0, None, "there is: filtered@1, untouched@1"),
        ("untouched", 40, None, "seats: 0 to 39"),
        ("untouched", -1, None, "seats: 0 to 39"),
        ("untouched", 0, 9, "seeds: 1, 2"),
    ],
)
def test_a_trace_of_what_is_not_there_says_what_is(home, mix, seat, seed, said):
    with pytest.raises(UserError, match=said):
        trace(home, mix, seat, seed)


def test_a_trace_says_where_the_documents_are_gone(tmp_path):
    home = make_home(tmp_path)
    shutil.rmtree(home.folder("documents", "web@1"))
    found = trace(home, "untouched", 3)
    assert all(p.document is None and p.in_document is None and p.text for p in found.pieces)


def test_the_listing_says_what_uses_what_and_what_drifted(tmp_path):
    home = make_home(tmp_path)
    rows = {r["address"]: r for r in listing(home)}
    assert rows["pools/clean@1"]["uses"] == [
        "documents/web@1", "scores/web@1/language@1", "scores/web@1/statistics@1", "hits/web@1/terms@1",
    ]  # fmt: skip
    assert set(rows["pools/flagged@1"]["used_by"]) >= {"mixes/untouched@1/seed-1", "mixes/filtered@1/seed-1"}
    assert rows["documents/web@1"]["rows"] == 120
    assert all(r["bytes"] > 0 or r["part"].count("/") for r in rows.values())
    assert not any(r["drift"] for r in rows.values())
    shutil.rmtree(home.folder("scores", "web@1", "statistics@1"))
    make_pool(home, tmp_path, "flagged", {"flagged": "blocklist_flag()"}, version="2")
    rows = {r["address"]: r for r in listing(home)}
    assert rows["pools/clean@1"]["drift"] == "scores/web@1/statistics@1 is gone"
    assert "scores/web@1/statistics@1" in rows["pools/clean@1"]["uses"]
    assert rows["pools/flagged@1"]["drift"] is None and not rows["pools/flagged@1"]["is_newest"]
    assert rows["pools/flagged@2"]["is_newest"]
    assert listing(Home(tmp_path / "empty")) == []


def test_a_difference_names_fields_and_counts(home):
    answer = diff(home, "untouched", "filtered@1")
    assert (answer["kind"], answer["a"], answer["b"], answer["same"]) == ("mixes", "untouched@1", "filtered@1", False)
    assert any(line.startswith("phases") for line in answer["meaning"])
    by_name = [dict(zip(answer["columns"], row)) for row in answer["rows"]]
    assert sum(r["more_in_b"] for r in by_name) == 0 and any(r["more_in_b"] for r in by_name)
    pools = diff(home, "pools/clean", "flagged")
    assert pools["kind"] == "pools" and "kept_a" in pools["columns"] and pools["rows"]
    assert diff(home, "clean@1", "clean")["same"]
    with pytest.raises(UserError, match="names nothing in"):
        diff(home, "clean", "untouched")  # a pool is not a mix
    assert [m.address for m in find(home, "mixes/untouched")] == [
        "mixes/untouched@1/seed-1", "mixes/untouched@1/seed-2",
    ]  # fmt: skip
