"""Nothing that arrived is asked for again, however a run ended, and what answers makes no difference to that."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from badserver import completion, misbehaving, silence, whole
from hypothesis import given
from hypothesis import strategies as st

from leaven.errors import UserError
from leaven.generate import Completion, Model, Prompt, Store, completion_keys, generate, own_seed

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import sys
from leaven.generate import Model, Prompt, Store, generate
url, path, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
prompts = [Prompt((("user", f"q{i}"),), f"h{i}") for i in range(total)]
say = lambda line: print(line, flush=True)
generate(prompts, Model(url, "m", "r", parallel=8), {"seed": 3}, "p", Store(path), progress=say)
print("done", flush=True)
"""


def questions(total: int) -> list[Prompt]:
    return [Prompt((("user", f"q{i}"),), f"h{i}") for i in range(total)]


def rows(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("select key, answer from completions"))


class Answering:
    """A backend in the test's own hands: answers in reverse order and counts what it is asked."""

    name, revision = "own", "1"

    def __init__(self, stops_after: int = 10**9):
        self.asked: list[str] = []
        self.stops_after = stops_after

    def answer(self, asked, sampling, extra, arrived, say):
        for key, prompt in reversed(asked.items()):
            if len(self.asked) == self.stops_after:
                raise UserError("the machine is needed for something else")
            text = prompt.messages[-1][1]
            self.asked.append(text)
            finish = "error" if text.startswith("bad") else "stop"
            arrived(key, Completion(f"{text} as no. {len(self.asked)}", finish, "", 5, 7, 0.25))


def test_any_backend_answers_in_order_and_once(tmp_path):
    model, store = Answering(), Store(tmp_path / "a")
    prompts = [Prompt((("user", t),), t) for t in ("a", "b", "a", "bad", "c")]
    said: list[str] = []
    first = generate(prompts, model, {}, "p", store, progress=said.append)
    assert [a.text for a in first] == ["a as no. 4", "b as no. 3", "a as no. 4", "bad as no. 2", "c as no. 1"]
    assert sorted(model.asked) == ["a", "b", "bad", "c"] and said[-1] == "4 of 4 answers"
    again = generate(prompts, model, {}, "p", store)
    assert [a.text for a in again] == [a.text for a in first[:3]] + ["bad as no. 5", "c as no. 1"]
    assert [a.stored for a in again] == [True, True, True, False, True] and again[0].seconds == 0.25
    assert generate([], model, {}, "p", store) == [] and len(model.asked) == 5


def test_a_backend_that_stops_leaves_what_it_said(tmp_path):
    model, store = Answering(stops_after=7), Store(tmp_path / "a")
    with pytest.raises(UserError, match="needed for something else"):
        generate(questions(20), model, {}, "p", store)
    model.stops_after = 10**9
    assert len(generate(questions(20), model, {}, "p", store)) == 20 and len(model.asked) == 20


def test_what_another_process_stored_first_stands(tmp_path):
    one, two = Store(tmp_path / "a"), Store(tmp_path / "a")
    assert one.put("k", Completion("first", "stop")).text == "first"
    assert two.put("k", Completion("second", "stop")) == Completion("first", "stop")
    assert one.get(["k", "other"])["k"].text == "first"


def test_rows_of_an_older_store_are_read(tmp_path):
    """Answers that were kept before they had seconds, under the key that they had then."""
    store = Store(tmp_path / "a")
    kept = {"text": "old", "finish": "stop", "detail": "", "prompt_tokens": 100, "completion_tokens": 10}
    with sqlite3.connect(tmp_path / "a") as connection:
        connection.execute("insert into completions values (?, ?)", (OLD_KEY, json.dumps(kept)))
    model = Model("http://127.0.0.1:9/v1", "m", "r1")
    sampling = {"temperature": 0.0, "max_tokens": 256, "seed": 17}
    (answer,) = generate([Prompt((("user", "q"),), "h")], model, sampling, "p", store)
    assert answer.text == "old" and answer.stored and answer.seconds == 0 and answer.prompt_tokens == 100


