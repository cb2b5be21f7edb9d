"""An endpoint may misbehave in any way: a good answer is kept, a bad one is asked for again or said to be bad."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from badserver import chunk, close, completion, event, head, misbehaving, reset, silence, stream, whole

from leaven.errors import UserError
from leaven.generate import Completion, Model, Prompt, Store, generate
from leaven.replies import chat_url, events, retry_after

GOOD = whole(completion("good"))
STREAMED = stream(chunk(""), chunk("go"), chunk("od", "stop"), event({"choices": [], "usage": {
    "prompt_tokens": 7, "completion_tokens": 3}}), event(b"[DONE]"))  # fmt: skip
HALF = json.dumps(completion("good")).encode()[:60]


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt((("user", text),), f"hash of {text!a}") for text in texts]


def model(url: str, **more) -> Model:
    return Model(url, "m", **{"parallel": 4, "timeout": 30, "backoff": 0.001} | more)


def ask(server, tmp_path, *texts: str, sampling: dict | None = None, **more) -> list[Completion]:
    with_store = Store(tmp_path / "answers.sqlite")
    try:
        return generate(prompts(*texts), model(server.url, **more), sampling or {}, "p", with_store)
    finally:
        with_store.close()


ASKED_AGAIN = {
    "reset before a byte": [reset],
    "closed without a word": [close],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n", close],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-Le", close],
    "a head without end": [head(Content_Length="many") + b"{}", close],
    "less body than promised": [head(Content_Length=500) + HALF, close],
    "reset in the body": [head(Content_Length=500) + HALF, reset],
    "a body that only the end of the connection ends": [head(Connection="close") + HALF, close],
    "a chunk without a size": [head(Transfer_Encoding="chunked") + b"zz\r\n" + HALF + b"\r\n", close],
    "chunks without an end": [head(Transfer_Encoding="chunked") + b"3c\r\n" + HALF + b"\r\n", close],
    "gzip that is none": [head(Content_Length=len(HALF), Content_Encoding="gzip") + HALF],
    "gzip cut short": [head(Content_Length=30, Content_Encoding="gzip") + gzip.compress(b"x" * 99)[:30], close],
    "an error of the endpoint with status 200": whole({"error": {"message": "upstream", "code": 502}}),
    **{f"status {s}": whole({"error": "busy"}, s) for s in (408, 409, 425, 429, 500, 502, 503, 504, 529)},
    "status 503 whose body breaks off": [head(503, Content_Length=500) + b"aw", close],
    "a stream that breaks off": [*stream(chunk("go"), end=b""), close],
    "a stream reset midway": [*stream(chunk("go"), end=b""), reset],
    "a stream that ends without an end": stream(chunk("go")),
    "a stream of no chunks": stream(chunk("go"), event(b"{oops")),
    "a stream of other things": stream(event([1, 2])),
    "a stream that reports a busy endpoint": stream(chunk("go"), event({"error": {"code": 503, "message": "full"}})),
}


@pytest.mark.parametrize("acts", ASKED_AGAIN.values(), ids=ASKED_AGAIN)
def test_what_broke_off_is_asked_again_and_never_kept(tmp_path, acts):
    with misbehaving(lambda prompt, nth: GOOD if nth else acts) as server:
        (answer,) = ask(server, tmp_path, "q", stream="a stream" in str(acts))
        assert (answer.text, answer.finish, server.count("q")) == ("good", "stop", 2)
        assert answer.prompt_tokens == 7 and answer.completion_tokens == 3 and answer.seconds > 0
        (again,) = ask(server, tmp_path, "q")
        assert again == answer and again.stored and again.seconds == answer.seconds and server.count("q") == 2


@pytest.mark.parametrize("acts", [[silence], [head(Content_Length=500) + HALF, silence],
                                  [*stream(chunk("go"), end=b""), silence]])  # fmt: skip
def test_an_answer_has_one_deadline(tmp_path, acts):
    with misbehaving(lambda prompt, nth: acts if nth == 0 else GOOD) as server:
        (answer,) = ask(server, tmp_path, "q", timeout=0.2)
        assert answer.text == "good" and server.count("q") == 2
    with misbehaving(lambda prompt, nth: acts) as server, pytest.raises(UserError, match=r"whole answer within 0\.1 s"):
        ask(server, tmp_path, "other", timeout=0.1, attempts=2)


ERRORS = {
    "HTML": (whole(b"<html>sign in</html>", Content_Type="text/html"), "no chat completion: JSONDecodeError: <html>"),
    "nothing": (whole(b""), "no chat completion"),
    "JSON cut short": (whole(HALF), "no chat completion"),
    "no UTF-8": (whole(b'{"choices": "\xff\xfe"}'), "no chat completion: UnicodeDecodeError"),
    "a list": (whole([1]), "no chat completion"),
    "null": (whole(None), "no chat completion"),
    "no choices": (whole({"id": 1}), "no chat completion: KeyError"),
    "empty choices": (whole({"choices": []}), "no chat completion: IndexError"),
    "null choices": (whole({"choices": None}), "no chat completion"),
    "no message": (whole({"choices": [{"text": "legacy"}]}), "no chat completion"),
    "null message": (whole({"choices": [{"message": None}]}), "no chat completion"),
    "null content": (whole(completion(None)), "no text"),
    "content in parts": (whole(completion([{"type": "text", "text": "x"}])), "no text"),
    "a tool call": (whole(completion("", "tool_calls")), "no text (finish reason tool_calls)"),
    "an error with status 200": (whole({"error": {"message": "bad words"}}), "the endpoint reports"),
    "an error in the stream": (stream(chunk("go"), event({"error": "out of context"})), "out of context"),
    "more bytes than it may have, as announced": (whole(completion("x" * 5000)), "longer than 4,000 bytes"),
    "more bytes, unannounced": (
        [head(Transfer_Encoding="chunked") + b"1388\r\n" + b"x" * 5000 + b"\r\n", silence], "longer than 4,000 bytes"),
    "a line of a stream without end": ([*stream(b"x" * 5000, end=b""), silence], "longer than 4,000 bytes"),
    "a stream without end": ([*stream(*([chunk("xxxxxxxx")] * 99), end=b""), silence], "longer than 4,000 bytes"),
    "gzip that grows": (whole(gzip.compress(b"x" * 99_999), Content_Encoding="gzip"), "longer than 4,000 bytes"),
    **{f"status {s}": (whole({"error": "too long"}, s), f"{s}: ") for s in (400, 413, 418, 422)},
    "status 400 without end": ([head(400, Content_Length=1 << 40) + b"x" * 4000, silence], "400: xxx"),
}  # fmt: skip


@pytest.mark.parametrize(("acts", "said"), ERRORS.values(), ids=ERRORS)
def test_what_is_no_answer_is_that_prompts_error_and_is_not_kept(tmp_path, acts, said):
    with misbehaving(lambda prompt, nth: acts if prompt == "bad" else GOOD) as server:
        bad, good = ask(server, tmp_path, "bad", "fine", most_bytes=4000)
        assert (bad.text, bad.finish) == (None, "error") and said in bad.detail and len(bad.detail) < 400
        assert good.text == "good" and server.count("bad") == 1
        bad, good = ask(server, tmp_path, "bad", "fine", most_bytes=4000)
        assert bad.finish == "error" and good.stored and (server.count("bad"), server.count("fine")) == (2, 1)


KEPT = {
    "cut off at max_tokens": (whole(completion("goo", "length")), ("goo", "length", "")),
    "refused": (whole(completion(None, refusal="I will not.")), (None, "refused", "I will not.")),
    "filtered": (whole(completion("half", "content_filter")), (None, "refused", "content_filter")),
    "empty": (whole(completion("")), ("", "stop", "")),
    "no finish reason": (whole({"choices": [{"message": {"content": "x"}}]}), ("x", "stop", "")),
    "nonsense for usage": (whole(completion("x") | {"usage": {"prompt_tokens": "7", "completion_tokens": -1}}),
                           ("x", "stop", "")),
    "half a surrogate pair": (whole(b'{"choices": [{"message": {"content": "a\\ud83d b\\ud83d\\ude00"}}]}'),
                              ("a\ufffd b\N{GRINNING FACE}", "stop", "")),
    "streamed": (STREAMED, ("good", "stop", "")),
    "streamed and cut off": (stream(chunk("goo"), chunk(finish="length"), event(b"[DONE]")), ("goo", "length", "")),
    "streamed and refused": (stream(event({"choices": [{"delta": {"refusal": "No."}, "finish_reason": "stop"}]})),
                             (None, "refused", "No.")),
    "streamed, without [DONE]": (stream(chunk("good"), chunk(finish="stop")), ("good", "stop", "")),
    "streamed, without a finish reason": (stream(chunk("good"), event(b"[DONE]")), ("good", "stop", "")),
    "streamed, comments between": (stream(b": wait\n\n", b"event: x\r\nid: 1\r\n", chunk("good"), event(b"[DONE]")),
                                   ("good", "stop", "")),
    "streamed in crumbs": (stream(*[bytes([b]) for b in b"".join([chunk("go\u00f6d"), event(b"[DONE]")])]),
                           ("go\u00f6d", "stop", "")),
    "streamed, reset after [DONE]": ([*stream(chunk("good"), event(b"[DONE]"), end=b"2\r\n"), reset],
                                     ("good", "stop", "")),
    "streamed, silent after [DONE]": (stream(chunk("good"), event(b"[DONE]"), end=b""), ("good", "stop", "")),
}  # fmt: skip


@pytest.mark.parametrize(("acts", "expected"), KEPT.values(), ids=KEPT)
def test_an_answer_is_kept_as_it_came(tmp_path, acts, expected):
    with misbehaving(lambda prompt, nth: acts) as server:
        (answer,) = ask(server, tmp_path, "q", stream=True)
        assert (answer.text, answer.finish, answer.detail) == expected
        (again,) = ask(server, tmp_path, "q")
        assert again == answer and again.stored and server.count("q") == 1


def test_streams_ask_for_usage_and_use_their_connection_again(tmp_path):
    with misbehaving(lambda prompt, nth: STREAMED) as server:
        answers = ask(server, tmp_path, *(f"q{i}" for i in range(20)), stream=True, parallel=1)
    assert all((a.prompt_tokens, a.completion_tokens) == (7, 3) for a in answers) and server.connections == 1
    assert all(body["stream"] and body["stream_options"] == {"include_usage": True} for _, body, _ in server.asked)


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404, 405])
def test_what_is_no_prompts_fault_ends_the_run_at_once(tmp_path, monkeypatch, status):
    monkeypatch.setenv("LEAVEN_TEST_KEY", "s3cret\n")
    refusing = whole({"error": "what is s3cret?"}, status, Location="http://127.0.0.1:1/")
    fifty = [f"q{i}" for i in range(50)]
    said = f"cannot be asked: {status}"
    with misbehaving(lambda prompt, nth: refusing) as server, pytest.raises(UserError, match=said) as caught:
        ask(server, tmp_path, *fifty, key_env="LEAVEN_TEST_KEY")
    assert len(server.asked) <= 4, "only what was under way"
    assert f"{server.url}/chat/completions" in str(caught.value) and "model: m" in str(caught.value)
    assert "s3cret" not in str(caught.value) and server.asked[0][2]["authorization"] == "Bearer s3cret"


def test_what_was_under_way_when_the_run_ended_is_kept(tmp_path):
    refused = threading.Event()

    def script(prompt: str, nth: int):
        if prompt == "q0":
            return [*whole({}, 401), lambda connection: refused.set()]
        return [lambda connection: refused.wait(10), *GOOD] if prompt == "q1" else GOOD

    with misbehaving(script) as server:
        with pytest.raises(UserError, match="401"):
            ask(server, tmp_path, "q0", "q1", parallel=2)
        assert ask(server, tmp_path, "q1")[0].stored, "it was paid for"


def test_an_endpoint_that_stays_away_ends_the_run_and_a_rerun_keeps_what_arrived(tmp_path):
    texts = [f"q{i}" for i in range(20)]
    away = {"q13", "q17"}
    with misbehaving(lambda prompt, nth: whole({}, 503) if prompt in away else GOOD) as server:
        with pytest.raises(UserError, match="did not answer, asked 4 times: 503") as caught:
            ask(server, tmp_path, *texts, parallel=1, attempts=4)
        assert "answers that arrived are kept" in str(caught.value)
        assert server.count("q12") == 1 and server.count("q13") == 4 and server.count("q14") == 0
        away.clear()
        assert [a.text for a in ask(server, tmp_path, *texts)] == ["good"] * 20
        assert all(server.count(f"q{i}") == 1 for i in range(20) if i != 13)
    with pytest.raises(UserError, match="did not answer, asked 2 times: ClientConnectorError"):
        ask(server, tmp_path, "other", attempts=2)


def test_a_prompt_that_an_endpoint_cannot_bear_is_lost_alone(tmp_path):
    texts = [f"q{i}" for i in range(12)]
    bad = {"q3", "q7", "q11"}
    with misbehaving(lambda prompt, nth: whole({}, 500) if prompt in bad else GOOD) as server:
        answers = ask(server, tmp_path, *texts, parallel=1, attempts=2)
        assert [t for t, a in zip(texts, answers) if a.finish == "error"] == sorted(bad, key=texts.index)
        assert "asked 2 times: 500" in answers[3].detail and server.count("q3") == 2
        assert ask(server, tmp_path, "q7", attempts=2)[0].finish == "error", "alone too"
        bad.update(texts := [f"new{i}" for i in range(9)])
        with pytest.raises(UserError, match="did not answer, asked 2 times: 500"):
            ask(server, tmp_path, *texts, parallel=1, attempts=2)
        assert sum(server.count(t) for t in texts) == 6, "three in a row, and it is the endpoint's fault"


@pytest.mark.parametrize("header", ["1", "0.5", "date"])
def test_retry_after_is_waited_for(tmp_path, header):
    when = {"date": format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)}.get(header, header)
    least = {"1": 1, "0.5": 0.5, "date": 0.5}[header]  # a date has whole seconds
    with misbehaving(lambda prompt, nth: GOOD if nth else whole({}, 429, Retry_After=when)) as server:
        assert ask(server, tmp_path, "q", longest_wait=2)[0].text == "good"
        (first, _, _), (second, _, _) = server.asked
        assert least <= second - first


def test_retry_after_holds_all_and_is_capped(tmp_path):
    read = threading.Event()

    def script(prompt: str, nth: int):
        if (prompt, nth) == ("q0", 0):
            busy = whole({}, 429, Retry_After="86400", Connection="close")
            return [*busy, silence, lambda connection: read.set()]  # the client has read it once it has gone
        return [lambda connection: read.wait(10), *GOOD] if prompt == "q1" else GOOD

    with misbehaving(script) as server:
        assert len(ask(server, tmp_path, *(f"q{i}" for i in range(6)), parallel=2, longest_wait=0.5)) == 6
    times = [time for time, _, _ in server.asked]
    assert len(times) == 7 and times[2] - times[0] >= 0.5


def test_retry_after_as_it_may_be_written():
    now = datetime(2026, 11, 12, 10, 0, 0, tzinfo=UTC)
    said = {"7": 7, " 1.5 ": 1.5, "0": 0, "Thu, 12 Nov 2026 10:01:00 GMT": 60, "Thu, 12 Nov 2026 09:00:00 GMT": 0,
            "Thu, 12 Nov 2026 10:01:00 -0000": 60, "": None, "soon": None, "-5": None, "1e9": None,
            "inf": None, "\u0663": None}  # fmt: skip
    assert {header: retry_after(header, now) for header in said} == said


def test_an_address_as_it_may_be_written():
    whole_address = "http://h:1/v1/chat/completions"
    for written in ("http://h:1/v1", "http://h:1/v1/", whole_address, whole_address + "/"):
        assert chat_url(written) == whole_address
    assert chat_url("https://h/openai/?api-version=1") == "https://h/openai/chat/completions?api-version=1"
    for wrong in ("h:1/v1", "ftp://h/v1", "/v1", "http:///v1", ""):
        with pytest.raises(UserError, match="no address"):
            chat_url(wrong)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_come_out_however_the_bytes_were_cut(size):
    sent = b": hello\n\ndata: one\r\n\r\nevent: x\ndata:two\n\n\ndata: data: three\n\ndata: [DONE]"

    async def pieces():
        for first in range(0, len(sent), size):
            yield sent[first : first + size]

    async def collect():
        return [data async for data in events(pieces())]

    assert asyncio.run(collect()) == [b"one", b"two", b"data: three", b"[DONE]"]


@pytest.mark.parametrize("parallel", [1, 7, 64])
def test_the_limit_of_requests_under_way_is_kept_and_reached(tmp_path, parallel):
    under_way, most, lock = 0, 0, threading.Lock()
    full = threading.Barrier(parallel)

    def script(prompt: str, nth: int):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        full.wait(30)  # all that may be under way are, or this breaks

        def leave(connection):
            nonlocal under_way
            with lock:
                under_way -= 1

        return [leave, *GOOD]

    with misbehaving(script) as server:
        answers = ask(server, tmp_path, *(f"q{i}" for i in range(3 * parallel)), parallel=parallel)
    assert {a.text for a in answers} == {"good"} and most == parallel and server.connections == parallel


def test_what_a_request_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAVEN_TEST_KEY", "k")
    with misbehaving(lambda prompt, nth: GOOD) as server:
        sampling = {"temperature": 0, "max_tokens": 5, "seed": 17}
        ask(server, tmp_path, "q\ud83d", sampling=sampling, served_as="/models/m", key_env="LEAVEN_TEST_KEY",
            key_header="api-key", headers=(("X-Team", "data"),))  # fmt: skip
    (_, body, headers) = server.asked[0]
    assert body == {"model": "/models/m", "temperature": 0, "max_tokens": 5, "seed": 17,
                    "messages": [{"role": "user", "content": "q\ud83d"}]}  # fmt: skip
    assert headers["api-key"] == "k" and headers["x-team"] == "data" and "authorization" not in headers


def test_a_caller_with_a_loop_of_its_own_may_ask(tmp_path):
    async def main(server):
        return ask(server, tmp_path, "q")

    with misbehaving(lambda prompt, nth: GOOD) as server:
        assert asyncio.run(main(server))[0].text == "good"
