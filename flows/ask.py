"""Questions about what is built: any SQL, the way from a token back to its page, what there is, what differs.

Nothing here changes an output. A catalog that is older than the manifests is made anew first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from leaven import catalog
from leaven.catalog import escape, identifier, literal, parquet
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest, differences
from leaven.masking import mask
from leaven.tags import TAGS, strip, tag_id
from leaven.tokens import Tokenizer
from mixes.tokenizing import spans_to_mask
from schemas import views
from schemas.built import built_rows

KINDS = ("mixes", "pools", "documents", "studies", "classifiers")  # what `diff` and `trace` look for, in this order


@dataclass
class Piece:
    """One document's tokens inside a sequence.

    `text` is decoded from the tokens without their tags; `tags` has a row for each tag: its name, its token in the
    sequence, and the character of `text` before which it stands. `in_document` says whether the text stands in the
    document as it is (None without the document); a piece that a cut ends inside a character does not quite.
    `document`, `scores` and `hits` are rows.
    """

    piece: int
    item_kind: str
    item_id: str
    first_token: int
    tokens: int
    doc_offset: int
    text: str
    tags: list[dict[str, Any]] = field(default_factory=list)
    in_document: bool | None = None
    document: dict[str, Any] | None = None
    scores: list[dict[str, Any]] = field(default_factory=list)
    hits: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Trace:
    """One row of a shard and where each of its tokens came from; `step` counts from 0."""

    mix: str
    seed: int
    seat: int
    step: int
    phase: str
    component: str
    pool: str
    pool_row: int
    epoch: int
    loss_tokens: int
    conditions: list[dict[str, Any]]
    pieces: list[Piece]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def open_catalog(home: Home) -> duckdb.DuckDBPyConnection:
    """A reading connection to a catalog that knows today's manifests; raises UserError where there is no home."""
    if not home.path.is_dir():
        raise UserError(f"there is nothing at {home.path}", do="leaven demo, or name a home with --home")
    if not catalog.is_current(home):
        try:
            views.refresh(home)
        except OSError as error:  # a home on a read-only disk: its catalog is as it was left
            if not home.catalog.is_file():
                raise UserError(f"the catalog cannot be written: {error}", where=str(home.catalog)) from None
    return catalog.connect(home)


def sql(home: Home, query: str) -> tuple[list[str], list[tuple]]:
    """Run SQL over the catalog: (column names, rows) of its last statement; raises UserError with DuckDB's message."""
    with open_catalog(home) as con:
        return _ask(con, query)


def _ask(con: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[tuple]]:
    try:
        done = con.execute(query)
        return [column[0] for column in done.description or []], done.fetchall() if done.description else []
    except (duckdb.Error, UnicodeError) as error:
        lines = str(error).strip().splitlines()
        do = 'leaven sql "show tables" lists the views' if isinstance(error, duckdb.CatalogException) else None
        raise UserError(
            lines[0], where="the query", numbers=[line for line in lines[1:] if line.strip()], do=do
        ) from None


