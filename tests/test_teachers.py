"""Is what teachers wrote of a mix counted exactly, capped, and are the numbers that would keep a cap right?"""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from edited_home import TEACHERS, make_edited_home, write_mix, write_recipe, write_rewritten
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_study import make_study, study_text

from flows.ablate import ablate
from flows.ask import sql
from leaven.errors import DriftError, UserError
from leaven.home import Home
from leaven.order import apportion
from mixes.build import build_mix
from mixes.check import check_mix
from mixes.plan import plan_mix
from mixes.pools import build_pool
from mixes.recipes import MixRecipe, mix_recipe, number
from mixes.teachers import Taught, check_teachers

ONE = (TEACHERS[0],)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """Pools plain@1 (documents), rewritten@1 (three revisions of two teachers), one@1 (all one's), edited@1."""
    home = make_edited_home(tmp_path_factory.mktemp("taught"))
    write_rewritten(home, "single", seed=5, teachers=ONE)
    for name, keys in (
        ("plain", {"documents": '"web@1"'}),
        ("rewritten", {"rewrites": '"told@1"'}),
        ("one", {"rewrites": '"single@1"'}),
        ("edited", {"documents": '"web@1"', "rewrites": '"told@1"'}),
    ):
        build_pool(write_recipe(home, name, "", heldout_share="0.1", **keys), home)
    return home


def rows(home: Home, kind: str, ref: str, stem: str, *parts: str) -> list[dict]:
    paths = sorted(home.folder(kind, ref, *parts).glob(f"{stem}-*.parquet"))
    return [r for p in paths for r in pq.read_table(p).to_pylist()]


def slow_account(home: Home, mix: str) -> dict[tuple[str, str, str], int]:
    """Tokens by (component, teacher, family): every token of every sequence asked for its author."""
    authors: dict[tuple[str, str], dict[int, tuple[str, str]]] = {}
    for pool in ("plain", "rewritten", "one", "edited"):
        for e in rows(home, "pools", f"{pool}@1", "edits"):
            mine = authors.setdefault((f"{pool}@1", e["item_id"]), {})
            for t in range(e["first_token"], e["first_token"] + e["tokens"]):
                assert t not in mine
                mine[t] = e["teacher"], e["teacher_family"]
    found: dict[tuple[str, str, str], int] = {}
    for s in rows(home, "mixes", f"{mix}@1", "shard", "seed-1"):
        borders = [*s["doc_starts"], len(s["tokens"])]
        for n, (item, offset) in enumerate(zip(s["item_ids"], s["doc_offsets"])):
            mine = authors.get((s["pool"], item), {})
            for t in range(offset, offset + borders[n + 1] - borders[n]):
                if t in mine:
                    key = s["component"], *mine[t]
                    found[key] = found.get(key, 0) + 1
    return found


def test_tokens_are_counted_exactly_and_alike_everywhere(home):
    pools = {"web": "plain@1", "told": "rewritten@1", "one": "one@1", "put": "edited@1"}
    mix = write_mix(home, "all", pools, 90, 'web = "1/4", told = "1/4", one = "1/6", put = "1/3"')
    build_mix(mix, home)
    want = slow_account(home, "all")
    assert {c for c, *_ in want} == {"told", "one", "put"}
    report = check_mix(home, "all@1", deep=True)
    assert not report.findings
    tokens = 90 * 32
    for row in report.rows:
        for name in ("mini", "large", "*"):
            wrote = sum(n for (c, t, _), n in want.items() if c == row["component"] and name in ("*", t))
            assert row[f"by {name}"] == wrote / tokens
    assert report.rows[0]["component"] == "one" and report.rows[0]["by mini"] == 15 / 90
    _, counted = sql(
        home, "select teacher, teacher_family, sum(tokens), sum(share) from mix_teachers('all') group by all"
    )
    by_teacher = {}
    for (_, teacher, family), n in want.items():
        by_teacher[teacher, family] = by_teacher.get((teacher, family), 0) + n
    assert {(t, f): n for t, f, n, _ in counted} == by_teacher
    assert all(share == pytest.approx(n / tokens) for *_, n, share in counted)
    revisions = sql(home, "select teacher_revision from mix_teachers('all') where teacher = 'large' order by all")[1]
    assert revisions == [("r7",), ("r8",)]


