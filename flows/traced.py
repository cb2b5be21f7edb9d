"""Where did the pieces of a sequence come from? Documents with their scores and hits; rewrites with prompt and checks.

    piece --item id--> document --part N--> scores, hits
    piece --item id, tokens--> edits of the pool --part N--> rewrite, checks;   segment's text;   style's prompt

Everything is read where it lies today: what has gone since the pool was made is None, or named in `gone`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from leaven import catalog
from leaven.catalog import escape, identifier, literal, parquet
from leaven.edits import Edit, apply_edits
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.masking import mask
from leaven.tags import TAGS, strip, tag_id
from leaven.tokens import Tokenizer
from mixes.rewrites import source_of
from mixes.tokenizing import spans_to_mask

Row = dict[str, Any]


@dataclass
class Piece:
    """One item's tokens inside a sequence: of a document, or of a rewrite.

    `text` is decoded from the tokens without their tags; `tags` has a row for each tag: its name, its token in the
    sequence, and the character of `text` before which it stands. `in_document` says whether the text stands in the item
    as the pool took it (None where that is gone); a piece that a cut ends inside a character does not quite.
    `document` (of a rewrite: the one it was made from), `scores` and `hits` are rows. `rewrites` has an entry for each
    rewrite that wrote tokens of the piece: first_token and tokens of the sequence, first_char and end_char in `text`,
    then its row (start and end are the segment's), `source_text` (the segment), `prompt` (the style's template),
    `checks`, and what is `gone` of these.
    """

    piece: int
    item_kind: str
    item_id: str
    first_token: int
    tokens: int
    doc_offset: int
    text: str
    tags: list[Row] = field(default_factory=list)
    in_document: bool | None = None
    document: Row | None = None
    scores: list[Row] = field(default_factory=list)
    hits: list[Row] = field(default_factory=list)
    rewrites: list[Row] = field(default_factory=list)


def ask(con: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[tuple]]:
    """(column names, rows) of a query; raises UserError with DuckDB's message."""
    try:
        done = con.execute(query)
        return [column[0] for column in done.description or []], done.fetchall() if done.description else []
    except (duckdb.Error, UnicodeError) as error:
        lines = str(error).strip().splitlines()
        do = 'leaven sql "show tables" lists the views' if isinstance(error, duckdb.CatalogException) else None
        raise UserError(
            lines[0], where="the query", numbers=[line for line in lines[1:] if line.strip()], do=do
        ) from None