OLD_KEY = "b9543554d7e0e2905c96070b3bb4cec0"


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 3)), max_size=20))
def test_a_key_belongs_to_one_question(pairs):
    prompts = [Prompt((("user", "whatever"),), text.encode().hex(), sample) for text, sample in pairs]
    keys = completion_keys(prompts, Model("http://h/v1", "m"), {"temperature": 1}, "p")
    assert len(set(keys)) == len(set(pairs))
    for other in (
        completion_keys(prompts, Model("http://h/v1", "n"), {"temperature": 1}, "p"),
        completion_keys(prompts, Model("http://h/v1", "m", "r"), {"temperature": 1}, "p"),
        completion_keys(prompts, Model("http://h/v1", "m"), {"temperature": 2}, "p"),
        completion_keys(prompts, Model("http://h/v1", "m"), {"temperature": 1}, "q"),
    ):
        assert not set(keys) & set(other)
    elsewhere = Model("https://other/v1", "m", parallel=99, stream=True, served_as="x")
    assert completion_keys(prompts, elsewhere, {"temperature": 1}, "p") == keys, "how it is reached says nothing"


def test_answers_of_one_seed_are_sampled_apart(tmp_path):
    model = Model("http://h/v1", "m")
    prompts = [Prompt((("user", "q"),), f"h{i}", sample) for i in range(50) for sample in range(2)]
    sampling = {"temperature": 0.7, "seed": 17}
    seeds = [own_seed(key, sampling) for key in completion_keys(prompts, model, sampling, "p")]
    assert len(set(seeds)) == 100 and all(0 <= s < 2**31 for s in seeds)
    assert seeds == [own_seed(key, sampling) for key in completion_keys(prompts, model, sampling, "p")]
    other = completion_keys(prompts, model, sampling | {"seed": 18}, "p")
    assert not set(seeds) & {own_seed(key, sampling | {"seed": 18}) for key in other}
    assert own_seed("ff" * 16, {"temperature": 0, "seed": 17}) == 17 and own_seed("ff" * 16, {"temperature": 1}) is None
    with misbehaving(lambda prompt, nth: whole(completion("x"))) as server:
        generate(prompts, Model(server.url, "m"), sampling, "p", Store(tmp_path / "a"))
    assert sorted(body["seed"] for _, body, _ in server.asked) == sorted(seeds)


def test_sampling_cannot_say_what_a_request_says(tmp_path):
    for name in ("n", "stream", "messages", "model"):
        with pytest.raises(UserError, match=f"cannot set {name}"):
            generate(questions(1), Answering(), {name: 2}, "p", Store(tmp_path / "a"))


class Gated:
    """A server that answers the first `open` requests, each telling how often its prompt was asked, and then none."""

    def __init__(self, first: int):
        self.open, self.lock = first, threading.Lock()

    def __call__(self, prompt: str, nth: int):
        with self.lock:
            self.open -= 1
            answers = self.open >= 0
        return whole(completion(f"{prompt} asked {nth}")) if answers else [silence]


def start(server, path: Path, total: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, server.url, str(path), str(total)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip


@pytest.mark.parametrize(("arrive", "how"), [(1, signal.SIGKILL), (37, signal.SIGKILL), (60, signal.SIGKILL),
                                             (20, signal.SIGINT), (20, signal.SIGTERM)])  # fmt: skip
def test_ended_at_any_point_no_answer_that_had_arrived_is_asked_again(tmp_path, arrive, how):
    total, path = 61, tmp_path / "a.sqlite"
    gate = Gated(arrive)
    with misbehaving(gate) as server:
        process = start(server, path, total)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"{arrive} of"):
                break
        process.send_signal(how)
        _, talk = process.communicate(timeout=60)
        assert process.returncode in (-how, 1 if how == signal.SIGINT else -how), talk
        kept = rows(path)
        assert len(kept) == arrive
        before = {prompt: server.count(prompt) for prompt in (f"q{i}" for i in range(total))}
        had = {json.loads(answer)["text"].split()[0] for answer in kept.values()}
        gate.open = 10**9
        answers = generate(questions(total), Model(server.url, "m", "r"), {"seed": 3}, "p", Store(path))
        for i, answer in enumerate(answers):
            prompt = f"q{i}"
            if prompt in had:
                assert server.count(prompt) == before[prompt] and answer.text == f"{prompt} asked 0"
            else:  # a request of the ended process may reach the server's count late
                assert server.count(prompt) - before[prompt] in (1, 2) and answer.text.startswith(f"{prompt} asked ")
        after = rows(path)
        assert len(after) == total and kept.items() <= after.items(), "not one byte of what was kept has changed"
        asked = len(server.asked)
        again = generate(questions(total), Model(server.url, "m", "r"), {"seed": 3}, "p", Store(path))
        assert again == answers and len(server.asked) == asked and rows(path) == after


def test_ctrl_c_is_no_error_of_ours(tmp_path):
    with misbehaving(Gated(1)) as server:
        process = start(server, tmp_path / "a", 9)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert talk.rstrip().endswith("KeyboardInterrupt") and "Task" not in talk and "never" not in talk, talk
