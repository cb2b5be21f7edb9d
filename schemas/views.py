"""Which views the catalog has: a table's schema, and whose files below what folder hold its rows.

The macros stand in macros.sql, the tables made from manifests in built.py; docs/questions.md uses them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from leaven import catalog
from leaven.catalog import ParquetView
from leaven.home import Home
from leaven.manifest import Manifest
from leaven.shards import SHARD_SCHEMA
from schemas.built import BUILT, built_rows
from schemas.tables import NAMED, TABLES, _table


def _named(m: Manifest) -> dict[str, Any]:
    return {"name": m.name, "version": m.version}


def _seeded(m: Manifest) -> dict[str, Any]:
    return {"mix": m.name, "version": m.version, "seed": int(m.parts[0].removeprefix("seed-"))}


def _before(columns: pa.Schema, schema: pa.Schema) -> pa.Schema:
    return pa.schema([*columns, *schema], metadata=schema.metadata)


_SEEDED = _table(
    "",
    ("mix", pa.string(), "Name of the mix."),
    ("version", pa.string(), "Its version."),
    ("seed", pa.int32(), "Seed of its order."),
)
VIEWS = (
    ParquetView("documents", TABLES["documents"], "documents", "part-*.parquet", _named),
    ParquetView("failures", TABLES["failures"], "failures", "part-*.parquet", _named),
    ParquetView("segments", TABLES["segments"], "segments", "part-*.parquet", _named),
    ParquetView("scores", TABLES["scores"], "scores", "part-*.parquet", _named),
    ParquetView("hits", TABLES["hits"], "hits", "part-*.parquet", _named),
    ParquetView("spans", TABLES["spans"], "spans", "part-*.parquet", _named),
    ParquetView("items", TABLES["items"], "benchmarks", "items.parquet", _named),
    ParquetView("matches", TABLES["matches"], "matches", "part-*.parquet", _named),
    ParquetView("duplicates", TABLES["duplicates"], "duplicates", "part-*.parquet", _named),
    ParquetView("paragraphs", TABLES["paragraphs"], "duplicates", "paragraphs.parquet", _named),
    ParquetView("rewrites", TABLES["rewrites"], "rewrites", "part-*.parquet", _named),
    ParquetView("checks", TABLES["checks"], "rewrites", "checks-*.parquet", _named),
    ParquetView("diversity", TABLES["diversity"], "rewrites", "diversity.parquet", _named),
    ParquetView("judgements", TABLES["judgements"], "judgements", "part-*.parquet", _named),
    ParquetView("predictions", TABLES["predictions"], "calibrations", "predictions.parquet", _named),
    ParquetView("decisions", TABLES["decisions"], "pools", "decisions-*.parquet", _named),
    ParquetView("edits", TABLES["edits"], "pools", "edits-*.parquet", _named),
    ParquetView("sequences", _before(_table("", *NAMED), TABLES["sequences"]), "pools", "part-*.parquet", _named),
    ParquetView("shards", _before(_SEEDED, SHARD_SCHEMA), "mixes", "shard-*.parquet", _seeded),
    ParquetView("metrics", TABLES["metrics"], "studies", "*/seed-*/metrics.parquet", _named, 0),
    ParquetView("evals", TABLES["evals"], "studies", "*/seed-*/evals.parquet", _named, 0),
    ParquetView(
        "questions", _before(_table("", *NAMED), TABLES["questions"]), "studies", "questions.parquet", _named, 0
    ),
    ParquetView("contrasts", TABLES["contrasts"], "studies", "contrasts.parquet", _named, 0),
)


def statements() -> list[str]:
    """The SQL of macros.sql, each macro followed by the comment above it as its description."""
    made = []
    text = Path(__file__).with_name("macros.sql").read_text("utf-8")
    for statement in filter(None, re.split(r";\n\s*", text)):
        head = re.search(r"^CREATE MACRO (\w+)\(.*?\) AS\s+(TABLE\b)?", statement, re.MULTILINE | re.DOTALL)
        if not head:
            raise ValueError(f"macros.sql holds something that is no macro: {statement[:80]}")
        about = " ".join(line[3:] for line in statement[: head.start()].splitlines())
        made.append(statement)
        made.append(f"COMMENT ON MACRO {head[2] or ''} {head[1]} IS {catalog.literal(about)}")
    return made


def refresh(home: Home) -> None:
    """Write the catalog of a home anew; every command that writes calls this last."""
    catalog.refresh(home, VIEWS, BUILT, built_rows, statements())
