"""Recipes and plans: exact counts from manifests alone, and mistakes that are named with what mends them."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mixkit import SHA256, recipe_text, write_pool, write_recipe

from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from mixes.limits import check_limits
from mixes.plan import plan_mix
from mixes.recipes import MixRecipe, exact, mix_recipe, number, read_mix_recipe

POOLS = {"web": "web@1", "aligned": "aligned@1"}
PHASES = [("main", 704, "web = 1.00"), ("anneal", 64, "web = 0.88, aligned = 0.12")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    write_pool(home, "web", [300, 0, 200, 17])
    write_pool(home, "aligned", [100])
    return home


def refused(home: Home, *args, **values) -> str:
    with pytest.raises(UserError) as caught:
        plan_mix(write_recipe(home.path, *args, **values), home)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_plan_counts_phase_by_phase(home):
    plan = plan_mix(write_recipe(home.path, POOLS, PHASES), home)
    assert [(r["phase"], r["component"], r["planned"]) for r in plan.rows()] == [
        ("main", "web", 5632),
        ("anneal", "aligned", 61),  # 61.44 and 450.56: the larger remainder takes the last one
        ("anneal", "web", 451),
    ]
    assert plan.pools["web"].uses == 6083 and plan.pools["aligned"].uses == 61
    assert plan.rows()[2]["epochs"] == pytest.approx(6083 / 517)
    assert sum(r["loss_share"] for r in plan.rows() if r["phase"] == "anneal") == pytest.approx(1)
    json.dumps(plan.to_json())


def test_the_seed_changes_the_order_and_no_count(home):
    recipe = read_mix_recipe(write_recipe(home.path, POOLS, PHASES))
    one, other = plan_mix(recipe, home), plan_mix(recipe, home, seed=18)
    assert (one.seed, other.seed) == (17, 18)
    assert one.to_json() == other.to_json() and one.meaning != other.meaning
    uses = np.arange(500)
    assert (one.pools["web"].order.draw(uses)[1] != other.pools["web"].order.draw(uses)[1]).any()


def test_equal_ratios_in_other_words_are_the_same_meaning(home):
    spellings = ["web = 0.75, aligned = 0.25", 'aligned = "1/4", web = "3/4"', 'web = 0.750, aligned = "0.25"']
    plans = [plan_mix(write_recipe(home.path, POOLS, [("main", 10, text)]), home) for text in spellings]
    assert plans[0].meaning == plans[1].meaning == plans[2].meaning
    limited = plan_mix(
        write_recipe(home.path, POOLS, [("main", 10, spellings[0])], "[limits]\nepochs = { web = 9 }"), home
    )
    assert limited.meaning == plans[0].meaning  # a limit changes no byte


def test_a_ratio_of_zero_and_an_unused_pool_take_nothing(home):
    plan = plan_mix(write_recipe(home.path, POOLS, [("main", 10, "web = 1, aligned = 0"), ("b", 3, "web = 1.0")]), home)
    assert [(r["component"], r["planned"]) for r in plan.rows()] == [("aligned", 0), ("web", 80), ("web", 24)]
    assert plan.pools["aligned"].uses == 0
    plain = plan_mix(write_recipe(home.path, POOLS, [("main", 10, "web = 1"), ("b", 3, "web = 1")]), home)
    assert plain.meaning == plan.meaning


def test_an_empty_pool_serves_where_nothing_is_asked_of_it(home):
    write_pool(home, "empty", [0])
    pools = {"web": "web@1", "none": "empty@1"}
    assert plan_mix(write_recipe(home.path, pools, [("main", 10, "web = 1, none = 0")]), home).pools["none"].uses == 0
    said = refused(home, pools, [("main", 10, "web = 0.9, none = 0.1")])
    assert "pool empty@1 is empty, and 'none' needs 8 sequences" in said and "mix.toml:10 (pools.none)" in said


@pytest.mark.parametrize(
    ("ratios", "says"),
    [
        ("web = 0.88, aligned = 0.11", ["sum to 0.99, not 1", "0.01 is missing", "set web = 0.89"]),
        ("web = 0.99, aligned = 0.12", ["sum to 1.11, not 1", "0.11 is too much", "set web = 0.88"]),
        ('web = "2/3", aligned = 0.33', ["sum to 299/300, not 1", "1/300 is missing", "set web = 0.67"]),
        ("web = 0.5, aligned = 0.5000000001", ["0.0000000001 is too much"]),
        ("web = 1.2, aligned = -0.2", ["'aligned'", "exact number of 0 or more, not -0.2"]),
        ('web = "a third", aligned = 0.5', ["'web'", "exact number"]),
        ('web = "1/0", aligned = 0.5', ["exact number"]),
        ("web = nan, aligned = 0.5", ["exact number", "NaN"]),
        ("web = inf", ["exact number"]),
        ("web = 1e-999999999", ["exact number"]),
        ("web = true", ["exact number"]),
        ('web = "1/1000003", aligned = "1000002/1000003"', ["denominator 1,000,003, above 1,000,000", "six decimals"]),
        ("web = 0.9999999, aligned = 0.0000001", ["denominator 10,000,000"]),
        ("wed = 1", ["unknown component 'wed'", "did you mean 'web'?"]),
        ("", ["needs a ratio"]),
    ],
)
def test_ratios_that_are_no_ratios(home, ratios, says):
    said = refused(home, POOLS, [PHASES[0], ("anneal", 64, ratios)])
    assert all(text in said for text in says), said
    assert "mix.toml:20 (phase.ratio)" in said  # the line of the second phase, not of the first


def test_what_set_proposes_does_sum_to_one(home):
    said = refused(home, POOLS, [("main", 64, 'web = "2/3", aligned = "2/7"')])
    mended = re.search(r"set (.+), for example", said)[1]
    assert plan_mix(write_recipe(home.path, POOLS, [("main", 64, f'{mended}, aligned = "2/7"')]), home)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pools": {"web": "web@1", "aligned": "missing@3"}}, ["pools 'missing@3' is not in", "aligned@1", "toml:10"]),
        ({"pools": {"web": "web@1", "aligned": "web@1"}}, ["draw from the same pool web@1", "toml:10 (pools.aligned)"]),
        ({"pools": {"web": "web@1", "aligned": "aligned"}}, ["not a reference of the form name@version", "toml:10"]),
        ({"pools": {}}, ["names no pools"]),
        ({"phases": []}, ["the recipe lacks 'phase'"]),
        ({"phases": [("main", 0, "web = 1")]}, ["'steps' must be", "toml:14 (phase.steps)"]),
        ({"phases": [("main", 1, "web = 1"), ("main", 1, "web = 1")]}, ["two phases are named 'main'", "toml:18"]),
        ({"sequence_length": 32}, ["holds sequences of 16 tokens, not 32", "toml:4 (sequence_length)"]),
        ({"sequence_length": 1}, ["at least 2"]),
        ({"batch": 0}, ["'batch' must be at least 1"]),
        ({"seed": -1}, ["'seed' must be at least 0"]),
        ({"tokenizer": "nowhere/tokenizer.json"}, ["no tokenizer 'nowhere/tokenizer.json'", "toml:3 (tokenizer)"]),
        ({"name": "Bad Name"}, ["cannot be a name"]),
        ({"sequence_lenght": 16}, ["unknown key 'sequence_lenght'", "did you mean 'sequence_length'?"]),
        ({"tail": "[limits]\nepochs = { wep = 1 }"}, ["unknown component 'wep'", "did you mean 'web'?", "toml:23"]),
        ({"tail": "[limits]\nepoch = { web = 1 }"}, ["unknown key 'epoch'", "did you mean 'epochs'?"]),
        ({"tail": "[limits]\nepochs = { web = 0 }"}, ["must be above 0"]),
        ({"tail": "[limits]\nepochs = 2"}, ["must be a table"]),
    ],
)
def test_mistakes_are_named(home, change, says):
    change = dict(change)
    said = refused(home, change.pop("pools", POOLS), change.pop("phases", PHASES), change.pop("tail", ""), **change)
    assert all(text in said for text in says), said


def test_other_mistakes_of_phases(home):
    path = home.path / "mix.toml"
    for old, new, says in [
        ("steps = 704\n", "", "phase 1 lacks 'steps'"),
        ("steps = 704", "step = 704", "did you mean 'steps'?"),
        ("steps = 704", "steps = 704.5", "'steps' must be an integer"),
        ("[[phase]]", "[phase]", "'phase' must be"),
    ]:
        path.write_text(recipe_text(home.path, POOLS, PHASES[:1]).replace(old, new))
        with pytest.raises(UserError, match=re.escape(says)):
            plan_mix(path, home)


def test_another_tokenizer_is_refused(home):
    recipe = write_recipe(home.path, POOLS, PHASES)
    (home.path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(UserError, match=r"pool web@1 was cut with another tokenizer") as caught:
        plan_mix(recipe, home)
    assert "mix.toml:3 (tokenizer)" in str(caught.value) and "mix.toml:9 (pools.web)" in str(caught.value)


def test_a_heldout_pool_is_refused(home):
    write_pool(home, "web-heldout", [9], heldout=True)
    said = refused(home, {"web": "web-heldout@1"}, [("main", 1, "web = 1")])
    assert "held out for evaluation" in said and "take web@1" in said


def test_one_pool_under_two_names_is_refused(home):
    folder = home.folder("pools", "web@1")
    twin = home.folder("pools", "twin@1")
    twin.mkdir()
    manifest = json.loads((folder / "manifest.json").read_text()) | {"name": "twin"}
    (twin / "manifest.json").write_text(json.dumps(manifest))
    said = refused(home, {"web": "web@1", "twin": "twin@1"}, [("main", 1, "web = 0.5, twin = 0.5")])
    assert "the same pool under two names" in said


def test_more_epochs_than_the_column_holds_are_refused(home):
    write_pool(home, "tiny", [1])
    said = refused(home, {"tiny": "tiny@1"}, [("main", 1 << 13, "tiny = 1")])
    assert "more than 32,768 times" in said


# Limits on epochs.


def test_the_limit_error_has_the_numbers_that_mend_it(home):
    said = refused(home, POOLS, PHASES, "[limits]\nepochs = { web = 20, aligned = 0.5 }")
    assert "mix.toml:23 (limits.epochs)" in said
    for line in (
        "target           768 steps = 6,144 sequences",
        "limiting pool    aligned@1 ('aligned')",
        "needs            61 sequences = 0.61 epochs: 61 in anneal",
        "has              50 sequences = 100 rows x 0.5 epochs",
        "epochs         aligned = 1",
        "rows           122 in the pool, now 100",
        "ratio          aligned = 0.097656, web = 0.902344 in anneal",
        "steps          52 in anneal, now 64",
    ):
        assert line in said, said


@st.composite
def limited(draw) -> tuple[MixRecipe, dict[str, tuple[str, int, int]]]:
    """A recipe over up to four components whose limits are too tight, and its pools."""
    names = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    phases = []
    for i in range(draw(st.integers(1, 3))):
        weights = draw(st.lists(st.integers(0, 12), min_size=len(names), max_size=len(names)))
        weights[0] += not any(weights)
        ratio = {c: f"{w}/{sum(weights)}" for c, w in zip(names, weights)}
        phases.append({"name": f"p{i}", "steps": draw(st.integers(1, 60)), "ratio": ratio})
    epochs = draw(st.dictionaries(st.sampled_from(names), st.sampled_from([1, 2, "1/2", "3/2", 7]), min_size=1))
    recipe = mix_recipe(
        {
            "name": "m", "version": "1", "tokenizer": "t", "sequence_length": 8, "batch": draw(st.integers(1, 9)),
            "seed": 1, "pools": {c: f"{c}@1" for c in names}, "phase": phases, "limits": {"epochs": epochs},
        }
    )  # fmt: skip
    rows = {c: draw(st.integers(1, 400)) for c in names}
    return recipe, pools_of(recipe, rows)


def pools_of(recipe: MixRecipe, rows: dict[str, int]) -> dict[str, tuple[str, int, int]]:
    from leaven.order import Seats

    seats = Seats([(p.name, p.sequences, p.ratios) for p in recipe.phases])
    uses = dict(zip(seats.components, seats.counts.sum(axis=0).tolist()))
    return {c: (f"{c}@1", rows[c], uses.get(c, 0)) for c in recipe.pools}


def problem(recipe: MixRecipe, pools: dict[str, tuple[str, int, int]]) -> str | None:
    try:
        check_limits(recipe, pools)
    except UserError as error:
        return str(error)
    return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(limited())
def test_every_number_that_the_limit_error_proposes_mends_it(made):
    """For the limiting component each proposal alone is enough, and steps and rows are the tightest that are."""
    recipe, pools = made
    over = [c for c, limit in recipe.limits.items() if pools[c][2] > limit * pools[c][1]]
    said = problem(recipe, pools)
    assert bool(said) == bool(over)
    assume(said)
    component = re.search(r"needs more of '(\w+)'", said)[1]
    rows = {c: pool[1] for c, pool in pools.items()}

    def still(changed: MixRecipe, rows: dict[str, int] = rows) -> bool:
        pools = pools_of(changed, rows)
        return pools[component][2] > changed.limits[component] * pools[component][1]

    def changed(**phase_changes) -> MixRecipe:
        phases = [
            type(p)(**(p.__dict__ | phase_changes.get(p.name, {})))
            for p in recipe.phases
            if phase_changes.get(p.name, {}) is not None
        ]
        return MixRecipe(**(recipe.__dict__ | {"phases": phases}))

    epochs = int(re.search(r"epochs +\w+ = (\d+)", said)[1])
    assert not still(MixRecipe(**(recipe.__dict__ | {"limits": recipe.limits | {component: Fraction(epochs)}})))
    needed = int(re.search(r"rows +([\d,]+) in the pool", said)[1].replace(",", ""))
    assert not still(recipe, rows | {component: needed}) and still(recipe, rows | {component: needed - 1})
    for steps, name in re.findall(r"steps +([\d,]+) in (\w+), now", said):
        steps = int(steps.replace(",", ""))
        assert not still(changed(**{name: {"steps": steps, "sequences": steps * recipe.batch}}))
        longer = changed(**{name: {"steps": steps + 1, "sequences": (steps + 1) * recipe.batch}})
        assert problem(longer, pools_of(longer, rows))
    for name in re.findall(r"leave out the phase (\w+)", said):
        rest = changed(**{name: None})
        assert not still(rest)
    if found := re.search(r"ratio +(.+)", said):
        ratios: dict[str, dict] = {}
        for text in found[1].split("; "):
            pairs, name = text.rsplit(" in ", 1)
            ratios[name] = {c: number(v.strip('"'), "", "") for c, v in (p.split(" = ") for p in pairs.split(", "))}
        phases = {p.name: {"ratios": p.ratios | ratios[p.name]} for p in recipe.phases if p.name in ratios}
        again = changed(**phases)
        assert all(sum(p.ratios.values()) == 1 for p in again.phases) and not still(again)
    best = int(re.search(r"best achievable +([\d,]+) steps", said)[1].replace(",", ""))
    assert 0 <= best < sum(p.steps for p in recipe.phases)


def test_exact_writes_fractions_as_people_do():
    for text in ("0", "1", "0.12", "0.000001", "1/3", "22/7", "12.5", "-0.01"):
        assert exact(Fraction(text)) == text
    assert exact(Fraction("0.50")) == "0.5"


@settings(max_examples=300)
@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_exact_and_number_are_inverse(a, b):
    assert number(exact(Fraction(a, b)), "", "") == Fraction(a, b)


def test_a_trillion_tokens_plan_from_manifests_alone(tmp_path):
    """No pool file exists here: 10^12 tokens over 20,000 parts are planned from two manifests."""
    home = Home(tmp_path)
    for name, parts in (("web", 19_000), ("aligned", 1_000)):
        folder = home.folder("pools", f"{name}@1")
        folder.mkdir(parents=True)
        extra = {"tokenizer": SHA256, "vocab_size": 1016, "eot": 0, "sequence_length": 2048}
        extra["rows_per_part"] = [24_415] * parts
        files = [{"path": f"part-{i:05d}.parquet"} for i in range(parts)]
        made = Manifest("pools", name, "1", [], name * 4, {}, [], {}, {"sequences": 24_415 * parts}, extra, files)
        (folder / "manifest.json").write_text(made.to_json())
    phases = [("main", 470_000, "web = 0.99, aligned = 0.01"), ("anneal", 18_282, 'web = "2/3", aligned = "1/3"')]
    plan = plan_mix(write_recipe(tmp_path, POOLS, phases, sequence_length=2048, batch=1000), home)
    assert plan.recipe.sequences * 2048 > 10**12
    assert [r["planned"] for r in plan.rows()] == [4_700_000, 465_300_000, 6_094_000, 12_188_000]
    assert plan.pools["web"].order.block and plan.shards == 29_803
    assert plan.shard_seats(29_802)[-1] == plan.recipe.sequences - 1
