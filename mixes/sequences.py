"""How the token ids of a pool become part files of sequences: the second half of the work that processes share.

    write_part   one file of token ids -> packed sequences in a part file, and the few tokens left over
    write_left   what all parts left over -> one more part file, and the tail that is dropped

Everything is a function of the input: which process packs a part, and when, changes no byte. Token ids wait on disk
(mixes/tokenizing.py), because a sequence's number in the pool needs the token counts of all parts before it.

Legend: N sequences, L tokens of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaven.packing import Packed, Pieces, join, no_pieces, pack, pack_documents
from leaven.shards import ROW_GROUP, TokenWriter
from mixes.tokenizing import Pool, decisions_path, tokens_path
from schemas.tables import SEQUENCES


@dataclass(frozen=True)
class Left:
    """Pieces that filled no sequence, with their tokens, and how many pieces of each document lie in sequences."""

    pieces: Pieces
    ids: list[str]  # of each piece
    tokens: np.ndarray  # of all pieces in a row
    earlier: list[bool]  # whether the document of each piece has a piece in a sequence


@dataclass(frozen=True)
class Written:
    """What a part file holds; `sha256` is empty where the file stood there already."""

    name: str
    rows: int
    pieces: int
    documents_cut: int
    sha256: str


def write_part(
    pool: Pool, number: int, side: str, folder: Path, first_row: int, rows: int, token_bytes: np.ndarray, footer: dict
) -> tuple[Written, Left]:
    """Pack one part's token file into `rows` sequences numbered from `first_row`, and write them where any are."""
    table = pq.read_table(decisions_path(pool, number), columns=["document_id", "kept", "heldout", "tokens"])
    held = table.column("heldout").to_numpy()
    mask = held if side == "heldout" else table.column("kept").to_numpy() & ~held
    ids = table.column("document_id").filter(pa.array(mask)).combine_chunks()
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    lengths = table.column("tokens").to_numpy()[mask].astype(np.int64) + 1
    starts = np.cumsum(lengths) - lengths
    source = tokens_path(pool, number, side)
    flat = np.memmap(source, np.int32, "r") if len(lengths) else np.empty(0, np.int32)
    if len(flat) != lengths.sum():
        raise RuntimeError(f"{source} holds {len(flat)} tokens, its documents {lengths.sum()}")
    written = _Part(pool, number, side, folder, first_row, rows, token_bytes, footer)
    count = np.zeros(len(lengths), np.int64)  # pieces of each document in sequences
    pieces, left = 0, no_pieces()
    with written:
        for packed, left in pack_documents(lengths, pool.length):  # noqa: B007
            count += np.bincount(packed.pieces.document, minlength=len(lengths))
            pieces += len(packed.pieces)
            written.add(packed, starts, flat, ids)
    at_left = np.bincount(left.document, minlength=len(lengths))
    spans = [flat[starts[d] + o : starts[d] + o + n] for d, o, n in zip(left.document, left.offset, left.length)]
    rest = Left(
        left,
        ids.take(pa.array(left.document)).to_pylist(),
        np.concatenate([np.empty(0, np.int32), *spans]),
        (count[left.document] > 0).tolist(),
    )
    # a document with a piece left over is counted when that is settled, in write_left
    cut = int(((count > 1) & (at_left == 0)).sum())
    return written.result(pieces, cut), rest


