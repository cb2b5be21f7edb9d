"""Do the measures of diversity move as they should, and do limits stop what collapses and nothing else?"""

from __future__ import annotations

import functools
import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from duplicatekit import make_corpus, rows_of
from hypothesis import given
from hypothesis import strategies as st
from rewritekit import rewrite_row, write_rewrites

from flows.collapse import COLUMNS, FILE, Collapse, measure_rewrites, refuse_collapse
from leaven.errors import AnswerIsNo, UserError
from leaven.home import Home
from leaven.manifest import output
from leaven.recipe import Recipe, read_recipe
from microworld.telling import Teller
from microworld.world import web_text
from rewriters import variety
from rewriters.diversity import COUNTED, MEASURES, SAMPLED, Diversity
from rewriters.limits import LEAST_CANARIES, LEAST_TEXTS, judge, read_limits
from rewriters.requests import declared
from schemas.tables import CHECKS, REWRITES

KEYS = {"name": (str, "told"), "version": (str, "1"), "limits": (dict, {})}
FEW_WORDS = st.lists(st.sampled_from("abcde"), max_size=9).map(" ".join)


def microworld(count: int) -> list[str]:
    """English texts of MicroWorld."""
    teller = Teller(random.Random(0))
    told = (web_text(teller) for _ in itertools.count())
    return list(itertools.islice((t.text for t in told if t.language == "en"), count))


@pytest.fixture(scope="module")
def sources() -> list[str]:
    return microworld(600)


def coded(texts: list[str]) -> variety.Coded:
    return variety.code(texts, {})


def numbers(rows: list[dict], style: str | None = "plain@1") -> dict[str, float | None]:
    return {r["measure"]: r["number"] for r in rows if r["style"] == style}


# --------------------------------------------------------------------------------------------------- the measures


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_expected_types_is_the_mean_over_every_draw(counts, data):
    pool = [kind for kind, n in enumerate(counts) for _ in range(n)]
    drawn = data.draw(st.integers(1, len(pool)))
    draws = [len(set(d)) for d in itertools.combinations(pool, drawn)]
    made = variety.expected_types(variety.np.array(counts), drawn)
    assert made == pytest.approx(sum(draws) / len(draws))


def test_distinct_n_of_texts_whose_n_grams_are_known():
    varied = " ".join(f"w{i}" for i in range(4000))
    assert [variety.distinct(coded([varied]), n) for n in (1, 2, 3)] == pytest.approx([1, 1, 1])
    same = ["one word"] * 2000  # two words and one pair of words
    assert variety.distinct(coded(same), 1) == pytest.approx(2 / variety.DRAWN)
    assert variety.distinct(coded(same), 2) == pytest.approx(1 / variety.DRAWN)
    assert variety.distinct(coded(same), 3) is None, "no text has three words"
    assert variety.distinct(coded(["too few words"]), 1) is None


def test_no_n_gram_reaches_over_the_border_of_two_texts():
    gram, of = coded(["a b", "", "c a b", "c"]).grams(2)
    assert of.tolist() == [0, 2, 2]
    assert gram[0] == gram[2] != gram[1]
    assert coded(["a", "b", ""]).grams(4)[0].size == 0


def test_measures_of_one_corpus_hardly_depend_on_how_many_texts_are_taken(sources):
    few, many = coded(sources[:150]), coded(sources)
    for n in (1, 2, 3):
        assert variety.distinct(few, n) == pytest.approx(variety.distinct(many, n), abs=0.03)
    assert variety.self_bleu(few) == pytest.approx(variety.self_bleu(many), abs=0.03)
    assert variety.compression(sources[:150]) == pytest.approx(variety.compression(sources), rel=0.05)


