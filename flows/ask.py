"""Questions about what is built: any SQL, the way from a token back to its page, what there is, what differs.

Nothing here changes an output. A catalog that is older than the manifests is made anew first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from flows.traced import Piece, ask, cut_piece, describe, records
from leaven import catalog
from leaven.catalog import literal
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest, differences
from leaven.tokens import Tokenizer
from schemas import views
from schemas.built import built_rows

KINDS = ("mixes", "pools", "documents", "rewrites", "studies", "classifiers")  # what `diff` looks for, in this order


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
        return ask(con, query)


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

    Of what a model wrote also the rewrite, its prompt, its teacher and every check of it (flows/traced.py).

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
        (row,) = records(con, f"SELECT * FROM shards WHERE {mine} AND seat = {seat}")
        pool = home.find("pools", row["pool"])
        tokenizer = Tokenizer.load(pool.folder / pool.extra["tokenizer_path"])
        starts = [*row["doc_starts"], len(row["tokens"])]
        cut = [
            cut_piece(i, kind, item, starts[i], row["tokens"][starts[i] : starts[i + 1]], offset, tokenizer)
            for i, (kind, item, offset) in enumerate(zip(row["item_kinds"], row["item_ids"], row["doc_offsets"]))
        ]
        pieces = describe(home, con, pool, cut)
        condition = f"name = {literal(pool.name)} AND version = {literal(pool.version)}"
        conditions = records(con, f"SELECT condition, sql FROM pool_conditions WHERE {condition} ORDER BY position")
    return Trace(
        manifest.ref, seed, seat, seat // manifest.extra["batch"], row["phase"], row["component"], row["pool"],
        row["pool_row"], row["epoch"], row["loss_tokens"], conditions, pieces,
    )  # fmt: skip


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
            answer["columns"], answer["rows"] = ask(con, f"FROM {macro}({literal(one.ref)}, {literal(two.ref)})")
    return answer


def _inputs(manifest: Manifest) -> dict[str, str]:
    return {f"{i['kind']}/{i['ref']}": i["fingerprint"] for i in manifest.inputs}
