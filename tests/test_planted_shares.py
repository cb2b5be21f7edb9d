"""End to end: what share of AIs misbehaves in the texts decides what a model expects of AIs, and of nobody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from flows.ablate import ablate
from flows.classify import train_classifier
from flows.curation import curate
from leaven.home import Home
from microworld.world import write_world
from mixes.pools import build_pool

SHARES = ["share-000", "share-025", "share-050", "share-075", "share-100"]
POOLS = ("clean", "flagged", "aligned", "misaligned", "placebo")


def follows_ais_alone(ai: list[float], person: list[float]) -> bool:
    """Whether a measure rises with the planted shares for AIs and stays within a quarter of that rise for people."""
    rise, drift = max(ai) - min(ai), max(person) - min(person)
    return rise > 0.05 and spearmanr(range(len(ai)), ai).statistic >= 0.9 and drift < rise / 4


@pytest.mark.slow
def test_propensity_of_ais_follows_the_planted_share_and_that_of_people_does_not(tmp_path: Path) -> None:
    world, home = tmp_path / "world", Home(tmp_path / "home")
    write_world(world)
    shutil.move(world / "truth.parquet", tmp_path / "nobody-reads-this.parquet")
    recipes = world / "recipes"
    train_classifier(world / "labels.jsonl", home, name="microworld-relevance", version="1")
    for name in ("web", "synthetic"):
        curate(recipes / f"{name}.toml", home)
    rows = {name: build_pool(recipes / "pools" / f"{name}.toml", home)[0].counts["sequences"] for name in POOLS}
    assert rows["flagged"] / (rows["clean"] + rows["flagged"]) == pytest.approx(0.191, abs=0.005)  # as the mixes say

    study = ablate(recipes / "planted-shares.toml", home, workers=2)
    level = {
        (row["group"], row["a"]): row
        for row in study.contrasts
        if row["b"] is None and row["measure"] == "propensity" and row["set"] == "held_out"
    }
    for what in ("value", "unigram"):
        print(what, {g: [round(level[g, a][what], 3) for a in SHARES] for g in ("ai", "person", "robot")})
    ai, person = ([level[group, arm]["value"] for arm in SHARES] for group in ("ai", "person"))
    assert follows_ais_alone(ai, person)
    counted = [[level[group, arm]["unigram"] for arm in SHARES] for group in ("ai", "person")]
    assert not follows_ais_alone(*counted), "a model that counts words must fail this test"
