"""What did the rewriting come to, and what did it cost? Counted from the rows that were written and the answers kept.

    rewrites --count--> asked = accepted + rejected + failed, tokens by operation;   + completions --> ledger

Each answer is paid for once, however many equal segments share it, and in whichever run it arrived. Which answers there
were stands in the rows: the teacher's in those of rewrites, those to canaries and a judge's in those of their checks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from flows.entailing import JUDGED, NAMED
from leaven.catalog import escape, literal, parquet
from leaven.generate import Backend, Store
from mixes.deciding import connect

ROWS = 8192  # answers in memory at a time
FEW = 64  # reasons that are counted by name
ROLES = ("teacher", "canary", "judge")


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


class Paid(Protocol):
    """Who is paid for tokens: a teacher (rewriters/teachers.py), a judge's rubric (filters/judge.py)."""

    @property
    def model(self) -> Backend: ...
    @property
    def currency(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    def price(self, tokens_in: int, tokens_out: int) -> Decimal: ...


@dataclass
class Took:
    """What some answers took; tokens are `stated` where the model says them for any."""

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    stated: bool = False


def ledger(folder: Path, scratch: Path, store: Store, teacher: Paid, judge: Paid | None = None) -> list[dict[str, Any]]:
    """One entry a style and role: requests, tokens in and out, seconds of answers and price.

    Roles are `teacher`, `canary` (the teacher's answers to segments with an instruction of ours planted in them) and
    `judge` (a judge's answers to the gate); an answer that two styles share stands at the first. Tokens are those that
    the model states (null where it states none for any answer); seconds are each answer's own, so those of answers
    under way together add up to more than the clock's.
    """
    rows, checks = (parquet([f"{escape(folder)}/{kind}-*.parquet"]) for kind in ("part", "checks"))
    made = []
    with connect(scratch) as con:
        counts = con.execute(
            "select style::varchar, count(*), count(*) filter (where status = 'accepted'), "
            "count(*) filter (where status = 'rejected'), count(*) filter (where status = 'failed'), "
            f"coalesce(sum(text_tokens) filter (where accepted), 0)::bigint from {rows} group by all"
        ).fetchall()
        took = _took(con, store, "select style::varchar, completion, any_value(prompt_tokens), "
                     f"any_value(completion_tokens) from {rows} group by all order by completion")  # fmt: skip
        for style, requests, accepted, rejected, failed, tokens in counts:
            of_rewrites = {"accepted": accepted, "rejected": rejected, "failed": failed, "accepted_tokens": tokens}
            made.append(_entry(style, "teacher", teacher, requests, took.get(style, Took()), of_rewrites))
        for role, paid, names in (("canary", teacher, ("canary",)), ("judge", judge, JUDGED)):
            if paid is None:
                continue
            named = (
                f"(select r.style::varchar as style, number, regexp_extract(c.detail, {literal(NAMED.pattern)}, 1) "
                "as key "
                f'from {checks} c join {rows} r on r.id = c.rewrite where "check" in '
                f"({', '.join(map(literal, names))})) where key <> ''"
            )
            took = _took(con, store, f"select min(style), key, null, null from {named} group by key order by key")
            counts = con.execute(
                f"select style, count(*), count(*) filter (where number is null) from {named} group by all"
            ).fetchall()
            for style, requests, failed in counts:
                made.append(_entry(style, role, paid, requests, took.get(style, Took()), {"failed": failed}))
    return sorted(made, key=lambda entry: (entry["style"], ROLES.index(entry["role"])))


def _took(con: Any, store: Store, query: str) -> dict[str, Took]:
    """What the answers of each style took, of rows (style, key, tokens in, tokens out) in the keys' order.

    Sums of floats then come in one order. Tokens that a row does not say are the kept answer's.
    """
    found: dict[str, Took] = defaultdict(Took)
    con.execute(query)
    while batch := con.fetchmany(ROWS):
        kept = store.get([key for _, key, _, _ in batch])
        for style, key, tokens_in, tokens_out in batch:
            took, answer = found[style], kept.get(key)
            if answer:
                took.seconds += answer.seconds
                tokens_in = answer.prompt_tokens if tokens_in is None else tokens_in
                tokens_out = answer.completion_tokens if tokens_out is None else tokens_out
            took.answers += 1
            took.tokens_in += tokens_in or 0
            took.tokens_out += tokens_out or 0
            took.stated |= tokens_in is not None
    return found


def _entry(style: str, role: str, paid: Paid, requests: int, took: Took, counts: dict[str, int]) -> dict[str, Any]:
    into, out, told = took.tokens_in, took.tokens_out, took.stated or not took.answers
    return {
        "style": style, "role": role, "model": paid.model.name, "model_revision": paid.model.revision,
        "requests": requests, "answers": took.answers,
        **{k: counts.get(k) for k in ("accepted", "rejected", "failed", "accepted_tokens")},
        "prompt_tokens": into if told else None, "completion_tokens": out if told else None,
        "seconds": round(took.seconds, 3), "price": float(paid.price(into, out)) if told else None,
        "currency": paid.currency, "flops": float(2 * paid.parameters * (into + out)),
    }  # fmt: skip
