"""Does a pool hold the tokens of the documents kept, say what became of the others, and always come out alike?"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_home import make_documents
from small_sequences import write_tokenizer

from leaven.errors import DriftError, UserError
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.shards import TokenFile
from leaven.tokens import Tokenizer
from mixes.heldout import is_heldout
from mixes.pools import build_pool
from schemas.tables import DECISIONS, SEQUENCES

LENGTH = 48
RECIPE = """
name = "clean"
version = "1"
documents = {documents}
tokenizer = "tokenizer.json"
sequence_length = {length}
heldout_share = {share}
[keep]
english = "label('language') = 'en'"
long_enough = "score('words') >= {words}"
not_flagged = "not blocklist_flag(distinct_terms := 2)"
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    make_documents(home)
    write_tokenizer(tmp_path / "tokenizer.json")
    return home


def recipe(home: Home, documents: str = '"web@1"', share: str = "0.2", words: int = 10, length: int = LENGTH) -> Path:
    path = home.path.parent / "clean.toml"
    path.write_text(RECIPE.format(documents=documents, share=share, words=words, length=length))
    return path


def texts(home: Home, ref: str = "web@1") -> dict[str, dict]:
    parts = sorted(home.folder("documents", ref).glob("part-*.parquet"))
    rows = [r for p in parts for r in pq.read_table(p, columns=["id", "text", "text_hash"]).to_pylist()]
    return {r["id"]: r for r in rows}


def files(manifest: Manifest, prefix: str = "part-") -> list[Path]:
    return [manifest.folder / f["path"] for f in manifest.files if f["path"].startswith(prefix)]


def digests(manifest: Manifest) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(manifest.folder.glob("*.parquet"))}


def assemble(manifest: Manifest) -> tuple[dict[str, list[int]], int]:
    """Each document's tokens put together again from the pieces of a pool, and the rows checked on the way."""
    found: dict[str, dict[int, list[int]]] = {}
    row_number = 0
    for path in files(manifest):
        file = TokenFile(path, verify="open")
        assert file.mapped
        table = pq.read_table(path)
        assert table.schema.equals(SEQUENCES)
        for row in table.to_pylist():
            assert row["pool_row"] == row_number
            row_number += 1
            tokens, starts = row["tokens"], row["doc_starts"]
            assert len(tokens) == LENGTH and starts[0] == 0 and starts == sorted(set(starts))
            assert row["loss_tokens"] == LENGTH - len(starts)
            assert set(row["item_kinds"]) == {"document"}
            for id_, offset, a, b in zip(row["item_ids"], row["doc_offsets"], starts, [*starts[1:], LENGTH]):
                assert offset not in found.setdefault(id_, {})
                found[id_][offset] = tokens[a:b]
    return {d: [t for _, piece in sorted(pieces.items()) for t in piece] for d, pieces in found.items()}, row_number


@pytest.mark.parametrize("share", ["0", "0.2"])
def test_a_pool_holds_the_tokens_of_its_documents_and_nothing_else(home, share):
    manifests = build_pool(recipe(home, share=share), home)
    assert [m.name for m in manifests] == ["clean", "clean-heldout"][: 1 + (share != "0")]
    tokenizer = Tokenizer.load(home.path.parent / "tokenizer.json")
    documents = texts(home)
    decisions = pa.concat_tables(pq.read_table(p) for p in files(manifests[0], "decisions-"))
    assert decisions.schema.equals(DECISIONS)
    decided = {r["document_id"]: r for r in decisions.to_pylist()}
    assert list(decided) == list(documents)
    for manifest, heldout in zip(manifests, (False, True)):
        mine = {d for d, r in decided.items() if r["kept"] and r["heldout"] == heldout}
        whole = {d: [*tokenizer.encode_batch([documents[d]["text"]])[0].tolist(), tokenizer.eot] for d in mine}
        pieces, rows = assemble(manifest)
        missing = 0
        assert set(pieces) <= mine
        for d, tokens in whole.items():  # all that may lack is the tail that fills no sequence
            have = pieces.get(d, [])
            missing += len(tokens) - len(have)
            assert have == tokens[: len(have)]
        counts = manifest.counts
        assert rows == counts["sequences"] == sum(manifest.extra["rows_per_part"])
        assert missing == counts["tokens_dropped_tail"] < LENGTH
        assert counts["tokens_kept"] == sum(map(len, whole.values())) == rows * LENGTH + missing
        assert counts["documents_kept"] == len(mine)
        columns = pa.concat_tables(pq.read_table(p) for p in files(manifest))
        own_bytes = sum(len(tokenizer.decode_bytes([t for t in whole[d] if t != tokenizer.eot])) for d in mine)
        assert own_bytes - 8 * missing <= sum(columns["bytes"].to_pylist()) <= own_bytes
        assert counts["pieces"] == sum(map(len, columns["doc_starts"].to_pylist()))
        in_sequences = Counter(d for ids in columns["item_ids"].to_pylist() for d in ids)
        assert sum(n > 1 for n in in_sequences.values()) <= counts["documents_cut"] <= len(in_sequences)
        assert manifest.extra["heldout"] == heldout
        assert manifest.extra["vocab_size"] == tokenizer.vocab_size and manifest.extra["eot"] == tokenizer.eot
        assert Tokenizer.load(manifest.folder / manifest.extra["tokenizer_path"]).sha256 == tokenizer.sha256


