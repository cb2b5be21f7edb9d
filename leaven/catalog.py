"""One DuckDB file over everything built: how Parquet becomes views, and manifests become small tables.

Nothing is copied: each view reads the Parquet of whole outputs where it lies, by absolute path, so the file costs
kilobytes and is made anew by any command that writes. It is written under a temporary name and renamed, because DuckDB
lets one writer in and no reader beside it.
"""

from __future__ import annotations

import pyarrow as pa

SQL_TYPES = {
    pa.string(): "VARCHAR", pa.large_string(): "VARCHAR", pa.bool_(): "BOOLEAN", pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float32(): "FLOAT", pa.float64(): "DOUBLE",
}  # fmt: skip


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type; raises KeyError for a type that no table of ours has."""
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    if pa.types.is_list(kind):
        return sql_type(kind.value_type) + "[]"
    return SQL_TYPES[kind]


def literal(value: object) -> str:
    """A value as SQL spells it: NULL, true, 3, 'it''s', ['a', 'b']."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(v) for v in value) + "]"
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def typed_empty(schema: pa.Schema) -> str:
    """A SELECT without rows that has the schema's columns and types."""
    columns = ", ".join(f"NULL::{sql_type(f.type)} AS {identifier(f.name)}" for f in schema)
    return f"SELECT {columns} WHERE false"


def parquet(paths: list[str], options: str = "") -> str:
    """`read_parquet` over files or globs; characters that a glob would take are escaped by the caller (`escape`)."""
    return f"read_parquet({literal(paths)}{options})"


def escape(path: object) -> str:
    """A path in which DuckDB's globbing takes every character as itself."""
    return "".join(f"[{c}]" if c in "[*?" else c for c in str(path))