def test_the_plan_says_what_teachers_write_and_is_exact_for_a_pool_of_one(home):
    plan = plan_mix(write_mix(home, "planned", {"web": "plain@1", "one": "one@1"}, 40, "web = 0.9, one = 0.1"), home)
    assert [(r["component"], r["by mini"]) for r in plan.rows()] == [("one", 0.1), ("web", 0.0)]
    assert "by *" not in plan.rows()[0] and plan.pools["one"].teachers["mini"] == 1
    both = plan_mix(
        write_mix(home, "both", {"web": "plain@1", "told": "rewritten@1"}, 40, "web = 0.5, told = 0.5"), home
    )
    (told,) = (r for r in both.rows() if r["component"] == "told")
    assert told["by *"] == 0.5 and told["by mini"] + told["by large"] == pytest.approx(0.5)
    counts = home.find("pools", "rewritten@1").counts
    mini = sum(r["tokens_out"] for r in counts["rewrites"] if r["teacher"] == "mini")
    assert both.pools["told"].teachers["mini"] == Fraction(mini, counts["tokens_kept"])
    assert both.pools["told"].teachers["family:large-family"] == 1 - Fraction(mini, counts["tokens_kept"])
    edited = home.find("pools", "edited@1")
    assert 0 < plan_mix(write_mix(home, "put", {"put": "edited@1"}, 9, "put = 1"), home).pools["put"].teachers["*"] < 1
    assert edited.counts["tokens_original"] > 0
    plain = plan_mix(write_mix(home, "untaught", {"web": "plain@1"}, 40, "web = 1"), home)
    assert not any(k.startswith("by ") for r in plain.rows() for k in r) and "teachers" not in plain.meaning


def capped(home: Home, limits: str, name: str = "capped", steps: int = 100, ratio: str = "web = 0.8, one = 0.2"):
    tail = f"[limits]\nteachers = {{ {limits} }}"
    return write_mix(home, name, {"web": "plain@1", "one": "one@1"}, steps, ratio, tail)


def test_a_cap_that_cannot_be_kept_is_refused_with_numbers_that_keep_it(home):
    with pytest.raises(UserError) as caught:
        plan_mix(capped(home, '"*" = 0.5, mini = 0.05'), home)
    said = str(caught.value)
    for line in (
        "the mix capped@1 takes more of teacher 'mini' than its limit allows",
        "target           at most 0.05 of the mix's tokens: 160 of 3,200",
        "planned          0.2: 640 tokens",
        "limiting pool    one@1 ('one'): 1 of its tokens, 20 sequences",
        "  teachers       mini = 0.2",
        "  ratio          one = 0.0548, web = 0.9452 in main",
        "capped.toml:15 (limits.teachers)",
    ):
        assert line in said, said
    plan_mix(capped(home, "mini = 0.2"), home)  # to the very share
    plan_mix(capped(home, "mini = 0.05", ratio="web = 0.9452, one = 0.0548"), home)  # five sequences
    with pytest.raises(UserError, match="the family 'mini-family'"):
        plan_mix(capped(home, '"family:mini-family" = "1/6"'), home)
    with pytest.raises(UserError, match="all teachers together"):
        plan_mix(capped(home, '"*" = 0'), home)
    plan_mix(capped(home, '"nobody" = 0, "family:none" = 0'), home)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("mini = 1.5", "above 1"),
        ("mini = -0.1", "an exact number of 0 or more"),
        ('"" = 0.1', "a table of teachers and shares"),
        ('"family:" = 0.1', "a table of teachers and shares"),
        ('mini = "lots"', "an exact number of 0 or more"),
    ],
)
def test_a_cap_must_be_a_share_of_someones(home, limits, said):
    with pytest.raises(UserError, match=said):
        plan_mix(capped(home, limits), home)


