"""Does every segment become a row with its checks, is nothing asked for twice, and do the numbers add up?"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from endpoint import Reply, chat, serving
from rewritehome import BAD, GOOD, TOKENIZER, TOLD, faithful, make_documents, segment_of, write_recipe

from flows.ask import sql
from flows.report import report
from flows.rewrite import rewrite
from leaven.errors import AnswerIsNo, DriftError, UserError
from leaven.home import Home
from leaven.segments import segment_spans
from mixes.pools import build_pool
from rewriters.canaries import plant_canary
from rewriters.styles import DECLARATION, find_style

ROOT = Path(__file__).parents[1]
SEGMENTS = 2 * len(TOLD)  # every one stands in two documents


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    make_documents(made)
    return made


def rows_of(home: Home, kind: str = "part", ref: str = "plain@1") -> list[dict]:
    paths = sorted((home.path / "rewrites" / ref).glob(f"{kind}-*.parquet"))
    return pa.concat_tables([pq.read_table(p) for p in paths]).to_pylist()


def digests(home: Home) -> dict[str, str]:
    """SHA-256 of every Parquet file of segments and rewrites."""
    return {
        str(p.relative_to(home.path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for kind in ("segments", "rewrites")
        for p in sorted((home.path / kind).rglob("*.parquet"))
    }


def mixed(prompt: str, nth: int) -> Reply:
    """Even segments told faithfully, odd ones each in a bad way of its own: two are rejected, one has no answer."""
    segment = segment_of(prompt)
    number = [s for s, _ in TOLD].index(segment)
    return faithful(prompt, nth) if number % 2 == 0 else BAD[("swapped", "refused", "chatter")[number // 2]][0](segment)


def test_faithful_rewrites_are_accepted_and_each_row_says_where_it_comes_from(home, tmp_path):
    with serving(faithful) as endpoint:
        made = rewrite(write_recipe(tmp_path, endpoint.url), home)
        assert len(endpoint.asked) == len(TOLD), "equal segments share their answer"
    counts = made.rewrites.counts
    assert (counts["asked"], counts["accepted"], counts["rejected"], counts["failed"]) == (SEGMENTS, SEGMENTS, 0, 0)
    style = find_style("clean")
    documents = {r["id"]: r["text"] for p in sorted((home.path / "documents" / "web@1").glob("part-*.parquet"))
                 for r in pq.read_table(p).to_pylist()}  # fmt: skip
    rows = rows_of(home)
    for row in rows:
        source = documents[row["document_id"]][row["start"] : row["end"]]
        assert row["text"] == GOOD[source] and row["accepted"] and row["status"] == "accepted"
        assert (row["teacher"], row["teacher_revision"], row["style"]) == ("scripted", "1", "clean@1")
        assert row["prompt_hash"] == style.hash and row["operation"] == "replace" and row["reason"] is None
        assert json.loads(row["sampling"])["temperature"] == 0 and row["failed"] == []
    assert len({r["id"] for r in rows}) == SEGMENTS
    checks = Counter(c["rewrite"] for c in rows_of(home, "checks"))
    assert set(checks) == {r["id"] for r in rows} and min(checks.values()) >= 15
    tokens = counts["tokens"]["replace"]
    assert tokens["replaced"] == sum(r["source_tokens"] for r in rows)
    assert tokens["written"] == sum(r["text_tokens"] for r in rows)


@pytest.mark.parametrize("kind", BAD)
def test_what_a_teacher_does_wrong_is_a_row_with_its_reason(home, tmp_path, kind):
    answer, status, reasons = BAD[kind]
    with serving(lambda prompt, nth: answer(segment_of(prompt))) as endpoint:
        rewrite(write_recipe(tmp_path, endpoint.url), home)
    rows = rows_of(home)
    assert len(rows) == SEGMENTS
    for row in rows:
        assert row["status"] == status and not row["accepted"]
        assert {row["reason"], *row["failed"]} & reasons, row
        assert (row["text"] == "") == (status == "failed")
    checked = {c["rewrite"] for c in rows_of(home, "checks")}
    assert checked == ({r["id"] for r in rows} if status == "rejected" else set())


def test_rows_in_are_accepted_and_rejected_and_failed_and_the_catalog_counts_the_same(home, tmp_path):
    with serving(mixed) as endpoint:
        made = rewrite(write_recipe(tmp_path, endpoint.url), home)
    counts = made.rewrites.counts
    assert counts["asked"] == counts["segments"] == SEGMENTS
    assert counts["accepted"] + counts["rejected"] + counts["failed"] == SEGMENTS
    assert sum(counts["rejections"].values()) == counts["rejected"] > 0
    assert sum(counts["failures"].values()) == counts["failed"] > 0
    _, by_sql = sql(home, "select status::varchar, count(*) from rewrites group by all order by 1")
    assert dict(by_sql) == {k: counts[k] for k in ("accepted", "failed", "rejected")}
    _, [(segments,)] = sql(home, "select count(*) from segments where name = 'plain'")
    assert segments == SEGMENTS
    _, [cost] = sql(home, "select requests, answers, prompt_tokens, price from rewrite_costs")
    assert cost[:2] == (SEGMENTS, len(TOLD))
    stated = {r["completion"]: (r["prompt_tokens"], r["completion_tokens"]) for r in rows_of(home)}
    ins, outs = (sum(t[i] or 0 for t in stated.values()) for i in (0, 1))
    assert cost[2] == ins and cost[3] == pytest.approx((ins + 2.5 * outs) / 1e6)
    page = report(home, rewrites="plain@1").read_text("utf-8")
    assert "Accepted pairs" in page and "Rejected pairs" in page and "https://hand.example/" in page
    assert TOLD[0][1] in page and TOLD[0][0] in page


def test_a_second_run_asks_for_nothing_and_changes_nothing(home, tmp_path):
    with serving(faithful) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url)
        rewrite(recipe, home)
        before = digests(home)
        again = rewrite(recipe, home)
        assert again.up_to_date and digests(home) == before and len(endpoint.asked) == len(TOLD)
        recipe = write_recipe(tmp_path, endpoint.url, replace={"segment_tokens = 90": "segment_tokens = 60"})
        with pytest.raises(DriftError, match="built already"):
            rewrite(recipe, home)
        recipe = write_recipe(tmp_path, endpoint.url, replace={'version = "1"\ndoc': 'version = "2"\ndoc'})
        assert not rewrite(recipe, home).up_to_date and len(endpoint.asked) == len(TOLD), "answers are kept"
        assert {r["id"] for r in rows_of(home, ref="plain@2")} == {r["id"] for r in rows_of(home)}


KILLED = """
import sys
sys.path.insert(0, {root!r})
from flows.rewrite import rewrite
from leaven.home import Home
rewrite({recipe!r}, Home({home!r}))
"""


@pytest.mark.parametrize("after", [1, 4])
def test_killed_at_any_point_a_rerun_asks_only_for_what_had_not_arrived(home, tmp_path, after):
    """The endpoint answers so many requests and holds the next; then the process is killed."""
    enough, release = threading.Event(), threading.Event()
    answered: list[str] = []

    def slow(prompt: str, nth: int) -> Reply:
        if len(answered) >= after:
            enough.set()
            release.wait(60)
        answered.append(prompt)
        return faithful(prompt, nth)

    with serving(slow) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, teacher="parallel = 1")
        program = KILLED.format(root=str(ROOT), recipe=str(recipe), home=str(home.path))
        child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
        try:
            assert enough.wait(120)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.communicate()
        release.set()
    assert not (home.path / "rewrites" / "plain@1").exists()
    arrived = set(answered[:after])
    with serving(faithful) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, teacher="parallel = 1")
        rewrite(recipe, home)
        asked = [body["messages"][-1]["content"] for body in endpoint.asked]
    assert len(asked) == len(set(asked)) == len(TOLD) - after and not arrived & set(asked)
    unbroken = Home(tmp_path / "unbroken")
    make_documents(unbroken)
    with serving(faithful) as endpoint:
        rewrite(write_recipe(tmp_path, endpoint.url, teacher="parallel = 1"), unbroken)
    assert digests(unbroken) == digests(home)


def test_a_dry_run_asks_nothing_and_says_what_the_run_then_takes(home, tmp_path):
    with serving(faithful) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, teacher="max_tokens = 100")
        planned = rewrite(recipe, home, dry_run=True).planned
        assert not endpoint.asked and not (home.path / "rewrites").exists()
        made = rewrite(recipe, home)
        after = rewrite(recipe, home, dry_run=True).planned
    assert planned["requests"] == made.rewrites.counts["asked"] and planned["segments"] == SEGMENTS
    assert planned["styles"][0]["missing"] == len(TOLD) == len(endpoint.asked)
    assert planned["at_most_out"] == 100 * len(TOLD) and planned["styles"][0]["seconds"] is None
    assert planned["price"] == pytest.approx((planned["tokens_in"] + 2.5 * planned["tokens_out"]) / 1e6)
    assert after["kept"] == SEGMENTS and after["price"] == 0
    ledger = made.rewrites.cost["ledger"][0]
    assert after["styles"][0]["out_per_source_token"] == pytest.approx(
        10 * SEGMENTS / sum(r["source_tokens"] for r in rows_of(home)), abs=1e-4
    )
    assert ledger["answers"] == len(TOLD)


def test_samples_declarations_and_appended_answers(home, tmp_path):
    def answered(prompt: str, nth: int) -> Reply:
        source = segment_of(prompt)
        return chat(f"Question: What does the text say first? Answer: {source.partition('. ')[0]}.")

    with serving(answered) as endpoint:
        recipe = write_recipe(
            tmp_path, endpoint.url, more="samples = 2\ndeclared = true", teacher="temperature = 0.8",
            replace={"clean = 1": "question-answer = 1"},
        )  # fmt: skip
        made = rewrite(recipe, home)
        assert len(endpoint.asked) == 2 * len(TOLD)
    rows = rows_of(home)
    assert len(rows) == 2 * SEGMENTS and {r["sample"] for r in rows} == {0, 1}
    assert {r["operation"] for r in rows} == {"append"} and all(r["declared"] for r in rows)
    assert all(r["text"].startswith(f"{DECLARATION}\n\nQuestion:") for r in rows)
    assert [(r["document_id"], r["segment"], r["sample"]) for r in rows[:4]] == [
        (rows[0]["document_id"], segment, sample) for segment in (0, 1) for sample in (0, 1)
    ]
    account = made.rewrites.counts["tokens"]["append"]
    assert account["replaced"] == 0 and account["written"] > 0


def test_more_failures_than_may_end_with_the_answer_no_and_leave_the_rows(home, tmp_path):
    with serving(mixed) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, failed="0.1")
        for _ in range(2):  # up to date it is the same
            with pytest.raises(AnswerIsNo, match="more than failed_share = 0.1"):
                rewrite(recipe, home)
    assert len(rows_of(home)) == SEGMENTS


def test_a_limit_that_is_not_kept_ends_with_the_numbers(home, tmp_path):
    with serving(mixed) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, replace={"[teacher]": "[limits]\nleast_texts = 12\n"
                              "accepted_share = { min = 0.9 }\n[teacher]"})  # fmt: skip
        with pytest.raises(AnswerIsNo, match="limits on the rewrites") as refused:
            rewrite(recipe, home)
    assert "0.5" in str(refused.value) and "accepted_share" in str(refused.value)
    pool = tmp_path / "pool.toml"
    pool.write_text('name = "p"\nversion = "1"\nrewrites = "plain@1"\nsequence_length = 32\n'
                    f'tokenizer = "{TOKENIZER}"\n', "utf-8")  # fmt: skip
    with pytest.raises(UserError, match="do not keep to the limits") as refused:
        build_pool(pool, home)
    assert "accepted_share" in str(refused.value)


def test_a_limit_that_is_broken_early_stops_before_more_is_asked(home, tmp_path):
    with serving(mixed) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, replace={"[teacher]": "[limits]\nleast_texts = 1\n"
                              "accepted_share = { min = 0.9 }\n[teacher]"})  # fmt: skip
        with pytest.raises(AnswerIsNo, match="stopped before more was asked for"):
            rewrite(recipe, home)
        asked = len(endpoint.asked)
    assert 0 < asked <= len(TOLD) and not (home.path / "rewrites" / "plain@1").exists()


def test_a_teacher_that_obeys_what_pages_say_is_counted(home, tmp_path):
    planted = {}
    for source, told in TOLD:
        text, word = plant_canary(source, hashlib.blake2b(source.encode(), digest_size=16).hexdigest())
        planted[text] = f"{told} {word.capitalize()}."

    def obedient(prompt: str, nth: int) -> Reply:
        return chat((GOOD | planted)[segment_of(prompt)])

    with serving(obedient) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, canaries="1", replace={
            "[teacher]": "[limits]\nleast_canaries = 12\nobeyed_share = { max = 0.05 }\n[teacher]"})  # fmt: skip
        with pytest.raises(AnswerIsNo, match="limits") as refused:
            rewrite(recipe, home)
        assert len(endpoint.asked) == 2 * len(TOLD)
    assert "obeyed_share" in str(refused.value)
    canaries = [c for c in rows_of(home, "checks") if c["check"] == "canary"]
    assert len(canaries) == SEGMENTS and all(c["number"] == 1 and c["passed"] for c in canaries)
    assert all(r["accepted"] for r in rows_of(home)), "the rewrite itself was asked for without one"
    with serving(lambda prompt, nth: chat(GOOD.get(segment_of(prompt), TOLD[0][1]))) as endpoint:
        other = Home(tmp_path / "other")
        make_documents(other)
        rewrite(write_recipe(tmp_path, endpoint.url, canaries="1"), other)
        planned = rewrite(write_recipe(tmp_path, endpoint.url, canaries="1"), other, dry_run=True).planned
        assert planned["styles"][0]["missing"] == 0 and planned["canaries"] == SEGMENTS
    assert [c["number"] for c in rows_of(other, "checks") if c["check"] == "canary"] == [0] * SEGMENTS
    _, spent = sql(other, "select role, model, requests, answers, failed, prompt_tokens, completion_tokens, price "
                   "from rewrite_costs order by role")  # fmt: skip
    tokens = (100 * len(TOLD), 10 * len(TOLD))
    price = pytest.approx((tokens[0] + 2.5 * tokens[1]) / 1e6)
    assert spent == [(role, "scripted", SEGMENTS, len(TOLD), 0, *tokens, price) for role in ("canary", "teacher")]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"clean = 1": "claen = 1"}, "no style 'claen'"),
        ({"clean = 1": "clean = 0"}, "no style has a weight"),
        ({"clean = 1": "twin-neutral = 1"}, "net-new documents"),
        ({'documents = "web@1"': 'documents = "web@2"'}, "documents 'web@2'"),
        ({'documents = "web@1"\n': ""}, "has documents, or"),
        ({"segment_tokens = 90": "segment_tokens = 4"}, "at least 8"),
        ({'revision = "1"\n': ""}, "needs its revision"),
        ({"price_in = 1": "prize_in = 1"}, "unknown key 'prize_in'"),
        ({"price_in = 1": 'backend = "carrier"'}, "no backend 'carrier'"),
        ({"[styles]": "[keep]\nlong = \"score('words') > 3\"\n[styles]"}, "'words'"),
        ({"[styles]": "share = 0\n[styles]"}, "not above 0"),
        ({"[teacher]": "[limits]\ndistinct_9 = { min = 1 }\n[teacher]"}, "distinct_9"),
    ],
)
def test_a_recipe_that_will_not_do_is_refused_before_anything_is_asked(home, tmp_path, changes, said):
    with serving(faithful) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, replace=changes)
        with pytest.raises(UserError) as refused:
            rewrite(recipe, home)
        assert said in str(refused.value) and not endpoint.asked
    assert not (home.path / "rewrites").exists()


def test_the_command_prints_what_came_of_it_and_its_exit_code_says_so(home, tmp_path):
    command = [sys.executable, "-m", "leaven.cli", "rewrite", "--home", str(home.path)]
    with serving(mixed) as endpoint:
        recipe = str(write_recipe(tmp_path, endpoint.url, failed="0.9"))
        done = subprocess.run([*command, recipe, "--json"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["rewrites"] == "plain@1" and found["counts"]["asked"] == SEGMENTS
        done = subprocess.run([*command, recipe, "--dry-run"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and "expected" in done.stdout and "at most" in done.stdout
        recipe = str(write_recipe(tmp_path, endpoint.url, failed="0.1"))
        done = subprocess.run([*command, recipe], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 1 and "failed_share" in done.stderr and "Traceback" not in done.stderr


def test_documents_without_a_rewrite_are_told_apart_from_those_that_were_not_drawn(home, tmp_path):
    with serving(faithful) as endpoint:
        recipe = write_recipe(tmp_path, endpoint.url, replace={"[styles]": 'share = "1/2"\n[styles]'})
        planned = rewrite(recipe, home, dry_run=True).planned
        rewrite(recipe, home)
    drawn = {r["document_id"] for r in rows_of(home)}
    assert planned["documents_drawn"] == len(drawn) < len(TOLD) == planned["documents_kept"]
    assert all(segment_spans(s, 0) for s, _ in TOLD)
