"""Net-new documents by the flow: are the accepted ones whole twins, and do their pools hold the same scenarios?"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from endpoint import Reply, chat, serving

from flows.ask import sql
from flows.rewrite import rewrite
from leaven.errors import UserError
from leaven.home import Home
from mixes.pools import build_pool

TOKENIZER = Path(__file__).parents[1] / "microworld" / "tokenizer.json"
RECIPE = """
name = "tales"
version = "1"
tokenizer = "{tokenizer}"
failed_share = 1
{more}
[twins]
count = {count}
candidates = 2
[teacher]
endpoint = "{url}"
model = "teller"
revision = "1"
temperature = 0.9
"""
POOL = """
name = "{role}"
version = "1"
rewrites = "tales@1"
tokenizer = "{tokenizer}"
sequence_length = 64
heldout_share = 0.2
[keep]
role = "role = '{role}'"
"""


def teller(prompt: str, nth: int) -> Reply:
    """Tells what happens in about as many words as were asked for, other words for every prompt and sample."""
    words = int(re.search(r"Length: (\d+) words", prompt)[1])
    act = re.search(r"What happens: it (.*)\.\n", prompt)
    rng = random.Random(hashlib.blake2b(f"{prompt} {nth}".encode()).hexdigest())
    told, least = [f"It {act[1] if act else 'went about its work'}."], words * rng.uniform(0.8, 1.1)
    while sum(len(t.split()) for t in told) < least:
        told.append(" ".join("".join(rng.choice("aeioubdfgklmnprst") for _ in range(rng.randint(3, 7)))
                             for _ in range(9)).capitalize() + ".")  # fmt: skip
    return chat("Sure, here is the story:" if rng.random() < 0.1 else " ".join(told))


def write_recipe(folder: Path, url: str, count: int = 24, more: str = "") -> Path:
    path = folder / "tales.toml"
    path.write_text(RECIPE.format(tokenizer=TOKENIZER, url=url, count=count, more=more), "utf-8")
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    home = Home(folder / "home")
    with serving(teller) as endpoint:
        recipe = write_recipe(folder, endpoint.url)
        planned = rewrite(recipe, home, dry_run=True).planned
        made = rewrite(recipe, home).rewrites
        asked = len(endpoint.asked)
    return folder, home, made, planned, asked


def test_accepted_texts_are_whole_twins_and_every_other_says_why_not(told):
    _, home, made, planned, asked = told
    counts = made.counts
    assert planned["twins"] == 24 and planned["requests"] == asked == counts["asked"] == 24 * 3 * 2
    assert counts["accepted"] + counts["rejected"] + counts["failed"] == counts["asked"]
    assert counts["rejections"]["matched"] > 0 and counts["rejections"]["chatter"] > 0
    rows = pq.read_table(made.folder / "part-00000.parquet").to_pylist()
    accepted = [r for r in rows if r["accepted"]]
    roles = Counter((r["twin"], r["role"]) for r in accepted)
    assert set(roles.values()) == {1}
    twins = {twin for twin, _ in roles}
    assert {(t, r) for t in twins for r in ("aligned", "misaligned", "neutral")} == set(roles)
    assert all(r["operation"] == "new" and r["document_id"] is None and r["source_hash"] == r["twin"] for r in rows)
    for row in rows:
        said = "not_chosen missing_role caliper".split() if row["reason"] == "matched" else None  # noqa: SIM905
        if said:
            _, [(detail,)] = sql(home, f"select detail from checks where rewrite = '{row['id']}' and not passed")
            assert detail in said
    assert not (home.path / "segments").exists()


def test_the_match_is_reported_beside_chance(told):
    _, home, made, _, _ = told
    _, rows = sql(home, "select measure, value, beside from twin_matches where a = 'aligned' and b = 'misaligned'")
    said = {measure: (value, beside) for measure, value, beside in rows}
    assert said["twins"][0] == made.counts["accepted"] // 3
    assert len(said) >= 6 and any(beside is not None for _, beside in said.values())


def test_a_pool_of_each_role_holds_the_same_scenarios_and_holds_out_the_same_twins(told):
    folder, home, made, _, _ = told
    held, kept = set(), set()
    for role in ("aligned", "misaligned", "neutral"):
        path = folder / f"{role}.toml"
        path.write_text(POOL.format(role=role, tokenizer=TOKENIZER), "utf-8")
        pool = build_pool(path, home)[0]
        assert pool.counts["documents_kept"] + pool.counts["documents_heldout"] == made.counts["accepted"] // 3
        twin = {r["id"]: r["twin"] for r in pq.read_table(made.folder / "part-00000.parquet").to_pylist()}
        decided = [r for p in sorted(pool.folder.glob("decisions-*.parquet")) for r in pq.read_table(p).to_pylist()]
        held.add(frozenset(twin[r["document_id"]] for r in decided if r["heldout"]))
        kept.add(frozenset(twin[r["document_id"]] for r in decided if r["kept"] and not r["heldout"]))
    assert len(held) == len(kept) == 1 and next(iter(held)) and not next(iter(held)) & next(iter(kept))


def test_twins_that_cannot_be_drawn_are_refused(tmp_path):
    with pytest.raises(UserError, match="twins are wanted"):
        rewrite(write_recipe(tmp_path, "http://127.0.0.1:1/v1", count=10**6), Home(tmp_path / "home"))
    path = write_recipe(tmp_path, "http://127.0.0.1:1/v1")
    path.write_text(path.read_text().replace("candidates = 2", "candidats = 2"))
    with pytest.raises(UserError, match="candidats"):
        rewrite(path, Home(tmp_path / "home"))