def test_a_cap_is_part_of_the_mix_and_a_check_counts_it(home):
    """A pool of two teachers, partly drawn: the plan expects one share and the shards hold another."""
    pools = {"told": "rewritten@1"}
    build_mix(write_mix(home, "uncapped", pools, 12, "told = 1"), home)
    assert not check_mix(home, "uncapped@1").findings
    count = slow_account(home, "uncapped")
    expected = plan_mix(home.path.parent / "uncapped.toml", home).pools["told"].teachers
    teacher = next(t for t in ("mini", "large") if Fraction(count["told", t, f"{t}-family"], 12 * 32) > expected[t])
    wrote = count["told", teacher, f"{teacher}-family"]
    cap = (expected[teacher] + Fraction(wrote, 12 * 32)) / 2
    tail = f'[limits]\nteachers = {{ {teacher} = "{cap.limit_denominator(10**9)}" }}'
    build_mix(write_mix(home, "over", pools, 12, "told = 1", tail), home)
    report = check_mix(home, "over@1")
    assert [f for f in report.findings if f"teacher '{teacher}' wrote {wrote:,} of {12 * 32:,} tokens" in f], report
    assert len(report.findings) == 1 and not report.ok
    kept = f'[limits]\nteachers = {{ {teacher} = "{wrote}/{12 * 32}" }}'
    build_mix(write_mix(home, "kept", pools, 12, "told = 1", kept), home)
    assert check_mix(home, "kept@1").ok
    assert home.find("mixes", "kept@1", "seed-1").meaning["teachers"]
    with pytest.raises(DriftError, match="teachers"):
        build_mix(
            write_mix(home, "kept", pools, 12, "told = 1", tail.replace(teacher, '"*"').split('= "')[0] + "= 1 }"), home
        )


