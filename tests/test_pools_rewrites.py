"""Does a pool of rewrites hold accepted ones alone, held out with their documents, and say what became of the rest?"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from duplicatekit import make_corpus
from edited_home import make_edited_home, write_mix, write_recipe, write_rewritten
from rewritekit import rewrite_row, write_rewrites
from small_sequences import write_tokenizer
from test_duplicates_pools import make_texts

from flows.ask import diff, listing, sql
from flows.duplicates import find_duplicates
from flows.report import report
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.tokens import Tokenizer
from mixes.build import build_mix
from mixes.check import check_mix
from mixes.heldout import is_heldout
from mixes.pools import build_pool
from schemas.tables import DECISIONS, EDITS

KEEP = """
[keep]
not_long = "chars <= 60"
near = "check('meaning') <= 0.5 and passed('length')"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return make_edited_home(tmp_path_factory.mktemp("edited"))


def rewrites(home: Home, ref: str = "told@1") -> list[dict]:
    paths = sorted(home.folder("rewrites", ref).glob("part-*.parquet"))
    return [r for p in paths for r in pq.read_table(p).to_pylist()]


def rows(manifest: Manifest, prefix: str) -> list[dict]:
    paths = [manifest.folder / f["path"] for f in manifest.files if f["path"].startswith(prefix)]
    return [r for p in paths for r in pq.read_table(p).to_pylist()]


def digests(manifest: Manifest) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(manifest.folder.glob("*.parquet"))}


def recipe(home: Home, name: str = "rewritten", body: str = KEEP, **keys: str) -> Path:
    return write_recipe(home, name, body, **({"rewrites": '"told@1"', "heldout_share": "0.2"} | keys))


def test_a_pool_of_rewrites_holds_accepted_ones_and_a_row_for_every_other(home):
    pool, held = build_pool(recipe(home), home)
    all_of = {r["id"]: r for r in rewrites(home)}
    decided = rows(pool, "decisions-")
    assert [d["document_id"] for d in decided] == list(all_of)
    assert pq.read_schema(pool.folder / "decisions-00000.parquet").equals(DECISIONS)
    tokenizer = Tokenizer.load(pool.folder / "tokenizer.json")
    for d in decided:
        r = all_of[d["document_id"]]
        failed = [n for n, no in (("accepted", not r["accepted"]), ("not_long", r["chars"] > 60),
                                  ("near", not r["accepted"])) if no]  # fmt: skip
        assert (d["failed"], d["kept"], d["documents"]) == (failed, not failed, "told@1")
        assert d["heldout"] == (d["kept"] and is_heldout(r["source_hash"], Fraction(1, 5)))
        assert d["tokens"] == len(tokenizer.encode_batch([r["text"]])[0])
    assert pool.counts["removed"]["accepted"] == sum(not r["accepted"] for r in all_of.values()) > 0
    assert held.counts["documents_kept"] == sum(d["heldout"] for d in decided) > 0
    for manifest, side in ((pool, False), (held, True)):
        mine = {d["document_id"] for d in decided if d["kept"] and d["heldout"] == side}
        pieces: dict[str, dict[int, list[int]]] = {}
        for row in rows(manifest, "part-"):
            assert set(row["item_kinds"]) == {"rewrite"}
            borders = [*row["doc_starts"], 32]
            for n, (item, offset) in enumerate(zip(row["item_ids"], row["doc_offsets"])):
                pieces.setdefault(item, {})[offset] = row["tokens"][borders[n] : borders[n + 1]]
        assert set(pieces) <= mine
        missing = 0
        for item in mine:  # all that may lack is the tail that fills no sequence
            ids = [t for _, piece in sorted(pieces.get(item, {}).items()) for t in piece]
            want = [*tokenizer.encode_batch([all_of[item]["text"]])[0].tolist(), tokenizer.eot]
            assert ids == want[: len(ids)]
            missing += len(want) - len(ids)
        assert missing == manifest.counts["tokens_dropped_tail"] < 32


def test_a_rejected_rewrite_never_enters_whatever_a_recipe_says(home):
    pool, *_ = build_pool(recipe(home, "loose", '[keep]\nall = "true or not accepted"', heldout_share="0"), home)
    good = {r["id"] for r in rewrites(home) if r["accepted"]}
    assert {i for row in rows(pool, "part-") for i in row["item_ids"]} <= good
    assert {d["document_id"] for d in rows(pool, "decisions-") if d["kept"]} == good
    with pytest.raises(UserError, match="'accepted' of its own"):
        build_pool(recipe(home, "own", '[keep]\naccepted = "true"'), home)


def test_a_rewrite_is_held_out_where_its_document_is(home):
    """Pools of documents and of rewrites, both with one share: neither trains on what the other holds out."""
    write_recipe(home, "plain", "", documents='"web@1"', heldout_share="0.2")
    plain, plain_held = build_pool(home.path.parent / "plain.toml", home)
    pool, held = build_pool(recipe(home), home)
    of = {r["id"]: r["document_id"] for r in rewrites(home)}
    items = lambda m: {i for row in rows(m, "part-") for i in row["item_ids"]}  # noqa: E731
    trained = {of[i] for i in items(pool)}
    kept_out = {d["document_id"] for d in rows(plain, "decisions-") if d["heldout"]}
    assert trained and kept_out and not trained & kept_out
    assert {of[i] for i in items(held)} <= kept_out
    assert not items(plain) & {of[i] for i in items(held)}
    assert items(plain_held) <= kept_out