def records(con: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    """The rows of a query as dicts."""
    columns, rows = ask(con, query)
    return [dict(zip(columns, row)) for row in rows]


def cut_piece(
    number: int, kind: str, item: str, first_token: int, ids: list[int], offset: int, tokenizer: Tokenizer
) -> tuple[Piece, list[int]]:
    """A piece with its text and tags, without what it came from; and the character at which each token begins.

    The last of the characters is where the text ends.
    """
    plain = np.array([t for t in ids if t != tokenizer.eot], np.int32)
    text = tokenizer.decode(strip(plain, tokenizer.vocab_size))
    names = {tag_id(name, tokenizer.vocab_size): name for name in TAGS}
    tags, starts, before = [], [], b""
    for at, token in enumerate(ids):
        starts.append(len(before.decode("utf-8", errors="replace")))
        if token in names:
            tags.append({"tag": names[token], "token": first_token + at, "char": starts[-1]})
        elif token != tokenizer.eot:
            before += tokenizer.decode_bytes([token])
    return Piece(number, kind, item, first_token, len(ids), offset, text, tags), [*starts, len(text)]


def describe(
    home: Home, con: duckdb.DuckDBPyConnection, pool: Manifest, cut: list[tuple[Piece, list[int]]]
) -> list[Piece]:
    """The pieces that `cut_piece` made, with what each came from filled in, by what the pool was made of.

    Whatever lies beside documents or rewrites lies in parts that align with theirs, so one part of each is read.
    """
    pieces = [piece for piece, _ in cut]
    edits = _edits(con, pool, {p.item_id for p in pieces})
    written = _rewrites(home, con, [e for mine in edits.values() for e in mine])
    for piece, starts in cut:
        piece.rewrites = [e for edit in edits.get(piece.item_id, []) if (e := _entry(piece, starts, edit, written))]
    corpora = [u["ref"] for u in pool.inputs if u["kind"] == "documents"]
    corpora += [r["documents"] for p in pieces for r in p.rewrites if r["documents"]]
    for ref in dict.fromkeys(corpora):
        wanted = {id_ for p in pieces if p.document is None and (id_ := _source(p))}
        for part, document, text in _documents(home, con, ref, wanted):
            scores, hits = (_beside(home, con, pool, kind, ref, part, document["id"]) for kind in ("scores", "hits"))
            for piece in (p for p in pieces if p.document is None and _source(p) == document["id"]):
                piece.document, piece.scores, piece.hits = document, scores, hits
                for r in piece.rewrites:
                    r["source_text"] = None if r.get("start") is None else text[r["start"] : r["end"]]
                if piece.item_kind == "document":
                    mine = edits.get(piece.item_id, [])
                    taken = _taken(home, pool, ref, part, piece.item_id, text, _put(mine, written))
                    piece.in_document = None if taken is None else piece.text in taken
    for piece in pieces:
        if piece.item_kind == "rewrite" and piece.rewrites and piece.rewrites[0]["text"] is not None:
            piece.in_document = piece.text in piece.rewrites[0]["text"]
        for r in piece.rewrites:
            if r["document_id"] and piece.document is None:
                r["gone"].append("document")
    return pieces


def _source(piece: Piece) -> str | None:
    """Id of the document that a piece came from."""
    if piece.item_kind == "document":
        return piece.item_id
    return piece.rewrites[0]["document_id"] if piece.rewrites else None


def _edits(con: duckdb.DuckDBPyConnection, pool: Manifest, items: set[str]) -> dict[str, list[Row]]:
    """The pool's rows of `edits` by item, in the order of the item's text."""
    files = [escape(pool.folder / f["path"]) for f in pool.files if f["path"].startswith("edits-")]
    if not files:
        return {}
    listed = ", ".join(map(literal, sorted(items)))
    query = (f"SELECT * EXCLUDE (name, version, heldout) FROM {parquet(files, ', file_row_number = true')} "
             f"WHERE item_id IN ({listed}) ORDER BY item_id, first_token, file_row_number")  # fmt: skip
    found: dict[str, list[Row]] = {}
    for row in records(con, query):
        row.pop("file_row_number")
        found.setdefault(row["item_id"], []).append(row)
    return found


def _rewrites(home: Home, con: duckdb.DuckDBPyConnection, edits: list[Row]) -> dict[str, Row]:
    """Rewrite id -> its row, with `checks`, `prompt` (the style's) and `documents` (what it was made from)."""
    found: dict[str, Row] = {}
    for ref in dict.fromkeys(e["rewrites"] for e in edits):
        if not (home.folder("rewrites", ref) / "manifest.json").is_file():
            continue
        manifest = home.find("rewrites", ref)
        ids = ", ".join(map(literal, sorted({e["rewrite"] for e in edits if e["rewrites"] == ref})))
        made_of, styles = source_of(manifest), manifest.extra.get("styles", {})
        source = parquet([f"{escape(manifest.folder)}/part-*.parquet"], ", filename = true")
        for row in records(con, f"SELECT * EXCLUDE (name, version) FROM {source} WHERE id IN ({ids})"):
            checks = Path(manifest.folder, Path(row.pop("filename")).name.replace("part-", "checks-"))
            row["checks"] = None
            if checks.is_file():
                query = (f"SELECT * EXCLUDE (name, version, rewrite) FROM {parquet([escape(checks)])} "
                         f"WHERE rewrite = {literal(row['id'])}")  # fmt: skip
                row["checks"] = records(con, query)
            row |= {"prompt": styles.get(row["style"]), "documents": made_of["ref"] if made_of else None}
            found[row.pop("id")] = row
    return found


def _entry(piece: Piece, starts: list[int], edit: Row, written: dict[str, Row]) -> Row | None:
    """What one rewrite wrote of a piece, with its row; None where that is nothing."""
    first = max(edit["first_token"] - piece.doc_offset, 0)
    last = min(edit["first_token"] + edit["tokens"] - piece.doc_offset, piece.tokens)
    if first >= last:
        return None
    row = written.get(edit["rewrite"])
    gone = [what for what, there in (("rewrite", row), ("checks", row and row["checks"] is not None),
                                     ("prompt", row and row["prompt"])) if not there]  # fmt: skip
    place = {"first_token": piece.first_token + first, "tokens": last - first, "first_char": starts[first],
             "end_char": starts[last]}  # fmt: skip
    told = {k: v for k, v in edit.items() if k not in ("item_id", "first_token", "tokens", "tokens_in")}
    blank: Row = {"text": None, "source_text": None, "prompt": None, "checks": [], "documents": None}
    return place | told | blank | (row or {}) | {"checks": (row and row["checks"]) or [], "gone": gone}


def _documents(home: Home, con: duckdb.DuckDBPyConnection, ref: str, ids: Iterable[str]) -> list[tuple[str, Row, str]]:
    """(file name of the part, row without its text, text) of documents of one corpus."""
    folder = home.folder("documents", ref)
    wanted = sorted(ids)
    if not wanted or not (folder / "manifest.json").is_file():
        return []
    source = parquet([f"{escape(folder)}/part-*.parquet"], ", filename = true")
    rows = records(
        con, f"SELECT *, {literal(ref)} AS documents FROM {source} WHERE id IN ({', '.join(map(literal, wanted))})"
    )
    return [(Path(r.pop("filename")).name, r, r.pop("text")) for r in rows]


def _taken(
    home: Home, pool: Manifest, documents: str, part: str, id_: str, text: str, edits: list[Edit] | None
) -> str | None:
    """A document's text as the pool took it: what its recipe masks replaced, rewrites put in; None without them all."""
    if edits is None:
        return None
    kinds = tuple(pool.meaning.get("mask", ()))
    beside = [u["ref"] for u in pool.inputs if u["kind"] == "spans" and u["ref"].startswith(f"{documents}/")]
    for ref in beside if kinds else ():
        path = home.folder("spans", *ref.split("/")) / part
        text = mask(text, spans_to_mask(path, kinds).get(id_, ())) if path.is_file() else text
    return apply_edits(text, edits)[0]


def _put(edits: list[Row], written: dict[str, Row]) -> list[Edit] | None:
    """The rewrites that a pool put into a document, or None where one of them is gone."""
    if any(e["rewrite"] not in written for e in edits):
        return None
    rows = [(e["rewrite"], written[e["rewrite"]]) for e in edits]
    return [Edit(r["start"], r["end"], r["text"], id_, r["operation"] == "append") for id_, r in rows]


def _beside(
    home: Home, con: duckdb.DuckDBPyConnection, pool: Manifest, kind: str, documents: str, part: str, document: str
) -> list[Row]:
    """One document's rows of every scorer (the newest version of each, or the pool's) or of the pool's term lists."""
    beside = [m for m in home.manifests(kind) if m.ref == documents and (m.folder / part).is_file()]
    chosen = {m.parts[0].partition("@")[0]: m for m in catalog.newest(beside, of_each_version=True)}
    used = {u["ref"] for u in pool.inputs if u["kind"] == kind}
    chosen |= {m.parts[0].partition("@")[0]: m for m in beside if f"{m.ref}/{m.parts[0]}" in used}
    found = []
    for name in sorted(chosen):
        source = parquet([escape(chosen[name].folder / part)])
        rows = records(con, f"SELECT * EXCLUDE (name, version, document_id) FROM {source} "
                            f"WHERE {identifier('document_id')} = {literal(document)}")  # fmt: skip
        found += rows
    return sorted(found, key=lambda h: (h["start"], h["end"])) if kind == "hits" else found
