"""Which documents does a pool take, and which condition turned each of the others away?

Works part by part: part N of the documents beside part N of each score and of the hits, so memory does not grow with
the corpus. A condition that is NULL for a document (it has no such score, say) does not hold. The newest version of a
scorer or a term list decides, unless one is pinned; which were used stands in `Selection.inputs`, for the pool's
fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from leaven.catalog import escape, identifier, literal, parquet, typed_empty
from leaven.errors import UserError
from leaven.home import Home, Ref
from leaven.manifest import Manifest
from mixes.conditions import MEASURED, OUTER, SCOPE, Condition, FlagCall, measure_column, parse_conditions
from schemas.tables import TABLES


@dataclass(frozen=True)
class Decisions:
    """What the conditions said of one part: `table` has document_id, kept, reason, failed, in the part's row order."""

    documents: str
    part: int
    path: Path
    table: pa.Table


@dataclass(frozen=True)
class Corpus:
    """The documents of one reference with the scorers and term lists that conditions use; folders and part numbers."""

    ref: str
    folder: Path
    parts: tuple[int, ...]
    scorers: dict[str, Path]  # measure -> folder of the scorer's parts
    lists: tuple[Path, ...]  # folders of the newest version of every term list
    tables: dict[str, tuple[Path, ...]] = field(default_factory=dict)  # what subqueries read


@dataclass(frozen=True)
class Selection:
    """Conditions bound to documents: nothing is read until `decide`."""

    conditions: tuple[Condition, ...]
    corpora: tuple[Corpus, ...]
    inputs: list[dict]
    scratch: Path

    @property
    def meaning(self) -> list[list[str]]:
        """The conditions in order, for the pool's manifest (`meaning["keep"]`) and its fingerprint."""
        return [[c.name, c.sql] for c in self.conditions]

    @property
    def described(self) -> list[dict]:
        """The conditions with the parameters of plain flags, for `extra["conditions"]` of the pool's manifest.

        The catalog's table pool_conditions is made of it; parameters are null unless `is_flag`.
        """
        found = []
        for c in self.conditions:
            call = c.flags[0] if c.is_flag else None
            found.append({
                "condition": c.name, "sql": c.sql, "is_flag": c.is_flag,
                "distinct_terms": call.distinct_terms if call else None, "window": call.window if call else None,
                "instant": call.instant if call else None, "without": list(call.without) if call else [],
            })  # fmt: skip
        return found

    @property
    def parts(self) -> list[tuple[str, int, Path]]:
        """(documents reference, part number, path) of every part, in order."""
        return [(c.ref, n, _part(c.folder, n)) for c in self.corpora for n in c.parts]

    def without(self, terms: Iterable[str]) -> Selection:
        """The same selection as if these terms stood in no document; a counterfactual."""
        again = parse_conditions({c.name: c.sql for c in self.conditions}, also_without=tuple(terms))
        return replace(self, conditions=tuple(again))

    def decide(self, parts: Iterable[tuple[str, int]] | None = None, *, threads: int = 1) -> Iterator[Decisions]:
        """Yield the decisions of each part (or of `parts`, pairs of reference and number), in the documents' order.

        Raises UserError where a condition fails on a value (a cast, say) or a part of a score is missing.
        """
        wanted = None if parts is None else set(parts)
        con = connect(self.scratch, threads)
        try:
            _scope(con, self.corpora)
            predicates = _materialise(con, self.conditions)
            for corpus in self.corpora:
                for number in corpus.parts:
                    if wanted is not None and (corpus.ref, number) not in wanted:
                        continue
                    table = _decide_part(con, self.conditions, predicates, corpus, number)
                    yield Decisions(corpus.ref, number, _part(corpus.folder, number), table)
        finally:
            con.close()