def textbook_bleu(text: list[str], references: list[list[str]]) -> float:
    """BLEU-4 as Papineni et al. write it, smoothed by method 1 of Chen and Cherry."""

    def grams(words: list[str], n: int) -> Counter:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    log = 0.0
    for n in range(1, 5):
        mine = grams(text, n)
        matched = sum(min(c, max(grams(r, n)[g] for r in references)) for g, c in mine.items())
        if n == 1 and not matched:
            return 0.0
        log += math.log((matched or 0.1) / max(1, mine.total())) / 4
    closest = min((len(r) for r in references), key=lambda length: (abs(length - len(text)), length))
    penalty = 1.0 if len(text) > closest else math.exp(1 - closest / len(text))
    return penalty * math.exp(log)


@given(st.lists(FEW_WORDS, min_size=2, max_size=20), st.integers(2, 6))
def test_self_bleu_is_the_textbook_s(texts, size):
    split = [t.split() for t in texts]
    scores = []
    for first in range(0, len(split) // size * size, size):
        block = split[first : first + size]
        scores += [textbook_bleu(t, block[:i] + block[i + 1 :]) for i, t in enumerate(block)]
    expected = pytest.approx(sum(scores) / len(scores)) if scores else None
    assert variety.self_bleu(coded(texts), size) == expected


def test_self_bleu_of_equal_texts_is_one_of_strangers_nearly_none_and_of_few_not_there():
    assert variety.self_bleu(coded(["the same five words here"] * 50)) == pytest.approx(1)
    assert variety.self_bleu(coded([f"a{i} b{i} c{i} d{i}" for i in range(50)])) == 0
    assert variety.self_bleu(coded(["the same"] * 49)) is None


def test_compression_rises_with_repetition(sources):
    ratios = [variety.compression(sources[:kept] * (600 // kept)) or 0 for kept in (600, 60, 6, 1)]
    assert ratios == sorted(ratios) and ratios[-1] > 5 * ratios[0]
    assert variety.compression(["short"]) is None


def test_openings_and_closings_of_known_texts():
    texts = ["Here is the text", "here is, the page", "HERE IS", "", "A b c d"]
    opened = variety.phrases(coded(texts))
    assert sorted(opened.values()) == [1, 1, 2], "case and marks do not count, a text without a word not at all"
    assert variety.effective([2, 2, 2]) == pytest.approx(3)
    assert variety.effective([5]) == 1 and variety.effective([]) == 0
    assert variety.effective([9, 1]) == pytest.approx(math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1)))


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)} or ({tuple(words)} if words else set())


def is_near(a: str, b: str) -> bool:
    one, other = shingles(a), shingles(b)
    return bool(one | other) and 5 * len(one & other) >= 4 * len(one | other)


CUTS = st.tuples(
    st.integers(0, 4), st.integers(8, 30), st.sampled_from(["", " x", " x y z"])
)  # of one text, which go on
PIECES = CUTS.map(lambda cut: " ".join(f"w{i}" for i in range(*cut[:2])) + cut[2])


@given(st.lists(PIECES | st.lists(st.sampled_from("ab"), max_size=14).map(" ".join), max_size=25))
def test_near_duplicates_are_those_that_comparing_every_pair_finds(texts):
    near, example = variety.near_duplicates(coded(texts))
    expected = [any(is_near(t, o) for j, o in enumerate(texts) if j != i) for i, t in enumerate(texts)]
    assert near.tolist() == expected
    assert (example is not None) == any(expected)
    if example:
        assert is_near(*(texts[i] for i in example))


def test_edited_copies_raise_the_near_duplicate_share_to_a_known_value(sources):
    rng = random.Random(1)
    texts = [" ".join(rng.choices([f"w{i}" for i in range(5000)], k=100)) for _ in range(90)]
    copies = [" ".join([*t.split()[:-3], "new", "last", "words"]) for t in texts[:10]]  # Jaccard 93 / 99
    apart = [" ".join([*t.split()[:60], *["x"] * 40]) for t in texts[10:20]]  # 56 of some 136 in common
    near, _ = variety.near_duplicates(coded([*texts, *copies, *apart]))
    assert near[:10].all() and near[90:100].all() and not near[20:90].any() and not near[100:].any()