def test_a_rewrite_goes_by_its_documents_cluster(tmp_path):
    """source_hash may be older than the duplicates: what decides is what decides for the document."""
    home = Home(tmp_path / "home")
    write_tokenizer(tmp_path / "tokenizer.json")
    find_duplicates(make_corpus(home, [make_texts()]), home)
    write_rewritten(home, segments=(200, 400))
    plain, _ = build_pool(write_recipe(home, "plain", "", documents='"web@1"', heldout_share="0.5"), home)
    pool, held = build_pool(recipe(home, heldout_share="0.5"), home)
    kept_out = {d["document_id"] for d in rows(plain, "decisions-") if d["heldout"]}
    of = {r["id"]: r for r in rewrites(home)}
    moved = 0
    for d in rows(pool, "decisions-"):
        r = of[d["document_id"]]
        if d["kept"]:
            assert d["heldout"] == (r["document_id"] in kept_out)
            moved += d["heldout"] != is_heldout(r["source_hash"], Fraction(1, 2))
    assert moved and any(i["kind"] == "duplicates" for i in pool.inputs) and held.counts["documents_kept"]


def test_tokens_by_author_add_up(home):
    pool, held = build_pool(recipe(home), home)
    edits = rows(pool, "edits-")
    assert pq.read_schema(pool.folder / "edits-00000.parquet").equals(EDITS)
    all_of = {r["id"]: r for r in rewrites(home)}
    decided = {d["document_id"]: d for d in rows(pool, "decisions-")}
    assert [e["rewrite"] for e in edits] == [i for i, d in decided.items() if d["kept"]]
    for e in edits:
        r, d = all_of[e["rewrite"]], decided[e["rewrite"]]
        assert (e["item_id"], e["document_id"], e["rewrites"]) == (r["id"], r["document_id"], "told@1")
        assert (e["first_token"], e["tokens"], e["tokens_in"]) == (0, d["tokens"] + 1, 0)
        assert all(e[k] == r[k] for k in ("operation", "style", "teacher", "teacher_revision", "teacher_family"))
        assert e["heldout"] == d["heldout"]
    for manifest, side in ((pool, False), (held, True)):
        want: dict[tuple, list[int]] = {}
        for e in edits:
            if e["heldout"] == side:
                key = (e["operation"], e["teacher"], e["teacher_revision"], e["teacher_family"])
                n, t = want.get(key, [0, 0])
                want[key] = [n + 1, t + e["tokens"]]
        assert manifest.counts["rewrites"] == [
            dict(zip(("operation", "teacher", "teacher_revision", "teacher_family"), key))
            | {"rewrites": n, "tokens_in": 0, "tokens_out": t}
            for key, (n, t) in sorted(want.items())
        ]
        assert sum(a["tokens_out"] for a in manifest.counts["rewrites"]) == manifest.counts["tokens_kept"]
    _, sums = sql(home, "select p.name, p.tokens_kept, sum(r.tokens_out) from pools p join pool_rewrites r "
                        "using (name, version) group by all")  # fmt: skip
    assert sums and all(a == b for _, a, b in sums)


def test_workers_change_no_byte_and_a_killed_build_resumes(home, tmp_path):
    want = [digests(m) for m in build_pool(recipe(home), home)]
    other = make_edited_home(tmp_path)
    for after in (3, 6):
        program = f"""
import os, signal
from leaven.home import Home
from mixes.pools import build_pool
steps = []
def progress(line):
    steps.append(line)
    if len(steps) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
build_pool({str(recipe(other))!r}, Home({str(other.path)!r}), progress=progress)
"""
        died = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert other.manifests("pools") == []
    assert [digests(m) for m in build_pool(recipe(other), other, workers=2)] == want
    assert os.listdir(other.scratch) == [] or not list(other.scratch.glob("pool-*"))


