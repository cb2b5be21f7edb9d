"""What did the rewriting come to, and what did it cost? Counted from the rows that were written and the answers kept.

    rewrites --count--> asked = accepted + rejected + failed, tokens by operation;   + completions --> ledger

Each answer is paid for once, however many equal segments share it, and in whichever run it arrived.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from leaven.catalog import escape, parquet
from leaven.generate import Store
from mixes.deciding import connect
from rewriters.teachers import Teacher

ROWS = 8192  # answers in memory at a time
FEW = 64  # reasons that are counted by name


def count_rewrites(folder: Path, scratch: Path) -> dict[str, Any]:
    """Counts of a folder of rewrites: by status and reason, and tokens of what was accepted by operation.

    `replaced` counts tokens of the segments that accepted rewrites stand for, `written` those of the rewrites; what is
    appended replaces nothing, so the two operations have accounts of their own. Memory does not grow with the folder.
    """
    rows = parquet([f"{escape(folder)}/part-*.parquet"])
    with connect(scratch) as con:
        status = dict(con.execute(f"select status::varchar, count(*) from {rows} group by all").fetchall())
        reasons = con.execute(
            f"select status::varchar, reason::varchar, count(*) as n from {rows} where not accepted group by all "
            f"order by n desc, 2 limit {FEW}"
        ).fetchall()
        accounts = con.execute(
            "select operation::varchar, count(*), sum(text_tokens)::bigint, "
            "sum(case when operation = 'replace' then source_tokens else 0 end)::bigint "
            f"from {rows} where accepted group by all order by 1"
        ).fetchall()
        (documents, segments), = con.execute(
            "select count(distinct document_id), count(distinct (document_id, segment)) filter (where segment is not "
            f"null) from {rows}"
        ).fetchall()  # fmt: skip
    said = {s: status.get(s, 0) for s in ("accepted", "rejected", "failed")}
    if sum(said.values()) != sum(status.values()):
        raise AssertionError(f"rewrites do not add up: {status}")
    return {"asked": sum(said.values())} | said | {
        "rejections": {reason: n for s, reason, n in reasons if s == "rejected"},
        "failures": {reason: n for s, reason, n in reasons if s == "failed"},
        "documents": documents, "segments": segments,
        "tokens": {op: {"rewrites": n, "written": out, "replaced": gone} for op, n, out, gone in accounts},
    }  # fmt: skip


def ledger(folder: Path, scratch: Path, store: Store, teacher: Teacher) -> list[dict[str, Any]]:
    """One entry a style: requests, tokens in and out, seconds of answers, price, and what an accepted token cost.

    Tokens are those that the teacher states (null where it states none for any answer); seconds are each answer's own,
    so those of answers under way together add up to more than the clock's. Answers to canaries are counted apart, and
    paid for like the others; what a judge of the gate took is not in it.
    """
    rows, checks = (parquet([f"{escape(folder)}/{kind}-*.parquet"]) for kind in ("part", "checks"))
    seconds: dict[str, float] = defaultdict(float)
    answers: Counter[str] = Counter()
    canaries: Counter[str] = Counter()
    spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    stated: set[str] = set()
    with connect(scratch) as con:
        counts = con.execute(
            "select style::varchar, count(*), count(*) filter (where status = 'accepted'), "
            "count(*) filter (where status = 'rejected'), count(*) filter (where status = 'failed'), "
            f"coalesce(sum(text_tokens) filter (where accepted), 0)::bigint from {rows} group by all order by 1"
        ).fetchall()
        con.execute(
            "select style::varchar, completion, any_value(prompt_tokens), any_value(completion_tokens) "
            f"from {rows} group by all order by completion"  # sums of floats then come in one order
        )
        while batch := con.fetchmany(ROWS):
            kept = store.get([key for _, key, _, _ in batch])
            for style, key, tokens_in, tokens_out in batch:
                answers[style] += 1
                if tokens_in is not None:
                    stated.add(style)
                    spent[style][0] += tokens_in
                    spent[style][1] += tokens_out or 0
                if answer := kept.get(key):
                    seconds[style] += answer.seconds
        con.execute(
            f"select distinct r.style::varchar, right(c.detail, 32) as key from {checks} c join {rows} r "
            "on r.id = c.rewrite where c.\"check\" = 'canary' order by key"
        )
        while batch := con.fetchmany(ROWS):
            kept = store.get([key for _, key in batch])
            for style, key in batch:
                canaries[style] += 1
                if answer := kept.get(key):
                    seconds[style] += answer.seconds
                    spent[style][0] += answer.prompt_tokens or 0
                    spent[style][1] += answer.completion_tokens or 0
    made = []
    for style, requests, accepted, rejected, failed, tokens in counts:
        told, (into, out) = style in stated, spent[style]
        made.append({
            "style": style, "teacher": teacher.model.name, "teacher_revision": teacher.model.revision,
            "requests": requests, "answers": answers[style], "canaries": canaries[style],
            "accepted": accepted, "rejected": rejected,
            "failed": failed, "accepted_tokens": tokens, "prompt_tokens": into if told else None,
            "completion_tokens": out if told else None, "seconds": round(seconds[style], 3),
            "price": float(teacher.price(into, out)) if told else None, "currency": teacher.currency,
            "flops": float(2 * teacher.parameters * (into + out)),
        })  # fmt: skip
    return made