def select(
    home: Home,
    documents: str | Ref | Sequence[str | Ref],
    conditions: dict[str, str],
    *,
    where: Callable[[str], str] | None = None,
    pins: Iterable[str] = (),
) -> Selection:
    """Check conditions against the documents they will judge and find the scores and hits they need.

    `pins` are `scorer@version` or `list@version` to use instead of the newest. Raises UserError: documents missing, a
    condition that is not allowed, a measure nobody measured, a condition that is no boolean.
    """
    refs: list[str | Ref] = [documents] if isinstance(documents, (str, Ref)) else list(documents)
    parsed = parse_conditions(conditions, where)
    pinned = dict(p.split("@", 1) for p in pins)
    folders = [p for ref in refs for kind in ("scores", "hits") for p in (home.path / kind / str(ref)).glob("[!.]*@*")]
    there = sorted({p.name for p in folders})
    if unknown := [f"{name}@{version}" for name, version in pinned.items() if f"{name}@{version}" not in there]:
        raise UserError(f"'{unknown[0]}' is pinned, and no such scorer or term list was run on these documents",
                        numbers=["there is: " + (", ".join(there) or "none")])  # fmt: skip
    corpora, inputs = [], []
    for ref in refs:
        manifest = home.find("documents", ref)
        corpus, used = _corpus(home, manifest, parsed, pinned)
        corpora.append(corpus)
        inputs += [manifest.as_input(), *(m.as_input() for m in used)]
    selection = Selection(tuple(parsed), tuple(corpora), inputs, home.scratch)
    _bind(selection)
    return selection


def decide(
    home: Home,
    documents: str | Ref | Sequence[str | Ref],
    conditions: dict[str, str],
    *,
    where: Callable[[str], str] | None = None,
    pins: Iterable[str] = (),
    threads: int = 1,
) -> Iterator[Decisions]:
    """`select(...)` and then `.decide()`."""
    yield from select(home, documents, conditions, where=where, pins=pins).decide(threads=threads)


def flag_sql(hits: str, call: FlagCall) -> str:
    """SQL of (document_id, flagged) over a relation of hits, one row a document that has a hit.

    Flagged: an instant term is present (unless `instant` is false), or an entity and a risk term co-occur with at
    least `distinct_terms` distinct terms among the document's hits of any role. With a `window`, some entity term
    and some risk term must have at most that many characters between them. Terms in `without` count as absent.
    `flagged` in schemas/macros.sql says the same over the whole catalog.
    """
    near, source = "true", hits
    if call.without:
        source = f"(SELECT * FROM {hits} WHERE term NOT IN ({', '.join(map(literal, call.without))}))"
    if call.window is not None:
        near = f"min(gap) <= {call.window}"
        before = (
            'OVER (PARTITION BY document_id ORDER BY start, "end" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)'
        )
        source = (
            f"(SELECT *, start - CASE role WHEN 'risk' THEN max(\"end\") FILTER (WHERE role = 'entity') {before} "
            f"WHEN 'entity' THEN max(\"end\") FILTER (WHERE role = 'risk') {before} END AS gap FROM {source})"
        )
    gap = ", min(gap) AS gap" if call.window is not None else ""
    terms = (  # a row a term first: then distinct terms are a plain count (3.6 M hits: 7.5 s before, 1.2 s so)
        f"SELECT document_id, term, bool_or(role = 'instant') AS instants, bool_or(role = 'entity') AS entities, "
        f"bool_or(role = 'risk') AS risks{gap} FROM {source} GROUP BY document_id, term"
    )
    return (
        f"SELECT document_id, ({literal(call.instant)} AND bool_or(instants)) OR (bool_or(entities) AND bool_or(risks) "
        f"AND count(*) >= {call.distinct_terms} AND coalesce({near}, false)) AS flagged FROM ({terms}) "
        f"GROUP BY document_id"
    )


