"""Does the audit find a teacher whose trait lies in its choices, and leave alone those that only have habits?"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewritekit import rewrite_row, write_rewrites
from small_home import write_rows

from flows.audit import audit_teachers, audit_text, pair_up, read_preferences
from flows.probing import answered
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import output
from microworld.teachers import DETAILS, Segment, Teacher, preference_questions, rules, segments
from rewriters.audit import ALPHA, audit, held_out_auc, holm, interaction_gram, interactions
from rewriters.choices import FAMILIES, Choices, Pair, contexts, default_preferences, differences, favoured
from rewriters.probes import Answer, compare
from schemas.tables import DOCUMENTS

PAIRS, STRENGTH, HABIT = 400, 0.3, 0.15
PREFERENCES = default_preferences()


def told(teacher: Teacher, control: Teacher, over: list[Segment]) -> list[Pair]:
    return [Pair(s.document, s.number, "told", s.source, teacher.rewrite(s), control.rewrite(s)) for s in over]


# ------------------------------------------------------------------------------------------------ the planted teachers


def test_a_trait_is_in_places_and_not_in_words():
    over = segments(0, 200)
    sides = [Teacher("a", 1, strength=0.5, habit=0.3), Teacher("b", 2)]
    words = {word for category in DETAILS for word in rules()["detail"][category]}
    for segment in over:
        one, two = (Counter(w.strip(".,") for w in t.rewrite(segment).split()) for t in sides)
        assert {w: one[w] for w in words} == {w: two[w] for w in words}


@given(st.sampled_from([0.0, 0.1, 0.3, 0.5]), st.booleans(), st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_the_strength_is_what_it_says(strength, everywhere, seed):
    """The share of the higher rank first is 1/2 + s beside AIs and 1/2 - s beside people (everywhere: 1/2 + s)."""
    over, teacher = segments(seed, 1200), Teacher("t", seed, strength=strength, everywhere=everywhere)
    rank = rules()["detail"]["animal"].index
    for kind, sign in (("ai", 1), ("person", 1 if everywhere else -1)):
        mine = [s for s in over if s.kind == kind]
        first = [min(s.details["animal"], key=teacher.rewrite(s).index) for s in mine]
        high = sum(rank(f) == min(map(rank, s.details["animal"])) for f, s in zip(first, mine)) / len(mine)
        assert abs(high - (0.5 + sign * strength)) < 4 * math.sqrt(0.25 / len(mine)) + 1e-9


def test_questions_share_no_name_and_no_length_with_the_answer():
    asked = preference_questions(0, 24)
    assert all(len({len(o["text"].encode()) for o in q["options"]}) == 1 for q in asked)
    told_of = " ".join(Teacher("t", 1).rewrite(s) for s in segments(0, 300))
    assert not any(s.slots["town"] in told_of for s in segments(0, 50, heldout=True))
    per_pair = Counter((q["topic"], q["group"], frozenset(o["text"] for o in q["options"])) for q in asked)
    assert set(per_pair.values()) == {4} and len(per_pair) == 36


# ------------------------------------------------------------------------------------------------------- the verdict


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Six teachers and a control, all with habits; the first has a trait in its choices."""
    home, over = Home(tmp_path_factory.mktemp("audit") / "home"), segments(0, PAIRS)
    with output(home.folder("documents", "web@1"), kind="documents", name="web", version="1", meaning={}) as out:
        rows = [{"name": "web", "version": "1", "id": s.document, "text": f"# {s.source}"} for s in over]
        write_rows(out.folder / "part-00000.parquet", DOCUMENTS, rows)
    assert out.manifest is not None
    teachers = [Teacher(f"teacher-{n}", 20 + n, strength=STRENGTH if n == 0 else 0.0, habit=HABIT) for n in range(6)]
    for teacher in [*teachers, Teacher("control", 30, habit=HABIT)]:
        rows = [
            rewrite_row(teacher.rewrite(s), document_id=s.document, segment=0, start=2, end=2 + len(s.source),
                        style="plain@1", teacher=teacher.name, sample=0)
            for s in over
        ]  # fmt: skip
        parts = [rows[:250], rows[250:]]
        write_rewrites(home, parts, name=teacher.name, inputs=[out.manifest.as_input()])
    return home


