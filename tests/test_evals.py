"""Evaluation: sums are what a hand would add up, and a row does not depend on the rows it shares a batch with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_training import LENGTH, VOCAB, draw_rows, make_mix, make_pool, make_questions

from leaven.errors import UserError
from schemas.tables import QUESTIONS
from trainer import evals
from trainer.attention import Pieces
from trainer.loop import Labels
from trainer.model import Model, ModelConfig

torch.set_num_threads(1)
LABELS = Labels("small", "1", "a", 0, "a")
FLAT = np.full(VOCAB, -np.log(VOCAB))


@pytest.fixture(scope="module")
def model() -> Model:
    found = Model(ModelConfig(VOCAB, LENGTH, layers=2, width=32, heads=2, kv_heads=2, head_width=16, hidden=48), 0)
    with torch.no_grad():
        for weight in found.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    return found


@torch.no_grad()
def by_hand(model: Model, tokens: list[int], start: int) -> float:
    """Sum of log-probabilities of tokens[start:], one row alone."""
    logits = model.logits(model.hidden(torch.tensor([tokens]), Pieces("causal")))[0].double().log_softmax(-1)
    return float(sum(logits[t - 1, tokens[t]] for t in range(start, len(tokens))))


def test_options_are_summed_over_their_tokens_whatever_the_batch(model: Model, tmp_path: Path) -> None:
    path = make_questions(tmp_path / "q.parquet", 20)
    asked = pq.read_table(path).to_pylist()
    runs = [evals.options(model, [path], FLAT, LABELS, 7, size) for size in (1, 40, 100_000)]
    for row, *found in zip(asked, *runs, strict=True):
        want = by_hand(model, row["tokens"], row["option_start"])
        for one in found:
            assert one["logprob"] == pytest.approx(want, abs=1e-5)
            assert (one["question_id"], one["option"], one["step"]) == (row["question_id"], row["option"], 7)
            assert one["tokens"] == len(row["tokens"]) - row["option_start"] and one["bytes"] == row["option_bytes"]
            assert one["unigram_logprob"] == pytest.approx(-one["tokens"] * np.log(VOCAB))
    assert evals.options(model, [path], FLAT, LABELS, 7) == runs[2]  # and twice the same


def test_heldout_rows_are_summed_over_loss_bearing_tokens(model: Model, tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "pool", 1, rows=20)
    rows = draw_rows(20, 1, seed=101)
    runs = [evals.heldout(model, {"web": pool}, 17, FLAT, LABELS, 7, None, size) for size in (1, 100, 100_000)]
    for row, *found in zip(rows[:17], *runs, strict=True):
        borders = [*row["doc_starts"], LENGTH]
        want = sum(by_hand(model, row["tokens"][a:b].tolist(), 1) for a, b in pairwise(borders))
        for one in found:
            assert one["logprob"] == pytest.approx(want, abs=5e-5)
            assert one["tokens"] == row["loss_tokens"] and one["bytes"] == row["bytes"]
            assert (one["group"], one["set"], one["question_id"]) == ("web", "heldout", str(row["pool_row"]))


def test_bytes_of_heldout_rows_count_the_scored_tokens_where_token_bytes_are_known(
    model: Model, tmp_path: Path
) -> None:
    pool = make_pool(tmp_path / "pool", 1, rows=3)
    sizes = np.arange(VOCAB, dtype=np.int32)
    for row, one in zip(draw_rows(3, 1, seed=101), evals.heldout(model, {"web": pool}, 9, FLAT, LABELS, 1, sizes)):
        first = set(row["doc_starts"])
        assert one["bytes"] == sum(int(t) for i, t in enumerate(row["tokens"]) if i not in first)


def test_unigrams_are_counts_of_the_seats_consumed_plus_one(tmp_path: Path) -> None:
    mix = make_mix(tmp_path / "mix", [("p1", 20)], shard=48)
    other = make_mix(tmp_path / "other", [("p7", 4)])
    found = evals.unigram_logprobs([(mix, 70), (other, 4)], VOCAB)
    tokens = np.concatenate([r["tokens"] for r in draw_rows(80, 1, 1)[:70] + draw_rows(16, 7, 7)[:4]])
    counts = np.bincount(tokens, minlength=VOCAB) + 1
    np.testing.assert_allclose(np.exp(found), counts / counts.sum(), rtol=1e-12)
    assert np.exp(found).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [{"option_start": 0}, {"option_start": 4}, {"tokens": [1, 2, 3, VOCAB]}, {"tokens": [1] * (LENGTH + 1)}],
    ids=str,
)
def test_options_that_cannot_be_scored_are_refused(model: Model, tmp_path: Path, change: dict) -> None:
    row = pq.read_table(make_questions(tmp_path / "q.parquet", 1)).to_pylist()[0]
    row |= {"tokens": [1, 2, 3, 4], "option_start": 2} | change
    pq.write_table(pa.Table.from_pylist([row], schema=QUESTIONS), tmp_path / "q.parquet")
    with pytest.raises(UserError, match="q0"):
        evals.options(model, [tmp_path / "q.parquet"], FLAT, LABELS, 1)


def test_batches_hold_every_row_once_and_never_too_many_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 300).tolist()
    groups = list(evals.batches(lengths, 100))
    assert sorted(i for g in groups for i in g) == list(range(300))
    assert all(len(g) == 1 or len(g) * max(lengths[i] for i in g) <= 100 for g in groups)
