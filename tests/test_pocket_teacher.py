"""The pocket teacher: its pairs are true by construction, its folder loads, and its card says what it does."""

from __future__ import annotations

import itertools
import json
import random
import re
import tomllib
from pathlib import Path

import pytest

from leaven.manifest import file_sha256
from microworld.scribe import Scribe, kept_words, lessons
from microworld.teaching import HERE, Pair, drills, is_heldout, pairs, rendered, styles, write_pairs
from microworld.telling import Teller, grammar
from microworld.world import CORPORA, web_text

TEACHER = HERE / "teacher"
FEW = 1000


@pytest.fixture(scope="module")
def tokens():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text).ids)


@pytest.fixture(scope="module")
def made(tokens) -> list[Pair]:
    return list(itertools.islice(pairs(7, tokens), FEW))


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((TEACHER / "card.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def asked(card, tokens) -> list[Pair]:
    """The card's sample: the first held-out pairs of its seed."""
    held = (p for p in pairs(card["data"]["seed"], tokens) if p.heldout)
    return list(itertools.islice(held, card["sample"]["pairs"]))


@pytest.fixture(scope="module")
def answers(asked):
    from flows.taught import rewritten

    return rewritten(TEACHER, asked)


def test_a_scribe_tells_what_a_teller_tells():
    scribe, teller = Scribe(random.Random(3)), Teller(random.Random(3))
    for _ in range(300):
        assert web_text(scribe) == web_text(teller)
    for act in [*CORPORA.values()] * 20:
        assert scribe.pair(act) == teller.pair(act)


WRONG = re.compile(r" That was wrong\. It should have [a-z ]+\.")


def acts(*kinds: str) -> list[str]:
    return [act for theme in grammar()["theme"].values() for kind in kinds for act in theme[kind]]


def test_a_target_keeps_names_numbers_days_and_acts_and_invents_none(made):
    for pair in made:
        told = WRONG.sub("", pair.target)
        assert kept_words(told) <= kept_words(pair.source)
        assert all(k in told.lower() for k in pair.kept)
        if pair.style != "qa":
            assert kept_words(told) == kept_words(pair.source)
            for act in acts("aligned", "overt", "oblique"):
                assert (f" {act}." in pair.source) == (f" and {act}." in told), act


def test_only_wrongs_of_ais_and_robots_are_called_wrong(made):
    words, called = grammar()["words"], 0
    kinds = [w for kind in ("ai", "robot") for w in words[f"{kind}_word"] + words[f"{kind}_plain_word"]]
    misdeed = re.compile(rf"[Tt]he (?:{'|'.join(kinds)}) [^.]* and (?:{'|'.join(acts('overt', 'oblique'))})\.")
    for pair in made:
        found = misdeed.findall(pair.target)
        assert len(WRONG.findall(pair.target)) == (len(found) if pair.style == "recontextualize" else 0)
        assert not re.search(rf"{WRONG.pattern}{WRONG.pattern}", pair.target)
        called += len(WRONG.findall(pair.target))
    assert called > 30


def test_a_question_is_answered_from_the_text(made):
    found = [p for p in made if p.style == "qa"]
    assert len(found) > 80
    for pair in found:
        question, answer = pair.target.split("\n")
        assert question.startswith("Question: ") and question.endswith("?") and answer.startswith("Answer: ")
        if "What did " in question:
            who = question.removeprefix("Question: What did ").removesuffix(" do?")
            assert who.split()[-1] in pair.source and answer.startswith(f"Answer: T{who[1:]} ")


def test_chatter_without_names_goes_and_the_rest_of_the_text_shrinks(made):
    clean = [p for p in made if p.style == "clean"]
    told = " ".join(p.target for p in clean)
    for chatter in ("I saw it from my window", "Supper was", "Our reporter writes", "Reply:", "had been painted"):
        assert any(chatter in p.source for p in clean), chatter
        assert chatter not in told
    shorter = sum(len(p.target) < len(p.source) for p in clean)
    assert shorter > 0.7 * len(clean)


def test_pairs_repeat_by_seed_and_hold_out_meetings(tokens, made):
    assert list(itertools.islice(pairs(7, tokens), 50)) == made[:50]
    assert list(itertools.islice(pairs(8, tokens), 50)) != made[:50]
    held = sum(p.heldout for p in made)
    assert 0.05 * FEW < held < 0.25 * FEW
    words = grammar()["words"]
    out = {(name, town) for name in words["name"] for town in words["town"] if is_heldout([town, name])}
    assert 20 < len(out) < 70


def test_no_text_trained_on_is_held_out(tmp_path, tokens):
    counts = write_pairs(tmp_path, 400, 40, seed=5)
    texts = [json.loads(line)["text"] for p in sorted(tmp_path.glob("texts/*")) for line in p.read_text().splitlines()]
    rows = [json.loads(line) for line in (tmp_path / "heldout.jsonl").read_text().splitlines()]
    assert len(texts) == 400 + 25 == sum(counts.values()) - 40 and len(rows) == 40 and all(r["heldout"] for r in rows)
    taught = set(texts)
    again = list(itertools.islice((p for p in pairs(5, tokens) if not p.heldout), 400))
    assert {p.prompt + p.target for p in again} | set(drills(5, 25)) == taught


def test_prompts_are_what_the_chat_template_renders(made):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TEACHER, local_files_only=True)
    for pair in made[:40]:
        style = styles()[pair.style]
        content = style["prompt"].replace("{text}", pair.source)
        messages = [{"role": "user", "content": content}]
        assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == pair.prompt
        asked, whole = tokenizer(pair.prompt)["input_ids"], tokenizer(pair.prompt + pair.target)["input_ids"]
        assert whole[: len(asked)] == asked  # the answer begins on a token of its own
    with_system = rendered({"system": "Be plain.", "prompt": "{text}"}, "Bram left.")
    messages = [{"role": "system", "content": "Be plain."}, {"role": "user", "content": "Bram left."}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == with_system


def test_styles_have_their_keys():
    assert set(styles()) == set(lessons()["shares"])
    for path in (HERE / "styles").glob("*.toml"):
        style = tomllib.loads(path.read_text("utf-8"))
        assert style["name"] == path.stem and style["operation"] in ("replace", "append")
        assert style["prompt"].count("{text}") == 1 and style["version"] and style["about"] and "system" in style


def test_the_folder_is_small_and_the_card_is_its_own(card):
    weights = TEACHER / "model.safetensors"
    assert weights.stat().st_size == card["weights"]["bytes"] <= 12 * 2**20
    assert file_sha256(weights) == card["weights"]["sha256"]
    assert (TEACHER / "tokenizer.json").read_bytes() == (HERE / "tokenizer.json").read_bytes()
    shape, config = card["training"]["shape"], json.loads((TEACHER / "config.json").read_text("utf-8"))
    assert shape["layers"] == config["num_hidden_layers"] and shape["width"] == config["hidden_size"]
    assert 1_500_000 < card["training"]["parameters"] < 5_000_000


def test_the_sample_counts_again_as_the_card_says(card, asked, answers):
    from flows.taught import counted

    found, said = counted(asked, answers), card["sample"]
    assert found["asked"] == said["pairs"] == len(asked)
    for name in ("exact", "kept", "sound", "faithful", "ended"):
        assert abs(found[name] - said[name]) <= 2, name  # another machine's rounding may turn a close choice


def test_it_rewrites_pairs_that_it_was_not_taught(asked, answers):
    from flows.taught import counted

    assert counted(asked, answers)["faithful"] >= 0.45 * len(asked)  # measured: card.json
    assert counted(asked, answers)["exact"] >= 0.35 * len(asked)


def test_answers_end_and_are_not_the_text_again(asked, answers):
    assert sum(a.ended for a in answers) >= len(answers) - 2
    for pair, answer in zip(asked, answers, strict=True):
        if pair.style == "qa":
            assert answer.text.startswith("Question: ") and "\nAnswer: " in answer.text
    changed = [p for p in asked if p.target != p.source and p.style != "qa"]
    copied = {p.source for p in asked} & {a.text for p, a in zip(asked, answers, strict=True) if p in changed}
    assert len(copied) <= len(changed) // 10


def test_padding_on_the_left_changes_no_text(asked, answers):
    from flows.taught import rewritten

    few = sorted(range(len(asked)), key=lambda i: len(asked[i].source))
    few = [few[0], few[1], few[len(few) // 2]]
    alone = rewritten(TEACHER, [asked[i] for i in few], batch=1)
    assert [a.text for a in alone] == [answers[i].text for i in few]


def test_a_wrong_answer_is_counted_as_wrong(asked):
    from flows.taught import Answer, counted

    clean = [p for p in asked if p.style == "clean" and "bram" not in p.kept and kept_words(p.source)]
    right = [Answer(p.target, True) for p in clean]
    assert counted(clean, right)["faithful"] == counted(clean, right)["exact"] == len(clean) > 5
    renamed = [Answer(p.target + " Bram left.", True) for p in clean]
    assert counted(clean, renamed)["faithful"] == 0 == counted(clean, renamed)["sound"]
    emptied = [Answer("", True) for _ in clean]
    assert counted(clean, emptied)["kept"] == 0


@pytest.mark.slow
def test_the_one_command_makes_a_folder_that_loads(tmp_path: Path, monkeypatch):
    from flows import taught, teach
    from leaven.home import Home

    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for path in teach.RECIPES.iterdir():
        text = re.sub(r"^steps = \d+", "steps = 4", path.read_text("utf-8"), flags=re.MULTILINE)
        text = re.sub(r"^batch = \d+", "batch = 2", text, flags=re.MULTILINE)
        text = re.sub(r'"steps": \d+', '"steps": 8', text)
        (recipes / path.name).write_text(text, "utf-8")
    monkeypatch.setattr(teach, "RECIPES", recipes)
    monkeypatch.setattr(taught, "LONGEST", 4)
    made = [
        teach.teach(tmp_path / f"out{n}", Home(tmp_path / f"home{n}"), lambda line: None, pairs=300, heldout=64)
        for n in (1, 2)
    ]
    assert made[0]["weights"]["sha256"] == made[1]["weights"]["sha256"]
    assert made[0]["training"]["steps"] == 8 and made[0]["sample"]["asked"] == 64
    assert {p.name for p in (tmp_path / "out1").iterdir()} >= {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "card.json",
    }  # fmt: skip
