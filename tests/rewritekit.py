"""Rows of `rewrites` and `checks` for tests: what a test does not say has a plain value of the column's type."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leaven.home import Home
from leaven.manifest import Manifest, output
from schemas.tables import CHECKS, REWRITES


def blank(field: pa.Field) -> Any:
    """Null where the column may be null, else the empty value of its type."""
    if field.nullable:
        return None
    if pa.types.is_boolean(field.type):
        return False
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        return 0
    return [] if pa.types.is_list(field.type) else ""


def rewrite_row(text: str, **said: Any) -> dict[str, Any]:
    """A row of REWRITES; `accepted` decides the status unless that is said too."""
    row = {f.name: blank(f) for f in REWRITES} | {"finish": "stop", "accepted": True, "operation": "replace"}
    row |= {"chars": len(text), "bytes": len(text.encode()), "text": text} | said
    row.setdefault("status", "")
    row["status"] = said.get("status", "accepted" if row["accepted"] else "rejected")
    digest = hashlib.blake2b(repr((text, sorted(said.items()))).encode(), digest_size=16).hexdigest()
    row["id"] = said.get("id", digest)
    for key in ("text_hash", "source_hash"):
        row[key] = said.get(key, hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
    return row


def write_rewrites(
    home: Home, parts: list[list[dict[str, Any]]], name: str = "told", version: str = "1",
    inputs: list[dict] | None = None, checks: list[list[dict[str, Any]]] | None = None,
) -> Manifest:  # fmt: skip
    """An output of kind rewrites that holds these rows, part by part, made of `inputs`."""
    with output(
        home.folder("rewrites", f"{name}@{version}"), kind="rewrites", name=name, version=version,
        meaning={"rows": [[r["id"] for r in part] for part in parts]}, inputs=inputs,
    ) as out:  # fmt: skip
        if not out.up_to_date:
            for number, rows in enumerate(parts):
                named = [row | {"name": name, "version": version} for row in rows]
                table = pa.Table.from_pylist(named, schema=REWRITES)
                pq.write_table(table, out.folder / f"part-{number:05d}.parquet")
                mine = [row | {"name": name, "version": version} for row in (checks[number] if checks else [])]
                pq.write_table(
                    pa.Table.from_pylist(mine, schema=CHECKS), Path(out.folder, f"checks-{number:05d}.parquet")
                )
    assert out.manifest is not None
    return out.manifest
