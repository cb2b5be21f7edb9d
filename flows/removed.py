"""The blocks of the report on what a pool took away: waterfall, categories of the blocklist, ten texts a reason.

    decisions --by first reason--> waterfall;   hits --without a category--> what it decides;   documents --> examples

Texts are cut, and what was found in them of personal data is masked.
"""

from __future__ import annotations

from typing import Any

from flows import charts
from flows.sections import Block, Sample, ask, named, parts, records
from leaven.catalog import literal
from leaven.masking import mask

EXAMPLES = 10  # texts shown for each reason
TEXT = 280  # characters of each
BEFORE = 90  # of them before the hit that decided


def removal_blocks(con: Any, pool: str) -> list[Block]:
    """The waterfall of a pool; for its flags, the categories of terms; ten texts for every reason."""
    name, version = parts(pool)
    total_query = (
        "select count(*) as documents, sum(tokens)::bigint as tokens, count(*) filter (where kept) as kept,\n"
        "       count(*) filter (where heldout) as heldout,\n"
        "       coalesce(sum(tokens) filter (where heldout), 0)::bigint as heldout_tokens\n"
        f"from decisions where {named(name, version)}"
    )
    total = records(con, total_query)[0]
    if not total["documents"]:
        return []
    query = (
        "select *, ((select sum(tokens) from decisions\n"
        f"         where {named(name, version)})\n"
        "        - sum(removed_tokens) over (order by position))::bigint as remaining_tokens\n"
        f"from funnel({literal(pool)}) order by position"
    )
    steps = records(con, query)
    bars = [("considered", total["documents"], 0, total["tokens"], 0)]
    bars += [(s["condition"], s["remaining"], s["removed"], s["remaining_tokens"], s["removed_tokens"]) for s in steps]
    if total["heldout"]:
        left, tokens = bars[-1][1] - total["heldout"], bars[-1][3] - total["heldout_tokens"]
        bars.append(("held out for evaluation", left, total["heldout"], tokens, total["heldout_tokens"]))
    cells = [[s["condition"], s["sql"], s["removed"], s["failing"], s["removed_only"], s["remaining"],
              s["removed_tokens"], s["removed_only_tokens"], s["remaining_tokens"]] for s in steps]  # fmt: skip
    columns = ["condition", "SQL", "removed", "failing", "alone", "remaining", "tokens removed", "tokens, alone",
               "tokens remaining"]  # fmt: skip
    things = "documents" if "from documents" in _items(con, pool) else "rewrites"
    lead = (
        f"{total['documents']:,} {things} and {total['tokens']:,} tokens were considered. In the chart the upper bar "
        f"of a condition is {things}, the lower tokens: what remains, and what the condition took."
    )
    blocks = [Block(f"Pool {pool}", lead, [("waterfall", query), ("considered", total_query)], columns, cells,
                    charts.waterfall(bars))]  # fmt: skip
    return blocks + _category_blocks(con, pool) + _example_blocks(con, pool)


def _category_blocks(con: Any, pool: str) -> list[Block]:
    """For each `not blocklist_flag(...)` of a pool: what each category of terms has to do with its documents."""
    decided = f"from decisions where {named(*parts(pool))}"
    flags = records(con, f"from pool_conditions where {named(*parts(pool))} and is_flag order by position")
    blocks = []
    for (corpus,) in ask(con, f"select distinct documents {decided} order by all")[1]:
        hits = f"from hits_current where {named(*parts(corpus))}"
        categories = [c for (c,) in ask(con, f"select distinct category::varchar {hits} order by all")[1]]
        for flag in flags if categories else ():
            condition = literal(flag["condition"])
            without = f"[{', '.join(map(literal, flag['without'] or []))}]::varchar[]"
            call = (
                f'distinct_terms := {flag["distinct_terms"]}, "window" := {flag["window"] or "null"}, '
                f"instant := {str(flag['instant']).lower()},\n    without := list_concat({without},\n"
                f"    (select list(distinct term::varchar) {hits}"
            )
            still = "\n  union all ".join(
                f"select {literal(c)} as category, document_id from flagged({literal(corpus)}, {call}\n"
                f"    and category = {literal(c)})))"
                for c in categories
            )
            query = (
                f"with d as (\n  select document_id, reason, failed, tokens {decided}\n"
                f"  and documents = {literal(corpus)} and list_contains(failed, {condition})\n"
                "), h as (\n"
                f"  select category::varchar as category, document_id, count(*) as hits {hits} group by all\n"
                f"), s as ( -- still flagged without the terms of a category\n  {still}\n"
                "), c as (\n  select h.category, h.hits, d.*, s.document_id is null as needed,\n"
                "         s.document_id is null and len(d.failed) = 1 as freed\n"
                "  from d join h using (document_id) left join s using (category, document_id)\n)\n"
                f"select category, count(*) as flagged, count(*) filter (where reason = {condition}) as removed,\n"
                "       sum(hits)::bigint as hits, count(*) filter (where needed) as needed,\n"
                '       count(*) filter (where freed) as "brought back",\n'
                '       coalesce(sum(tokens) filter (where freed), 0)::bigint as "tokens brought back"\n'
                "from c group by category order by flagged desc, category"
            )
            columns, rows = ask(con, query)
            lead = (
                f"{flag['condition']}: documents with a hit of each category, among those that it flags (flagged) and "
                "those of which it is the first reason (removed); a document counts in all of its categories. Needed: "
                "not flagged without the category's terms. Brought back: of those, they fail no other condition."
            )
            blocks.append(Block(f"Blocklist by category, {corpus}", lead, [("categories", query)], columns, rows))
    return blocks


