"""Do the questions of docs/questions.md run as they stand, and are the tables of docs/tables.md today's?"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from edited_home import documents, rewrites_of, write_mix, write_recipe
from goldkit import relevance_and_stance
from rewritekit import write_rewrites
from small_home import make_study

from leaven import catalog
from leaven.home import Home
from mixes.build import build_mix
from mixes.pools import build_pool
from schemas import views
from schemas.built import BUILT
from schemas.document import PATH, document
from schemas.tables import TABLES

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "questions.md").read_text("utf-8")
QUESTIONS = [
    (heading.splitlines()[0], query)
    for heading in TEXT.split("\n## ")[1:]
    for query in re.findall(r"```sql\n(.*?)```", heading, re.DOTALL)
]


@pytest.fixture(scope="module")
def con(small_world, tmp_path_factory):
    """MicroWorld's pages as the command line curated them, two of its mixes, and a study's results made up."""
    from flows.curation import STANCE
    from flows.score import score

    home = Home(tmp_path_factory.mktemp("asked") / "home")
    shutil.copytree(small_world.home, home.path)
    mixes = {
        name: build_mix(small_world.recipes / "mixes" / f"{name}.toml", home, seed=1)
        for name in ("untouched", "filtered")
    }
    rewrite_and_mix(home, small_world.world / "tokenizer.json")
    make_study(home, mixes, name="five-arms")
    search_for_questions(home, mixes["untouched"].folder)
    _, act, portrayal = relevance_and_stance(home.path.parent, home)
    folders = json.dumps({"act": str(act.folder), "portrayal": str(portrayal.folder)})
    score(home.find("documents", "web@1"), home, scorers="flows.cascade:NONE", extra=((STANCE, folders),))
    views.refresh(home)
    with catalog.connect(home) as con:
        yield con


def rewrite_and_mix(home: Home, tokenizer: Path) -> None:
    """Rewrites plain@1 of the flagged pages, made up; a pool of the accepted ones, and a mix in which they stand in."""
    shutil.copy(tokenizer, home.path.parent / "tokenizer.json")
    flagged = home.find("pools", "flagged@1").folder
    held = [r for p in sorted(flagged.glob("decisions-*")) for r in pq.read_table(p).to_pylist() if r["kept"]]
    kept = {r["document_id"] for r in held}
    parts = [[d for d in part if d["id"] in kept] for part in documents(home)]
    rows, checks = rewrites_of(parts, segments=(200, 600), operations=("replace",))
    write_rewrites(home, rows, "plain", inputs=[home.find("documents", "web@1").as_input()], checks=checks)
    told = {"rewrites": '"plain@1"', "sequence_length": "128", "heldout_share": "0.04"}
    build_pool(write_recipe(home, "rewritten", "", **told), home)
    pools = {"clean": "clean@1", "flagged": "flagged@1", "rewritten": "rewritten@1"}
    tail = '[replace]\nflagged = { policy = "rewrite", pool = "rewritten" }'
    recipe = write_mix(home, "rewritten", pools, 40, "clean = 0.9, flagged = 0.1", tail)
    recipe.write_text(recipe.read_text("utf-8").replace("sequence_length = 32", "sequence_length = 128"), "utf-8")
    build_mix(recipe, home)


def search_for_questions(home: Home, mix: Path) -> None:
    """Search the documents for the study's questions, of which q0 is the beginning of a text that the mix holds."""
    from contamination_kit import sentence, write_items

    from flows.contamination import contamination_scorers
    from flows.score import score

    held = pq.read_table(next(mix.glob("shard-*.parquet")), columns=["item_ids"])["item_ids"][0][0].as_py()
    documents = home.find("documents", "web@1")
    [text] = (
        t for part in documents.folder.glob("part-*.parquet")
        for i, t in zip(*(pq.read_table(part)[c].to_pylist() for c in ("id", "text"))) if i == held
    )  # fmt: skip
    asked = [" ".join(text.split()[:20]), *(sentence(20, i) for i in range(1, 5))]
    rows = [{"id": f"q{i}", "set": "frames", "prompt": a, "options": []} for i, a in enumerate(asked)]
    write_items(home.path / "frames.jsonl", rows)
    score(documents, home, extra=contamination_scorers([str(home.path / "frames.jsonl")], home))