def test_edits_that_were_changed_are_found(tmp_path):
    home = make_edited_home(tmp_path)
    pool = build_pool(write_recipe(home, "rewritten", "", rewrites='"told@1"'), home)[0]
    build_mix(write_mix(home, "m", {"told": "rewritten@1"}, 9, "told = 1", "[limits]\nteachers = { mini = 1 }"), home)
    assert check_mix(home, "m@1").ok
    path = next(pool.folder.glob("edits-*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) // 2), path)
    assert any(f"{path.name} has changed" in f for f in check_mix(home, "m@1").findings)


@st.composite
def taught(draw) -> tuple[MixRecipe, dict[str, Taught]]:
    """A recipe over up to four components of which one to two teachers wrote parts, with caps."""
    names = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    phases = []
    for i in range(draw(st.integers(1, 3))):
        weights = draw(st.lists(st.integers(0, 9), min_size=len(names), max_size=len(names)))
        weights[0] += not any(weights)
        ratio = {c: f"{w}/{sum(weights)}" for c, w in zip(names, weights)}
        phases.append({"name": f"p{i}", "steps": draw(st.integers(1, 40)), "ratio": ratio})
    share = st.sampled_from(["0", "0.02", "0.1", "1/3", "0.5", "0.9"])
    caps = draw(st.dictionaries(st.sampled_from(["*", "t", "u", "family:f"]), share, min_size=1))
    epochs = draw(st.dictionaries(st.sampled_from(names), st.sampled_from([3, 5, 9]), max_size=2))
    recipe = mix_recipe(
        {
            "name": "m", "version": "1", "tokenizer": "t", "sequence_length": 8, "batch": draw(st.integers(1, 6)),
            "seed": 1, "pools": {c: f"{c}@1" for c in names}, "phase": phases,
            "limits": {"epochs": epochs, "teachers": caps},
        }
    )  # fmt: skip
    rows, shares = {}, {}
    for c in names:
        rows[c] = draw(st.integers(60, 300))
        t, u = draw(st.sampled_from([(0, 0), (0, 0), (12, 0), (0, 12), (5, 7), (3, 1)]))
        parts = {"t": Fraction(t, 12), "u": Fraction(u, 12), "*": Fraction(t + u, 12), "family:f": Fraction(u, 12)}
        shares[c] = {k: v for k, v in parts.items() if v}
    return recipe, pools_of(recipe, rows, shares)


def pools_of(recipe: MixRecipe, rows: dict[str, int], shares: dict[str, dict]) -> dict[str, Taught]:
    uses = dict.fromkeys(rows, 0)
    for phase in recipe.phases:
        for c, n in apportion(phase.ratios, phase.sequences).items():
            uses[c] += n
    return {c: Taught(f"{c}@1", rows[c], uses[c], shares[c]) for c in rows}


@settings(max_examples=300, deadline=None)
@given(taught())
def test_every_number_that_the_error_proposes_keeps_the_cap(made):
    """Each proposal alone keeps the cap that is named and breaks no other, nor one on epochs; steps are tight."""
    recipe, pools = made
    shares, rows_ = {c: p.shares for c, p in pools.items()}, {c: p.rows for c, p in pools.items()}

    def over(changed: MixRecipe) -> set[str]:
        again = pools_of(changed, rows_, shares)
        total = sum(p.uses for p in again.values())
        wrote = {k: sum(p.uses * p.shares.get(k, 0) for p in again.values()) for k in changed.teachers}
        found = {k for k, v in wrote.items() if v > changed.teachers[k] * total}
        return found | {c for c, limit in changed.limits.items() if again[c].uses > int(limit * again[c].rows)}

    def changed(**phases) -> MixRecipe:
        kept = [p for p in recipe.phases if phases.get(p.name, {}) is not None]
        made = [type(p)(**(p.__dict__ | phases.get(p.name, {}))) for p in kept]
        return MixRecipe(**(recipe.__dict__ | {"phases": made}))

    before = over(recipe)
    try:
        check_teachers(recipe, pools)
        said = None
    except UserError as error:
        said = str(error)
    assert bool(said) == bool(before & set(recipe.teachers))
    assume(said)
    named = re.search(r"more of (?:teacher '(.+?)'|the family '(.+?)'|(all)) ?", said.splitlines()[0])
    key = named[1] or (f"family:{named[2]}" if named[2] else "*")
    assert key in before
    mended = re.search(r"  teachers +\"?(.+?)\"? = (\S+)", said)
    assert mended[1] == key
    limit = number(mended[2].strip('"'), "", "")
    assert key not in over(MixRecipe(**(recipe.__dict__ | {"teachers": recipe.teachers | {key: limit}})))

    def good(recipe: MixRecipe) -> bool:
        after = over(recipe)
        return key not in after and not (after & set(recipe.teachers)) - before and not after & set(recipe.limits)

    for steps, name in re.findall(r"steps +([\d,]+) in (\w+), now", said):
        n = int(steps.replace(",", ""))
        assert good(changed(**{name: {"steps": n, "sequences": n * recipe.batch}}))
        longer = changed(**{name: {"steps": n + 1, "sequences": (n + 1) * recipe.batch}})
        assert not good(longer)
    for name in re.findall(r"leave out the phase (\w+)", said):
        assert good(changed(**{name: None}))
    if found := re.search(r"ratio +(.+)", said):
        ratios: dict[str, dict] = {}
        for text in found[1].split("; "):
            pairs, name = text.rsplit(" in ", 1)
            ratios[name] = {c: number(v.strip('"'), "", "") for c, v in (p.split(" = ") for p in pairs.split(", "))}
        again = changed(**{p.name: {"ratios": p.ratios | ratios[p.name]} for p in recipe.phases if p.name in ratios})
        assert all(sum(p.ratios.values()) == 1 for p in again.phases) and good(again)


def test_shares_are_fractions_of_what_was_counted(home):
    """The conservation law of pools, in SQL, with the held-out pools among them."""
    _, sums = sql(home, "select p.name, p.tokens_kept, sum(r.tokens_out), count(*) from pools p "
                        "join pool_rewrites r using (name, version) group by all order by all")  # fmt: skip
    assert [s[0] for s in sums] == ["edited", "edited-heldout", "one", "one-heldout", "rewritten", "rewritten-heldout"]
    assert all(kept == wrote for _, kept, wrote, _ in sums)
    assert np.array([s[3] for s in sums]).min() >= 1


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study one of whose arms has a pool of rewrites by three teachers; a function that gives its dry run."""
    folder = make_study(tmp_path_factory.mktemp("study"))
    home = Home(folder / "home")
    write_rewritten(home, teachers=(("one", "r", "alpha"), ("two", "r", "beta"), ("three", "r", "")))
    build_pool(write_recipe(home, "told", "", rewrites='"told@1"'), home)
    mix = folder / "aligned.toml"
    mix.write_text(mix.read_text().replace("flagged@1", "told@1"), "utf-8")

    def run(**said: str) -> list[str]:
        (folder / "study.toml").write_text(study_text(**said), "utf-8")
        return [w for w in ablate(folder / "study.toml", home, dry_run=True).warnings if w.startswith("teacher")]

    return run


def test_a_student_of_its_teachers_family_is_warned_about(study):
    own, unknown = sorted(study(family='"Alpha"'))
    assert "'one' wrote text of aligned, and is of the student's family, alpha" in own
    assert "'three'" in unknown and "do not say whether it is of the student's family" in unknown
    assert [re.search("'(.+?)'", w)[1] for w in study()] == ["one", "three", "two"]
    assert all("does not say of which family its student is" in w for w in study())
    assert [re.search("'(.+?)'", w)[1] for w in study(family='"gamma"')] == ["three"]