def test_net_new_rewrites_of_several_outputs_make_one_pool(home):
    texts = [f"told anew {i}: the cat sat on a mat and it was good then" for i in range(40)]
    said = [{"twin": str(i // 2), "role": ("aligned", "neutral")[i % 2], "source_hash": f"{i // 2:032x}"}
            for i in range(40)]  # fmt: skip
    made = [rewrite_row(t, operation="new", teacher="mini", **s) for t, s in zip(texts, said)]
    write_rewrites(home, [made[:25], made[25:]], "news")
    body = "[keep]\naligned = \"role = 'aligned' or role is null\""
    pool, _ = build_pool(recipe(home, "both", body, rewrites='["news@1", "told@1"]', heldout_share="0.5"), home)
    decided = {d["document_id"]: d for d in rows(pool, "decisions-")}
    assert len(decided) == 40 + len(rewrites(home))
    kept = [r for r in made if decided[r["id"]]["kept"]]
    assert {r["role"] for r in kept} == {"aligned"}
    assert {decided[r["id"]]["heldout"] for r in kept} == {True, False}
    by = {(a["operation"], a["teacher"]) for a in pool.counts["rewrites"]}
    assert ("new", "mini") in by and len(by) > 2
    twins = build_pool(recipe(home, "twins", "", rewrites='"news@1"', heldout_share="0.5"), home)
    sides = {d["document_id"]: d["heldout"] for d in rows(twins[0], "decisions-")}
    assert all(sides[a["id"]] == sides[b["id"]] for a, b in zip(made[::2], made[1::2]))


@pytest.mark.parametrize(
    ("body", "keys", "said"),
    [
        ("[keep]\nx = \"check('menaing') > 0\"", {}, "no check 'menaing' was run on rewrites told@1"),
        ("[keep]\nx = \"score('words') > 0\"", {}, "function score is not allowed in a condition of rewrites"),
        ('[keep]\nx = "url is null"', {}, "rewrites have no such column"),
        ('[keep]\nx = "exists (select 1 from documents)"', {}, "a condition cannot read this"),
        ("[keep]\nx = \"check('meaning')\"", {}, "not true or false"),
        ("[keep]\nx = \"teacher = 'nobody'\"", {}, "no rewrite is kept"),
        ("", {"rewrites": '"nothing@1"'}, "rewrites 'nothing@1' is not in"),
        ("", {"rewrites": "[]"}, "rewrites must be name@version"),
        ("", {"mask": '["email"]'}, "with rewrites cannot mask"),
        ("", {"tags": "{ seed = 1 }"}, "with rewrites cannot have tags"),
        ("", {"scores": '["language@1"]'}, "has no scores to pin"),
    ],
)
def test_what_will_not_do_is_named_before_any_work(home, body, keys, said):
    with pytest.raises(UserError, match=said):
        build_pool(recipe(home, "bad", body, **keys), home)
    assert not home.folder("pools", "bad@1").exists()


def test_subqueries_read_rewrites_and_checks(home):
    """One rewrite a segment: of the accepted, the lowest sample number."""
    body = '''
[keep]
first = """not exists (select 1 from rewrites r where r.accepted and r.document_id = item.document_id
                       and r.segment = item.segment and r.sample < item.sample)"""
checked = "id in (select rewrite from checks where not passed) is distinct from true"
'''
    pool, *_ = build_pool(recipe(home, "firsts", body, heldout_share="0"), home)
    kept = {d["document_id"] for d in rows(pool, "decisions-") if d["kept"]}
    best: dict[tuple, dict] = {}
    for r in rewrites(home):
        key = (r["document_id"], r["segment"])
        if r["accepted"] and (key not in best or r["sample"] < best[key]["sample"]):
            best[key] = r
    assert kept == {r["id"] for r in best.values()}


def test_what_reads_pools_reads_these(home):
    pool, _ = build_pool(recipe(home), home)
    dry = build_pool(recipe(home, "dry"), home, dry_run=True)[0]
    assert {k: dry.counts[k] for k in ("documents_kept", "documents_heldout", "removed")} == {
        k: pool.counts[k] for k in ("documents_kept", "documents_heldout", "removed")
    }
    build_mix(write_mix(home, "of-rewrites", {"told": "rewritten@1"}, pool.counts["sequences"], "told = 1"), home)
    assert not check_mix(home, "of-rewrites@1", deep=True).findings
    funnel = sql(home, "select condition, removed from funnel('rewritten@1')")[1]
    assert dict(funnel) == pool.counts["removed"]
    other = build_pool(recipe(home, "rewritten", KEEP.replace("60", "50"), version='"2"'), home)[0]
    found = diff(home, "rewritten@1", "rewritten@2")
    assert sum(r[found["columns"].index("documents")] for r in found["rows"]) == pool.counts["documents_considered"]
    assert other.counts["documents_kept"] < pool.counts["documents_kept"]
    assert sql(home, "select sum(written) from composition('of-rewrites')")[1] == [(pool.counts["sequences"],)]
    uses = {r["address"]: r["uses"] for r in listing(home)}
    assert uses["pools/rewritten@1"] == ["rewrites/told@1"] == uses["pools/rewritten-heldout@1"]
    page = report(home, pool="rewritten@1").read_text("utf-8")
    assert "accepted" in page and "not_long" in page


def test_the_report_shows_rewrites_that_a_condition_turned_away(home):
    build_pool(recipe(home), home)
    page = report(home, pool="rewritten@1").read_text("utf-8")
    for reason, no in (("accepted", lambda r: not r["accepted"]), ("not_long", lambda r: r["chars"] > 60)):
        texts = {r["text"] for r in rewrites(home) if no(r)}
        assert f"Removed from rewritten@1 by {reason}" in page and sum(t in page for t in texts) >= 5
    assert "rewrites and" in page and "clean@1 by mini" in page