def write_left(
    pool: Pool,
    number: int,
    side: str,
    folder: Path,
    first_row: int,
    lefts: list[Left],
    token_bytes: np.ndarray,
    footer: dict,
) -> tuple[Written, int]:
    """Pack what all parts left over, in their order, into part file `number`; also the tokens that are dropped."""
    ids = [i for left in lefts for i in left.ids]
    whose = [(n, d) for n, left in enumerate(lefts) for d in left.pieces.document.tolist()]
    earlier = np.array([e for left in lefts for e in left.earlier], bool)
    pieces = join([no_pieces(), *(left.pieces for left in lefts)])
    base = pieces.offset
    own = Pieces(
        np.arange(len(pieces)), np.zeros(len(pieces), np.int64), pieces.length
    )  # a piece stands for a document
    packed, tail = pack(own, pool.length)
    flat = np.concatenate([np.empty(0, np.int32), *(left.tokens for left in lefts)])
    starts = np.cumsum(pieces.length) - pieces.length
    written = _Part(pool, number, side, folder, first_row, len(packed), token_bytes, footer)
    with written:
        written.add(packed, starts, flat, pa.array(ids, pa.string()), base)
    times = np.bincount(packed.pieces.document, minlength=len(ids)) + np.bincount(tail.document, minlength=len(ids))
    by_document: dict[tuple[int, int], int] = {}
    for document, n, before in zip(whose, times.tolist(), earlier.tolist()):
        by_document[document] = by_document.get(document, int(before)) + n
    cut = sum(n > 1 for n in by_document.values())
    return written.result(len(packed.pieces), cut), tail.tokens


class _Part:
    """One part file in the making; writes nothing where there are no rows or the file is whole already."""

    def __init__(
        self, pool: Pool, number: int, side: str, folder: Path, first_row: int, rows: int, token_bytes: np.ndarray,
        footer: dict,
    ):  # fmt: skip
        self.pool, self.path, self.rows, self.next_row = pool, folder / f"part-{number:05d}.parquet", rows, first_row
        self.token_bytes, self.last_row = token_bytes, first_row + rows
        self.writer: TokenWriter | None = None
        if rows and not self.path.exists():
            about = footer | {"side": side, "part": number, "first_row": first_row, "rows": rows}
            self.writer = TokenWriter(self.path, SEQUENCES, about)

    def __enter__(self) -> _Part:
        if self.writer:
            self.writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.writer:
            self.writer.__exit__(*error)
        if error[0] is None and self.next_row != self.last_row:
            raise RuntimeError(f"{self.path}: packed up to row {self.next_row}, not {self.last_row}")

    def add(
        self, packed: Packed, starts: np.ndarray, flat: np.ndarray, ids: pa.Array, base: np.ndarray | None = None
    ) -> None:
        """Append sequences; `starts` is where each document begins in `flat`, `base` its first token's own offset."""
        for s0 in range(0, len(packed), ROW_GROUP):
            s1 = min(s0 + ROW_GROUP, len(packed))
            rows = np.arange(self.next_row, self.next_row + s1 - s0)
            self.next_row += s1 - s0
            if self.writer is None:
                continue
            first = packed.first[s0 : s1 + 1]
            span = slice(first[0], first[-1])
            document, offset, length = (
                a[span] for a in (packed.pieces.document, packed.pieces.offset, packed.pieces.length)
            )
            begins = np.cumsum(length) - length
            index = np.repeat(starts[document] + offset - begins, length)
            index += np.arange(len(index))
            tokens_NL = flat[index].reshape(s1 - s0, self.pool.length)
            borders = pa.array((first - first[0]).astype(np.int32))
            lists = lambda values, borders=borders: pa.ListArray.from_arrays(borders, values)  # noqa: E731
            own = offset if base is None else offset + base[document]
            self.writer.write(
                {
                    "pool_row": rows,
                    "loss_tokens": self.pool.length - np.diff(first),
                    "bytes": self.token_bytes[tokens_NL].sum(axis=1, dtype=np.int32),
                    "item_ids": lists(ids.take(pa.array(document))),
                    "item_kinds": lists(pa.array(np.repeat(self.pool.item, len(document)))),
                    "doc_starts": lists(pa.array((begins % self.pool.length).astype(np.int32))),
                    "doc_offsets": lists(pa.array(own.astype(np.int32))),
                    "tokens": tokens_NL,
                }
            )

    def result(self, pieces: int, cut: int) -> Written:
        return Written(self.path.name, self.rows, pieces, cut, self.writer.sha256 if self.writer else "")