def test_decisions_and_counts_say_the_same(home):
    pool, held = build_pool(recipe(home), home)
    rows = pa.concat_tables(pq.read_table(p) for p in files(pool, "decisions-")).to_pylist()
    tokenizer = Tokenizer.load(home.path.parent / "tokenizer.json")
    documents = texts(home)
    for row in rows:
        assert row["tokens"] == len(tokenizer.encode_batch([documents[row["document_id"]]["text"]])[0])
        assert row["kept"] == (row["failed"] == []) == (row["reason"] is None)
        assert row["reason"] == (row["failed"] or [None])[0]
        assert (row["name"], row["version"], row["documents"]) == ("clean", "1", "web@1")
        text_hash = documents[row["document_id"]]["text_hash"]
        assert row["heldout"] == (row["kept"] and is_heldout(text_hash, Fraction(1, 5)))
    counts = pool.counts
    assert counts["documents_considered"] == len(rows) == 120
    assert counts["removed"] == {
        c: sum(r["reason"] == c for r in rows) for c in ("english", "long_enough", "not_flagged")
    }
    assert counts["removed_only"] == {c: sum(r["failed"] == [c] for r in rows) for c in counts["removed"]}
    assert counts["documents_kept"] == sum(r["kept"] and not r["heldout"] for r in rows)
    assert counts["documents_heldout"] == held.counts["documents_kept"] == sum(r["heldout"] for r in rows)
    assert counts["tokens_removed"] == sum(r["tokens"] for r in rows if not r["kept"])
    considered = counts["documents_kept"] + counts["documents_heldout"] + sum(counts["removed"].values())
    assert considered == counts["documents_considered"]


def test_workers_change_no_byte(home, tmp_path):
    one = build_pool(recipe(home), home)
    other = Home(tmp_path / "other")
    make_documents(other)
    two = build_pool(recipe(home), other, workers=2)
    for a, b in zip(one, two, strict=True):
        assert digests(a) == digests(b)
        assert (a.fingerprint, a.counts, a.extra, a.files) == (b.fingerprint, b.counts, b.extra, b.files)


def test_a_killed_build_leaves_nothing_and_a_rerun_gives_the_same_bytes(home, tmp_path):
    want = [digests(m) for m in build_pool(recipe(home), home)]
    other = Home(tmp_path / "other")
    make_documents(other)
    for after in (3, 6, 9):  # steps done when the process dies, in tokenizing and in packing
        program = f"""
import os, signal, sys
from leaven.home import Home
from mixes.pools import build_pool
steps = []
def progress(line):
    steps.append(line)
    if len(steps) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
build_pool({str(home.path.parent / "clean.toml")!r}, Home({str(other.path)!r}), progress=progress)
"""
        died = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert other.manifests("pools") == []
        assert not [p for p in (other.path / "pools").iterdir() if not p.name.startswith(".")]
    built = build_pool(recipe(home), other)
    assert [digests(m) for m in built] == want
    assert not [p for p in other.scratch.glob("pool-*") if p.is_dir()]


def test_up_to_date_touches_nothing_and_another_recipe_is_refused(home):
    pool, held = build_pool(recipe(home), home)
    before = {p: p.stat().st_mtime_ns for p in (home.path / "pools").rglob("*")}
    again = build_pool(recipe(home), home, progress=lambda line: pytest.fail(line))
    assert [m.fingerprint for m in again] == [pool.fingerprint, held.fingerprint]
    assert {p: p.stat().st_mtime_ns for p in (home.path / "pools").rglob("*")} == before
    with pytest.raises(DriftError, match="long_enough") as error:
        build_pool(recipe(home, words=11), home)
    assert "new version" in str(error.value)
    assert {p: p.stat().st_mtime_ns for p in (home.path / "pools").rglob("*")} == before


def test_a_missing_heldout_pool_is_made_again(home):
    import shutil

    pool, held = build_pool(recipe(home), home)
    was = digests(held)
    shutil.rmtree(held.folder)
    again = build_pool(recipe(home), home)
    assert digests(again[1]) == was and again[0].created == pool.created


def test_a_dry_run_counts_documents_and_writes_nothing(home):
    (dry,) = build_pool(recipe(home), home, dry_run=True)
    assert not (home.path / "pools").exists()
    pool, _ = build_pool(recipe(home), home)
    assert dry.fingerprint == pool.fingerprint
    assert dry.counts == {k: pool.counts[k] for k in dry.counts}
    assert dry.counts["documents_kept"] > 0


def test_several_corpora_make_one_pool(home):
    make_documents(home, name="books", seed=5, parts=2)
    both = build_pool(recipe(home, documents='["web@1", "books@1"]', share="0"), home)[0]
    assert both.counts["documents_considered"] == 200
    named = pa.concat_tables(pq.read_table(p) for p in files(both, "decisions-"))["documents"].to_pylist()
    assert Counter(named) == {"web@1": 120, "books@1": 80}
    assert [i["ref"] for i in both.inputs if i["kind"] == "documents"] == ["web@1", "books@1"]
    pieces, _ = assemble(both)
    assert set(pieces) & set(texts(home)) and set(pieces) & set(texts(home, "books@1"))


