"""Which documents does a pool take, and which condition turned each of the others away?

Works part by part: part N of the documents beside part N of each score and of the hits, so memory does not grow with
the corpus. A condition that is NULL for a document (it has no such score, say) does not hold. The newest version of a
scorer or a term list decides, unless one is pinned; which were used stands in `Selection.inputs`, for the pool's
fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa

from leaven.catalog import escape, parquet
from leaven.errors import UserError
from leaven.home import Home, Ref
from leaven.manifest import Manifest
from mixes.conditions import Condition, parse_conditions
from mixes.deciding import Corpus, bind, connect, decide_part, materialise, part_numbers, part_path, scope


@dataclass(frozen=True)
class Decisions:
    """What the conditions said of one part: `table` has document_id, kept, reason, failed, in the part's row order."""

    documents: str
    part: int
    path: Path
    table: pa.Table
    duplicates: Path | None = None  # the part's duplicates, where the held-out share goes by them


@dataclass(frozen=True)
class Selection:
    """Conditions bound to documents: nothing is read until `decide`."""

    conditions: tuple[Condition, ...]
    corpora: tuple[Corpus, ...]
    inputs: list[dict]
    scratch: Path
    heldout: bool = False  # whether a share will be held out, by cluster where there are duplicates

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
        return [(c.ref, n, part_path(c.folder, n)) for c in self.corpora for n in c.parts]

    def without(self, terms: Iterable[str]) -> Selection:
        """The same selection as if these terms stood in no document; a counterfactual."""
        again = parse_conditions({c.name: c.sql for c in self.conditions}, also_without=tuple(terms))
        return replace(self, conditions=tuple(again))

    def decide(self, parts: Iterable[tuple[str, int]] | None = None, *, threads: int = 1) -> Iterator[Decisions]:
        """Yield the decisions of each part (or of `parts`, pairs of reference and number), in the documents' order.

        Raises UserError where a condition fails on a value (a cast, say) or a part of a score is missing.
        """
        wanted = None if parts is None else set(parts)
        subqueries = any(c.tables for c in self.conditions)  # their float sums would depend on the number of threads
        con = connect(self.scratch, 1 if subqueries else threads)
        try:
            scope(con, self.corpora)
            predicates = materialise(con, self.conditions)
            for corpus in self.corpora:
                for number in corpus.parts:
                    if wanted is not None and (corpus.ref, number) not in wanted:
                        continue
                    table = decide_part(con, self.conditions, predicates, corpus, number)
                    copies = corpus.duplicates if self.heldout else None
                    yield Decisions(corpus.ref, number, part_path(corpus.folder, number), table,
                                    part_path(copies, number) if copies else None)  # fmt: skip
        finally:
            con.close()


