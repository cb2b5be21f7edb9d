"""Can a pool take one document of each cluster, and does a cluster ever straddle the held-out share?"""

from __future__ import annotations

import json
import random
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest
from duplicatekit import make_corpus, rows_of
from small_home import WORDS, make_tokenizer

from flows.duplicates import find_duplicates
from leaven import catalog
from leaven.errors import DriftError, UserError
from leaven.home import Home
from mixes.heldout import is_heldout
from mixes.pools import build_pool
from mixes.select import decide
from schemas.views import refresh

FAMILIES, COPIES = 60, 3


def make_texts() -> list[str]:
    """Families of near-equal texts, in turn: text n is of family n mod FAMILIES; the longer, the later."""
    rng = random.Random(0)
    first = [[rng.choice(WORDS) + str(rng.randrange(30)) for _ in range(60)] for _ in range(FAMILIES)]
    return [" ".join(words + ["and more"] * n) for n in range(COPIES) for words in first]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    folder = tmp_path_factory.mktemp("pools")
    home, texts = Home(folder / "home"), make_texts()
    make_tokenizer(folder / "tokenizer.json")
    documents = make_corpus(home, [texts[:100], texts[100:]])
    make_corpus(home, [texts], name="unlooked")
    find_duplicates(documents, home)
    return home


def pool(home: Home, name: str, keep: dict[str, str], share: str, documents: str = "web@1", **more):
    lines = [f'name = "{name}"', 'version = "1"', f'documents = "{documents}"', 'tokenizer = "tokenizer.json"',
             f"sequence_length = 32\nheldout_share = {share}\n[keep]"]  # fmt: skip
    lines += [f"{k} = {json.dumps(v)}" for k, v in keep.items()]
    recipe = Path(home.path.parent, f"{name}.toml")
    recipe.write_text("\n".join(lines) + "\n")
    return build_pool(recipe, home, **more)


def decided(home: Home, sql: str) -> list[int]:
    kept = [k for d in decide(home, "web@1", {"c": sql}) for k in d.table.column("kept").to_pylist()]
    return [n for n, k in enumerate(kept) if k]


def test_one_of_each_cluster_is_kept(home):
    longest = list(range((COPIES - 1) * FAMILIES, COPIES * FAMILIES))
    assert decided(home, "is_representative('near')") == longest
    assert decided(home, "duplicate_of('near') is null") == longest
    assert decided(home, f"cluster_size('near') = {COPIES}") == list(range(COPIES * FAMILIES))
    assert decided(home, "is_representative('exact')") == list(range(COPIES * FAMILIES))
    assert decided(home, "is_representative('near') or cluster_jaccard('near') < 2") == list(range(COPIES * FAMILIES))


def test_another_choice_of_representative_is_a_query(home):
    shortest = """id in (select arg_min(c.document_id, d.chars) from duplicates c
                  join documents d on d.id = c.document_id where c.method = 'near' group by c.cluster)"""
    assert decided(home, shortest) == list(range(FAMILIES))


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("is_representative()", "takes a method"),
        ("is_representative('nearly')", "takes a method"),
        ("is_representativ('near')", "is_representative"),
        ("id in (select cluster('near') from documents)", "duplicates"),
    ],
)
def test_a_wrong_question_is_refused(home, sql, says):
    with pytest.raises(UserError, match=says):
        decided(home, sql)


def test_without_duplicates_the_condition_says_what_to_do(home):
    with pytest.raises(UserError, match="duplicates = true"):
        list(decide(home, "unlooked@1", {"c": "is_representative('near')"}))


def heldout_by_family(home: Home, pool_name: str) -> list[set[bool]]:
    rows = rows_of(home.folder("pools", f"{pool_name}@1"), "decisions-*.parquet")
    return [{rows[n]["heldout"] for n in range(f, COPIES * FAMILIES, FAMILIES)} for f in range(FAMILIES)]


def test_no_cluster_straddles_the_heldout_share(home):
    made = pool(home, "split", {"all": "chars > 0"}, "0.3")
    families = heldout_by_family(home, "split")
    assert all(len(f) == 1 for f in families) and {True, False} == set.union(*families)
    assert "duplicates" in {i["kind"] for m in made for i in m.inputs}
    assert made[0].counts["documents_heldout"] == COPIES * sum(f == {True} for f in families)
    near = [r for r in rows_of(home.folder("duplicates", "web@1"), "part-*.parquet") if r["method"] == "near"]
    decisions = rows_of(home.folder("pools", "split@1"), "decisions-*.parquet")
    assert [d["heldout"] for d in decisions] == [is_heldout(r["text_hash"], Fraction(3, 10)) for r in near]
    pool(home, "byhash", {"all": "chars > 0"}, "0.3", documents="unlooked@1")
    assert any(len(f) == 2 for f in heldout_by_family(home, "byhash"))  # what the clusters are for


def test_a_dry_run_counts_the_same_and_workers_change_nothing(home):
    dry = pool(home, "split", {"all": "chars > 0"}, "0.3", dry_run=True)[0]
    one = pool(home, "split", {"all": "chars > 0"}, "0.3")
    two = pool(home, "splittwo", {"all": "chars > 0"}, "0.3", workers=2)
    assert dry.counts["documents_heldout"] == one[0].counts["documents_heldout"] == two[0].counts["documents_heldout"]
    assert dry.fingerprint == one[0].fingerprint


def test_duplicates_found_later_are_drift_only_where_they_matter(tmp_path):
    home = Home(tmp_path / "home")
    make_tokenizer(tmp_path / "tokenizer.json")
    documents = make_corpus(home, [make_texts()])
    for name, share in (("whole", "0"), ("parted", "0.3")):
        pool(home, name, {"all": "chars > 0"}, share)
    find_duplicates(documents, home)
    pool(home, "whole", {"all": "chars > 0"}, "0")
    with pytest.raises(DriftError):
        pool(home, "parted", {"all": "chars > 0"}, "0.3")


def test_macros_count_and_show_the_copies(home):
    refresh(home)
    with catalog.connect(home) as con:
        rows = con.execute("FROM duplicate_counts('web@1')").fetchall()
        assert [r[:5] for r in rows] == [
            ("exact", COPIES * FAMILIES, COPIES * FAMILIES, 0, 0),
            ("near", COPIES * FAMILIES, FAMILIES, FAMILIES, (COPIES - 1) * FAMILIES),
            ("url", COPIES * FAMILIES, COPIES * FAMILIES, 0, 0),
        ]
        members = con.execute("FROM cluster_members('web@1', 'near') LIMIT 3").fetchall()
        assert len({m[0] for m in members}) == 1 and members[0][1] == COPIES
        assert con.execute("SELECT count(*) FROM repeated_paragraphs('web@1')").fetchall() == [(0,)]


def test_the_conditions_of_the_documentation_run(home):
    text = (Path(__file__).parents[1] / "docs" / "duplicates.md").read_text("utf-8")
    keep = tomllib.loads(text.split("```toml")[1].split("```")[0])["keep"]
    assert len(keep) >= 6
    kept = {name: len(decided(home, sql)) for name, sql in keep.items()}
    assert kept["one_of_a_kind"] == kept["earliest"] == FAMILIES
    assert kept["one_a_page"] == kept["not_spam"] == kept["fresh_text"] == COPIES * FAMILIES