def test_equal_texts_are_held_out_together_and_shares_nest():
    hashes = [hashlib.blake2b(str(n).encode(), digest_size=16).hexdigest() for n in range(20_000)]
    small, large = ({h for h in hashes if is_heldout(h, Fraction(n, 200))} for n in (1, 10))
    assert small < large
    assert abs(len(small) - 100) < 40 and abs(len(large) - 1000) < 130
    assert not any(is_heldout(h, Fraction(0)) for h in hashes)


def refused(home: Home, text: str, match: str) -> UserError:
    path = home.path.parent / "bad.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=match) as error:
        build_pool(path, home)
    assert not (home.path / "pools").exists() or not [p for p in (home.path / "pools").iterdir() if p.name[0] != "."]
    return error.value


def test_mistakes_are_named_before_any_work(home):
    good = recipe(home).read_text()
    assert "did you mean 'heldout_share'" in str(
        refused(home, good.replace("heldout_share", "held_out_share"), "unknown key")
    )
    assert "bad.toml:5" in str(refused(home, good.replace("tokenizer.json", "tokeniser.json"), "there is no tokenizer"))
    assert "bad.toml:7" in str(refused(home, good.replace("= 0.2", "= 1.0"), "not a share"))
    refused(home, good.replace("= 48", "= 1"), "sequence_length is 1")
    refused(home, good.replace("= 48", '= "48"'), "must be an integer")
    refused(home, good.replace('"clean"', '"clean-heldout"'), "cannot end in -heldout")
    assert "web@1" in str(refused(home, good.replace("web@1", "web@2"), "'web@2' is not in"))
    refused(home, good.replace('"web@1"', '["web@1", "web@1"]'), "several different ones")
    refused(home, good.replace('"web@1"', "[]"), "must be name@version")
    assert "bad.toml:10" in str(refused(home, good.replace(">= 10", ">= "), "not one SQL expression"))
    assert "bad.toml:9" in str(refused(home, good.replace("= 'en'", "= read_text('x')"), "not allowed"))
    refused(home, good.replace("sequence_length = 48\n", ""), "lacks 'sequence_length'")


def test_an_empty_pool_is_refused_with_its_funnel(home):
    message = str(refused(home, recipe(home, words=1000).read_text(), "no document is kept"))
    assert "120 documents considered" in message and "failed long_enough first" in message
    message = str(refused(home, recipe(home, length=100_000).read_text(), "fill no sequence of 100,000"))
    assert "documents considered" in message


def test_no_space_left(home):
    """A limit on the size of files stands in for a full disk."""
    program = f"""
import resource, signal
from leaven.errors import UserError
from leaven.home import Home
from mixes.pools import build_pool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
try:
    build_pool({str(recipe(home))!r}, Home({str(home.path)!r}))
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert "cannot write: File too large" in done.stdout and "run the same command again" in done.stdout, done.stderr
    assert home.manifests("pools") == []
    assert len(build_pool(recipe(home), home)) == 2


def test_two_builds_at_once_do_not_mix(home, monkeypatch):
    monkeypatch.setattr("leaven.holding.PATIENCE", 0)

    def meanwhile(line: str) -> None:
        with pytest.raises(UserError, match="another process is building"):
            build_pool(recipe(home), home)

    assert len(build_pool(recipe(home), home, progress=meanwhile)) == 2


def test_what_a_broken_off_build_of_another_recipe_left_is_swept(home):
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pool(recipe(home, words=11), home, progress=stop)
    assert len(list(home.scratch.glob("pool-*"))) == 1 and len(list((home.path / "pools").glob(".partial-*"))) == 2
    pool, held = build_pool(recipe(home), home)
    assert not list(home.scratch.glob("pool-*"))
    assert sorted(p.name for p in (home.path / "pools").iterdir()) == sorted([pool.folder.name, held.folder.name])


def test_version_dev_always_builds(home):
    path = recipe(home)
    path.write_text(path.read_text().replace('version = "1"', 'version = "dev"'))
    first = build_pool(path, home)[0]
    path.write_text(path.read_text().replace(">= 10", ">= 30"))
    second = build_pool(path, home)[0]
    assert second.counts["documents_kept"] < first.counts["documents_kept"]
    assert (
        os.listdir(home.path / "pools") == ["clean@dev", "clean-heldout@dev"]
        or len(os.listdir(home.path / "pools")) == 2
    )


def test_a_rows_bytes_are_those_of_its_text(home):
    pool = build_pool(recipe(home), home)[0]
    tokenizer = Tokenizer.load(pool.folder / "tokenizer.json")
    for row in pq.read_table(files(pool)[0]).to_pylist():
        text = tokenizer.decode_bytes([t for t in row["tokens"] if t != tokenizer.eot])
        assert row["bytes"] == len(text)
        assert np.isin(row["tokens"], np.arange(tokenizer.vocab_size)).all()
