"""How the conditions of a pool run: one SQL query over one part of documents, its scores and its hits.

A part's query joins the documents with a column for each measure and each flag that the conditions name. Subqueries
that do not look at the document are computed once, before the first part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from leaven.catalog import escape, identifier, literal, parquet, typed_empty
from leaven.errors import UserError
from leaven.manifest import Manifest
from mixes.conditions import CHECKED, COPIED, MEASURED, OUTER, SCOPE, SCOPES, Condition, FlagCall, measure_column
from schemas.tables import TABLES

STEMS = {"checks": "checks"}  # table -> how its files' names begin, where it is not `part`


@dataclass(frozen=True)
class Corpus:
    """The documents of one reference with the scorers and term lists that conditions use; folders and part numbers.

    `of` says what its rows are: documents or rewrites; rewrites have their checks in their own folder.
    """

    ref: str
    folder: Path
    parts: tuple[int, ...]
    scorers: dict[str, Path]  # measure -> folder of the scorer's parts
    lists: tuple[Path, ...]  # folders of the newest version of every term list
    tables: dict[str, tuple[Path, ...]] = field(default_factory=dict)  # what subqueries read
    duplicates: Path | None = None  # folder of the corpus's duplicates, where conditions or a held-out share use them
    of: str = "documents"


def flag_sql(hits: str, call: FlagCall) -> str:
    """SQL of (document_id, flagged) over a relation of hits, one row a document that has a hit.

    Flagged: an instant term is present (unless `instant` is false), or an entity and a risk term co-occur with at
    least `distinct_terms` distinct terms, of any role, themselves included: in the document, or with a `window` in one
    stretch of it. A stretch begins where a hit begins and takes every hit that begins at most `window` characters
    after that hit's end. Terms in `without` count as absent. `flagged` in schemas/macros.sql says the same over the
    whole catalog.
    """
    source = hits
    if call.without:
        source = f"(SELECT * FROM {hits} WHERE term NOT IN ({', '.join(map(literal, call.without))}))"
    if call.window is not None:
        return (
            f"SELECT document_id, ({literal(call.instant)} AND bool_or(role = 'instant')) OR bool_or(near) AS flagged "
            "FROM (SELECT document_id, role, bool_or(role = 'entity') OVER stretch AND bool_or(role = 'risk') OVER "
            f"stretch AND count(DISTINCT term) OVER stretch >= {call.distinct_terms} AS near FROM {source} WINDOW "
            "stretch AS (PARTITION BY document_id ORDER BY start::BIGINT RANGE BETWEEN CURRENT ROW AND "
            f'"end"::BIGINT - start + {call.window} FOLLOWING)) GROUP BY document_id'
        )
    terms = (  # a row a term first: then distinct terms are a plain count (3.6 M hits: 7.5 s before, 1.2 s so)
        f"SELECT document_id, term, bool_or(role = 'instant') AS instants, bool_or(role = 'entity') AS entities, "
        f"bool_or(role = 'risk') AS risks FROM {source} GROUP BY document_id, term"
    )
    return (
        f"SELECT document_id, ({literal(call.instant)} AND bool_or(instants)) OR (bool_or(entities) AND bool_or(risks) "
        f"AND count(*) >= {call.distinct_terms}) AS flagged FROM ({terms}) GROUP BY document_id"
    )


def connect(scratch: Path, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills to the home's scratch folder and never looks at Python's variables."""
    con = duckdb.connect()
    con.execute(
        f"SET threads = {threads}; SET memory_limit = '2GB'; SET temp_directory = {literal(str(scratch / 'duckdb'))}"
    )
    con.execute("SET python_enable_replacements = false; SET enable_progress_bar = false")
    return con


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def part_numbers(manifest: Manifest) -> tuple[int, ...]:
    names = [f["path"] for f in manifest.files]
    return tuple(sorted(int(n[5:-8]) for n in names if n.startswith("part-") and n.endswith(".parquet")))


def _spelled(measure: str) -> str:
    """A measure without its scorer's prefix."""
    return measure.rpartition(".")[2]


