"""The section of the report on rewrites: what was accepted and why not, pairs side by side, checks, diversity, cost.

rewrites --status, first reason--> outcomes;   checks --> what each found;   segment beside rewrite --> pairs
"""

from __future__ import annotations

from typing import Any

from flows.sections import Block, Pair, Section, ask, named, parts, records
from leaven.catalog import literal

PAIRS = 8  # shown of each status: of every style and reason about as many, each text once
TEXT = 900  # characters of each side


def rewrite_section(con: Any, rewrites: list[str]) -> Section | None:
    """What came of every rewriting among `rewrites` (name@version)."""
    blocks = []
    for ref in rewrites:
        blocks += [_outcomes(con, ref), _accounts(con, ref), _reasons(con, ref), *_pairs(con, ref), _checks(con, ref)]
        blocks += [b for b in (_diversity(con, ref), _ledger(con, ref)) if b]
    lead = (
        "Every segment that was asked for is a row: accepted, rejected by a check of the gate, or failed without a "
        "whole answer. Only accepted rewrites enter a pool; where one was rejected the original stands. Replaced and "
        "appended text have accounts of their own."
    )
    return Section("rewrites", "Rewrites", lead, blocks) if blocks else None


def _outcomes(con: Any, ref: str) -> Block:
    query = (
        "select style::varchar as style, teacher::varchar as teacher, count(*) as asked,\n"
        "       count(*) filter (where accepted) as accepted,\n"
        "       count(*) filter (where status = 'rejected') as rejected,\n"
        "       count(*) filter (where status = 'failed') as failed,\n"
        '       round(count(*) filter (where accepted) / count(*), 3) as "accepted share"\n'
        f"from rewrites where {named(*parts(ref))} group by all order by all"
    )
    columns, rows = ask(con, query)
    return Block(f"What came of {ref}", "", [("outcomes", query)], columns, rows)


def _accounts(con: Any, ref: str) -> Block:
    query = (
        "select operation::varchar as operation, count(*) as accepted,\n"
        "       sum(case when operation = 'replace' then source_tokens else 0 end)::bigint as \"tokens replaced\",\n"
        '       sum(text_tokens)::bigint as "tokens written", count(distinct document_id) as documents\n'
        f"from rewrites where {named(*parts(ref))} and accepted group by all order by all"
    )
    columns, rows = ask(con, query)
    return Block("Tokens of accepted rewrites", "", [("accounts", query)], columns, rows)


def _reasons(con: Any, ref: str) -> Block:
    query = (
        'select status::varchar as status, reason::varchar as "first reason", count(*) as rewrites\n'
        f"from rewrites where {named(*parts(ref))} and not accepted group by all order by status, rewrites desc, 2"
    )
    columns, rows = ask(con, query)
    return Block("Why others are not used", "", [("reasons", query)], columns, rows)


def _pairs(con: Any, ref: str) -> list[Block]:
    """Segments beside their rewrites: accepted ones, then rejected ones with what each failed."""
    blocks = []
    for status in ("accepted", "rejected"):
        query = (
            "with r as (\n"
            f"  select * from rewrites where {named(*parts(ref))} and status = {literal(status)}\n"
            "  qualify row_number() over (partition by style, text_hash order by id) = 1\n"
            "), p as (\n"
            "  select *, row_number() over (partition by style, reason order by id) as turn from r\n"
            f"  order by turn, style, reason, id limit {PAIRS}\n"
            "), why as (\n"
            "  select c.rewrite, string_agg(c.\"check\"::varchar || coalesce(' (' || c.detail || ')', ''), '; ')\n"
            f"    as why from checks c where {named(*parts(ref))} and not passed\n"
            "    and c.rewrite in (select id from p) group by all\n"
            ")\n"
            "select p.id, p.style::varchar as style, p.teacher::varchar as teacher, d.url, p.document_id, p.segment,\n"
            '       substring(d.text, p.start + 1, p."end" - p.start) as source, p.text, why.why\n'
            "from p left join why on why.rewrite = p.id left join documents d on d.id = p.document_id\n"
            "  and d.name || '@' || d.version in (select used_name || '@' || used_version from uses\n"
            f"    where kind = 'rewrites' and {named(*parts(ref))} and used_kind = 'documents')\n"
            "order by style, p.reason, p.id"
        )
        rows = records(con, query)
        if not rows:
            continue
        pairs = [
            Pair(f"{r['style']}, {r['teacher']}: {r['url'] or r['document_id'] or r['id']}"
                 + (f", segment {r['segment']}" if r["segment"] is not None else ""),
                 _cut(r["source"]), _cut(r["text"]), r["why"] or "")
            for r in rows
        ]  # fmt: skip
        total = con.execute(f"select count(*) from rewrites where {named(*parts(ref))} and status = {literal(status)}")
        shown = f"{len(pairs)} of {total.fetchone()[0]:,} shown"
        blocks.append(Block(f"{status.capitalize()} pairs", shown, [("pairs", query)], pairs=pairs))
    return blocks


def _checks(con: Any, ref: str) -> Block:
    query = (
        "with c as (\n"
        '  select "check"::varchar as "check", number, "limit", passed, rewrite,\n'
        "         count(*) filter (where not passed) over (partition by rewrite) as failures\n"
        f"  from checks where {named(*parts(ref))}\n)\n"
        'select "check", count(*) as checked, count(*) filter (where not passed) as failing,\n'
        '       count(*) filter (where not passed and failures = 1) as "failing alone",\n'
        '       round(median(number), 4) as "median number", any_value("limit") as "limit"\n'
        'from c group by "check" order by failing desc, "check"'
    )
    columns, rows = ask(con, query)
    lead = "How many rewrites each check looked at and turned away; alone: those that failed no other check."
    return Block("Checks of the gate", lead, [("checks", query)], columns, rows)


def _diversity(con: Any, ref: str) -> Block | None:
    query = (
        "select coalesce(style::varchar, 'all styles') as style, measure::varchar as measure,\n"
        "       round(number, 4) as rewrites,\n"
        f'       round(source_number, 4) as "their segments", texts from diversity where {named(*parts(ref))}\n'
        "order by style is not null, style, measure"
    )
    columns, rows = ask(con, query)
    lead = "Measures of the accepted rewrites beside the same of the segments that they were made from."
    return Block("Diversity", lead, [("diversity", query)], columns, rows) if rows else None


def _ledger(con: Any, ref: str) -> Block | None:
    query = f"select * exclude (name, version) from rewrite_costs where {named(*parts(ref))} order by style, role desc"
    columns, rows = ask(con, query)
    columns = [c.replace("_", " ") for c in columns]
    return Block("What the answers took", "", [("ledger", query)], columns, rows) if rows else None


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= TEXT else text[:TEXT] + " …"