def _example_blocks(con: Any, pool: str) -> list[Block]:
    """Ten documents a reason (by id: as good as drawn), with the text around a flag's first instant or risk term."""
    mine = named(*parts(pool))
    flags = {c for (c,) in ask(con, f"select condition from pool_conditions where {mine} and is_flag")[1]}
    blocks = []
    for step in (s for s in records(con, f"from funnel({literal(pool)}) order by position") if s["removed"]):
        reason, first = step["condition"], "0"
        if reason in flags:
            first = f"greatest(0, coalesce(min_by(h.start, (h.role = 'entity', h.start)), 0) - {BEFORE})"
        query = (
            f"with d as (\n  select document_id, documents, failed, tokens from decisions where {mine}\n"
            f"  and reason = {literal(reason)} order by document_id limit {EXAMPLES}\n"
            f"), f as (\n  select d.document_id, d.documents, {first}::int as first,\n"
            "         string_agg(distinct h.term, ', ' order by h.term) as terms\n"
            "  from d left join hits_current h on h.document_id = d.document_id\n"
            "    and h.name || '@' || h.version = d.documents group by all\n"
            '), s as (\n  select s.document_id, list({start: s.start, stop: s."end", kind: s.kind::varchar}) as spans\n'
            "  from d join spans_current s on s.document_id = d.document_id\n"
            "    and s.name || '@' || s.version = d.documents group by all\n)\n"
            "select x.id, x.origin, d.failed, d.tokens, f.terms, f.first, x.chars,\n"
            f"       substring(x.text, f.first + 1, {TEXT}) as text, s.spans\n"
            "from d join f using (document_id, documents) left join s using (document_id)\n"
            f"join ({_items(con, pool)}) x on x.id = d.document_id and x.ref = d.documents\n"
            "order by x.id"
        )
        samples = [Sample(f"{r['origin']}, {r['tokens']:,} tokens{_also(r)}", [_excerpt(r)])
                   for r in records(con, query)]  # fmt: skip
        shown = "all" if len(samples) == step["removed"] else f"{len(samples)} of {step['removed']:,}"
        blocks.append(Block(f"Removed from {pool} by {reason}", "", [("examples", query)], samples=samples,
                            folded=f"{shown} shown"))  # fmt: skip
    return blocks


def _items(con: Any, pool: str) -> str:
    """SQL of what a pool's decisions are about: documents, or rewrites."""
    query = f"select count(*) from uses where kind = 'pools' and {named(*parts(pool))} and used_kind = 'documents'"
    if ask(con, query)[1][0][0]:
        return "select id, coalesce(url, locator) as origin, chars, text, name || '@' || version as ref from documents"
    return (
        "select id, style || ' by ' || teacher as origin, chars, text, name || '@' || version as ref from rewrites\n"
        "  where text <> ''"
    )


def _also(row: dict[str, Any]) -> str:
    """What else is known of a document that a condition turned away."""
    others, terms = row["failed"][1:], row["terms"]
    said = f"; also fails {', '.join(others)}" if others else ""
    return said + (f"; terms: {terms if len(terms) <= 120 else terms[:120] + ' …'}" if terms else "")


def _excerpt(row: dict[str, Any]) -> str:
    """The text of an example with what was found of personal data masked; a span that the cut parts is masked too."""
    text, first = row["text"], row["first"]
    spans = [
        (max(s["start"] - first, 0), min(s["stop"] - first, len(text)), s["kind"]) for s in row["spans"] or []
        if s["start"] < first + len(text) and s["stop"] > first
    ]  # fmt: skip
    last = first + len(text) < row["chars"]
    return ("… " if first else "") + mask(text, spans) + (" …" if last else "")
