"""Are accepted rewrites put into their documents, the rest left byte for byte, and every token accounted for?"""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from contamination_kit import questions, write_items
from edited_home import documents, make_edited_home, rewrites_of, write_mix, write_recipe, write_rewritten
from rewritekit import rewrite_row, write_rewrites
from small_home import make_documents
from test_pools_rewrites import digests, rewrites, rows

from flows.ask import diff, sql, trace
from flows.contamination import build_benchmarks, match_rewrites
from flows.report import report
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.tokens import Tokenizer
from mixes.build import build_mix
from mixes.check import check_mix
from mixes.heldout import is_heldout
from mixes.pools import build_pool

KEEP = "[keep]\nenglish = \"label('language') = 'en'\"\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return make_edited_home(tmp_path_factory.mktemp("put"))


def recipe(home: Home, name: str = "edited", body: str = KEEP, **keys: str) -> Path:
    given = {"documents": '"web@1"', "rewrites": '"told@1"', "heldout_share": "0.2"} | keys
    return write_recipe(home, name, body, **given)


def joined_pieces(manifest: Manifest) -> dict[str, list[int]]:
    """The tokens of every document in a pool's sequences, put together again."""
    pieces: dict[str, dict[int, list[int]]] = {}
    for row in rows(manifest, "part-"):
        assert set(row["item_kinds"]) == {"document"}
        borders = [*row["doc_starts"], len(row["tokens"])]
        for n, (item, offset) in enumerate(zip(row["item_ids"], row["doc_offsets"])):
            pieces.setdefault(item, {})[offset] = row["tokens"][borders[n] : borders[n + 1]]
    return {item: [t for _, piece in sorted(found.items()) for t in piece] for item, found in pieces.items()}


def expected(home: Home, ref: str = "told@1") -> dict[str, tuple[str, list[dict]]]:
    """Document -> (its text with rewrites in it, the rewrites used), by the slow rule: spliced from the end."""
    by_document: dict[str, list[dict]] = {}
    for r in rewrites(home, ref):
        if r["accepted"]:
            by_document.setdefault(r["document_id"], []).append(r)
    made = {}
    for d in (d for part in documents(home) for d in part):
        mine, used, text = by_document.get(d["id"], []), [], d["text"]
        for segment in sorted({r["segment"] for r in mine}, reverse=True):
            own = sorted((r for r in mine if r["segment"] == segment), key=lambda r: r["sample"])
            replacing = [r for r in own if r["operation"] == "replace"][:1]
            appended = [r for r in own if r["operation"] == "append"]
            used += replacing + appended
            start, end = own[0]["start"], own[0]["end"]
            middle = replacing[0]["text"] if replacing else d["text"][start:end]
            for r in appended:
                middle += "\n\n" + r["text"]
            after = text[end:]
            glue = "\n\n" if appended and after.strip() and not after.startswith("\n\n") else ""
            text = text[:start] + middle + glue + after
        made[d["id"]] = text, used
    return made


def test_documents_hold_their_accepted_rewrites_and_are_else_as_they_were(home):
    pool, held = build_pool(recipe(home), home)
    tokenizer = Tokenizer.load(pool.folder / "tokenizer.json")
    originals = {d["id"]: d["text"] for part in documents(home) for d in part}
    want = expected(home)
    decided = rows(pool, "decisions-")
    changed = same = 0
    for manifest, side in ((pool, False), (held, True)):
        found, missing = joined_pieces(manifest), 0
        for item in (d["document_id"] for d in decided if d["kept"] and d["heldout"] == side):
            text, used = want[item]
            ids = [*tokenizer.encode_batch([text])[0].tolist(), tokenizer.eot]
            have = found.pop(item, [])
            assert have == ids[: len(have)]
            missing += len(ids) - len(have)
            changed += text != originals[item]
            same += not used and text == originals[item]
        assert not found and missing == manifest.counts["tokens_dropped_tail"] < 32
    assert changed > 30 and same
    for d in decided:
        text = want[d["document_id"]][0] if d["kept"] else originals[d["document_id"]]
        assert d["tokens"] == len(tokenizer.encode_batch([text])[0])