def _source(conditions: tuple[Condition, ...], corpus: Corpus | None, number: int = 0) -> str:
    """A relation `document` (or `item`): one part's rows with a column for each measure and flag of the conditions.

    Without a corpus it stands over typed empty tables, for binding.
    """

    def table(name: str, folder: Path | None, options: str = "") -> str:
        if folder is None:
            extra = ", 0::BIGINT AS file_row_number" if options else ""
            return f"(SELECT *{extra} FROM ({typed_empty(TABLES[name])}))"
        path = folder / f"{STEMS.get(name, 'part')}-{number:05d}.parquet"
        if not path.is_file():
            raise UserError(f"part {number:05d} of {name} is missing", where=str(folder), do="curate again")
        return parquet([escape(path)], options)

    of = corpus.of if corpus else conditions[0].of
    outer, rows = OUTER[of], table(of, corpus.folder if corpus else None, ", file_row_number = true")
    if of == "rewrites":
        return _checked(conditions, rows, table("checks", corpus.folder if corpus else None), outer)

    asked = sorted({m for c in conditions for m in c.measures})
    calls = list(dict.fromkeys(f for c in conditions for f in c.flags))
    columns = [f"{outer}.*", *(identifier(measure_column(f, m)) for f, m in asked)]
    columns += [f"coalesce(f{i}.flagged, false) AS {identifier(c.column)}" for i, c in enumerate(calls)]
    copied = sorted({c for condition in conditions for c in condition.copies})
    columns += [identifier(measure_column(f, m)) for f, m in copied]
    joins = []
    for i, folder in enumerate(sorted({corpus.scorers[m] if corpus else None for _, m in asked}, key=str)):
        here = [(f, m) for f, m in asked if not corpus or corpus.scorers[m] == folder]
        wanted = ", ".join(sorted({literal(_spelled(m)) for _, m in here}))
        pivot = ", ".join(
            f"max({MEASURED[f]}) FILTER (WHERE measure = {literal(_spelled(m))}) AS {identifier(measure_column(f, m))}"
            for f, m in here
        )
        joins.append(
            f" LEFT JOIN (SELECT document_id, {pivot} FROM {table('scores', folder)} WHERE segment IS NULL AND "
            f"measure IN ({wanted}) GROUP BY document_id) AS s{i} ON s{i}.document_id = {outer}.id"
        )
    if calls:
        lists: tuple[Path | None, ...] = corpus.lists if corpus else (None,)
        hits = " UNION ALL ".join(f"SELECT * FROM {table('hits', f)}" for f in lists)
        for i, call in enumerate(calls):
            joins.append(f" LEFT JOIN ({flag_sql(f'({hits})', call)}) AS f{i} ON f{i}.document_id = {outer}.id")
    if copied:
        pivot = ", ".join(
            f"any_value({COPIED[f]}) FILTER (WHERE method = {literal(m)}) AS {identifier(measure_column(f, m))}"
            for f, m in copied
        )
        copies = table("duplicates", corpus.duplicates if corpus else None)
        joins.append(
            f" LEFT JOIN (SELECT document_id, {pivot} FROM {copies} GROUP BY document_id) AS d "
            f"ON d.document_id = {outer}.id"
        )
    return f"(SELECT {', '.join(columns)} FROM {rows} AS {outer}{''.join(joins)}) AS {outer}"


def _checked(conditions: tuple[Condition, ...], rewrites: str, checks: str, outer: str) -> str:
    """The rewrites of one part with a column for each check that the conditions name."""
    asked = sorted({m for c in conditions for m in c.measures})
    if not asked:
        return f"{rewrites} AS {outer}"
    pivot = ", ".join(
        f'any_value({CHECKED[f]}) FILTER (WHERE "check" = {literal(m)}) AS {identifier(measure_column(f, m))}'
        for f, m in asked
    )
    columns = ", ".join(identifier(measure_column(f, m)) for f, m in asked)
    return (
        f"(SELECT {outer}.*, {columns} FROM {rewrites} AS {outer} LEFT JOIN (SELECT rewrite, {pivot} FROM {checks} "
        f"GROUP BY rewrite) AS c ON c.rewrite = {outer}.id) AS {outer}"
    )


