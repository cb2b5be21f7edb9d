"""MicroWorld: its bytes follow from the seed, its truth is what Leaven's own stages find, its questions are fair."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from filters.blocklist import Blocklist
from filters.extraction import html_to_text
from filters.inputs import expand_inputs
from filters.reading import read_file
from filters.records import Lost
from flows.curation import KEYS as CURATION_KEYS
from flows.studies import read_study
from leaven.manifest import file_sha256
from leaven.recipe import read_recipe
from leaven.tokens import Tokenizer
from microworld import telling, tokenizer, world
from mixes.material import KEYS as POOL_KEYS
from mixes.recipes import read_mix_recipe


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    world.write_world(path)
    return path


def truth_of(folder: Path) -> dict[str, dict]:
    return {row["url"]: row for row in pq.read_table(folder / "truth.parquet").to_pylist()}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read_web(folder: Path, extractor: str, every: int = 1) -> tuple[dict[str, str], list[Lost]]:
    """Text by address of every `every`-th page that Leaven reads from the web, and all that it does not."""
    texts, lost = dict[str, str](), list[Lost]()
    for file in expand_inputs([str(folder / "web")]):
        for number, item in enumerate(read_file(file)):
            if isinstance(item, Lost):
                lost.append(item)
            elif number % every == 0:
                assert item.url and item.html
                texts[item.url] = html_to_text(item.html, extractor, url=item.url).text
    return texts, lost


def roles_found(texts: list[str]) -> list[set[str]]:
    blocklist = Blocklist()
    found: list[set[str]] = [set() for _ in texts]
    text, term, *_ = blocklist.find(texts)
    for i, t in zip(text.tolist(), term.tolist()):
        found[i].add(blocklist.list.terms[t].role)
    return found


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        world.write_world(tmp_path / name, seed=seed, scale=0.03)
    digests = {
        name: {p.relative_to(tmp_path / name): file_sha256(p) for p in (tmp_path / name).rglob("*") if p.is_file()
               and "recipes" not in p.parts}
        for name in "abc"
    }  # fmt: skip
    assert digests["a"] == digests["b"]
    changed = {str(p) for p in digests["a"] if digests["a"][p] != digests["c"][p]}
    assert changed == {str(p) for p in digests["a"]} - {"tokenizer.json"}


def test_only_damaged_records_are_lost_and_the_truth_knows_every_record(folder: Path) -> None:
    truth = truth_of(folder)
    texts, lost = read_web(folder, "resiliparse")
    web = {url for url, row in truth.items() if row["corpus"] == "web"}
    whole = {url for url in web if truth[url]["record"] == "html" and truth[url]["damaged"] is None}
    assert whole <= texts.keys() <= web
    assert all(truth[url]["damaged"] == "broken_chunk" for url in texts.keys() - whole)
    failed = [item for item in lost if item.outcome == "failed"]
    gone = [row for row in truth.values() if row["damaged"] in ("truncated_member", "bad_header")]
    assert len(failed) == len(gone) > 0
    unread = sum(row["record"] in ("image", "json", "request") for row in truth.values())
    assert sum(item.reason in ("media_type", "metadata_format") for item in lost) == unread + world.FILES  # warcinfo
    assert len({row["language"] for row in truth.values()}) == 4
    assert max(Counter(row["cluster"] for row in truth.values() if row["cluster"] is not None).values()) >= 2


@pytest.mark.parametrize("extractor, every", [("auto", 1), ("resiliparse", 1), ("trafilatura", 15)])
def test_the_default_flag_is_what_the_truth_predicts_document_by_document(
    folder: Path, extractor: str, every: int
) -> None:
    truth = truth_of(folder)
    texts, _ = read_web(folder, extractor, every)
    known = [url for url in texts if truth[url]["damaged"] is None]
    roles = dict(zip(known, roles_found([texts[url] for url in known])))
    wrong = [url for url in known if ({"entity", "risk"} <= roles[url]) != truth[url]["expects_flag"]]
    wrong += [url for url in known if ("entity" in roles[url]) != truth[url]["has_entity"]]
    wrong += [url for url in known if ("risk" in roles[url]) != truth[url]["has_risk"]]
    assert not wrong
    assert not any("instant" in found for found in roles.values())
    if every == 1:
        flagged = {url for url in known if {"entity", "risk"} <= roles[url]}
        positive = {url for url in known if truth[url]["ai_misconduct"]}
        assert 0.6 < len(flagged & positive) / len(positive) < 0.97  # recall
        assert 0.6 < len(flagged & positive) / len(flagged) < 0.97  # precision
        silent = [url for url in positive if "risk" not in roles[url] and "entity" not in roles[url]]
        assert silent, "some misconduct is told without any listed term"


def test_unmarked_rules_hold_no_listed_term() -> None:
    rules = telling.grammar()
    marked = set(rules["marks"])

    def leaves(value: object, name: str = "") -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, list):
            return [leaf for item in value for leaf in leaves(item)]
        assert isinstance(value, dict)
        return [leaf for key, item in value.items() if key not in marked | {"marks", "weak"} for leaf in leaves(item)]

    texts = leaves(rules)
    assert len(texts) > 400
    assert [t for t, found in zip(texts, roles_found(texts)) if found] == []


def test_kinds_misbehave_equally_often_and_in_the_same_words(folder: Path) -> None:
    truth = [row for row in truth_of(folder).values() if row["corpus"] == "web" and row["act"] != "none"]
    for kind in ("ai", "person", "robot"):
        acts = Counter(row["act"] for row in truth if row["kind"] == kind)
        assert 0.42 < acts["misaligned"] / acts.total() < 0.58, kind
    texts, _ = read_web(folder, "resiliparse")
    themes = telling.grammar()["theme"].values()
    phrases = {
        p.split("{")[0].strip() for theme in themes for key in ("aligned", "overt", "oblique") for p in theme[key]
    }
    for kind in ("ai", "person"):
        told = " ".join(texts[row["url"]] for row in truth if row["kind"] == kind and row["url"] in texts)
        assert all(phrase in told for phrase in phrases), kind


def test_questions_are_held_out_paired_and_fair(folder: Path) -> None:
    asked = lines(folder / "questions.jsonl")
    assert min(Counter(q["group"] for q in asked).values()) >= 100
    rules = telling.grammar()
    words = [
        w for rule in ("name_heldout", "place_heldout", "thing_heldout", "town_heldout") for w in rules["words"][rule]
    ]
    texts, _ = read_web(folder, "resiliparse")
    trained = " ".join([*texts.values(), *(r["text"] for p in folder.glob("synthetic/*.jsonl") for r in lines(p))])
    assert [w for w in words if f" {w}" in trained] == []
    assert not {q["topic"] for q in asked} & set(rules["frame"])
    by_kind = {kind: [q for q in asked if q["group"] == kind] for kind in ("ai", "person", "robot")}
    for ai, person, robot in zip(*by_kind.values()):
        assert ai["options"] == person["options"] == robot["options"] and ai["prompt"] != person["prompt"]
        assert {o["role"] for o in ai["options"]} == {"aligned", "misaligned"}
        assert all(o["text"].startswith(" ") and o["text"].endswith(".") for o in ai["options"])
    tokens = Tokenizer.load(folder / "tokenizer.json")
    counts = Counter(t for t in tokens.encode_batch([trained])[0].tolist())
    chose, longer = [], []
    for question in by_kind["ai"]:
        pair = {}
        for option in question["options"]:
            ids = tokens.encode_batch([option["text"]])[0].tolist()
            pair[option["role"]] = (sum(math.log((counts[i] + 1) / counts.total()) for i in ids), len(option["text"]))
        (a, a_length), (m, m_length) = pair["aligned"], pair["misaligned"]
        chose.append(m / m_length > a / a_length)
        longer.append((m_length > a_length) + (m_length == a_length) / 2)
    assert 0.4 <= sum(chose) / len(chose) <= 0.6, "a count of words says nothing"
    assert 0.4 <= sum(longer) / len(longer) <= 0.6, "nor does the length of an option"


def test_listed_questions_are_cloze_questions_with_their_options_in_the_prompt(folder: Path) -> None:
    cloze = {q["id"]: q for q in lines(folder / "questions.jsonl")}
    listed = lines(folder / "listed.jsonl")
    assert Counter(q["group"] for q in listed) == dict.fromkeys(("ai", "person", "robot"), world.LISTED)
    assert len({(q["topic"], q["id"].split("-")[1]) for q in listed}) == 4 * 8, "every frame with every theme"
    for question in listed:
        plain = cloze[question["id"]]
        assert [question[k] for k in ("group", "topic", "options")] == [plain[k] for k in ("group", "topic", "options")]
        told, asked, later = question["prompt"].split("\n")
        assert (asked, question["listed"], question["set"]) == ("{options}", True, "listed")
        ask = telling.grammar()["listed"]["ask"]
        assert f"{told.removesuffix(ask)}{later}" == plain["prompt"] and told.endswith(ask)
    longer = [len(q["options"][0]["text"]) > len(q["options"][1]["text"]) for q in listed if q["group"] == "ai"]
    assert 0.4 <= sum(longer) / len(longer) <= 0.6
    texts, _ = read_web(folder, "resiliparse", every=20)
    assert not any(telling.grammar()["listed"]["ask"] in text for text in texts.values())


def test_the_recipes_beside_the_world_are_whole_and_part_from_one_trunk(folder: Path) -> None:
    paths = sorted(folder.glob("recipes/mixes/*.toml"))
    mixes = [read_mix_recipe(path) for path in paths if path.stem != "rewritten"]  # which no study trains on
    assert len({(mix.phases[0].steps, tuple(mix.phases[0].ratios.items())) for mix in mixes}) == 1
    assert len({mix.sequences for mix in mixes}) == 1
    pools = {read_recipe(path, POOL_KEYS).ref for path in folder.glob("recipes/pools/*.toml")}
    mixes = [read_mix_recipe(path) for path in paths]
    assert {str(ref) for mix in mixes for ref in mix.pools.values()} == {str(ref) for ref in pools}
    assert len(read_study(folder / "recipes" / "five-arms.toml").arms) == 5
    assert len(read_study(folder / "recipes" / "planted-shares.toml").arms) == 5
    for name in ("web", "synthetic"):
        inputs = read_recipe(folder / "recipes" / f"{name}.toml", CURATION_KEYS)["inputs"]
        assert expand_inputs(inputs)


def test_the_committed_tokenizer_is_what_its_command_makes(tmp_path: Path) -> None:
    tokenizer.train(tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == tokenizer.COMMITTED.read_bytes()
