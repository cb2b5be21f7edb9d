"""Which tokens of which documents make up each sequence of L tokens?

A document (its end-of-text token counted) stays whole where it fits; a longer one is cut into L-token pieces, each a
sequence of its own, and a remainder. Pieces go into bins best-fit decreasing; then the fullest bins are topped up from
the emptiest, which are taken apart: whole pieces where they fit, otherwise by cutting one document, never by padding.
What fills no sequence, fewer than L tokens, is left over; at the end of a pool the caller drops and counts it.

    documents -cut at L-> pieces -best fit-> bins -top up-> sequences, and fewer than L tokens left over

Only lengths are looked at. Pieces of one length are placed together, so the time grows with the distinct lengths and
hardly with the documents (bench/tokenizing.py measures it). Documents are packed in windows of WINDOW tokens, what is
left over going into the next, so memory stays flat; windows depend on the lengths alone. Ties go to the piece given
first.

Source: best-fit packing as in Ding et al. 2024 (2404.10830). Not covered: choosing which documents lie together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PACKING_VERSION = "1"
WINDOW = 1 << 28  # tokens packed together; a constant of the input, never of the workers


@dataclass(frozen=True)
class Pieces:
    """Spans of documents: `length[i]` tokens of document `document[i]` from its token `offset[i]`; int64 arrays."""

    document: np.ndarray
    offset: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.document)

    @property
    def tokens(self) -> int:
        return int(self.length.sum())

    def take(self, indices: np.ndarray) -> Pieces:
        return Pieces(self.document[indices], self.offset[indices], self.length[indices])


@dataclass(frozen=True)
class Packed:
    """Sequences: sequence s holds the pieces `first[s]` to `first[s + 1]`, in that order, exactly L tokens."""

    pieces: Pieces
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.first) - 1


def no_pieces() -> Pieces:
    return Pieces(*(np.empty(0, np.int64) for _ in range(3)))


def join(parts: list[Pieces]) -> Pieces:
    return Pieces(
        np.concatenate([p.document for p in parts]),
        np.concatenate([p.offset for p in parts]),
        np.concatenate([p.length for p in parts]),
    )


def whole(lengths: np.ndarray) -> Pieces:
    """One piece for each document of at least one token."""
    lengths = np.asarray(lengths, np.int64)
    document = np.flatnonzero(lengths > 0)
    return Pieces(document, np.zeros(len(document), np.int64), lengths[document])


def pack_documents(lengths: np.ndarray, length: int, window: int = WINDOW) -> Iterator[tuple[Packed, Pieces]]:
    """Pack documents of `lengths` tokens (end-of-text included) into sequences of `length` tokens, window by window.

    Yields (sequences, left over so far); what is left over before the last window is packed in the next one, so only
    the last left-over counts. Document numbers are positions in `lengths`. Always yields at least once.
    """
    pieces = whole(lengths)
    bounds = np.cumsum(pieces.length) // window
    left = no_pieces()
    cuts = [0, *(np.flatnonzero(np.diff(bounds)) + 1).tolist(), len(pieces)]
    for start, end in pairwise(cuts):
        here = Pieces(pieces.document[start:end], pieces.offset[start:end], pieces.length[start:end])
        packed, left = pack(join([left, here]), length)
        yield packed, left


def pack(pieces: Pieces, length: int) -> tuple[Packed, Pieces]:
    """Pack pieces (of any length) into sequences of `length` tokens; also what is left over, fewer than `length`."""
    full, short = _cut(pieces, length)
    bins, fill = _best_fit(short.length, length)
    packed, left = _top_up(short, bins, fill, length)
    both = join([full, packed.pieces])
    first = np.concatenate([np.arange(len(full), dtype=np.int64), packed.first + len(full)])
    return Packed(both, first), left


def _cut(pieces: Pieces, length: int) -> tuple[Pieces, Pieces]:
    """Full pieces of exactly `length`, and everything shorter, both in the order given."""
    times = pieces.length // length
    which = np.repeat(np.arange(len(pieces)), times)
    number = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
    full = Pieces(pieces.document[which], pieces.offset[which] + number * length, np.full(len(which), length, np.int64))
    rest = pieces.length - times * length
    short = Pieces(pieces.document, pieces.offset + times * length, rest).take(np.flatnonzero(rest))
    return full, short


def _best_fit(lengths: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Best-fit decreasing: (bin of each piece, tokens in each bin). All lengths lie in [1, length).

    Pieces of one length are placed together: a bin with room c takes c // l of them before any other bin becomes the
    best fit, so whole groups of bins with equal room are handled by one array operation.
    """
    order = np.argsort(-lengths, kind="stable")
    bin_of = np.empty(len(lengths), np.int64)
    sizes, starts, counts = np.unique(-lengths[order], return_index=True, return_counts=True)
    rooms: list[list[np.ndarray]] = [[] for _ in range(length + 1)]  # bins by the room left in them, oldest first
    open_ = 0  # bit c is set where some bin has room c
    used = 0
    for size, start, count in zip((-sizes).tolist(), starts.tolist(), counts.tolist()):
        while count:
            fitting = open_ >> size
            if fitting:
                room = size + (fitting & -fitting).bit_length() - 1
                chunk = rooms[room].pop(0)
                if not rooms[room]:
                    open_ ^= 1 << room
            else:
                room, chunk = length, np.arange(used, used - (-count // (length // size)), dtype=np.int64)
                used += len(chunk)
            each = room // size
            n = min(len(chunk), -(-count // each))  # bins that get pieces; the last may get fewer
            placed = min(count, n * each)
            bin_of[order[start : start + placed]] = np.repeat(chunk[:n], each)[:placed]
            whole_bins = placed // each
            for bins, left in (
                (chunk[:whole_bins], room - each * size),
                (chunk[whole_bins:n], room - (placed - whole_bins * each) * size),
            ):
                if len(bins) and left:
                    rooms[left].append(bins)
                    open_ |= 1 << left
            if n < len(chunk):
                rooms[room].insert(0, chunk[n:])
                open_ |= 1 << room
            start += placed
            count -= placed
    fill = np.bincount(bin_of, weights=lengths, minlength=used).astype(np.int64)
    return bin_of, fill


def _top_up(short: Pieces, bin_of: np.ndarray, fill: np.ndarray, length: int) -> tuple[Packed, Pieces]:
    """Make every bin exactly full: the fullest are topped up from the emptiest, which are taken apart."""
    by_fill = np.argsort(-fill, kind="stable")  # full bins first
    n_full = int((fill == length).sum())
    partial = by_fill[n_full:]
    n_more = int(fill[partial].sum()) // length
    kept_bins = by_fill[: n_full + n_more]
    rank = np.full(len(fill), -1, np.int64)
    rank[kept_bins] = np.arange(len(kept_bins))
    rank_of = rank[bin_of] if len(bin_of) else np.empty(0, np.int64)
    stay, spare = np.flatnonzero(rank_of >= 0), np.flatnonzero(rank_of < 0)
    gaps = length - fill[kept_bins[n_full:]]
    filler, target, left = _fill_gaps(short.take(spare), gaps.tolist(), length)
    pieces = join([short.take(stay), filler])
    sequence = np.concatenate([rank_of[stay], target + n_full])
    order = np.lexsort((np.arange(len(pieces)), -pieces.length, sequence))  # long pieces first within a sequence
    first = np.searchsorted(sequence[order], np.arange(len(kept_bins) + 1))
    return Packed(pieces.take(order), first.astype(np.int64)), left


def _fill_gaps(spare: Pieces, gaps: list[int], length: int) -> tuple[Pieces, np.ndarray, Pieces]:
    """Fill each gap exactly from the spare pieces: (pieces, number of the gap each went into, what is left over).

    Into a gap goes the longest piece that fits, again and again; where none does, the rest of the piece cut last, or
    else the longest piece, gives its first tokens, so that few documents are cut.
    """
    documents, offsets, lengths = spare.document.tolist(), spare.offset.tolist(), spare.length.tolist()
    buckets: list[list[int]] = [[] for _ in range(length + 1)]
    for i in range(len(lengths) - 1, -1, -1):  # so that pop() gives the first
        buckets[lengths[i]].append(i)
    have = 0
    for size, bucket in enumerate(buckets):
        have |= bool(bucket) << size
    out: list[tuple[int, int, int, int]] = []
    cut = -1  # the piece cut last, kept out of the buckets while some of it remains

    def pop(size: int) -> int:
        nonlocal have
        i = buckets[size].pop()
        if not buckets[size]:
            have ^= 1 << size
        return i

    for number, gap in enumerate(gaps):
        while gap:
            fit = (have & ((2 << gap) - 1)).bit_length() - 1  # the longest whole piece that fits
            if cut >= 0 and fit < lengths[cut] <= gap:
                i, cut = cut, -1
            elif fit > 0:
                i = pop(fit)
            else:
                if cut < 0:
                    cut = pop(have.bit_length() - 1)
                i = cut
            take = min(gap, lengths[i])
            out.append((documents[i], offsets[i], take, number))
            offsets[i] += take
            lengths[i] -= take
            gap -= take
    rest = sorted([i for bucket in buckets for i in bucket] + ([cut] if cut >= 0 else []))
    as_pieces = lambda rows: Pieces(*(np.array([r[k] for r in rows], np.int64) for k in range(3)))  # noqa: E731
    left = as_pieces([(documents[i], offsets[i], lengths[i]) for i in rest])
    return as_pieces(out), np.array([r[3] for r in out], np.int64), left