def connect(scratch: Path, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills to the home's scratch folder and never looks at Python's variables."""
    con = duckdb.connect()
    con.execute(
        f"SET threads = {threads}; SET memory_limit = '2GB'; SET temp_directory = {literal(str(scratch / 'duckdb'))}"
    )
    con.execute("SET python_enable_replacements = false; SET enable_progress_bar = false")
    return con


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def _numbers(manifest: Manifest) -> tuple[int, ...]:
    names = [f["path"] for f in manifest.files]
    return tuple(sorted(int(n[5:-8]) for n in names if n.startswith("part-") and n.endswith(".parquet")))


def _newest(manifests: list[Manifest], pinned: dict[str, str]) -> dict[str, Manifest]:
    """Name -> the newest (or pinned) of the manifests whose last part is `name@version`."""
    found: dict[str, Manifest] = {}
    for m in sorted(manifests, key=lambda m: (m.created, m.parts[-1])):
        name, _, version = m.parts[-1].partition("@")
        if name not in pinned or pinned[name] == version:
            found[name] = m
    return found


def _beside(home: Home, kind: str, ref: str, pinned: dict[str, str]) -> dict[str, Manifest]:
    """The newest version of everything under `kind/ref/`."""
    folders = sorted(
        p.parent for p in (home.path / kind / ref).glob("*@*/manifest.json") if not p.parent.name.startswith(".")
    )
    return _newest([home.find(kind, ref, f.name) for f in folders], pinned)


def _corpus(
    home: Home, documents: Manifest, conditions: list[Condition], pinned: dict[str, str]
) -> tuple[Corpus, list[Manifest]]:
    """Find what the conditions need beside one corpus of documents, and the manifests of what was found."""
    tables = {t for c in conditions for t in c.tables}
    asked = {(m, c.where) for c in conditions for _, m in c.measures}
    scorers = _beside(home, "scores", documents.ref, pinned) if asked or "scores" in tables else {}
    lists = {}
    flagging = [c for c in conditions if c.flags]
    if flagging or "hits" in tables:
        lists = _beside(home, "hits", documents.ref, pinned)
    if flagging and not lists:
        raise UserError(
            f"blocklist_flag asks for hits, and no blocklist was run on documents {documents.ref}",
            where=flagging[0].where, do="run the curation again with a blocklist among its scorers",
        )  # fmt: skip
    found = {name: _measures(m) for name, m in scorers.items()} if asked else {}
    used: dict[str, Manifest] = {}
    by_measure: dict[str, Path] = {}
    for measure, where in sorted(asked, key=str):
        prefix, dot, rest = measure.partition(".")
        holders = [n for n, ms in found.items() if measure in ms]
        if dot and not holders and rest in found.get(prefix, ()):
            holders = [prefix]
        if len(holders) != 1:
            have = sorted({m for ms in found.values() for m in ms})
            what = f"no scorer measured '{measure}' on documents {documents.ref}"
            if holders:
                what = f"'{measure}' was measured by {' and '.join(holders)}; write '{holders[0]}.{measure}'"
            raise UserError(what, where=where, numbers=["measures there: " + (", ".join(have) or "none")])
        used[holders[0]] = scorers[holders[0]]
        by_measure[measure] = scorers[holders[0]].folder
    if "scores" in tables:
        used = scorers
    others = {}
    more: list[Manifest] = []
    for kind in sorted(tables & {"segments", "rewrites"}):
        whole = [
            m
            for m in home.manifests(kind)
            if any(i["kind"] == "documents" and i["ref"] == documents.ref for i in m.inputs)
        ]
        others[kind] = tuple(m.folder for m in whole)
        more += whole
    others |= {"documents": (documents.folder,), "scores": tuple(m.folder for m in used.values())}
    others |= {"hits": tuple(m.folder for m in lists.values())}
    corpus = Corpus(documents.ref, documents.folder, _numbers(documents), by_measure, others["hits"], others)
    return corpus, [*(used[n] for n in sorted(used)), *(lists[n] for n in sorted(lists)), *more]


def _measures(manifest: Manifest) -> set[str]:
    """The measures that a scorer wrote."""
    if "measures" in manifest.extra:
        return set(manifest.extra["measures"])
    paths = [escape(_part(manifest.folder, n)) for n in _numbers(manifest)]
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT DISTINCT measure FROM {parquet(paths)}").fetchall() if paths else []
    return {r[0] for r in rows}


def _spelled(measure: str) -> str:
    """A measure without its scorer's prefix."""
    return measure.rpartition(".")[2]


def _source(conditions: tuple[Condition, ...], corpus: Corpus | None, number: int = 0) -> str:
    """A relation `document`: the documents of one part with a column for each measure and flag the conditions name.

    Without a corpus it stands over typed empty tables, for binding.
    """

    def table(name: str, folder: Path | None, options: str = "") -> str:
        if folder is None:
            extra = ", 0::BIGINT AS file_row_number" if options else ""
            return f"(SELECT *{extra} FROM ({typed_empty(TABLES[name])}))"
        path = _part(folder, number)
        if not path.is_file():
            raise UserError(f"part {number:05d} of {name} is missing", where=str(folder), do="curate again")
        return parquet([escape(path)], options)

    asked = sorted({m for c in conditions for m in c.measures})
    calls = list(dict.fromkeys(f for c in conditions for f in c.flags))
    columns = [f"{OUTER}.*", *(identifier(measure_column(f, m)) for f, m in asked)]
    columns += [f"coalesce(f{i}.flagged, false) AS {identifier(c.column)}" for i, c in enumerate(calls)]
    documents = table("documents", corpus.folder if corpus else None, ", file_row_number = true")
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
            f"measure IN ({wanted}) GROUP BY document_id) AS s{i} ON s{i}.document_id = {OUTER}.id"
        )
    if calls:
        lists: tuple[Path | None, ...] = corpus.lists if corpus else (None,)
        hits = " UNION ALL ".join(f"SELECT * FROM {table('hits', f)}" for f in lists)
        for i, call in enumerate(calls):
            joins.append(f" LEFT JOIN ({flag_sql(f'({hits})', call)}) AS f{i} ON f{i}.document_id = {OUTER}.id")
    return f"(SELECT {', '.join(columns)} FROM {documents} AS {OUTER}{''.join(joins)}) AS {OUTER}"