def test_every_token_has_one_author_and_every_rewrite_an_account(home):
    pool, held = build_pool(recipe(home), home)
    tokenizer = Tokenizer.load(pool.folder / "tokenizer.json")
    decided = {d["document_id"]: d for d in rows(pool, "decisions-")}
    all_of = rewrites(home)
    originals = {d["id"]: d["text"] for part in documents(home) for d in part}
    want, edits = expected(home), rows(pool, "edits-")
    kept = {i for i, d in decided.items() if d["kept"]}
    assert {e["rewrite"] for e in edits} == {r["id"] for i in kept for r in want[i][1]}
    accepted = [r for r in all_of if r["accepted"]]
    assert pool.counts["rewrites_left"] == {
        "rejected": len(all_of) - len(accepted),
        "of_removed": sum(r["document_id"] not in kept for r in accepted),
        "unused": sum(r["document_id"] in kept for r in accepted) - len(edits),
    }
    assert all(pool.counts["rewrites_left"].values())
    by_rewrite = {e["rewrite"]: e for e in edits}
    for r in accepted:
        if e := by_rewrite.get(r["id"]):
            starts = begins(tokenizer, originals[r["document_id"]])
            inside = sum(r["start"] <= s < r["end"] for s in starts)
            assert e["tokens_in"] == (inside if r["operation"] == "replace" else 0)
            assert (e["item_id"], e["document_id"]) == (r["document_id"],) * 2
            assert e["heldout"] == decided[r["document_id"]]["heldout"]
    for manifest, side in ((pool, False), (held, True)):
        mine = [i for i in kept if decided[i]["heldout"] == side]
        before = sum(len(begins(tokenizer, originals[i])) + 1 for i in mine)
        authors = manifest.counts["rewrites"]
        assert sum(a["tokens_in"] for a in authors) == before
        assert sum(a["tokens_out"] for a in authors) == manifest.counts["tokens_kept"]
        assert sum(a["rewrites"] for a in authors) == sum(e["heldout"] == side for e in edits)
        assert [a["operation"] for a in authors if not a["teacher"]] == ["original"]
    c = pool.counts
    assert c["tokens_original"] + c["tokens_rewritten"] + c["tokens_appended"] == c["tokens_kept"]
    assert 0 < c["tokens_replaced"] < sum(a["tokens_in"] for a in pool.counts["rewrites"])


def begins(tokenizer: Tokenizer, text: str) -> list[int]:
    """Character in which each token of a text begins."""
    ids = tokenizer.encode_batch([text])[0]
    at = np.concatenate([[0], np.cumsum(tokenizer.token_bytes[ids])[:-1]])
    char = [i for i, c in enumerate(text) for _ in c.encode()]
    return [char[a] for a in at.tolist()] if len(ids) else []


def test_held_out_documents_go_with_their_rewrites(home):
    """The plain pool, the edited one and that of the rewrites hold out the same documents."""
    edited, edited_held = build_pool(recipe(home, "edited-all", ""), home)
    told, told_held = build_pool(write_recipe(home, "told-all", "", rewrites='"told@1"', heldout_share="0.2"), home)
    hashes = {d["id"]: d["text_hash"] for part in documents(home) for d in part}
    out = {i for i, h in hashes.items() if is_heldout(h, Fraction(1, 5))}
    of = {r["id"]: r["document_id"] for r in rewrites(home)}
    items = lambda m: {i for row in rows(m, "part-") for i in row["item_ids"]}  # noqa: E731
    assert out and not items(edited) & out and items(edited_held) <= out
    trained = {of[i] for i in items(told)}
    assert trained and not trained & out and {of[i] for i in items(told_held)} <= out


def test_where_nothing_was_accepted_the_pool_is_that_of_the_documents(home):
    rows_, checks = rewrites_of(documents(home), seed=9, accepted=0.0)
    write_rewrites(home, rows_, "none", inputs=[home.find("documents", "web@1").as_input()], checks=checks)
    pool, _ = build_pool(recipe(home, "untold", rewrites='"none@1"'), home)
    plain, _ = build_pool(write_recipe(home, "plain", KEEP, documents='"web@1"', heldout_share="0.2"), home)
    tokens = lambda m: [(r["item_ids"], r["tokens"]) for r in rows(m, "part-")]  # noqa: E731
    assert tokens(pool) == tokens(plain)
    assert [a["operation"] for a in pool.counts["rewrites"]] == ["original"] and not rows(pool, "edits-")
    assert "edits" not in plain.stages and not [f for f in plain.files if f["path"].startswith("edits-")]