def test_the_tail_is_what_the_most_frequent_words_leave():
    vocabulary: dict[str, int] = {}
    source = variety.code(["a " * 80 + "b " * 10 + "c d e f g h i j k l"], vocabulary)
    other = variety.code(["a new z b"], vocabulary)
    rare = variety.tail(source, vocabulary)
    assert {w for w, i in vocabulary.items() if rare[i]} == set("cdefghijkl")
    assert rare[source.ids].mean() == pytest.approx(0.10)
    assert not rare[other.ids].any(), "a word that no source has is new, not rare"
    tied_words: dict[str, int] = {}
    tied = variety.code(["p q r s t u v w x y"], tied_words)
    assert [w for w, i in tied_words.items() if variety.tail(tied, tied_words)[i]] == ["y"]


def test_words_of_scripts_without_spaces_are_characters():
    assert variety.words("Don’t stop: 3 cafés, 我们走") == ["don’t", "stop", "3", "cafés", "我", "们", "走"]
    assert variety.words("cafe\u0301") == ["café"]


# ---------------------------------------------------------------------------------------------- samples and groups


def gather(rewrites: Sequence[tuple], size: int = 40) -> Diversity:
    made = Diversity(size)
    for style, source, text, id, segment in rewrites:
        made.count(style, "t", asked=1)
        made.add(style, "t", source, text, id, segment)
    return made


@given(st.randoms(use_true_random=False), st.integers(5, 60))
def test_any_order_of_adding_gives_the_same_rows(rng, size):
    many = [
        (f"s{i % 3}@1", f"a b source {i}", f"text {i % 7} of five more words {i % 11}", f"id{i}", i) for i in range(90)
    ]
    rows = gather(many, size).measures()
    again = many[:]
    rng.shuffle(again)
    assert gather(again, size).measures() == rows
    assert {(r["style"], r["teacher"]) for r in rows} == {*((f"s{i}@1", "t") for i in range(3)), (None, None)}
    assert [r["measure"] for r in rows if r["style"] is None] == list(MEASURES)


def test_a_sample_is_bounded_and_the_rows_say_of_how_many(sources):
    many = [("plain@1", s, s, f"id{i}", i) for i, s in enumerate(sources)]
    made = gather(many, 100)
    assert sum(len(s.heap) for s in made.samples.values()) == 100
    rows = made.measures()
    assert {(r["texts"], r["sampled"]) for r in rows if r["measure"] in SAMPLED} == {(600, 100)}
    assert made.added == 600
    larger = {k.id for k in gather(many, 200).samples["plain@1", "t"].kept}
    assert {k.id for k in made.samples["plain@1", "t"].kept} < larger


def test_rewrites_that_are_their_sources_measure_as_their_sources_do(sources):
    rows = gather([("plain@1", s, s, f"id{i}", i) for i, s in enumerate(sources)], 1000).measures(SAMPLED)
    for row in rows:
        expected = None if row["measure"] == "new_mass" else row["number"]
        assert row["source_number"] == pytest.approx(expected), row["measure"]


def test_two_samples_of_a_segment_count_its_source_once():
    twice = [
        ("plain@1", f"source number {i} stands here", f"text {i} {s}", f"{i} {s}", i) for i in range(30) for s in (0, 1)
    ]
    row = next(r for r in gather(twice, 100).measures(["near_duplicates"]) if r["style"])
    assert row["source_number"] == 0
    equal = [("plain@1", "two pages share this very segment", f"text {i}", f"{i}", i) for i in range(30)]
    row = next(r for r in gather(equal, 100).measures(["near_duplicates"]) if r["style"])
    assert row["source_number"] == 1


def test_net_new_documents_have_no_source_numbers(sources):
    rows = gather([("tale@1", "", s, f"id{i}", (None, None)) for i, s in enumerate(sources)], 1000).measures()
    assert {r["source_number"] for r in rows} == {None}
    known = numbers(rows, "tale@1")
    assert known["self_bleu"] and known["types"] and known["tail_mass"] is known["new_mass"] is None