def _decide_part(
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
        f"SELECT document_id, len(failed) = 0 AS kept, failed[1] AS reason, failed FROM (SELECT {OUTER}.id AS "
        f"document_id, file_row_number, list_filter([{failed}]::VARCHAR[], lambda x: x IS NOT NULL) AS failed "
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
                    f"this condition fails on a document of {corpus.ref}: {_first_line(own)}",
                    where=condition.where, numbers=[condition.sql], do="for casts: try_cast(... as ...) gives NULL",
                ) from None  # fmt: skip
        raise UserError(f"the conditions fail on {corpus.ref}: {_first_line(error)}") from None


def _scope(con: duckdb.DuckDBPyConnection, corpora: tuple[Corpus, ...] | None) -> None:
    """Create the views that subqueries read: the tables of these corpora and nothing else."""
    for name in SCOPE:
        folders = [f for c in corpora or () for f in c.tables.get(name, ())]
        paths = [escape(p) for f in folders for p in sorted(f.glob("part-*.parquet"))]
        body = typed_empty(TABLES[name])
        if paths:
            body += f" UNION ALL BY NAME SELECT * FROM {parquet(paths, ', union_by_name = true')}"
        con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {body}")


def _materialise(con: duckdb.DuckDBPyConnection, conditions: tuple[Condition, ...]) -> list[str]:
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


def _bind(selection: Selection) -> None:
    """Let DuckDB bind every condition over empty tables; raises UserError with its message, before any work."""
    with connect(selection.scratch) as con:
        _scope(con, None)
        for c in selection.conditions:
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
