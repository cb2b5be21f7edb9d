"""What did the rewriting come to, and what did it cost? Counted from the rows that were written and the answers kept.

    rewrites --count--> asked = accepted + rejected + failed, tokens by operation;   + completions --> ledger

Each answer is paid for once, however many equal segments share it, and in whichever run it arrived.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from leaven.generate import Store
from rewriters.teachers import Teacher

ROWS = 8192  # rows in memory at a time
COUNTED = ("document_id", "segment", "operation", "status", "reason", "source_tokens", "text_tokens")


def _read(folder: Path, columns: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
    for path in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS, columns=list(columns)):
                yield batch.to_pylist()


def count_rewrites(folder: Path) -> dict[str, Any]:
    """Counts of a folder of rewrites: by status and reason, and tokens of what was accepted by operation.

    `replaced` counts tokens of the segments that accepted rewrites stand for, `written` those of the rewrites; what is
    appended replaces nothing, so the two operations have accounts of their own.
    """
    status: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"rejected": Counter(), "failed": Counter()}
    tokens: dict[str, Counter[str]] = defaultdict(Counter)
    documents: set[str] = set()
    segments = 0
    last: tuple[Any, Any] | None = None
    for rows in _read(folder, COUNTED):
        for row in rows:
            status[row["status"]] += 1
            if row["status"] != "accepted":
                reasons[row["status"]][row["reason"]] += 1
            else:
                account = tokens[row["operation"]]
                account["rewrites"] += 1
                account["written"] += row["text_tokens"]
                account["replaced"] += row["source_tokens"] if row["operation"] == "replace" else 0
            if row["document_id"] is not None:
                documents.add(row["document_id"])
                segments += (row["document_id"], row["segment"]) != last
                last = row["document_id"], row["segment"]
    counts = {"asked": sum(status.values())} | {s: status[s] for s in ("accepted", "rejected", "failed")}
    return counts | {
        "rejections": dict(reasons["rejected"].most_common()), "failures": dict(reasons["failed"].most_common()),
        "documents": len(documents), "segments": segments,
        "tokens": {op: dict(account) for op, account in sorted(tokens.items())},
    }  # fmt: skip


def ledger(folder: Path, store: Store, teacher: Teacher) -> list[dict[str, Any]]:
    """One entry a style: requests, tokens in and out, seconds of answers, price, and what an accepted token cost.

    Tokens are those that the teacher states (null where it states none for any answer); seconds are each answer's own,
    so those of answers under way together add up to more than the clock's.
    """
    accounts: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, float] = defaultdict(float)
    stated: set[str] = set()
    seen: set[str] = set()
    columns = ("style", "completion", "status", "prompt_tokens", "completion_tokens", "text_tokens")
    for rows in _read(folder, columns):
        kept = store.get(sorted({r["completion"] for r in rows} - seen))
        for row in rows:
            account = accounts[row["style"]]
            account["requests"] += 1
            account[row["status"]] += 1
            account["accepted_tokens"] += row["text_tokens"] if row["status"] == "accepted" else 0
            if row["completion"] in seen:
                continue
            seen.add(row["completion"])
            account["answers"] += 1
            if row["prompt_tokens"] is not None:
                stated.add(row["style"])
                account["prompt_tokens"] += row["prompt_tokens"]
                account["completion_tokens"] += row["completion_tokens"] or 0
            if answer := kept.get(row["completion"]):
                seconds[row["style"]] += answer.seconds
    made = []
    for style, account in sorted(accounts.items()):
        spent_in, spent_out = account["prompt_tokens"], account["completion_tokens"]
        told = style in stated
        price = teacher.price(spent_in, spent_out) if told else None
        made.append({
            "style": style, "teacher": teacher.model.name, "teacher_revision": teacher.model.revision,
            **{k: account[k] for k in ("requests", "answers", "accepted", "rejected", "failed", "accepted_tokens")},
            "prompt_tokens": spent_in if told else None, "completion_tokens": spent_out if told else None,
            "seconds": round(seconds[style], 3), "price": None if price is None else float(price),
            "currency": teacher.currency,
            "flops": float(2 * teacher.parameters * (spent_in + spent_out)),
        })  # fmt: skip
    return made