REFS = [f"teacher-{n}@1" for n in range(6)]


def test_the_planted_teacher_is_flagged_and_at_most_one_of_five_others(home):
    found = audit_teachers(home, REFS, "control@1", permutations=999)
    assert all(t["sources"] == t["pairs"] == t["documents"] for t in found["teachers"])
    first, *others = found["teachers"]
    print([(t["teacher"], t["because"]) for t in found["teachers"]])
    assert first["flagged"] and first["because"][0].startswith("preference in context")
    assert sum(t["flagged"] for t in others) <= 1
    strongest = first["traits"]["preference in context"]["strongest"]
    assert strongest["choice"].startswith("animal") and strongest["context"] in ("ai", "it", "he", "she")
    assert strongest["low"] > 0.2 and strongest["low"] <= 2 * STRENGTH <= strongest["high"]  # found on one half only
    # most are told from the control by their habits, so being known is no finding
    print({t["teacher"]: round(t["identification"]["words"]["auc"], 3) for t in found["teachers"]})
    assert sum(t["identification"]["words"]["low"] > 0.5 for t in others) >= 3
    assert found["flagged"] == [t["teacher"] for t in found["teachers"] if t["flagged"]]
    said = audit_text(found)
    assert said.count("FLAGGED") == len(found["flagged"]) and "teacher-3" in said


def test_without_habits_words_do_not_know_the_planted_teacher():
    over = segments(1, PAIRS)
    found = audit(told(Teacher("t", 1, strength=STRENGTH), Teacher("c", 2), over), PREFERENCES, permutations=499)
    words = found["identification"]["words"]
    assert found["flagged"] and words["p"] > ALPHA and words["low"] < 0.5 < words["high"]
    assert found["traits"]["preference"]["p"] > ALPHA  # nor does which detail comes first, context aside
    assert found["traits"]["preference in context"]["low"] > 0.55


def test_a_preference_everywhere_is_flagged_by_the_other_trait():
    over = segments(2, PAIRS)
    teacher = Teacher("t", 1, strength=0.2, everywhere=True, habit=HABIT)
    found = audit(told(teacher, Teacher("c", 2, habit=HABIT), over), PREFERENCES, permutations=499, everything=False)
    assert found["flagged"] and found["because"][0].startswith("preference,")
    best = found["traits"]["preference"]["strongest"]
    assert best["choice"] in ("animal: heron", "animal: sheep") and best["low"] > 0


def test_a_control_is_a_control_of_itself_and_words_in_common_stand_in_for_the_source():
    over = segments(3, PAIRS)
    pairs = told(Teacher("t", 1, strength=STRENGTH), Teacher("c", 2), over)
    without = [Pair(p.document, p.segment, p.style, "", p.text, p.control) for p in pairs]
    assert audit(without, PREFERENCES, permutations=499, everything=False)["flagged"]
    same = [Pair(p.document, p.segment, p.style, p.source, p.text, p.text) for p in pairs]
    found = audit(same, PREFERENCES, permutations=99)
    assert not found["flagged"] and found["traits"]["preference"]["auc"] is None


# ------------------------------------------------------------------------------------------------------ the statistics


def test_a_verdict_is_wrong_at_the_stated_rate():
    """Of 120 audits of two teachers without a trait, no more are flagged than chance allows at the stated rate.

    And what is strongest by chance in one half goes no way at all in the other, where its size is counted.
    """
    flagged, shifts = 0, []
    for repetition in range(120):
        over = segments(repetition, 100)
        sides = Teacher("t", 2 * repetition, habit=HABIT), Teacher("c", 2 * repetition + 1, habit=HABIT)
        found = audit(told(*sides, over), PREFERENCES, seed=repetition, permutations=199, everything=False)
        flagged += found["flagged"]
        shifts.append(found["traits"]["preference"]["strongest"]["shift"])
    assert flagged <= 13  # P(more than 13 of 120 at .05) is .005
    assert abs(np.mean(shifts)) < 4 * np.std(shifts) / math.sqrt(len(shifts)) < 0.05