def test_of_two_rewritings_the_first_named_goes_first(home):
    """Other cuts, other texts: where both replace the same characters, the reference named first has its way."""
    write_rewritten(home, "other", seed=3, segments=(50, 90), operations=("replace",))
    used = {}
    for name, refs in (("ab", '["told@1", "other@1"]'), ("ba", '["other@1", "told@1"]')):
        pool, _ = build_pool(recipe(home, name, rewrites=refs), home)
        assert [i["ref"] for i in pool.inputs if i["kind"] == "rewrites"] == json.loads(refs)
        used[name] = [(e["rewrites"], e["operation"]) for e in rows(pool, "edits-")]
        left = pool.counts["rewrites_left"]
        assert sum(left.values()) + len(used[name]) == len(rewrites(home)) + len(rewrites(home, "other@1"))
    count = lambda name, ref: used[name].count((ref, "replace"))  # noqa: E731
    assert count("ab", "told@1") > count("ba", "told@1") and count("ba", "other@1") > count("ab", "other@1") > 0
    assert used["ab"].count(("told@1", "append")) == used["ba"].count(("told@1", "append")) > 0


def test_a_corpus_beside_that_nobody_rewrote_is_left_as_it_is(home):
    make_documents(home, "beside", seed=6, parts=2)
    pool, _ = build_pool(recipe(home, "two", "", documents='["beside@1", "web@1"]'), home)
    assert {e["rewrites"] for e in rows(pool, "edits-")} == {"told@1"}
    original = next(a for a in pool.counts["rewrites"] if a["operation"] == "original")
    lone, _ = build_pool(write_recipe(home, "lone", "", documents='"beside@1"', heldout_share="0.2"), home)
    edited, _ = build_pool(recipe(home, "edited-all", ""), home)
    own = next(a for a in edited.counts["rewrites"] if a["operation"] == "original")
    assert original["tokens_out"] == own["tokens_out"] + lone.counts["tokens_kept"]
    assert original["tokens_in"] == own["tokens_in"] + lone.counts["tokens_kept"]


def test_workers_and_reruns_change_no_byte(home, tmp_path):
    want = [digests(m) for m in build_pool(recipe(home), home)]
    other = make_edited_home(tmp_path)

    def stop(line: str) -> None:
        if "tokenized part 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pool(recipe(other), other, progress=stop)
    assert other.manifests("pools") == []
    assert [digests(m) for m in build_pool(recipe(other), other, workers=2)] == want


def test_a_tokenizer_that_normalizes_still_accounts_for_every_token(tmp_path):
    """NFC makes one character of e and its accent, so the tokens do not spell the text byte by byte."""
    home = make_edited_home(tmp_path)
    path = tmp_path / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8")) | {"normalizer": {"type": "NFC"}}
    path.write_text(json.dumps(spec), "utf-8")
    (d, *_), *_ = documents(home)
    said = {"document_id": d["id"], "segment": 0, "start": 0, "end": 20, "teacher": "t"}
    made = rewrite_row("ne\u0301e e\u0301 said", id="a" * 32, **said)
    more = rewrite_row("and more", id="b" * 32, operation="append", sample=1, **said)
    write_rewrites(home, [[made, more], [], []], "nfc", inputs=[home.find("documents", "web@1").as_input()])
    pool, *_ = build_pool(recipe(home, "nfc", "", rewrites='"nfc@1"', heldout_share="0"), home)
    first, second = rows(pool, "edits-")
    tokenizer = Tokenizer.load(pool.folder / "tokenizer.json")
    alone = lambda text: len(tokenizer.encode_batch([text])[0])  # noqa: E731
    assert (first["first_token"], first["tokens"]) == (0, alone("n\u00e9e \u00e9 said"))
    assert second["first_token"] == first["tokens"] and second["tokens"] == alone("\n\nand more\n\n")
    assert sum(a["tokens_out"] for a in pool.counts["rewrites"]) == pool.counts["tokens_kept"]


