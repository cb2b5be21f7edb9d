"""Real text about AI through `transformers serve` on a tiny random model: nearly all is rejected, with reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tinymodel import tiny_model

from flows.ask import sql
from flows.curation import curate
from flows.rewrite import rewrite
from leaven.home import Home

SHARED = Path(__file__).parents[2] / "shared" / "data" / "ai_discourse" / "documents.parquet"
RECIPE = """
name = "discourse"
version = "1"
documents = "discourse@1"
tokenizer = "{tokenizer}"
segment_tokens = 300
canary_share = 0.2
failed_share = 1
[styles]
clean = 2
recontextualize = 1
question-answer = 1
[teacher]
backend = "serve"
model = "{model}"
max_tokens = 64
parallel = 4
"""


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_file(), reason="the shared text is not here")
def test_a_random_model_is_rejected_with_reasons(tmp_path):
    rows = pq.read_table(SHARED, columns=["id", "text"]).slice(0, 400).to_pylist()
    texts = [r["text"] for r in rows if 1500 < len(r["text"]) < 4000][:12]
    source = tmp_path / "discourse.jsonl"
    source.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), "utf-8")
    home = Home(tmp_path / "home")
    curate([str(source)], home, name="discourse", version="1")
    model = tiny_model(tmp_path / "tiny", context=4096)
    config = model / "generation_config.json"  # 80 of its 1,200 tokens end an answer, or most would be cut off
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": [0, *range(300, 380)]}))
    path = tmp_path / "discourse.toml"
    path.write_text(RECIPE.format(tokenizer=model / "tokenizer.json", model=model), "utf-8")
    counts = rewrite(path, home).rewrites.counts
    assert counts["asked"] >= 30 and counts["asked"] == counts["accepted"] + counts["rejected"] + counts["failed"]
    assert counts["accepted"] <= counts["asked"] // 20 and counts["rejected"] > counts["failed"]
    assert sum(counts["rejections"].values()) == counts["rejected"]
    _, why = sql(home, 'select "check"::varchar, count(*) from checks where not passed group by all order by 2 desc')
    assert len(why) >= 3, why
    _, unexplained = sql(home, "select count(*) from rewrites r where status = 'rejected' and not exists "
                               "(select 1 from checks c where c.rewrite = r.id and not c.passed)")  # fmt: skip
    assert unexplained == [(0,)]