def decide_part(
    con: duckdb.DuckDBPyConnection,
    conditions: tuple[Condition, ...],
    predicates: list[str],
    corpus: Corpus,
    number: int,
) -> pa.Table:
    source = _source(conditions, corpus, number)
    failed = ", ".join(
        f"CASE WHEN coalesce(({p}), false) THEN NULL ELSE {literal(c.name)} END" for c, p in zip(conditions, predicates)
    )
    query = (
        "SELECT document_id, len(failed) = 0 AS kept, failed[1] AS reason, failed FROM (SELECT "
        f"{OUTER[corpus.of]}.id AS document_id, file_row_number, "
        f"list_filter([{failed}]::VARCHAR[], lambda x: x IS NOT NULL) AS failed "
        f"FROM {source}) ORDER BY file_row_number"
    )
    try:
        return con.sql(query).to_arrow_table()
    except duckdb.Error as error:
        for condition, predicate in zip(conditions, predicates):  # which of them was it?
            try:
                con.execute(f"SELECT count(*) FILTER (WHERE {predicate}) FROM {source}").fetchall()
            except duckdb.Error as own:
                raise UserError(
                    f"this condition fails on a {corpus.of[:-1]} of {corpus.ref}: {_first_line(own)}",
                    where=condition.where, numbers=[condition.sql], do="for casts: try_cast(... as ...) gives NULL",
                ) from None  # fmt: skip
        raise UserError(f"the conditions fail on {corpus.ref}: {_first_line(error)}") from None


def scope(con: duckdb.DuckDBPyConnection, corpora: tuple[Corpus, ...] | None) -> None:
    """Create the views that subqueries read: the tables of these corpora and nothing else."""
    for name in dict.fromkeys((*SCOPE, *SCOPES["rewrites"])):
        folders = [f for c in corpora or () for f in c.tables.get(name, ())]
        paths = [escape(p) for f in folders for p in sorted(f.glob(f"{STEMS.get(name, 'part')}-*.parquet"))]
        body = typed_empty(TABLES[name])
        if paths:
            body += f" UNION ALL BY NAME SELECT * FROM {parquet(paths, ', union_by_name = true')}"
        con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {body}")


def materialise(con: duckdb.DuckDBPyConnection, conditions: tuple[Condition, ...]) -> list[str]:
    """Predicates in which every subquery that does not look at the document is a table computed once."""
    done: list[str] = []
    count = 0
    for condition in conditions:
        if not condition.tables:
            done.append(condition.predicate)
            continue
        tree = sqlglot.parse_one(f"SELECT {condition.predicate}", dialect="duckdb")
        for node in [n for n in tree.find_all(exp.Select) if n is not tree and n.find_ancestor(exp.Select) is tree]:
            try:
                con.execute(f"CREATE TEMP TABLE subquery_{count} AS {node.sql('duckdb', comments=False)}")
            except duckdb.BinderException:  # it looks at the document: leave it where it stands
                continue
            except duckdb.Error as error:
                raise UserError(f"this condition fails: {_first_line(error)}", where=condition.where) from None
            node.replace(exp.select("*").from_(f"subquery_{count}"))
            count += 1
        done.append(tree.expressions[0].sql("duckdb", comments=False))
    return done


def bind(conditions: Sequence[Condition], scratch: Path) -> None:
    """Let DuckDB bind every condition over empty tables; raises UserError with its message, before any work."""
    with connect(scratch) as con:
        scope(con, None)
        for c in conditions:
            try:
                kind = con.execute(f"DESCRIBE SELECT ({c.predicate}) FROM {_source((c,), None)}").fetchall()[0][1]
            except duckdb.Error as error:
                raise UserError(
                    f"this condition cannot be evaluated: {_first_line(error)}", where=c.where, numbers=[c.sql]
                ) from None
            if kind != "BOOLEAN":
                raise UserError(
                    f"this condition is of type {kind}, not true or false", where=c.where, numbers=[c.sql],
                    do="compare it with something, as in: score('words') >= 50",
                )  # fmt: skip


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