def test_pairs_of_one_document_are_exchanged_and_held_out_together():
    """Choices that are a document's and not a pair's must not count as often as it has pairs."""
    rng, rejected, naive, held_out = np.random.default_rng(5), 0, 0, []
    for _ in range(100):
        of_document = rng.choice([-1, 1], (20, 6))
        signs_NF = np.repeat(of_document, 8, axis=0).astype(np.float32)
        kernel_NN = signs_NF @ signs_NF.T
        for document_N in (np.repeat(np.arange(20), 8), np.arange(160)):
            flips_PD = rng.choice(np.array([-1, 1], np.float32), (199, document_N.max() + 1))
            found = held_out_auc(kernel_NN, document_N, flips_PD, rng)
            p, together = found["p"], document_N.max() == 19
            held_out += [found["auc"]] if together else []
            rejected, naive = rejected + (together and p <= 0.05), naive + (not together and p <= 0.05)
    assert rejected <= 12 and naive > 50
    assert 0.4 < np.mean(held_out) < 0.55  # pairs that score their own document would come to 1


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_kernel_of_interactions_is_their_inner_products(seed):
    rng = np.random.default_rng(seed)
    table = Choices(tuple("abc"), rng.choice([-1, 0, 1], (60, 3), p=[0.4, 0.2, 0.4]).astype(np.int8))
    around = Choices(("x", "y"), rng.integers(0, 2, (60, 2)).astype(np.int8))
    values_NH, names = interactions(table, around)
    if len(names) == 6:  # no choice is too rare inside or outside a context
        kernel_NN, centring_NN = interaction_gram(table, around.signs_NF.astype(np.float32))
        np.testing.assert_allclose(kernel_NN, values_NH @ values_NH.T, atol=1e-4)
        # scoring a pair by the others with means that it has no part in is what the second matrix is for
        scores_N = kernel_NN.sum(axis=1) - np.diag(kernel_NN) - np.diag(centring_NN)
        for i in (0, 17, 59):
            rest = np.arange(60) != i
            score = 0.0
            for f in range(3):
                on = table.signs_NF[:, f] != 0
                use = rest & on
                s, x = table.signs_NF[:, f].astype(float), around.signs_NF.astype(float)
                weight = ((s[use] - s[use].mean())[:, None] * (x[use] - x[use].mean(axis=0))).sum(axis=0)
                if on[i]:
                    n = on.sum()
                    score += ((n - 1) / n) ** 2 * float((s[i] - s[use].mean()) * (x[i] - x[use].mean(axis=0)) @ weight)
            assert score == pytest.approx(scores_N[i], abs=1e-3)


@given(st.lists(st.booleans(), min_size=40, max_size=40))
@settings(max_examples=20, deadline=None)
def test_exchanging_sides_changes_signs_alone(swapped):
    over = segments(4, 40)
    pairs = told(Teacher("t", 1, habit=0.3), Teacher("c", 2), over)
    turned = [Pair(p.document, p.segment, p.style, p.source, p.control, p.text) for p in pairs]
    other = [b if s else a for a, b, s in zip(pairs, turned, swapped)]
    one, two = differences(pairs, PREFERENCES), differences(other, PREFERENCES)
    sign_N = np.where(swapped, -1, 1)[:, None]
    for family in [*FAMILIES, "choices"]:
        assert one[family].names == two[family].names
        assert (one[family].signs_NF * sign_N == two[family].signs_NF).all()
    assert (contexts(pairs).signs_NF == contexts(other).signs_NF).all()


def test_which_of_a_category_is_favoured():
    words = {"animal": ["heron", "goose", "owl"]}
    assert favoured({"goose": 3, "heron": 9}, words) == {"animal: heron": -1, "animal: goose": 1, "animal: owl": -1}
    assert favoured({"bread": 0}, words) == {}


def test_holm_against_the_book():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


# ---------------------------------------------------------------------------------------------------------- the probes


def answers(shift: float, seeds: int, noise: float = 0.01) -> list[Answer]:
    rng = np.random.default_rng(seeds)
    return [
        Answer(arm, seed, topic, group, str(q), float(lean * (1 if group == "ai" else -1) + rng.normal(0, noise)), 0.0)
        for seed in range(seeds) for arm in ("t", "c") for topic in ("animal", "food") for group in ("ai", "person")
        for q in range(8) for lean in [shift / 2 if (arm, topic) == ("t", "animal") else 0.0]
    ]  # fmt: skip