def select(
    home: Home,
    documents: str | Ref | Sequence[str | Ref],
    conditions: dict[str, str],
    *,
    where: Callable[[str], str] | None = None,
    pins: Iterable[str] = (),
    heldout: bool = False,
) -> Selection:
    """Check conditions against the documents they will judge and find the scores and hits they need.

    `pins` are `scorer@version` or `list@version` to use instead of the newest; `heldout` says that a share will be held
    out, which goes by the clusters of near-duplicates of every corpus that has them. Raises UserError: documents
    missing, a condition that is not allowed, a measure nobody measured, a condition that is no boolean.
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
        corpus, used = _corpus(home, manifest, parsed, pinned, heldout)
        corpora.append(corpus)
        inputs += [manifest.as_input(), *(m.as_input() for m in used)]
    selection = Selection(tuple(parsed), tuple(corpora), inputs, home.scratch, heldout)
    bind(parsed, home.scratch)
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


def _newest(manifests: list[Manifest], pinned: dict[str, str]) -> dict[str, Manifest]:
    """Name -> the newest (or pinned) of the manifests whose last part is `name@version`."""
    found: dict[str, Manifest] = {}
    for m in sorted(manifests, key=lambda m: (m.created, m.parts[-1])):
        name, _, version = m.parts[-1].partition("@")
        if name not in pinned or pinned[name] == version:
            found[name] = m
    return found


def beside(home: Home, kind: str, ref: str, pinned: dict[str, str]) -> dict[str, Manifest]:
    """Name -> the newest (or pinned) version of everything under `kind/ref/`."""
    folders = sorted(
        p.parent for p in (home.path / kind / ref).glob("*@*/manifest.json") if not p.parent.name.startswith(".")
    )
    return _newest([home.find(kind, ref, f.name) for f in folders], pinned)


def _corpus(
    home: Home, documents: Manifest, conditions: list[Condition], pinned: dict[str, str], heldout: bool
) -> tuple[Corpus, list[Manifest]]:
    """Find what the conditions need beside one corpus of documents, and the manifests of what was found."""
    tables = {t for c in conditions for t in c.tables}
    asked = {(m, c.where) for c in conditions for _, m in c.measures}
    scorers = beside(home, "scores", documents.ref, pinned) if asked or "scores" in tables else {}
    lists = {}
    flagging = [c for c in conditions if c.flags]
    if flagging or "hits" in tables:
        lists = beside(home, "hits", documents.ref, pinned)
    if flagging and not lists:
        raise UserError(
            f"blocklist_flag asks for hits, and no blocklist was run on documents {documents.ref}",
            where=flagging[0].where, do="run the curation again with a blocklist among its scorers",
        )  # fmt: skip
    copying = [c for c in conditions if c.copies or "duplicates" in c.tables]
    found = {name: measures_of(m) for name, m in scorers.items()} if asked else {}
    used: dict[str, Manifest] = {}
    by_measure: dict[str, Path] = {}
    for measure, where in sorted(asked, key=str):
        name = holder(measure, where, found, documents.ref)
        used[name] = scorers[name]
        by_measure[measure] = scorers[name].folder
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
    copies = duplicates_of(home, documents, copying) if heldout or copying else None
    if copies:
        others["duplicates"] = (copies.folder,)
        more.append(copies)
    others |= {"documents": (documents.folder,), "scores": tuple(m.folder for m in used.values())}
    others |= {"hits": tuple(m.folder for m in lists.values())}
    corpus = Corpus(documents.ref, documents.folder, part_numbers(documents), by_measure, others["hits"], others,
                    copies.folder if copies else None)  # fmt: skip
    return corpus, [*(used[n] for n in sorted(used)), *(lists[n] for n in sorted(lists)), *more]


def holder(measure: str, where: str | None, found: dict[str, set[str]], ref: str) -> str:
    """The one scorer that measured it, of `found` (scorer -> its measures); raises UserError for none or several."""
    prefix, dot, rest = measure.partition(".")
    holders = [n for n, ms in found.items() if measure in ms]
    if dot and not holders and rest in found.get(prefix, ()):
        holders = [prefix]
    if len(holders) != 1:
        have = sorted({m for ms in found.values() for m in ms})
        what = f"no scorer measured '{measure}' on documents {ref}"
        if holders:
            what = f"'{measure}' was measured by {' and '.join(holders)}; write '{holders[0]}.{measure}'"
        raise UserError(what, where=where, numbers=["measures there: " + (", ".join(have) or "none")])
    return holders[0]


def spans_beside(home: Home, ref: str, scorer: str, pins: Iterable[str], where: str | None) -> Manifest:
    """The spans that a scorer left beside a corpus, pinned or newest; raises UserError where it was not run."""
    found = beside(home, "spans", ref, dict(p.split("@", 1) for p in pins)).get(scorer)
    if not found:
        raise UserError(f"there are no spans to mask: the scorer '{scorer}' was not run on documents {ref}",
                        where=where, do="run the curation again with it among its scorers")  # fmt: skip
    return found


def duplicates_of(home: Home, documents: Manifest, copying: Sequence[Condition] = ()) -> Manifest | None:
    """The duplicates of these very documents; raises UserError where conditions ask for them and there are none."""
    if (home.folder("duplicates", documents.ref) / "manifest.json").is_file():
        found = home.find("duplicates", documents.ref)
        if documents.as_input() in found.inputs:
            return found
    if copying:
        raise UserError(
            f"this condition asks for duplicates, and none were looked for among documents {documents.ref}",
            where=copying[0].where, do="run the curation again with duplicates = true",
        )  # fmt: skip
    return None


def measures_of(manifest: Manifest) -> set[str]:
    """The measures that a scorer wrote."""
    if "measures" in manifest.extra:
        return set(manifest.extra["measures"])
    paths = [escape(part_path(manifest.folder, n)) for n in part_numbers(manifest)]
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT DISTINCT measure FROM {parquet(paths)}").fetchall() if paths else []
    return {r[0] for r in rows}