def _rows(con: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    columns, rows = _ask(con, query)
    return [dict(zip(columns, row)) for row in rows]


def find(home: Home, reference: str, kinds: tuple[str, ...] = KINDS) -> list[Manifest]:
    """The outputs that `[kind/]name[@version]` names, every seed of a mix; the newest version where none is given."""
    kind, slash, rest = reference.partition("/")
    if slash and kind in kinds:
        kinds, reference = (kind,), rest
    name, at, _ = reference.partition("@")
    for kind in kinds:
        mine = [m for m in home.manifests(kind) if m.name == name and (not m.parts or kind == "mixes")]
        found = [m for m in mine if m.ref == reference] if at else catalog.newest(mine)
        if found:
            return found
    there = sorted({m.ref for kind in kinds for m in home.manifests(kind) if not m.parts or kind == "mixes"})
    raise UserError(
        f"'{reference}' names nothing in {home.path / kinds[0] if len(kinds) == 1 else home.path}",
        numbers=["there is: " + (", ".join(there[:12]) if there else "nothing")],
        do="leaven ls",
    )


def trace(home: Home, mix: str, seat: int, seed: int | None = None) -> Trace:
    """Follow one sequence of a mix back to its documents, their scores and hits, with the text of each piece decoded.

    `mix` is name@version, or name for the newest; without `seed` the lowest one built. Raises UserError where there is
    no such mix, seed or seat.
    """
    built = {int(m.parts[0].removeprefix("seed-")): m for m in find(home, mix, ("mixes",))}
    if seed is not None and seed not in built:
        raise UserError(f"mix {mix} was not built with seed {seed}",
                        numbers=["seeds: " + ", ".join(map(str, sorted(built)))])  # fmt: skip
    seed = min(built) if seed is None else seed
    manifest = built[seed]
    count = manifest.counts["sequences"]
    if not 0 <= seat < count:
        raise UserError(f"mix {manifest.ref} has no seat {seat:,}", numbers=[f"seats: 0 to {count - 1:,}"])
    with open_catalog(home) as con:
        mine = f"mix = {literal(manifest.name)} AND version = {literal(manifest.version)} AND seed = {seed}"
        (row,) = _rows(con, f"SELECT * FROM shards WHERE {mine} AND seat = {seat}")
        pool = home.find("pools", row["pool"])
        tokenizer = Tokenizer.load(pool.folder / pool.extra["tokenizer_path"])
        starts = [*row["doc_starts"], len(row["tokens"])]
        pieces = []
        for i, (kind, item) in enumerate(zip(row["item_kinds"], row["item_ids"])):
            ids = [t for t in row["tokens"][starts[i] : starts[i + 1]] if t != tokenizer.eot]
            text = tokenizer.decode(strip(np.array(ids, np.int32), tokenizer.vocab_size))
            tags = _tags(row["tokens"][starts[i] : starts[i + 1]], starts[i], tokenizer)
            pieces.append(Piece(i, kind, item, starts[i], starts[i + 1] - starts[i], row["doc_offsets"][i], text, tags))
        _describe(home, con, pool, pieces)
        condition = f"name = {literal(pool.name)} AND version = {literal(pool.version)}"
        conditions = _rows(con, f"SELECT condition, sql FROM pool_conditions WHERE {condition} ORDER BY position")
    return Trace(
        manifest.ref, seed, seat, seat // manifest.extra["batch"], row["phase"], row["component"], row["pool"],
        row["pool_row"], row["epoch"], row["loss_tokens"], conditions, pieces,
    )  # fmt: skip


def _tags(ids: list[int], first_token: int, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Where the tags of a piece stand."""
    names = {tag_id(name, tokenizer.vocab_size): name for name in TAGS}
    found, text = [], b""
    for at, token in enumerate(ids):
        if token in names:
            before = len(text.decode("utf-8", errors="replace"))
            found.append({"tag": names[token], "token": first_token + at, "char": before})
        elif token != tokenizer.eot:
            text += tokenizer.decode_bytes([token])
    return found


def _describe(home: Home, con: duckdb.DuckDBPyConnection, pool: Manifest, pieces: list[Piece]) -> None:
    """Fill in the document, scores and hits of each piece, from what the pool was made of.

    Scores and hits lie in parts that align with the documents', so one part of each is read.
    """
    wanted = [p for p in pieces if p.item_kind == "document"]
    for used in (u for u in pool.inputs if u["kind"] == "documents"):
        folder = home.folder("documents", used["ref"])
        ids = sorted({p.item_id for p in wanted if p.document is None})
        if not ids or not (folder / "manifest.json").is_file():
            continue
        source = parquet([f"{escape(folder)}/part-*.parquet"], ", filename = true")
        for document in _rows(con, f"SELECT * FROM {source} WHERE id IN ({', '.join(map(literal, ids))})"):
            part = Path(document.pop("filename")).name
            text = document.pop("text")
            document["documents"] = used["ref"]
            text = _masked(home, pool, used["ref"], part, document["id"], text)
            scores, hits = (
                _beside(home, con, pool, kind, used["ref"], part, document["id"]) for kind in ("scores", "hits")
            )
            for piece in (p for p in wanted if p.item_id == document["id"]):
                piece.document, piece.scores, piece.hits = document, scores, hits
                piece.in_document = piece.text in text


def _masked(home: Home, pool: Manifest, documents: str, part: str, document: str, text: str) -> str:
    """The text as the pool took it: with what its recipe masks replaced."""
    kinds = tuple(pool.meaning.get("mask", ()))
    beside = [u["ref"] for u in pool.inputs if u["kind"] == "spans" and u["ref"].startswith(f"{documents}/")]
    for ref in beside if kinds else ():
        path = home.folder("spans", *ref.split("/")) / part
        text = mask(text, spans_to_mask(path, kinds).get(document, ())) if path.is_file() else text
    return text


def _beside(
    home: Home, con: duckdb.DuckDBPyConnection, pool: Manifest, kind: str, documents: str, part: str, document: str
) -> list[dict[str, Any]]:
    """One document's rows of every scorer (the newest version of each, or the pool's) or of the pool's term lists."""
    beside = [m for m in home.manifests(kind) if m.ref == documents and (m.folder / part).is_file()]
    chosen = {m.parts[0].partition("@")[0]: m for m in catalog.newest(beside, of_each_version=True)}
    used = {u["ref"] for u in pool.inputs if u["kind"] == kind}
    chosen |= {m.parts[0].partition("@")[0]: m for m in beside if f"{m.ref}/{m.parts[0]}" in used}
    found = []
    for name in sorted(chosen):
        source = parquet([escape(chosen[name].folder / part)])
        rows = _rows(con, f"SELECT * EXCLUDE (name, version, document_id) FROM {source} "
                          f"WHERE {identifier('document_id')} = {literal(document)}")  # fmt: skip
        found += rows
    return sorted(found, key=lambda h: (h["start"], h["end"])) if kind == "hits" else found


def listing(home: Home) -> list[dict[str, Any]]:
    """Everything built: kind, name, version, part, rows, bytes, created, what it uses, what uses it, and its drift.

    `drift` says what an output was made of that is gone or has changed since, and is None where nothing did.
    """
    manifests = catalog.whole(home)
    address = {(m.kind, m.name, m.version, "/".join(m.parts)): m.address for m in manifests}
    rows = built_rows(manifests)
    uses: dict[str, list[str]] = {}
    used_by: dict[str, list[str]] = {}
    for u in rows["uses"]:
        user = address[u["kind"], u["name"], u["version"], u["part"]]
        used = address.get((u["used_kind"], u["used_name"], u["used_version"], u["used_part"]))
        if used is None and u["used_kind"] == "file":
            used = u["used_name"]
        if used is None:
            used = f"{u['used_kind']}/{u['used_name']}@{u['used_version']}" + f"/{u['used_part']}".rstrip("/")
        uses.setdefault(user, []).append(used)
        used_by.setdefault(used, []).append(user)
    kept = ("kind", "name", "version", "part", "rows", "files", "bytes", "created", "is_newest", "drift", "folder")
    found = []
    for row in rows["outputs"]:
        own = address[row["kind"], row["name"], row["version"], row["part"]]
        found.append(
            {"address": own} | {k: row[k] for k in kept} | {"uses": uses.get(own, []), "used_by": used_by.get(own, [])}
        )
    return found


def diff(home: Home, a: str, b: str) -> dict[str, Any]:
    """How two outputs of one kind differ: recipe, inputs and counts by field, and for mixes and pools their contents.

    `columns` and `rows` are mix_diff's or pool_diff's, and empty for other kinds.
    """
    one = find(home, a)[0]
    two = find(home, b, (one.kind,))[0]
    answer: dict[str, Any] = {
        "kind": one.kind, "a": one.ref, "b": two.ref, "same": one.fingerprint == two.fingerprint,
        "meaning": differences(one.meaning, two.meaning),
        "inputs": differences(_inputs(one), _inputs(two)),
        "stages": differences(one.stages, two.stages), "counts": differences(one.counts, two.counts),
        "columns": [], "rows": [],
    }  # fmt: skip
    if one.kind in ("mixes", "pools"):
        macro = {"mixes": "mix_diff", "pools": "pool_diff"}[one.kind]
        with open_catalog(home) as con:
            answer["columns"], answer["rows"] = _ask(con, f"FROM {macro}({literal(one.ref)}, {literal(two.ref)})")
    return answer


def _inputs(manifest: Manifest) -> dict[str, str]:
    return {f"{i['kind']}/{i['ref']}": i["fingerprint"] for i in manifest.inputs}
