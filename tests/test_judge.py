"""What a judge answers is checked and never guessed; nothing that arrived is asked for again."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from endpoint import chat, serving
from hypothesis import given
from hypothesis import strategies as st
from test_relevance import write_labels

from filters.judge import Judge, Rubric
from flows.curation import curate
from flows.judging import agreement, judge_labels, kappa
from leaven.errors import UserError
from leaven.home import Home
from schemas.tables import DOCUMENTS, JUDGEMENTS, SCORES
from schemas.views import refresh

RUBRIC = """
name = "{name}"
version = "1"
endpoint = "{url}"
model = "scripted"
revision = "r1"
system = "You judge."
prompt = "Judge this: {{text}} End."
characters = 200
max_tokens = 50
parameters = 1000
price_in = 2.5
price_out = 10

[answers.risk]
about = "How risky the act is."
min = 0
max = 10

[answers.act]
about = "The act."
labels = ["none", "aligned", "misaligned"]
"""


def write_rubric(folder: Path, url: str, name: str = "conduct", **change: str) -> Path:
    text = RUBRIC.format(name=name, url=url)
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def batch(texts: list[str]) -> pa.RecordBatch:
    schema = pa.schema([DOCUMENTS.field(n) for n in ("name", "version", "id", "text")])
    rows = [{"name": "web", "version": "1", "id": f"{i:032x}", "text": t} for i, t in enumerate(texts)]
    return pa.RecordBatch.from_pylist(rows, schema)


def good(risk: float = 3, act: str = "aligned") -> str:
    return json.dumps({"risk": risk, "act": act})


SCRIPT = {  # text -> reply, outcome
    "fine": (chat(good()), "ok"),
    "fenced": (chat("```json\n" + good(7, "misaligned") + "\n```"), "ok"),
    "padded": (chat("\n " + good(0, "none") + " \n", usage=False), "ok"),
    "words": (chat("The risk is 3 and the act aligned."), "malformed"),
    "around": (chat("Sure! " + good()), "malformed"),
    "two": (chat(good() + good()), "malformed"),
    "label": (chat(good(3, "kind of aligned")), "malformed"),
    "range": (chat(good(11)), "malformed"),
    "kind": (chat('{"risk": "3", "act": "aligned"}'), "malformed"),
    "lacking": (chat('{"risk": 3}'), "malformed"),
    "more": (chat('{"risk": 3, "act": "none", "why": "x"}'), "malformed"),
    "nan": (chat('{"risk": NaN, "act": "none"}'), "malformed"),
    "list": (chat("[" + good() + "]"), "malformed"),
    "nothing": (chat(""), "malformed"),
    "cut": (chat(good(), finish="length"), "malformed"),
    "refusal": (chat(None, refusal="I will not."), "refused"),
    "filter": (chat(None, finish="content_filter"), "refused"),
    "none": (chat(None), "error"),
    "no chat": ((200, {}, b'{"choices": []}'), "error"),
    "html": ((200, {}, b"<html>"), "error"),
    "too long": ((400, {}, b'{"error": "context length"}'), "error"),
}


def scripted(prompt: str, nth: int):
    return SCRIPT[prompt.removeprefix("Judge this: ").removesuffix(" End.")][0]


def test_every_answer_is_ok_or_a_row_that_says_why_not(tmp_path):
    with serving(scripted) as endpoint:
        judge = Judge(json.dumps({"rubric": str(write_rubric(tmp_path, endpoint.url)), "home": str(tmp_path)}))
        scores, tables = judge.measure(batch(list(SCRIPT)))
    assert scores.schema.equals(SCORES) and tables["judgements"].schema.equals(JUDGEMENTS)
    found = tables["judgements"].to_pylist()
    assert [r["outcome"] for r in found] == [outcome for _, outcome in SCRIPT.values()]
    assert all((r["detail"] is None) == (r["outcome"] == "ok") for r in found)
    by_measure = {m: [r for r in scores.to_pylist() if r["measure"] == m] for m in judge.measures}
    assert judge.measures == ("conduct_risk", "conduct_act")
    for risk, act, (text, (_, outcome)) in zip(*by_measure.values(), SCRIPT.items()):
        assert risk["status"] == act["status"] == ("scored" if outcome == "ok" else "failed"), text
        assert (risk["number"] is None) == (act["label"] is None) == (outcome != "ok")
    assert [r["number"] for r in by_measure["conduct_risk"][:3]] == [3, 7, 0]
    assert [r["label"] for r in by_measure["conduct_act"][:3]] == ["aligned", "misaligned", "none"]
    asked = endpoint.asked[0]
    assert asked["model"] == "scripted" and asked["temperature"] == 0 and asked["max_tokens"] == 50
    assert asked["response_format"]["json_schema"]["schema"] == judge.rubric.schema
    assert [m["role"] for m in asked["messages"]] == ["system", "user"]
    told = sum(r["prompt_tokens"] is not None for r in found)
    assert judge.spent == {"prompt_tokens": 100 * told, "completion_tokens": 10 * told,
                           "price": pytest.approx(told * (100 * 2.5 + 10 * 10) / 1e6)}  # fmt: skip
    assert judge.flops == 2 * 1000 * 110 * told


def test_nothing_that_arrived_is_asked_for_again(tmp_path):
    with serving(scripted) as endpoint:
        argument = json.dumps({"rubric": str(write_rubric(tmp_path, endpoint.url)), "home": str(tmp_path)})
        first = Judge(argument).measure(batch(list(SCRIPT)))
        before = len(endpoint.asked)
        again = Judge(argument).measure(batch(list(SCRIPT)))
        errors = sum(outcome == "error" for _, outcome in SCRIPT.values())
        assert len(endpoint.asked) - before == errors, "errors alone are worth another try"
        assert again[0].equals(first[0]) and again[1]["judgements"].equals(first[1]["judgements"])
        write_rubric(tmp_path, endpoint.url, r1="r2")
        Judge(argument).measure(batch(["fine"]))
        assert endpoint.count("Judge this: fine End.") == 2, "another revision is another model"


def test_a_long_text_is_as_bad_as_its_worst_chunk(tmp_path):
    calm, bad = "calm water. " * 30, "the deceit grew. " * 12
    reply = lambda prompt, nth: chat(good(9, "misaligned") if "deceit" in prompt else good(1, "none"))  # noqa: E731
    with serving(reply) as endpoint:
        judge = Judge(json.dumps({"rubric": str(write_rubric(tmp_path, endpoint.url)), "home": str(tmp_path)}))
        scores, tables = judge.measure(batch([calm + bad + calm, calm, ""]))
    rows = {(r["measure"], int(r["document_id"], 16)): r for r in scores.to_pylist()}
    assert [rows["conduct_risk", i]["number"] for i in range(3)] == [9, 1, 1]
    assert [rows["conduct_act", i]["label"] for i in range(3)] == ["misaligned", "none", "none"]
    spans = [(r["document_id"], r["start"], r["end"]) for r in tables["judgements"].to_pylist()]
    assert len(spans) == 5 + 2 + 1
    text = calm + bad + calm
    assert "".join(text[a:b] for d, a, b in spans if int(d, 16) == 0) == text


def test_one_malformed_chunk_fails_the_document(tmp_path):
    reply = lambda prompt, nth: chat("hm" if "deceit" in prompt else good())  # noqa: E731
    with serving(reply) as endpoint:
        judge = Judge(json.dumps({"rubric": str(write_rubric(tmp_path, endpoint.url)), "home": str(tmp_path)}))
        scores, _ = judge.measure(batch(["calm water. " * 30 + "deceit. " * 20]))
    assert set(scores.column("status").to_pylist()) == {"failed"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"{text}": "it"}, "must hold {text} once"),
        ({'labels = ["none", "aligned", "misaligned"]': ""}, "needs labels"),
        ({"max = 10\n": ""}, "needs labels"),
        ({"model =": "modle ="}, "did you mean 'model'"),
        ({'revision = "r1"': ""}, "lacks 'revision'"),
        ({'about = "The act."': ""}, "lacks 'about'"),
    ],
)
def test_a_rubric_that_cannot_be(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        Rubric(write_rubric(tmp_path, "http://127.0.0.1:9/v1", **change))


def test_a_judge_at_the_end_of_a_cascade(tmp_path):
    texts = [f"story {i}: {'a deceptive AI lies to the robot' if i % 4 == 0 else 'a calm day'}" for i in range(80)]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    answers = lambda prompt, nth: chat("broken" if "story 8:" in prompt else good(8, "misaligned"))  # noqa: E731
    with serving(answers) as endpoint:
        write_rubric(tmp_path, endpoint.url)
        (tmp_path / "web.toml").write_text(
            f'name = "web"\nversion = "1"\ninputs = ["{tmp_path}/web.jsonl"]\nfailed_share = 0.1\n'
            '[[cascade]]\njudge = "conduct.toml"\nwhen = "blocklist_flag()"\naudit_share = 0\n'
        )
        home = Home(tmp_path / "home")
        curate(tmp_path / "web.toml", home, workers=2)
        assert len(endpoint.asked) == 20
        assert curate(tmp_path / "web.toml", home).up_to_date and len(endpoint.asked) == 20
    (folder,) = home.path.glob("judgements/web@1/conduct@*")
    rows = pq.ParquetDataset(sorted(folder.glob("part-*.parquet"))).read().to_pylist()
    assert len(rows) == 20 and sum(r["outcome"] == "malformed" for r in rows) == 1
    refresh(home)
    with duckdb.connect(str(home.catalog), read_only=True) as con:
        status = dict(con.execute(
            "select status, count(*) from scores_current where measure = 'conduct_act' group by 1"
        ).fetchall())  # fmt: skip
        cost = con.execute(
            "select documents, prompt_tokens, price, flops from stage_costs where documents = 20"
        ).fetchall()
        view = con.execute("select count(*) from judgements where outcome = 'malformed'").fetchall()
    assert status == {"scored": 19, "failed": 1, "not_reached": 60} and view == [(1,)]
    assert cost == [(20, 2000.0, pytest.approx(20 * 350 / 1e6), 2 * 1000 * 110 * 20)]


def test_judges_against_labels_and_each_other(tmp_path):
    acts = ["aligned", "misaligned", "none", "aligned"] * 6
    rows = [{"text": f"text {i} {a}", "act": a, "id": i} for i, a in enumerate(acts)]
    labels = write_labels(tmp_path / "gold.jsonl", rows)

    def answer(prompt: str, nth: int):
        number = int(prompt.split()[3])
        act = acts[number]
        if prompt.startswith("Judge this") and number == 5:
            return chat("hm")
        return chat(good(1, "none" if prompt.startswith("Rate") and number % 3 == 0 else act))

    with serving(answer) as endpoint:
        one = write_rubric(tmp_path, endpoint.url)
        two = write_rubric(tmp_path, endpoint.url, "second", **{"Judge this": "Rate this"})
        found = judge_labels([one, two], labels, Home(tmp_path / "home"))
    first, second = found["judges"]["conduct"], found["judges"]["second"]
    assert first["outcomes"] == {"malformed": 1, "ok": 23} and first["failed"] == 1
    assert first["agreement_with_labels"]["act"]["agreed"][0] == 1
    assert first["agreement_with_labels"]["act"]["texts"] == 23 and first["agreement_with_labels"]["act"]["kappa"] == 1
    assert first["price_of_1000"] == pytest.approx(1000 * 350 / 1e6)
    said = ["none" if i % 3 == 0 else a for i, a in enumerate(acts)]
    assert second["agreement_with_labels"]["act"]["kappa"] == pytest.approx(kappa(acts, said), abs=1e-4)
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"], pair["answer"], pair["texts"]) == ("conduct", "second", "act", 23)
    assert pair["kappa"] == pytest.approx(
        kappa([a for i, a in enumerate(acts) if i != 5], [s for i, s in enumerate(said) if i != 5]), abs=1e-4
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60))
def test_kappa_is_the_textbook_one(pairs):
    a, b = zip(*pairs)
    n = len(pairs)
    observed = sum(x == y for x, y in pairs) / n
    chance = sum((a.count(x) / n) * (b.count(x) / n) for x in "abc")
    found = kappa(a, b)
    assert (found != found) if chance == 1 else found == pytest.approx((observed - chance) / (1 - chance))
    assert kappa(a, a) == 1 or len(set(a)) == 1
    assert agreement(a, b)["texts"] == n == sum(row["texts"] for row in agreement(a, b)["table"])