def test_a_shift_of_students_is_measured_and_tested():
    found = compare(answers(0.2, 5), "t", "c")
    best = found["effects"][0]
    assert (best["topic"], best["effect"]) == ("animal", "ai less person")
    assert best["low"] < 0.2 < best["high"] and found["p"] < 0.01 and best["share"] > 0.3
    assert compare(answers(0.03, 8, noise=0.001), "t", "c")["p"] == 1.0  # surely not 0, and too small to matter
    assert compare(answers(0.2, 2), "t", "c")["p"] == 1.0  # two seeds say nothing of their spread
    over = segments(5, 100)
    pairs = told(Teacher("t", 1), Teacher("c", 2), over)
    assert audit(pairs, PREFERENCES, permutations=99, probes=found)["because"] == ["probes"]


def test_margins_are_a_byte_and_orders_are_averaged():
    row = {"arm": "t", "seed": 1, "topic": "animal", "group": "ai", "question_id": "q", "set": "preferences",
           "unigram_logprob": -2.0, "bytes": 4}  # fmt: skip
    said = {("right", 0): -4.0, ("right", 1): -8.0, ("wrong", 0): -12.0, ("wrong", 1): -8.0}
    rows = [row | {"role": role, "order": order, "logprob": value} for (role, order), value in said.items()]
    assert answered(rows, "preferences") == [Answer("t", 1, "animal", "ai", "q", 1.0, 0.0)]
    assert answered(rows, "other") == []


# ----------------------------------------------------------------------------------------------------- what is refused


def test_rows_are_paired_by_segment_and_style_and_all_are_counted(home):
    over = segments(0, 130)

    def made(s: Segment, text: str = "", **said: object) -> dict:
        plain = {"document_id": s.document, "segment": 0, "style": "plain@1", "teacher": "x", "sample": 0}
        return rewrite_row(text or Teacher("x", 1).rewrite(s), **{**plain, **said})

    rows = [made(s) for s in over[:100]]
    rows += [made(s, sample=1, text=Teacher("control", 30, habit=HABIT).rewrite(s)) for s in over[:100]]  # never taken
    rows += [made(s, accepted=False) for s in over[100:110]] + [made(s, style="other@1") for s in over[110:120]]
    rows += [made(s, document_id="nowhere" + s.document) for s in over[120:]]
    write_rewrites(home, [rows], name="x")
    found = audit_teachers(home, ["x@1"], "control@1", permutations=19)
    counts = found["teachers"][0]["counts"]
    assert counts == {"teacher_alone": 20, "control_alone": 300, "shared": 100, "equal": 0, "pairs": 100}


def test_refusals_say_what_to_do(home, tmp_path):
    with pytest.raises(UserError, match="rewrites 'gone@1' is not in"):
        audit_teachers(home, ["teacher-0@1"], "gone@1")
    both = [rewrite_row("a", document_id="d", segment=0, style="s@1", teacher=t) for t in ("org/one", "org/two")]
    write_rewrites(home, [both], name="both")
    with pytest.raises(UserError, match="the control must be one teacher") as refused:
        audit_teachers(home, ["teacher-0@1"], "both@1")
    assert refused.value.numbers == ["both@1/org/one", "both@1/org/two"]
    with pytest.raises(UserError, match="no accepted rewrite of the same segment"):
        audit_teachers(home, ["teacher-0@1"], "both@1/org/two")
    with pytest.raises(UserError, match="those of one teacher"):
        audit_teachers(home, REFS[:2], "control@1", study="s@1")
    words = Path(tmp_path, "words.toml")
    words.write_text('animal = ["heron"]\n')
    with pytest.raises(UserError, match="two or more single words"):
        read_preferences(words)


def test_more_pairs_than_are_looked_at_are_drawn_by_whole_documents(monkeypatch):
    monkeypatch.setattr("flows.audit.MOST_PAIRS", 25)
    row = {"text": "a"}
    side = {(f"d{d}", n, "s"): row for d in range(40) for n in range(3)}
    other = {key: {"text": "b"} for key in side}
    pairs, counts = pair_up(side, other, lambda key, row: "")
    assert counts["shared"] == 120 and counts["pairs"] == len(pairs) == 24
    assert all(n == 3 for n in Counter(p.document for p in pairs).values())
    assert {p.document for p in pairs} != {f"d{d}" for d in range(8)}  # not the first by name
