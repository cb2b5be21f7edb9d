"""Whether the rows of a shard are those that the recipe puts there, and what the shards hold by SQL.

Shards are read through pyarrow and DuckDB here, and not by the memory map that the loader uses.

Legend: N rows compared, L tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leaven.catalog import escape, parquet
from leaven.errors import UserError
from leaven.shards import SHARD_SCHEMA
from mixes.build import WRITTEN
from mixes.gather import Gatherer
from mixes.plan import Plan

NAMED = 5  # differing rows of a shard that are named one by one
BATCH = 1024  # rows compared at a time


@dataclass
class Compared:
    """Findings of one shard; rows compared with their pools, rows that differ, and whether it can be read at all."""

    name: str
    findings: list[str] = field(default_factory=list)
    compared: int = 0
    differ: int = 0
    readable: bool = True

    def note(self, finding: str) -> None:
        if finding not in self.findings:
            self.findings.append(finding)


def compare_shard(
    plan: Plan, shard: int, path: Path, rows: np.ndarray | None, gatherer: Gatherer | None = None
) -> Compared:
    """Compare rows of a shard (None: all) with the recipe's seats and the pools' rows."""
    result, gatherer = Compared(path.name), gatherer or Gatherer(plan)
    seats = plan.shard_seats(shard)
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        if [(f.name, f.type) for f in schema] != [(f.name, f.type) for f in SHARD_SCHEMA]:
            result.note(f"{path.name}: its columns are not those of a shard: {', '.join(schema.names)}")
            result.readable = False
            return result
        if file.metadata.num_rows != len(seats):
            result.note(f"{path.name}: it has {file.metadata.num_rows:,} rows, not {len(seats):,}")
        first = 0
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            here = np.arange(first, first + count) if rows is None else rows[(rows >= first) & (rows < first + count)]
            here = here[here < len(seats)]
            if len(here):
                found = file.read_row_group(group, use_threads=False).take(pa.array(here - first))
                for lo in range(0, len(here), BATCH):
                    some = here[lo : lo + BATCH]
                    _compare(gatherer, found[lo : lo + BATCH].combine_chunks(), some, seats[some], result)
            first += count
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        result.note(f"{path.name}: it cannot be read: {str(error).splitlines()[0][:200]}")
        result.readable = False
    if result.differ > NAMED:
        result.note(f"{path.name}: {result.differ:,} rows differ in all")
    return result


def _compare(gatherer: Gatherer, found: pa.Table, rows: np.ndarray, seats: np.ndarray, result: Compared) -> None:
    """Compare up to BATCH rows of a shard, naming those that differ while fewer than NAMED are."""
    tokens_NL: np.ndarray | None = None
    try:
        ((rest, tokens_NL),) = gatherer.rows(seats)
        result.compared += len(rows)
    except UserError as error:  # a pool that cannot be read: what the recipe alone says can still be compared
        result.note(f"{error.what} ({error.where})" if error.where else error.what)
        rest = gatherer.seat_rows(seats)
    differ: dict[int, str] = {}
    for column in rest.column_names:
        have, want = found.column(column), rest.column(column)
        if not have.equals(want):
            for row, (a, b) in enumerate(zip(have.to_pylist(), want.to_pylist())):
                if a != b:
                    differ.setdefault(row, f"{column} is {_short(a)}, not {_short(b)}")
    for row, text in _tokens(found.column("tokens"), tokens_NL, gatherer.plan.recipe.sequence_length, seats):
        differ.setdefault(row, text)
    for row in sorted(differ)[: max(0, NAMED - result.differ)]:
        place = f"row {rest.column('pool_row')[row].as_py():,} of pool {rest.column('pool')[row]}"
        result.note(f"{result.name}: row {rows[row]:,} (seat {seats[row]:,}, {place}): {differ[row]}")
    result.differ += len(differ)


def _tokens(
    column: pa.ChunkedArray, tokens_NL: np.ndarray | None, length: int, seats: np.ndarray
) -> Iterator[tuple[int, str]]:
    """Rows whose tokens are not those of the pool (where it is known), and how."""
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths != length).tolist():
        yield row, f"it has {lengths[row]:,} tokens, not {length:,}"
    whole = np.flatnonzero(lengths == length)
    if tokens_NL is None or not len(whole):
        return
    held_NL = lists.take(pa.array(whole)).flatten().to_numpy(zero_copy_only=False).reshape(-1, length)
    for at in np.flatnonzero((held_NL != tokens_NL[whole]).any(axis=1)).tolist():
        row = int(whole[at])
        other = np.flatnonzero((tokens_NL == held_NL[at]).all(axis=1))
        if len(other):
            yield row, f"it holds the tokens of seat {seats[other[0]]:,}"
        else:
            t = int(np.argmax(held_NL[at] != tokens_NL[row]))
            yield row, f"token {t} is {held_NL[at, t]}, and its pool row has {tokens_NL[row, t]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def recount(paths: list[Path], length: int) -> dict[str, Any] | str:
    """What the shards hold, by SQL: `written` rows, `seats`, and rows whose loss_tokens are wrong; or why not."""
    if not paths:
        return "there is none to count"
    files = parquet([escape(p) for p in paths])
    try:
        with duckdb.connect() as connection:
            cursor = connection.execute(WRITTEN.format(files=files))
            names = [column[0] for column in cursor.description]
            written = [dict(zip(names, row)) for row in cursor.fetchall()]
            seats = connection.execute(
                "select count(*), count(distinct seat), min(seat), max(seat), "
                f"count(*) filter (where loss_tokens is distinct from {length} - len(doc_starts)) from {files}"
            ).fetchone()
    except duckdb.Error as error:
        return str(error).splitlines()[0][:200]
    assert seats
    return {
        "written": written,
        "seats": dict(zip(("rows", "distinct", "first", "last"), seats)),
        "loss_tokens_wrong": seats[4],
    }