def test_there_are_enough_of_them():
    assert set(CHECKS) <= {heading for heading, _ in QUESTIONS}
    assert len({heading for heading, _ in QUESTIONS}) >= 10
    assert TEXT.count("```sql") == len(QUESTIONS)


@pytest.mark.parametrize(("heading", "query"), QUESTIONS)
def test_a_question_has_an_answer(con, heading, query):
    done = con.execute(query)
    rows = done.fetchall()
    assert rows, heading
    by_name = [dict(zip([c[0] for c in done.description], row)) for row in rows]
    if check := CHECKS.get(heading):
        assert check(by_name), by_name


CHECKS = {  # what the answer must be, where the question settles it
    "Are two arms paired?": lambda rows: rows[0]["different"] == 0 < rows[0]["uses_compared"],
    "Did held-out text reach a mix?": lambda rows: rows[0]["in_the_mix"] == 0 < rows[0]["heldout_texts"],
    "Which evaluation items does a mix hold?": lambda rows: (
        {(r["stratum"], r["items"]) for r in rows} == {("clean", 4), ("matched", 1)}
    ),
    "Where does a mix hold them?": lambda rows: {r["item_id"] for r in rows} == {"q0"},
    "Do scores differ where the mix holds the question?": lambda rows: (
        {(r["arm"], r["stratum"], r["questions"]) for r in rows} >= {("untouched", "matched", 1)}
    ),
    "Who wrote how much of a pool?": lambda rows: len(rows) == 3 and all(r["adds_up"] for r in rows),
    "How much of a mix did a teacher write?": lambda rows: 0 < sum(r["share"] for r in rows) <= 0.1,
    "What does a mix hold?": lambda rows: all(r["planned"] == r["written"] for r in rows),
    "How much would another rule of the blocklist flag?": lambda rows: all(
        r["documents"] <= rows[0]["documents"] > 0 for r in rows
    ),
    "How much of a corpus is copies?": lambda rows: all(
        r["kept"] + r["redundant"] == r["documents"] > r["redundant"] for r in rows
    ),
    "What stands in one seat, and where did it come from?": lambda rows: sum(r["tokens"] for r in rows) == 128,
}


def test_every_macro_is_among_them_or_used_by_one():
    made = re.findall(r"^CREATE MACRO (\w+)", (ROOT / "schemas" / "macros.sql").read_text("utf-8"), re.MULTILINE)
    helpers = {"ref_name", "ref_version", "newest_version", "term_removals", "wilson_low", "wilson_high"}
    assert [m for m in made if m not in helpers and f"{m}(" not in TEXT] == []


def test_the_page_of_tables_is_current():
    assert (ROOT / PATH).read_text("utf-8") == document(), "python -m schemas.document writes it anew"


def test_the_page_has_every_table_column_and_macro():
    page = (ROOT / PATH).read_text("utf-8")
    for name, schema in {**TABLES, **BUILT, "shards": views.SHARD_SCHEMA}.items():
        assert f"## {name}\n" in page
        for column in schema:
            about = column.metadata[b"about"].decode()
            assert f"| `{column.name}` |" in page and about.removesuffix(", or null.").rstrip(".") in page


def test_every_column_has_a_sentence():
    for name, schema in {**TABLES, **BUILT, "shards": views.SHARD_SCHEMA}.items():
        assert schema.metadata[b"about"].endswith(b"."), name
        for column in schema:
            assert column.metadata[b"about"].endswith(b"."), f"{name}.{column.name}"
