"""Rows of the tables documents and failures, gathered into Arrow batches."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from filters.reading import as_json
from filters.records import Lost, Page
from schemas.tables import DOCUMENTS, FAILURES

ROWS = 2048  # rows after which a batch is written
CHARS = 8 << 20  # characters after which a batch is written
COUNTS = b"leaven.counts"  # key in a documents part's footer


def part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def read_counts(part: Path) -> dict[str, Any]:
    """What happened to the records of a documents part, from its footer."""
    return json.loads(pq.read_metadata(part).metadata[COUNTS])


def document_id(source: str, revision: str, locator: str, text: str) -> str:
    """BLAKE2b-128 of the four, each as UTF-8 behind its length in bytes (8 bytes, big-endian); 32 hex digits."""
    return _id(id_prefix(source, revision), locator.encode(), text.encode())


def id_prefix(source: str, revision: str) -> Any:
    """The hash of what all documents of a source share, to be copied for each."""
    running = hashlib.blake2b(digest_size=16)
    for part in (source.encode(), revision.encode()):
        running.update(len(part).to_bytes(8, "big") + part)
    return running


def _id(prefix: Any, locator: bytes, text: bytes) -> str:
    running = prefix.copy()
    running.update(b"%b%b%b" % (len(locator).to_bytes(8, "big"), locator, len(text).to_bytes(8, "big")))
    running.update(text)
    return running.hexdigest()


class DocumentRows:
    """Gathers pages as rows of DOCUMENTS; `full` says when to `take` a batch."""

    def __init__(self, name: str, version: str, source: str, revision: str):
        self.name, self.version, self.source = name, version, source
        self._prefix = id_prefix(source, revision)
        self._columns: list[list] = [[] for _ in range(12)]
        self._chars = 0

    def add(self, file: str, page: Page, extractor: str) -> None:
        """Raises UnicodeEncodeError where the text has lone surrogates."""
        locator = f"{file}#{page.record}"
        text = page.text.encode()
        metadata = orjson.dumps(page.metadata, default=as_json).decode() if page.metadata else None
        row = (
            _id(self._prefix, locator.encode(), text), locator, page.url, page.fetched, page.media, extractor,
            page.title, metadata, hashlib.blake2b(text, digest_size=16).hexdigest(), len(page.text), len(text), text,
        )  # fmt: skip
        for column, value in zip(self._columns, row):
            column.append(value)
        self._chars += len(page.text)

    def __len__(self) -> int:
        return len(self._columns[0])

    @property
    def full(self) -> bool:
        return len(self) >= ROWS or self._chars >= CHARS

    def take(self) -> pa.RecordBatch:
        """The rows gathered so far."""
        n = len(self)
        c = self._columns
        arrays = [
            _same(self.name, n), _same(self.version, n), pa.array(c[0]), _same(self.source, n), pa.array(c[1]),
            pa.array(c[2], pa.string()), pa.array(c[3], pa.string()), _label(c[4]), _label(c[5]),
            pa.array(c[6], pa.string()), pa.array(c[7], pa.string()), pa.array(c[8]),
            pa.array(c[9], pa.int32()), pa.array(c[10], pa.int32()), pa.array(c[11], pa.string()),
        ]  # fmt: skip
        self._columns = [[] for _ in c]
        self._chars = 0
        return pa.RecordBatch.from_arrays([a.cast(f.type) for a, f in zip(arrays, DOCUMENTS)], schema=DOCUMENTS)


class FailureRows:
    """Gathers lost records as rows of FAILURES."""

    def __init__(self, name: str, version: str):
        self.name, self.version = name, version
        self._rows: list[tuple] = []

    def add(self, file: str, lost: Lost) -> None:
        message = lost.message.encode("utf-8", "replace").decode()[:500] if lost.message else None
        url = lost.url.encode("utf-8", "replace").decode() if lost.url else None
        self._rows.append((lost.stage, lost.outcome, lost.reason, file, lost.record, lost.offset, url, message))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def full(self) -> bool:
        return len(self) >= 16 * ROWS

    def take(self) -> pa.RecordBatch:
        n = len(self)
        columns = list(zip(*self._rows)) if n else [()] * 8
        arrays = [_same(self.name, n), _same(self.version, n)]
        arrays += [_label(c) if i < 3 else pa.array(c, FAILURES[i + 2].type) for i, c in enumerate(columns)]
        self._rows = []
        return pa.RecordBatch.from_arrays(arrays, schema=FAILURES)


def _same(value: str, n: int) -> pa.Array:
    """A label column of one value."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value]))


def _label(values: Any) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()