def test_nothing_at_all_is_measured_as_nothing():
    assert Diversity().measures()[0]["number"] is None
    rows = gather([("plain@1", "…", "—", "id", 0)]).measures()
    assert {m: n for m, n in numbers(rows).items() if n} == {"accepted_share": 1.0}


# ------------------------------------------------------------------------------------------------ planted collapse

LIMITS = """
least_texts = 100
distinct_2 = { min_ratio = 0.9 }
self_bleu = { max_ratio = 1.1 }
compression = { max_ratio = 1.1 }
opening_share = { max = 0.1 }
closing_share = { max = 0.1 }
near_duplicates = { max = 0.05 }
tail_mass = { min_ratio = 0.7 }
new_mass = { max = 0.05 }
"""
SENTENCES = (
    "The {} did what was asked and {} was glad of it in the end.",
    "In {} there is an {} that nobody minds much at all.",
    "Once more {} and {} went on as before.",
)


def fine(source: str, rng: random.Random) -> str:
    """Another order of the sentences and some other words: what a faithful teacher does."""
    said = re.split(r"(?<=[.!?])\s+", source)
    turn = rng.randrange(len(said))
    other = {"the": "this", "was": "had been", "and": "as well as", "when": "once", "said": "stated"}
    words = " ".join(said[turn:] + said[:turn]).split()
    return " ".join(other.get(w, w) if rng.random() < 0.5 else w for w in words)


def templates(source: str, rng: random.Random) -> str:
    return " ".join(s.format(*rng.sample(source.split(), 2)) for s in rng.sample(SENTENCES, 3))


def drops_rare(source: str, rng: random.Random) -> str:
    """Most words stay; those outside the source's commonest become one of these."""
    known = common()
    return " ".join(
        w if re.sub(r"\W", "", w.lower()) in known else rng.choice(known) for w in fine(source, rng).split()
    )


def invents(source: str, rng: random.Random) -> str:
    return " ".join(w if rng.random() < 0.9 else f"zz{rng.randrange(10**6)}" for w in fine(source, rng).split())


def repeats(source: str, rng: random.Random) -> str:
    return fine(source, rng) if rng.random() < 0.9 else f"{rng.randrange(99)} {FOND_OF}"


@functools.cache
def common() -> list[str]:
    return [w for w, _ in Counter(variety.words(" ".join(microworld(600)))).most_common(250)]


