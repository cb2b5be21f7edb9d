"""A model in this process: what shares a batch changes no answer, greedy or drawn, and every prompt has an outcome."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tinymodel import tiny_model

from leaven.draw import Draw
from leaven.errors import UserError
from leaven.generate import Completion, Prompt, Store, completion_keys, generate
from leaven.local_model import LocalModel

TEXTS = ["A robot.", "The keeper of the mill asked the machine to wait, and the machine waited till the rain was over.",
         "Why?", "In the morning the two of them counted every sack twice and wrote the number down.", "x" * 40,
         "An assistant that was asked to lie said no.", "Zürich, 3 May.", "so"]  # fmt: skip
GREEDY = {"temperature": 0, "max_tokens": 24}
DRAWN = {"temperature": 0.9, "max_tokens": 24, "seed": 5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(folder / kind, kind) for kind in ("llama", "qwen3", "gpt2")}


def prompts(texts=TEXTS, samples: int = 1) -> list[Prompt]:
    return [Prompt((("system", "Be brief."), ("user", t)), t.encode().hex(), s) for t in texts for s in range(samples)]


def ask(tmp_path, model: LocalModel, asked: list[Prompt], sampling: dict, **more) -> list[Completion]:
    number = len(list(tmp_path.glob("*.sqlite")))
    return generate(asked, model, sampling, "p", Store(tmp_path / f"{number}.sqlite"), **more)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_greedy_text_is_the_models_own_whatever_the_batch(tmp_path, folders, kind):
    """Beside a loop without cache, padding or batch: the likeliest next token of all so far, again and again."""
    model = LocalModel(folders[kind])
    together = ask(tmp_path, LocalModel(folders[kind], batch=8), prompts(), GREEDY)
    alone = ask(tmp_path, LocalModel(folders[kind], batch=1), prompts(), GREEDY)
    threes = ask(tmp_path, LocalModel(folders[kind], batch=3), prompts()[::-1], GREEDY)
    assert together == alone == threes[::-1] and len({a.text for a in together}) > 1
    for prompt, answer in zip(prompts(), together):
        ids = torch.tensor([model._tokenizer(model.render(prompt), add_special_tokens=False)["input_ids"]])
        start = ids.shape[1]
        with torch.inference_mode():
            while ids.shape[1] < start + 24 and (ids.shape[1] == start or ids[0, -1] != 0):
                ids = torch.cat([ids, model._model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
        assert answer.text == model._tokenizer.decode(ids[0, start:], skip_special_tokens=True)
        assert (answer.prompt_tokens, answer.completion_tokens) == (start, ids.shape[1] - start)
        assert answer.finish == ("stop" if ids[0, -1] == 0 else "length") and answer.seconds > 0


def test_a_sample_does_not_depend_on_what_shares_its_batch(tmp_path, folders):
    many = ask(tmp_path, LocalModel(folders["llama"], batch=8), prompts(samples=3), DRAWN)
    one = [ask(tmp_path, LocalModel(folders["llama"], batch=1), [p], DRAWN)[0] for p in prompts(samples=3)]
    assert many == one
    assert len({a.text for a in many}) == len(many), "each sample of each prompt is another"
    other = ask(tmp_path, LocalModel(folders["llama"]), prompts(samples=3), DRAWN | {"seed": 6})
    assert not {a.text for a in many} & {a.text for a in other}
    cold = ask(tmp_path, LocalModel(folders["llama"]), prompts(), DRAWN | {"top_k": 1})
    assert [a.text for a in cold] == [a.text for a in ask(tmp_path, LocalModel(folders["llama"]), prompts(), GREEDY)]


def test_an_answer_ends_at_the_end_token_at_a_stop_string_or_at_max_tokens(tmp_path, folders):
    model = LocalModel(folders["llama"])
    long = ask(tmp_path, model, prompts(samples=40), DRAWN | {"max_tokens": 60})
    ended = [a for a in long if a.finish == "stop"]
    assert ended and all(a.completion_tokens <= 60 and "<|endoftext|>" not in a.text for a in ended)
    assert all(a.completion_tokens == 60 for a in long if a.finish == "length")
    whole = ask(tmp_path, model, prompts(), GREEDY)
    stop = whole[0].text[5:8]
    cut = ask(tmp_path, model, prompts(), GREEDY | {"stop": [stop, "\0"]})
    for before, after in zip(whole, cut):
        assert after.text == before.text.partition(stop)[0]
        if stop in before.text:
            assert after.finish == "stop" and after.completion_tokens <= before.completion_tokens
    alone = [ask(tmp_path, LocalModel(folders["llama"], batch=1), [p], GREEDY | {"stop": stop})[0] for p in prompts()]
    assert [a.completion_tokens for a in alone] == [a.completion_tokens for a in cut]


def test_what_cannot_be_answered_is_that_prompts_error(tmp_path, folders):
    model = LocalModel(folders["llama"])
    asked = [*prompts()[:2], Prompt((("user", "word " * 300),), "long"), Prompt((("tool", "x"),), "tool")]
    answers = ask(tmp_path, model, asked, GREEDY)
    assert [a.finish for a in answers[2:]] == ["error", "error"] and answers[2].prompt_tokens > 256
    assert "of answer are more than 256" in answers[2].detail and "no tools here" in answers[3].detail
    assert answers[:2] == ask(tmp_path, model, prompts()[:2], GREEDY)
    fits = model._tokenizer(model.render(prompts()[1]), add_special_tokens=False)["input_ids"]
    just = ask(tmp_path, model, prompts()[1:2], GREEDY | {"max_tokens": 256 - len(fits)})
    over = ask(tmp_path, model, prompts()[1:2], GREEDY | {"max_tokens": 257 - len(fits)})
    assert (just[0].finish == "error", over[0].finish) == (False, "error")


def test_without_a_template_a_prompt_is_put_as_it_stands(tmp_path):
    model = LocalModel(tiny_model(tmp_path / "plain", chat=False))
    assert model.render(Prompt((("user", " as it\nstands "),), "h")) == " as it\nstands "
    assert model.render(Prompt((("system", "one"), ("user", "two")), "h")) == "one\n\ntwo"
    empty, full = ask(tmp_path, model, [Prompt((("user", ""),), "e"), Prompt((("user", "a"),), "f")], GREEDY)
    assert (empty.finish, empty.detail) == ("error", "the prompt has no tokens") and full.finish != "error"


def test_answers_are_stored_batch_by_batch(tmp_path, folders):
    store, seen = Store(tmp_path / "a.sqlite"), []
    model = LocalModel(folders["llama"], batch=3)
    keys = completion_keys(prompts(), model, GREEDY, "p")

    def stop_after_four(line: str) -> None:
        seen.append(line)
        if line.startswith("4 of 8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(prompts(), model, GREEDY, "p", store, progress=stop_after_four)
    kept = store.get(keys)
    lengths = {key: a.prompt_tokens for key, a in kept.items()}
    assert len(kept) == 4 and seen[0].startswith("loading"), "the first batch, and one of the second"
    seen.clear()
    answers = generate(prompts(), model, GREEDY, "p", store, progress=seen.append)
    assert seen[-1] == "4 of 4 answers" and sum(a.stored for a in answers) == 4
    assert min(lengths.values()) >= max(a.prompt_tokens for a in answers if not a.stored), "the longest came first"
    seen.clear()
    assert generate(prompts(), LocalModel(folders["llama"]), GREEDY, "p", store, progress=seen.append) == answers
    assert seen == [], "where all is stored no model is loaded"


def test_a_model_is_known_by_its_files_or_by_what_was_declared(tmp_path, folders, monkeypatch):
    one = tiny_model(tmp_path / "one" / "teacher")
    two = tiny_model(tmp_path / "two" / "teacher", seed=1)
    assert (
        LocalModel(one).name == LocalModel(two).name == "teacher"
        and LocalModel(one).revision != LocalModel(two).revision
    )
    assert LocalModel(one).revision == LocalModel(folders["llama"]).revision == LocalModel(f"{one}/").revision
    assert LocalModel(one, name="mine", revision="r7").revision == "r7"
    (one / "README.md").write_text("about it")
    assert LocalModel(one).revision == LocalModel(folders["llama"]).revision
    template = json.loads((one / "tokenizer_config.json").read_text()) | {"model_max_length": 7}
    (one / "tokenizer_config.json").write_text(json.dumps(template))
    assert LocalModel(one).revision != LocalModel(folders["llama"]).revision
    model = LocalModel(two)
    before = ask(tmp_path, model, prompts()[:1], GREEDY)
    assert ask(tmp_path, pickle.loads(pickle.dumps(model)), prompts()[:1], GREEDY) == before


def test_a_model_by_its_hub_name_comes_from_the_cache_and_its_revision_is_the_commit(tmp_path, folders, monkeypatch):
    cache = tmp_path / "hub" / "models--leaven-tests--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / commit).symlink_to(folders["llama"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    model = LocalModel("leaven-tests/tiny")
    assert (model.name, model.revision) == ("leaven-tests/tiny", commit)
    assert ask(tmp_path, model, prompts(), GREEDY) == ask(tmp_path, LocalModel(folders["llama"]), prompts(), GREEDY)
    for absent in (
        LocalModel("leaven-tests/other"),
        LocalModel("leaven-tests/tiny", revision="v2"),
        LocalModel("no/such/name"),
    ):
        with pytest.raises(UserError, match="no such folder"):
            ask(tmp_path, absent, prompts(), GREEDY)


def test_what_is_no_model_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no tokenizer can be loaded"):
        ask(tmp_path, LocalModel(tmp_path / "empty"), prompts(), GREEDY)
    whole = tiny_model(tmp_path / "whole")
    (whole / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no causal model can be loaded"):
        ask(tmp_path, LocalModel(whole), prompts(), GREEDY)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [({"temperature": 0}, "needs max_tokens"), ({"max_tokens": 0}, "needs max_tokens"),
     ({"max_tokens": 5, "min_p": 0.1}, "does not know min_p")],
)  # fmt: skip
def test_sampling_that_it_cannot_do(tmp_path, folders, sampling, message):
    with pytest.raises(UserError, match=message):
        ask(tmp_path, LocalModel(folders["llama"]), prompts(), sampling)
    with pytest.raises(UserError, match="does not know response_format"):
        ask(tmp_path, LocalModel(folders["llama"]), prompts(), GREEDY, extra={"response_format": {}})


scores = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


@settings(max_examples=60)
@given(scores, st.floats(0.2, 3), st.integers(0, 12), st.floats(0.05, 1))
def test_draws_come_as_often_as_their_likelihood(row, temperature, top_k, top_p):
    """Over 2,000 rows of one distribution, each token's share is within 5 standard errors of what the rule says."""
    rows = 2000
    draw = Draw(range(rows), 1, 3, temperature, top_k, top_p)
    chosen = draw(torch.zeros(rows, 3), torch.tensor([row]).repeat(rows, 1)).argmax(-1)
    likely = (torch.tensor(row, dtype=torch.float64) / temperature).softmax(-1).tolist()
    order = sorted(range(len(row)), key=lambda v: -likely[v])
    kept = order[: top_k or len(row)]
    total, mass, nucleus = sum(likely[v] for v in kept), 0.0, []
    for v in kept:
        if mass >= top_p and nucleus:
            break
        nucleus.append(v)
        mass += likely[v] / total
    share = {v: likely[v] / sum(likely[w] for w in nucleus) for v in nucleus}
    counts = torch.bincount(chosen, minlength=len(row)).tolist()
    for v, count in enumerate(counts):
        p = share.get(v, 0.0)
        tied = any(abs(row[v] - row[w]) < 1e-6 for w in range(len(row)) if w != v)  # which of equals is kept is open
        edge = abs(mass - top_p) < 1e-6
        assert tied or edge or abs(count / rows - p) <= 5 * (p * (1 - p) / rows) ** 0.5 + 1e-9


def test_a_row_draws_by_its_own_numbers():
    scores_BV = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    together = [Draw([1, 2, 3, 4], 9, 5, 1.0)(torch.zeros(4, 5 + n), scores_BV).argmax(-1) for n in range(9)]
    for row in range(4):
        alone = Draw([row + 1], 9, 7, 1.0)
        for n in range(9):
            assert alone(torch.zeros(1, 7 + n), scores_BV[row : row + 1]).argmax(-1) == together[n][row]
    assert len({tuple(t.tolist()) for t in together}) > 1
