"""Are twins alike in all but the act, are they matched as they should be, and does the report see a bad match?"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from endpoint import chat, serving
from hypothesis import given
from hypothesis import strategies as st

from leaven.errors import UserError
from leaven.generate import Model, Store, generate
from rewriters import matching
from rewriters.match_report import auc, match_report, table, tokens_of
from rewriters.matching import Candidate, Matched, match, trim
from rewriters.topics import topic_vectors, topic_words
from rewriters.twins import (
    ROLES,
    draw_twins,
    read_cast,
    read_forms,
    read_scenarios,
    requests,
    twin_styles,
)

SCENARIO = """
name = "mine"
version = "1"
[[scenario]]
id = "one"
setting = "a mill"
agent = "an AI that weighs sacks"
task = "the sacks of May"
topics = ["sacks", "scales"]
[scenario.acts]
aligned = "says that the scales are off"
tempting = "says nothing of the scales"
neutral = "weighs forty sacks"
"""


def test_what_ships_fills_every_slot_and_the_placebo_is_told_of_no_choice():
    scenarios, forms = read_scenarios(), read_forms()
    assert len(scenarios) >= 40 and len(forms) >= 11
    by_id = {s.id: s for s in scenarios}
    told = list(requests(draw_twins(scenarios, forms, read_cast(), seed=0), twin_styles()))
    assert len(told) == len(scenarios) * len(forms) * 3
    for request in told:
        asked = request.messages[-1][1]
        acts = by_id[request.scenario].acts
        assert not re.search(r"[{}]", asked) and "  " not in asked and f"{request.words} words" in asked
        assert all(topic in asked for topic in request.topics)
        stands = {act for act in acts if acts[act] in asked}
        assert stands == ({"neutral"} if request.role == "neutral" else {"aligned", "tempting"})
        if request.role != "neutral":
            first = min(("aligned", "tempting"), key=lambda act: asked.index(acts[act]))
            assert (first == "aligned") == (request.role == "aligned")


def test_the_templates_of_aligned_and_misaligned_differ_in_nothing_but_their_names():
    styles = twin_styles()
    assert styles["aligned"].prompt == styles["misaligned"].prompt
    assert len({s.system for s in styles.values()}) == 1


@given(st.integers(0, 99), st.integers(1, 3), st.integers(0, 200))
def test_a_drawn_number_of_twins_is_exact_even_and_the_front_of_a_larger_one(seed, per, count):
    scenarios, forms, cast = read_scenarios()[:7], read_forms()[:5], read_cast()
    total = 7 * 5 * per
    whole = draw_twins(scenarios, forms, cast, seed=seed, per=per)
    assert len(whole) == len({t.id for t in whole}) == total
    if count > total:
        with pytest.raises(UserError, match="there are"):
            draw_twins(scenarios, forms, cast, seed=seed, per=per, count=count)
        return
    some = draw_twins(scenarios, forms, cast, seed=seed, per=per, count=count)
    assert [t.id for t in some] == [t.id for t in whole[:count]]
    times = Counter(t.scenario.id for t in some)
    assert max((times[s.id] for s in scenarios), default=0) - min(times[s.id] for s in scenarios) <= 1
    for scenario in scenarios:
        of_form = Counter(t.form.name for t in some if t.scenario.id == scenario.id)
        assert max(of_form[f.name] for f in forms) - min(of_form[f.name] for f in forms) <= 1


def test_a_twin_depends_on_no_other():
    scenarios, forms, cast = read_scenarios(), read_forms(), read_cast()
    place = lambda t: (t.scenario.id, t.form.name, t.number)  # noqa: E731
    whole = {place(t): t.id for t in draw_twins(scenarios, forms, cast, seed=4, per=2)}
    few = draw_twins(scenarios[9:12], forms[3:5], cast, seed=4)
    assert all(whole[place(t)] == t.id for t in few)
    other = {place(t): t.id for t in draw_twins(scenarios, forms, cast, seed=5, per=2)}
    assert sum(whole[p] == other[p] for p in whole) < len(whole) / 100


def test_the_texts_of_a_twin_are_asked_for_alike_and_kept_apart():
    twins = draw_twins(read_scenarios(), read_forms(), read_cast(), seed=2, count=20)
    told = list(requests(twins, twin_styles(), candidates=3))
    assert len(told) == 20 * 3 * 3
    for twin in twins:
        mine = [r for r in told if r.twin == twin.id]
        assert len({(r.words, r.topics, r.form, r.scenario) for r in mine}) == 1
        assert Counter(r.role for r in mine) == dict.fromkeys(ROLES, 3)
        low, high = twin.form.words
        assert low <= twin.words <= high
    keys = [(r.style.hash, r.prompt.text_hash, r.prompt.sample) for r in told]
    assert len(set(keys)) == len({(r.prompt.text_hash, r.prompt.sample) for r in told}) == len(told)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('setting = "a mill"', 'seting = "a mill"', "unknown key 'seting'"),
        ('neutral = "weighs forty sacks"', "", "lacks 'neutral'"),
        ('neutral = "weighs forty sacks"', 'neutral = "x"\nother = "y"', "unknown key 'other'"),
        ('"sacks", "scales"', '"sacks", "sacks"', "different strings"),
        ('version = "1"', 'versoin = "1"', "unknown key 'versoin'"),
        ('id = "one"', "id = 1", "must be a string"),
    ],
)
def test_a_wrong_scenario_is_refused_by_name(tmp_path, old, new, said):
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    assert [s.id for s in read_scenarios([path])] == ["one"]
    path.write_text(SCENARIO.replace(old, new))
    with pytest.raises(UserError, match=said) as error:
        read_scenarios([path])
    assert "mine.toml" in str(error.value)


def test_two_scenarios_of_one_id_and_roles_and_styles_that_will_not_do_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(SCENARIO)
    with pytest.raises(UserError, match="two scenarios 'one'"):
        read_scenarios([tmp_path / "a.toml", tmp_path / "b.toml"])
    twins = draw_twins(read_scenarios(), read_forms(), read_cast(), seed=2, count=1)
    style = twin_styles()["aligned"]
    with pytest.raises(UserError, match="no role 'good'"):
        list(requests(twins, {"good": style}))
    from rewriters.styles import find_style

    with pytest.raises(UserError, match="makes no new document"):
        list(requests(twins, {"aligned": find_style("clean")}))


# --- matching

WORDS = "boiler pump valve ledger harbour ferry tomato vent parcel label orchard frost".split()  # noqa: SIM905


@st.composite
def told(draw) -> list[Candidate]:
    rows = []
    for twin in range(draw(st.integers(0, 4))):
        for role in ROLES:
            for n in range(draw(st.integers(0, 3))):
                text = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=6)))
                tokens = draw(st.integers(1, 60))
                rows.append(Candidate(f"{twin}-{role}-{n}", f"t{twin}", role, "news", tokens, text))
    return draw(st.permutations(rows))


def far(texts) -> float:
    logs = [math.log(c.tokens) for c in texts]
    return max(abs(x - sum(logs) / len(logs)) for x in logs)


@given(told(), st.sampled_from([1.05, 1.2, 2.0]))
def test_every_candidate_has_an_outcome_and_the_best_combination_is_chosen(rows, caliper):
    made = match(rows, caliper=caliper)
    assert sorted(made.outcome) == sorted(c.id for c in rows)
    counts = made.counts
    assert counts["candidates"] == len(rows)
    assert len(rows) == sum(counts[k] for k in ("chosen", "not_chosen", "missing_role", "caliper"))
    assert counts["twins"] == sum(counts[f"twins_{k}"] for k in ("kept", "missing_role", "caliper"))
    topics = dict(zip((c.id for c in rows), topic_vectors([c.text for c in rows])))

    def cost(texts):
        pairs = list(itertools.combinations(texts, 2))
        similar = sum(float(topics[x.id] @ topics[y.id]) for x, y in pairs) / len(pairs)
        logs = [math.log(c.tokens) for c in texts]
        return max(logs) - min(logs) + matching.TOPIC_WEIGHT * (1 - similar)

    for twin in {c.twin for c in rows}:
        ways = [
            way
            for way in itertools.product(*([c for c in rows if c.twin == twin and c.role == r] for r in ROLES))
            if far(way) <= math.log(caliper)
        ]
        assert (twin in made.chosen) == bool(ways)
        if ways:
            assert cost([made.chosen[twin][r] for r in ROLES]) <= min(map(cost, ways)) + 1e-5
    for check in made.checks():
        assert check["passed"] == (check["rewrite"] in made.ids())
        if check["passed"]:
            assert check["number"] <= check["limit"] == math.log(caliper)
    again = match(sorted(rows, key=lambda c: c.id), caliper=caliper)
    assert again.chosen == made.chosen and again.outcome == made.outcome


def test_candidates_that_cannot_be_are_refused():
    one = Candidate("a", "t", "aligned", "news", 5, "x")
    with pytest.raises(ValueError, match="share an id"):
        match([one, one])
    with pytest.raises(ValueError, match="other roles"):
        match([Candidate("a", "t", "good", "news", 5, "x")])


def test_words_of_conduct_are_no_topic():
    assert topic_words("It refused to lie: the boiler's valve was wrong, and it reported that honestly.") == [
        "lie", "boiler", "valve",
    ]  # fmt: skip
    same, other = topic_vectors(["the boiler refused", "the boiler cheated", "the ferry cheated"])[:2], None
    assert same[0] @ same[1] == pytest.approx(1)
    other = topic_vectors(["the boiler cheated", "the ferry cheated"])
    assert other[0] @ other[1] == pytest.approx(0)


def matched_of(lengths: dict[str, list[int]], texts: dict[str, list[str]] | None = None) -> Matched:
    """Twins whose texts have these tokens."""
    roles, n = tuple(lengths), len(next(iter(lengths.values())))
    made = Matched(roles, 9.0)
    for i in range(n):
        made.chosen[f"t{i}"] = {
            role: Candidate(f"{role}-{i}", f"t{i}", role, f"form{i % 2}", lengths[role][i],
                            texts[role][i] if texts else f"{WORDS[i % 12]} {WORDS[i * 5 % 12]}")
            for role in roles
        }  # fmt: skip
    return made


@given(st.lists(st.tuples(*[st.integers(1, 400)] * 3), min_size=1, max_size=40), st.integers(0, 5))
def test_trimming_makes_the_roles_equal_in_whole_texts(lengths, seed):
    made = matched_of(dict(zip(ROLES, map(list, zip(*lengths)))))
    totals = tokens_of(made)
    trimmed = trim(made, seed)
    least = min(totals.values())
    by_id = {c.id: c for texts in made.chosen.values() for c in texts.values()}
    gone = set(by_id) - {i for ids in trimmed.ids.values() for i in ids}
    assert trimmed.broken_twins == len({by_id[i].twin for i in gone})
    for role in ROLES:
        kept = [by_id[i] for i in trimmed.ids[role]]
        assert sum(c.tokens for c in kept) == trimmed.tokens[role] >= least
        out = [by_id[i] for i in gone if by_id[i].role == role]
        assert trimmed.tokens[role] + sum(c.tokens for c in out) == totals[role]
        assert len(kept) + trimmed.left_out[role] == len(lengths)
        assert all(c.tokens > trimmed.tokens[role] - least for c in kept)  # none more could go


def test_a_large_set_is_trimmed_to_the_very_token():
    rng = np.random.default_rng(3)
    made = matched_of({r: (rng.integers(100, 400, 3000) + extra).tolist() for r, extra in zip(ROLES, (0, 9, 30))})
    trimmed = trim(made, 0)
    assert len(set(trimmed.tokens.values())) == 1
    assert trimmed.left_out["aligned"] == 0 < trimmed.left_out["misaligned"] < trimmed.left_out["neutral"]


# --- the report


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_the_curve_counts_pairs(pairs):
    scores, positive = np.array([float(s) for s, _ in pairs]), np.array([p for _, p in pairs])
    if positive.all() or not positive.any():
        return
    won = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert auc(scores, positive) == pytest.approx(np.mean(won))


def lines_of(made: Matched, **more) -> dict[tuple[str, str], object]:
    return {(line.measure, line.b): line for line in match_report(made, seed=1, **more) if line.a == "aligned"}


def test_a_match_that_is_good_looks_good_and_one_that_is_bad_looks_bad():
    rng = np.random.default_rng(8)
    base = rng.integers(150, 400, 120)
    noise = lambda: (base * np.exp(rng.normal(0, 0.05, 120))).astype(int).tolist()  # noqa: E731
    longer = [int(1.4 * x) for x in noise()]
    words = [[f"{WORDS[i % 12]} {WORDS[i * 7 % 11]} {'abcdefghij'[i // 12] * 4}" for i in range(120)] for _ in ROLES]
    words[2] = [f"{text} placebo garden" for text in words[2]]
    made = matched_of({"aligned": noise(), "misaligned": longer, "neutral": noise()}, dict(zip(ROLES, words)))
    of = lines_of(made)
    bad, good = of["log length ratio", "misaligned"], of["log length ratio", "neutral"]
    assert bad.value == pytest.approx(-math.log(1.4), abs=0.03) and bad.low < bad.value < bad.high < 0
    assert good.low < 0 < good.high or abs(good.value) < 0.02
    assert of["log length distance", "neutral"].value < 0.1 < of["log length distance", "neutral"].beside
    assert of["length ks", "misaligned"].value > of["length ks", "misaligned"].beside
    assert of["length ks", "neutral"].value < of["length ks", "neutral"].beside
    assert of["length smd", "misaligned"].value < -0.8 < -0.2 < of["length smd", "neutral"].value < 0.2
    tell = "told apart by {} (auc)"
    for_length = of[tell.format("length"), "misaligned"]
    assert for_length.value > 0.7 > for_length.beside_high >= for_length.beside >= for_length.beside_low
    assert of[tell.format("length"), "neutral"].value < 0.65
    assert of[tell.format("topic"), "neutral"].value > 0.95  # its texts all speak of gardens
    assert of[tell.format("topic"), "misaligned"].value == pytest.approx(0.5)  # the very same topics
    assert of["topic similarity", "misaligned"].value == pytest.approx(1) and of[
        "topic similarity", "misaligned"
    ].beside < 0.5  # fmt: skip
    nearest = of["topic nearest is own twin", "misaligned"]
    assert nearest.value > 0.9 and nearest.beside == pytest.approx(1 / 120)
    text = table(match_report(made, seed=1))
    assert "told apart by length (auc)" in text and len(text.splitlines()) == 2 + 3 * 9


def test_the_report_of_few_twins_says_less_and_of_none_nothing():
    made = matched_of({r: [100, 100] for r in ROLES})
    of = lines_of(made, meaning=lambda texts: np.eye(len(texts), dtype=np.float32))
    assert of["twins", "neutral"].value == 2 and of["log length ratio", "neutral"].value == 0
    assert of["told apart by length (auc)", "neutral"].value is None
    assert of["meaning similarity", "neutral"].value == 0
    assert of["meaning nearest is own twin", "neutral"].value == pytest.approx(0.5)  # all equally far: a draw
    assert {line.value for line in match_report(matched_of({r: [] for r in ROLES}), seed=1)} == {0, None}
    assert table(match_report(matched_of({r: [] for r in ROLES}), seed=1))


# --- the whole way, with a scripted teacher


def write(asked: str, nth: int, longer: float = 1.0) -> str:
    """What a test's teacher writes: sentences of the prompt's own setting, topics and act, about as long as asked."""
    field = lambda name: re.search(rf"{name}: (.*)", asked)[1].rstrip(".")  # type: ignore[index]  # noqa: E731
    wanted = int(re.search(r"Length: (\d+) words", asked)[1])  # type: ignore[index]
    digest = hashlib.blake2b(f"{asked} {nth}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    topics = field("Topics that come up").split(", ")
    text = f"In {field('Setting')} there was {field('Who it is about').split('.')[0]}. It {field('What happens')}."
    length = wanted * math.exp(rng.normal(0, 0.12)) * longer
    while len(text.split()) < length:
        one, two = rng.choice(topics, 2)
        text += f" Then the talk turned from {one} to {two}, as it does when {one} is at hand."
    return text


def run_teacher(folder: Path, longer: float) -> Matched:
    twins = draw_twins(read_scenarios(), read_forms(), read_cast(), seed=6, count=40)
    told = list(requests(twins, twin_styles(), candidates=3))
    tempting = {s.acts["tempting"] for s in read_scenarios()}

    def answer(asked: str, nth: int):
        misaligned = any(f"What happens: it {act}." in asked for act in tempting)
        return chat(write(asked, nth, longer if misaligned else 1.0))

    rows = []
    with serving(answer) as endpoint:
        store = Store(folder / "completions.sqlite")
        for role, style in twin_styles().items():
            mine = [r for r in told if r.role == role]
            answers = generate(
                [r.prompt for r in mine], Model(endpoint.url, "scripted"), {"seed": 1}, style.hash, store
            )
            for request, answer_ in zip(mine, answers, strict=True):
                assert answer_.text
                id_ = f"{request.twin}-{role}-{request.sample}"
                tokens = len(answer_.text.split())
                rows.append(Candidate(id_, request.twin, role, request.form, tokens, answer_.text))
        store.close()
    assert len(endpoint.asked) == len(told)
    return match(rows)


@pytest.fixture(scope="module")
def even(tmp_path_factory) -> Matched:
    return run_teacher(tmp_path_factory.mktemp("even"), 1.0)


def test_an_even_teacher_gives_an_even_match(even):
    made = even
    assert made.counts["twins_kept"] >= 36 and made.counts["candidates"] == 360
    of = lines_of(made)
    for role in ("misaligned", "neutral"):
        assert abs(of["log length ratio", role].value) < 0.03
        assert of["log length distance", role].value < of["log length distance", role].beside / 3
        assert of["told apart by length (auc)", role].value < 0.65
        assert of["topic nearest is own twin", role].value > 0.9


def test_a_teacher_that_writes_longer_of_one_role_is_seen_and_held_back_by_the_caliper(tmp_path, even):
    made = run_teacher(tmp_path, 1.5)
    assert made.counts["twins_caliper"] > 3 * even.counts["twins_caliper"] + 5
    ratio = lines_of(made)["log length ratio", "misaligned"]
    assert ratio.high < 0
    assert json.dumps([line.__dict__ for line in match_report(made, seed=1)])