FOND_OF = """One very long sentence of many words that the teacher is fond of and gives for an answer now and then
instead of saying again what the page had to say about its own people and what had come of them there."""
PLANTED: dict[str, tuple] = {
    "fine": (fine, set()),
    "opens alike": (lambda s, r: f"Here is the text. {fine(s, r)}", {"opening_share"}),
    "closes alike": (lambda s, r: f"{fine(s, r)} I hope this helps.", {"closing_share"}),
    "repeats itself": (repeats, {"near_duplicates"}),
    "few templates": (templates, {"distinct_2", "self_bleu", "compression", "closing_share"}),
    "drops rare words": (drops_rare, {"tail_mass"}),
    "invents words": (invents, {"new_mass"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_collapse_breaks_its_own_limits_and_no_others(planted, sources, tmp_path):
    teach, expected = PLANTED[planted]
    rng, made = random.Random(3), Diversity()
    for number, source in enumerate(sources):
        made.add("plain@1", planted, source, teach(source, rng), f"{planted} {number}", number)
    found = judge(limits(tmp_path, LIMITS), made.measures())
    assert all(f.passed is not None for f in found)
    for style in ("plain@1", None):
        assert {f.row["measure"] for f in found if f.passed is False and f.row["style"] == style} == expected


# ---------------------------------------------------------------------------------------------------------- limits


def recipe(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(f'name = "told"\nversion = "1"\n[limits]\n{text}')
    return read_recipe(path, KEYS)


def limits(folder: Path, text: str, **more):
    return read_limits(recipe(folder, text), **more)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("self_blue = { max = 0.5 }", "nothing called 'self_blue'", "did you mean 'self_bleu'?"),
        ("self_bleu = { maximum = 0.5 }", "no key 'maximum'", "max"),
        ("self_bleu = 0.5", "must be a table", "such as self_bleu = { max = 0.1 }"),
        ("self_bleu = {}", "must be a table", "sides: min, max"),
        ("self_bleu = { styles = ['plain'] }", "must be a table", ""),
        ("self_bleu = { max = '0.5' }", "must be a number", ""),
        ("self_bleu = { max = nan }", "must be a number", ""),
        ("self_bleu = { max = true }", "must be a number", ""),
        ("self_bleu = { max = -1 }", "no measure is below 0", ""),
        ("self_bleu = { min = 0.5, max = 0.4 }", "'min' of 'self_bleu' is above 'max'", ""),
        ("obeyed_share = { max_ratio = 1.5 }", "in ratio to its source", "obeyed_share = { max = ... }"),
        ("self_bleu = { max = 1, styles = ['plane'] }", "no style 'plane'", "did you mean 'plain'?"),
        ("self_bleu = { max = 1, styles = 'plain' }", "array of names", ""),
        ("least_texts = 0", "whole number of 1 or more", ""),
        ("least_canaries = 2.5", "whole number of 1 or more", ""),
    ],
)  # fmt: skip
def test_what_a_limit_may_not_say(text, says, hint, tmp_path):
    with pytest.raises(UserError) as error:
        limits(tmp_path, text, styles=["plain@1", "dialogue@2"])
    assert says in error.value.what and hint in str(error.value)
    assert str(error.value.where).startswith(f"{tmp_path}/recipe.toml:4 (limits.")


def test_net_new_documents_cannot_be_limited_by_sources(tmp_path):
    for text in ("compression = { max_ratio = 1.3 }", "tail_mass = { min = 0.05 }"):
        with pytest.raises(UserError, match="net-new documents have none"):
            limits(tmp_path, text, sources=False)
    assert limits(tmp_path, "compression = { max = 9 }", sources=False).measures == ("compression",)


def row(
    measure: str, number: float | None, source: float | None = None, texts: int = 500, style: str | None = "plain@1"
):
    return {"style": style, "teacher": style and "t", "measure": measure, "number": number, "source_number": source,
            "texts": texts, "sampled": texts, "words": 0, "detail": None}  # fmt: skip


def test_limits_are_bounds_themselves_allowed_and_too_little_is_not_judged(tmp_path):
    read = limits(tmp_path, "distinct_2 = { min = 0.3, min_ratio = 0.5 }\nobeyed_share = { max = 0.05 }")
    assert read.bounds[0].sides == {"min": Decimal("0.3"), "min_ratio": Decimal("0.5")}
    for measured, passed in (
        (row("distinct_2", 0.3, 0.6), True), (row("distinct_2", 0.29, 0.3), False),
        (row("distinct_2", 0.4, 0.9), False),
        (row("distinct_2", 0.4, 0.5, texts=99), None), (row("distinct_2", None, 0.5), None),
        (row("distinct_2", 0.4, None), None), (row("distinct_2", 0.2, None), False),
        (row("obeyed_share", 0.05, texts=20), True), (row("obeyed_share", 0.1, texts=20), False),
        (row("obeyed_share", 1.0, texts=19), None), (row("distinct_3", 0.0), "unlimited"),
    ):  # fmt: skip
        found = judge(read, [measured])
        assert (found[0].passed if found else "unlimited") == passed, measured
    assert "not judged: fewer than 100 texts" in str(judge(read, [row("distinct_2", 0.4, 0.5, texts=99)])[0])


def test_a_limit_may_be_of_some_styles_alone(tmp_path):
    read = limits(tmp_path, "opening_share = { max = 0.1, styles = ['plain', 'dialogue@2'] }")
    rows = [row("opening_share", 0.5, style=s) for s in ("plain@3", "dialogue@2", "dialogue@1", "qa@1", None)]
    assert [f.row["style"] for f in judge(read, rows)] == ["plain@3", "dialogue@2"]


# ------------------------------------------------------------------------------------------------------------ flow


def told(home: Home, sources: list[str], teach, said: dict | None = None, parts: int = 3):
    """(documents, parts of rewrites, parts of checks): each document a segment; every seventh rewrite is rejected."""
    split = [sources[i::parts] for i in range(parts)]
    documents = make_corpus(home, split)
    rng = random.Random(5)
    rewrites, checks = [], []
    for number in range(parts):
        rows, found = [], []
        for i, document in enumerate(rows_of(documents.folder, f"part-{number:05d}.parquet")):
            whole = document["text"]
            made = rewrite_row(
                teach(whole[10:], rng), document_id=document["id"], segment=0, start=10, end=len(whole),
                style="plain@1", teacher="t", accepted=i % 7 != 3, **(said or {}),
            )  # fmt: skip
            rows.append(made)
            blank = {"rewrite": made["id"], "limit": None, "passed": True, "detail": None}
            found += [blank | {"check": "length", "number": 1.0}]
            found += [blank | {"check": "canary", "number": float(i % 10 == 0)}] if i % 5 == 0 else []
        rewrites.append(rows)
        checks.append(found)
    return documents, rewrites, checks


def batches(part: list[dict], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"name": "told", "version": "1"} | r for r in part], schema)


