"""Does the policy `rewrite` take a pool of rewrites of the removed text, counted like `approved`, and no other pool?"""

from __future__ import annotations

import pytest
from edited_home import documents, make_edited_home, rewrites_of, write_mix, write_recipe
from rewritekit import rewrite_row, write_rewrites

from flows.ask import sql
from leaven.errors import UserError
from leaven.home import Home
from mixes.build import build_mix
from mixes.check import check_mix
from mixes.plan import plan_mix
from mixes.pools import build_pool

FLAGGED = '[keep]\nflagged = "blocklist_flag()"'
CLEAN = '[keep]\nclean = "not blocklist_flag()"'
HELD = "0.2"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """Pools clean@1 and flagged@1; told@1 of rewrites of all documents, and others of the flagged ones alone."""
    home = make_edited_home(tmp_path_factory.mktemp("replaced"))
    for name, body in (("clean", CLEAN), ("flagged", FLAGGED)):
        build_pool(write_recipe(home, name, body, documents='"web@1"', heldout_share=HELD), home)
    flagged = dict(sql(home, "select document_id, heldout from decisions where name = 'flagged' and kept")[1])
    mine = [[d for d in part if d["id"] in flagged] for part in documents(home)]
    inputs = [home.find("documents", "web@1").as_input()]
    write_rewrites(home, rewrites_of(mine, accepted=0.9)[0], "of-flagged", inputs=inputs)
    write_rewrites(home, [[rewrite_row(f"a new text {i}", operation="new") for i in range(40)]], "news")
    for name, refs, share in (
        ("rewritten", '"of-flagged@1"', HELD),
        ("leaky", '"of-flagged@1"', "0"),
        ("told", '"told@1"', HELD),
        ("new", '"news@1"', "0"),
    ):
        build_pool(write_recipe(home, name, "", rewrites=refs, heldout_share=share), home)
    build_pool(write_recipe(home, "put", FLAGGED, documents='"web@1"', rewrites='"of-flagged@1"'), home)
    return home


def mix(home: Home, name: str, pool: str, policy: str = "rewrite"):
    pools = {"clean": "clean@1", "flagged": "flagged@1", "stands": f"{pool}@1"}
    tail = f'[replace]\nflagged = {{ policy = "{policy}", pool = "stands", epochs = 3 }}'
    return write_mix(home, name, pools, 60, "clean = 0.7, flagged = 0.3", tail)


def test_rewrites_of_the_removed_text_stand_in_for_it(home):
    plan = plan_mix(mix(home, "rewriting", "rewritten"), home)
    approved = plan_mix(mix(home, "approving", "rewritten", "approved"), home)
    assert plan.counts == approved.counts and plan.counts[0]["stands"] == 18
    assert [r["replaced"] for r in plan.rows()] == [0, -18, 18]
    assert plan.meaning["replace"] == {"flagged": {"policy": "rewrite", "pool": "stands", "epochs": "3"}}
    build_mix(home.path.parent / "rewriting.toml", home)
    assert check_mix(home, "rewriting@1", deep=True).ok
    _, made_of = sql(home, "select distinct d.kept from shards s, unnest(s.item_ids) as t(item) "
                           "join edits e on e.item_id = item and e.name = 'rewritten' "
                           "join decisions d on d.document_id = e.document_id and d.name = 'flagged' "
                           "where s.mix = 'rewriting' and s.component = 'stands'")  # fmt: skip
    assert made_of == [(True,)]


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("put", ["needs a pool of rewrites", "put@1 ('stands') is made of documents"]),
        ("told", ["not all of it was rewritten from that", "made from other documents"]),
        ("new", ["40 rewrites in new@1", "0 made from documents that flagged@1 holds", "40 made from no document"]),
        ("leaky", ["made from documents that are held out of flagged@1", "one heldout_share"]),
    ],
)
def test_any_other_pool_is_refused_with_what_was_found(home, pool, said):
    with pytest.raises(UserError) as caught:
        plan_mix(mix(home, "refused", pool), home)
    assert all(s in str(caught.value) for s in said), str(caught.value)
    assert "(replace.flagged)" in str(caught.value)
    plan_mix(mix(home, "approving", pool, "approved"), home)


def test_what_was_found_adds_up(home):
    with pytest.raises(UserError) as caught:
        plan_mix(mix(home, "refused", "told"), home)
    whole, *parts = (int(line.split()[0].replace(",", "")) for line in caught.value.numbers)
    assert whole == sum(parts) > parts[0] > 0


def test_the_policy_needs_a_pool(home):
    path = write_mix(home, "bare", {"clean": "clean@1", "flagged": "flagged@1"}, 9, "clean = 0.5, flagged = 0.5",
                     '[replace]\nflagged = "rewrite"')  # fmt: skip
    with pytest.raises(UserError, match="the policy 'rewrite' needs the pool that stands in"):
        plan_mix(path, home)