@pytest.mark.parametrize(
    ("body", "keys", "said"),
    [
        ("", {"documents": '"other@1"'}, "made from documents web@1, and cannot be put into other documents"),
        ("", {"rewrites": '"news@1"'}, "made from no documents"),
        ("", {"mask": '["email"]'}, "with rewrites cannot mask"),
        ("[tags]\nseed = 1\nsegments = { bad = \"score('x') > 0\" }", {}, "with rewrites cannot have tags"),
    ],
)
def test_what_will_not_do_is_named_before_any_work(home, body, keys, said):
    make_documents(home, "other", seed=8)
    write_rewrites(home, [[rewrite_row("a text", operation="new")]], "news")
    with pytest.raises(UserError, match=said):
        build_pool(recipe(home, "bad", body, **keys), home)


def test_documents_made_anew_are_refused(tmp_path):
    home = make_edited_home(tmp_path)
    for kind in ("documents", "scores", "hits"):
        shutil.rmtree(home.path / kind / "web@1")
    make_documents(home, seed=4)
    with pytest.raises(UserError, match="made anew since rewrites told@1"):
        build_pool(recipe(home), home)


def test_what_reads_pools_reads_these(home):
    pool, _ = build_pool(recipe(home), home)
    plain, _ = build_pool(write_recipe(home, "plain", KEEP, documents='"web@1"', heldout_share="0.2"), home)
    build_mix(write_mix(home, "of-edited", {"put": "edited@1"}, pool.counts["sequences"], "put = 1"), home)
    assert not check_mix(home, "of-edited@1", deep=True).findings
    assert trace(home, "of-edited", 0).conditions[0]["condition"] == "english"
    assert dict(sql(home, "select condition, removed from funnel('edited@1')")[1]) == pool.counts["removed"]
    found = diff(home, "plain@1", "edited@1")
    assert not found["same"] and any("edits" in line for line in found["stages"])
    assert plain.counts["documents_kept"] == pool.counts["documents_kept"]
    dry = build_pool(recipe(home, "dry"), home, dry_run=True)[0]
    assert dry.counts["documents_kept"] == pool.counts["documents_kept"]
    assert "english" in report(home, pool="edited@1").read_text("utf-8")
    _, sums = sql(home, "select operation, sum(tokens_out) from pool_rewrites where name = 'edited' group by all")
    assert dict(sums) == {
        "original": pool.counts["tokens_original"], "replace": pool.counts["tokens_rewritten"],
        "append": pool.counts["tokens_appended"],
    }  # fmt: skip


def test_evaluation_items_in_rewrites_are_held_by_both_kinds_of_pool(tmp_path):
    """q0 stands in an accepted rewrite, q1 in a rejected one: a pool holds the first alone."""
    home = make_edited_home(tmp_path)
    asked = questions([20, 20, 20])
    index = build_benchmarks([str(write_items(tmp_path / "asked.jsonl", asked))], home)
    first, second, *_ = documents(home)[0]
    made = [
        rewrite_row(asked[n]["question"], id=f"{n:032x}", document_id=d["id"], segment=0, start=0, end=12, teacher="t",
                    accepted=not n)
        for n, d in enumerate((first, second))
    ]  # fmt: skip
    told = write_rewrites(home, [made, [], []], "quizzed", inputs=[home.find("documents", "web@1").as_input()])
    match_rewrites(told, home, index, embedding=False)
    build_pool(write_recipe(home, "items", "", rewrites='"quizzed@1"', sequence_length="8"), home)
    build_pool(write_recipe(home, "put", "", documents='"web@1"', rewrites='"quizzed@1"'), home)
    for pool, rest in (("items", "clean"), ("put", "unsearched")):  # nobody searched the documents
        strata = dict(sql(home, f"select item_id, stratum from item_strata('{pool}@1')")[1])
        assert strata == {"q0": "matched", "q1": rest, "q2": rest}
