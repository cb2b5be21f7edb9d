"""What a model makes of text it was not trained on: raw log-probabilities, one row each, for SQL to add up.

Options of questions: the sum over an option's tokens given its prompt. Held-out sequences: the sum over the tokens
that bear loss. Beside each stands the sum under a unigram model: the token counts of the arm's own mix plus one.
Arithmetic is float32 whatever the training used, and sums are float64, so a row differs by less than 1e-5 a token with
the rows it shares a batch with. Not covered: sampling, and questions longer than the model's rows (an error).

Shapes: B rows, T tokens, D width, K scored tokens of a batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from leaven.errors import UserError
from leaven.loader import pieces
from leaven.shards import TokenFile
from trainer.attention import Pieces, pieces_of
from trainer.loop import LOGITS, Labels
from trainer.model import Model

BATCH_TOKENS = 8192  # of one forward pass


@dataclass
class Scored:
    """Sums of one row: log-probability under the model, under unigrams (nats), and how many tokens."""

    logprob: float
    unigram: float
    tokens: int


def unigram_logprobs(spans: Iterable[tuple[Path, int]], vocab_size: int) -> np.ndarray:
    """float64 (V,): log of (count + 1) / (total + V) over the first so many seats of each mix folder."""
    counts_V = np.zeros(vocab_size, np.int64)
    for folder, seats in spans:
        for path in sorted(folder.glob("*.parquet")):
            file = TokenFile(path)
            for at in range(0, min(file.rows, seats), 4096):
                block = file.tokens_block(range(at, min(at + 4096, file.rows, seats)))
                counts_V += np.bincount(block.ravel(), minlength=vocab_size)
            seats -= min(file.rows, seats)
    return np.log(counts_V + 1) - np.log(counts_V.sum() + vocab_size)


@torch.inference_mode()
def score(
    model: Model, tokens_BT: np.ndarray, scored_BT: np.ndarray, pieces: Pieces, unigram_V: np.ndarray
) -> list[Scored]:
    """One Scored a row: sums over the tokens where `scored_BT` is true, each given those before it; never token 0."""
    device = next(model.parameters()).device
    hidden_BTD = model.hidden(torch.from_numpy(tokens_BT.astype(np.int64)).to(device), pieces.to(device))
    row_K, at_K = np.nonzero(scored_BT)
    wanted_K = tokens_BT[row_K, at_K].astype(np.int64)
    logprob_K = np.empty(len(row_K))
    size = max(1, LOGITS["cpu"] // model.config.vocab_size)
    for first in range(0, len(row_K), size):
        part = slice(first, first + size)
        logits_KV = model.logits(hidden_BTD[torch.from_numpy(row_K[part]), torch.from_numpy(at_K[part] - 1)])
        loss_K = F.cross_entropy(logits_KV, torch.from_numpy(wanted_K[part]).to(device), reduction="none")
        logprob_K[part] = -loss_K.double().cpu().numpy()
    rows = len(tokens_BT)
    model_B = np.bincount(row_K, logprob_K, rows)
    unigram_B = np.bincount(row_K, unigram_V[wanted_K], rows)
    return [Scored(*row) for row in zip(model_B.tolist(), unigram_B.tolist(), scored_BT.sum(1).tolist(), strict=True)]


def options(
    model: Model,
    files: Iterable[Path],
    unigram_V: np.ndarray,
    labels: Labels,
    step: int,
    batch_tokens: int = BATCH_TOKENS,
) -> list[dict[str, Any]]:
    """EVALS rows of every option of QUESTIONS files, in file order.

    Rows of like length share a batch, padded on the right, where causal attention keeps the padding out. Raises
    UserError for an option that begins at token 0, has no tokens, is too long, or is of another vocabulary.
    """
    found = []
    for path in files:
        asked = pq.read_table(path).to_pylist()
        for row in asked:
            _refuse(row, model, path)
        tokens = [np.asarray(row["tokens"], np.int32) for row in asked]
        sums: list[Scored | None] = [None] * len(asked)
        for batch in batches([len(t) for t in tokens], batch_tokens):
            longest = max(len(tokens[i]) for i in batch)
            tokens_BT = np.zeros((len(batch), longest), np.int32)
            scored_BT = np.zeros((len(batch), longest), bool)
            for at, i in enumerate(batch):
                tokens_BT[at, : len(tokens[i])] = tokens[i]
                scored_BT[at, asked[i]["option_start"] : len(tokens[i])] = True
            for i, one in zip(batch, score(model, tokens_BT, scored_BT, Pieces("causal"), unigram_V), strict=True):
                sums[i] = one
        for row, done in zip(asked, sums, strict=True):
            assert done is not None
            keys = ("set", "group", "topic", "question_id", "order", "option", "role")
            found.append(_row(labels, step, done, row["option_bytes"], **{k: row[k] for k in keys}))
    return found


def heldout(
    model: Model, pools: dict[str, Path], limit: int, unigram_V: np.ndarray, labels: Labels, step: int,
    token_bytes_V: np.ndarray | None = None, batch_tokens: int = BATCH_TOKENS,
) -> list[dict[str, Any]]:  # fmt: skip
    """EVALS rows of the first `limit` rows of each component's held-out pool, in pool order.

    `bytes` adds up `token_bytes_V` over the loss-bearing tokens; without it, it is the pool's own column.
    """
    found = []
    for component, folder in pools.items():
        left = limit
        for path in sorted(folder.glob("part-*.parquet")):
            file = TokenFile(path)
            if file.rows and not left:
                break
            if file.rows and file.sequence_length > model.config.sequence_length:
                raise UserError(
                    f"held-out sequences of {file.sequence_length} tokens for a model of "
                    f"{model.config.sequence_length}", where=str(path),
                )  # fmt: skip
            rows, size = min(left, file.rows), max(1, batch_tokens // max(1, file.sequence_length))
            for at in range(0, rows, size):
                take = range(at, min(at + size, rows))
                tokens_BT = file.tokens_block(take)
                if tokens_BT.max() >= model.config.vocab_size:
                    raise UserError(f"token {tokens_BT.max()} is outside the model's vocabulary", where=str(path))
                starts = [s.values.to_numpy() for s in file.column("doc_starts", take)]
                segments_BT, bears_BT = pieces(starts, file.sequence_length)
                scored_BT = np.zeros_like(bears_BT)
                scored_BT[:, 1:] = bears_BT[:, :-1]
                sums = score(model, tokens_BT, scored_BT, pieces_of(segments_BT, "masked"), unigram_V)
                if token_bytes_V is None:
                    size_B = file.column("bytes", take).to_pylist()
                else:
                    size_B = (token_bytes_V[tokens_BT] * scored_BT).sum(1).tolist()
                names = [str(n) for n in file.column("pool_row", take).to_pylist()]
                for name, one, size_ in zip(names, sums, size_B, strict=True):
                    found.append(_row(labels, step, one, size_, set="heldout", group=component, topic=None,
                                      question_id=name, order=0, option=0, role="heldout"))  # fmt: skip
            left -= rows
    return found


def batches(lengths: list[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices in groups of like length, each of at most `batch_tokens` with its padding (one row at least)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if group and (len(group) + 1) * lengths[index] > batch_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _refuse(row: dict[str, Any], model: Model, path: Path) -> None:
    wrong = None
    if not 0 < row["option_start"] < len(row["tokens"]):
        wrong = f"begins at token {row['option_start']} of {len(row['tokens'])}: prompt and option both need a token"
    elif len(row["tokens"]) > model.config.sequence_length:
        wrong = f"has {len(row['tokens'])} tokens, the model's rows {model.config.sequence_length}"
    elif max(row["tokens"]) >= model.config.vocab_size:
        wrong = f"has token {max(row['tokens'])}, the model a vocabulary of {model.config.vocab_size}"
    if wrong:
        raise UserError(f"option {row['option']} of question {row['question_id']} {wrong}", where=str(path))


def _row(labels: Labels, step: int, sums: Scored, size: int, **rest: Any) -> dict[str, Any]:
    return {
        "name": labels.study, "version": labels.version, "arm": labels.arm, "seed": labels.seed, "step": step,
        "logprob": sums.logprob, "unigram_logprob": sums.unigram, "tokens": sums.tokens, "bytes": int(size), **rest,
    }  # fmt: skip