def watching(folder: Path, text: str = "") -> Collapse:
    return Collapse(recipe(folder, text), ["plain@1"])


def test_reading_parts_and_seeing_batches_come_to_the_same(tmp_path, sources):
    home = Home(tmp_path)
    documents, rewrites, checks = told(home, sources[:300], fine)
    written = write_rewrites(home, rewrites, inputs=[documents.as_input()], checks=checks)
    rows = measure_rewrites(written.folder, documents.folder)
    shares = {r["measure"]: (r["number"], r["texts"]) for r in rows if r["measure"] in COUNTED and r["style"] is None}
    accepted = sum(r["accepted"] for part in rewrites for r in part)
    assert shares == {"accepted_share": (accepted / 300, 300), "obeyed_share": (0.5, 60)}
    assert {r["texts"] for r in rows if r["measure"] in SAMPLED} == {accepted}
    text = {d["id"]: d["text"] for d in rows_of(documents.folder)}

    resumed = watching(tmp_path)  # the second part was not whole when the run broke off
    resumed.read(written.folder, documents.folder, skip=[1])
    for at in range(0, 100, 30):
        mine = rewrites[1][at : at + 30]
        ids = {r["id"] for r in mine}
        resumed.see(batches(mine, REWRITES), batches([c for c in checks[1] if c["rewrite"] in ids], CHECKS),
                    [text[r["document_id"]][r["start"] : r["end"]] for r in mine])  # fmt: skip
    assert resumed.diversity.measures() == rows


def test_a_declaration_before_each_text_is_no_common_opening(tmp_path, sources):
    home = Home(tmp_path)
    documents, rewrites, _ = told(home, sources[:60], lambda s, r: declared(fine(s, r)), {"declared": True}, parts=1)
    written = write_rewrites(home, rewrites, inputs=[documents.as_input()])
    share = numbers(measure_rewrites(written.folder, documents.folder))["opening_share"]
    assert share and share < 0.1


def test_rewrites_in_another_order_than_their_documents_are_refused(tmp_path, sources):
    home = Home(tmp_path)
    documents, rewrites, _ = told(home, sources[:20], fine, parts=1)
    written = write_rewrites(home, [rewrites[0][::-1]], inputs=[documents.as_input()])
    with pytest.raises(RuntimeError, match="not in the order"):
        measure_rewrites(written.folder, documents.folder)


def test_a_collapsing_teacher_is_stopped_early_with_its_numbers(tmp_path, sources):
    _, rewrites, checks = told(Home(tmp_path), sources, lambda s, r: f"Sure, here is. {fine(s, r)}")
    watched = watching(tmp_path, "opening_share = { max = 0.1 }\nself_bleu = { max_ratio = 1.2 }")
    for at in range(0, 75, 25):
        watched.watch()  # fewer than 100 accepted texts: nothing is judged
        watched.see(batches(rewrites[0][at : at + 25], REWRITES), batches(checks[0][:0], CHECKS), sources[at : at + 25])
    watched.see(batches(rewrites[0][75:150], REWRITES), batches(checks[0][:0], CHECKS), sources[75:150])
    with pytest.raises(AnswerIsNo) as stopped:
        watched.watch()
    assert stopped.value.exit_code == 1
    assert stopped.value.what == "stopped before more was asked for: 2 of 4 limits on the rewrites are not kept"
    assert stopped.value.where == f"{tmp_path}/recipe.toml:4 (limits.opening_share)"
    line = stopped.value.numbers[0]
    assert re.fullmatch(r'plain@1 by t: opening_share 1, source 0\.0\d+, max 0\.1 \(129 texts\): "sure here is"', line)


def finished(folder: Path, home: Home, made: Collapse, said: list[str]):
    with output(folder, kind="rewrites", name="told", version="1", meaning={}) as out:
        made.finish(out, said.append)
    assert out.manifest
    return out.manifest


def test_whole_rewrites_keep_their_numbers_and_are_judged_by_today_s_limits(tmp_path, sources):
    home = Home(tmp_path)
    documents, rewrites, checks = told(home, sources[:300], fine)
    written = write_rewrites(home, rewrites, inputs=[documents.as_input()], checks=checks)
    made = watching(tmp_path, "obeyed_share = { max = 0.05 }\nself_bleu = { max = 0.9 }\nleast_texts = 200")
    made.read(written.folder, documents.folder)
    said: list[str] = []
    manifest = finished(home.folder("rewrites", "again@1"), home, made, said)
    stored = pq.read_table(manifest.folder / FILE).to_pylist()
    judged = {(r["style"], r["measure"]): (r["limit"], r["passed"]) for r in stored if r["limit"]}
    assert judged == {(s, m): (t, p) for s in ("plain@1", None) for m, t, p in
                      (("obeyed_share", "max 0.05", False), ("self_bleu", "max 0.9", True))}  # fmt: skip
    assert manifest.extra["limits_passed"] is False and len(manifest.extra["limits"]) == 4 and not said
    with pytest.raises(AnswerIsNo) as refused:
        refuse_collapse(made.limits, manifest)
    assert refused.value.numbers[0] == "plain@1 by t: obeyed_share 0.5, max 0.05 (60 texts)"
    refuse_collapse(limits(tmp_path, "obeyed_share = { max = 0.5 }"), manifest)
    refuse_collapse(limits(tmp_path, ""), manifest)

    few = watching(tmp_path, "self_bleu = { max = 0.1 }\nleast_texts = 301")
    few.read(written.folder, documents.folder)
    manifest = finished(home.folder("rewrites", "few@1"), home, few, said)
    assert manifest.extra["limits_passed"] is True
    assert said[0].startswith("2 of 2 limits were not judged; the first: plain@1 by t: self_bleu")
    assert "fewer than 301 texts" in said[0]


def test_every_column_that_is_read_is_of_rewrites():
    assert set(COLUMNS) <= set(REWRITES.names)


def test_the_page_s_limits_are_limits_and_it_names_every_measure(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "diversity.md").read_text("utf-8")
    block = re.search(r"```toml\n\[limits\].*?\n(.*?)```", page, re.DOTALL)
    assert block
    read = limits(tmp_path, block[1], styles=["plain@1"])
    assert len(read.bounds) == 8 and (read.least_texts, read.least_canaries) == (100, 20) == (
        LEAST_TEXTS,
        LEAST_CANARIES,
    )
    for measure in MEASURES:
        stem = re.sub(r"_[23]$", "", measure)
        assert f"`{stem}`" in page or f"`{measure}`" in page, measure
