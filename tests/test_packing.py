"""Does packing lose no token, fill every sequence, cut no more than it must, and always do the same?"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from leaven.packing import Packed, Pieces, pack, pack_documents, whole

EOT = -1
cases = st.integers(2, 64).flatmap(
    lambda length: st.tuples(
        st.just(length), st.lists(st.integers(1, 3 * length) | st.integers(1, 8), max_size=80), st.integers(1, 500)
    )
)


def packings(lengths: list[int], length: int, window: int) -> tuple[list[Packed], Pieces]:
    found, left = [], None
    for packed, left in pack_documents(np.array(lengths, np.int64), length, window):  # noqa: B007
        found.append(packed)
    assert left is not None
    return found, left


def spans(pieces: Pieces) -> list[tuple[int, int, int]]:
    return list(zip(pieces.document.tolist(), pieces.offset.tolist(), pieces.length.tolist()))


@settings(max_examples=300, deadline=None)
@given(cases)
def test_every_token_once_and_every_sequence_full(case):
    length, lengths, window = case
    documents = [[(d, t) for t in range(n - 1)] + [(d, EOT)] for d, n in enumerate(lengths)]  # end-of-text comes last
    seen: list[tuple[int, int]] = []
    for packed in packings(lengths, length, window)[0]:
        for s in range(len(packed)):
            span = slice(packed.first[s], packed.first[s + 1])
            pieces = spans(packed.pieces.take(np.arange(len(packed.pieces))[span]))
            row = [documents[d][o + t] for d, o, n in pieces for t in range(n)]
            assert len(row) == length
            assert all(n > 0 for _, _, n in pieces)
            for d, o, n in pieces:  # a piece that reaches its document's end ends in end-of-text, no other does
                assert (documents[d][o + n - 1][1] == EOT) == (o + n == lengths[d])
            seen += row
    left = packings(lengths, length, window)[1]
    assert left.tokens < length
    seen += [documents[d][o + t] for d, o, n in spans(left) for t in range(n)]
    assert sorted(seen) == sorted(token for document in documents for token in document)


@settings(max_examples=100, deadline=None)
@given(cases)
def test_documents_that_fit_are_whole_but_for_one_cut_a_bin(case):
    length, lengths, _ = case
    packed, left = pack(whole(np.array(lengths, np.int64)), length)
    parts = np.bincount(np.concatenate([packed.pieces.document, left.document]), minlength=len(lengths))
    unavoidable = sum(-(-n // length) - 1 for n in lengths)
    topped_up = int((parts - 1).clip(0).sum()) - unavoidable
    assert 0 <= topped_up <= len(packed)
    for d, o, n in spans(packed.pieces):  # long documents are cut at multiples of the length first
        if lengths[d] >= length and o < lengths[d] // length * length:
            assert o % length == 0 and n == length


@settings(max_examples=100, deadline=None)
@given(cases)
def test_same_lengths_same_packing(case):
    length, lengths, window = case
    for a, b in zip(packings(lengths, length, window)[0], packings(list(lengths), length, window)[0]):
        assert spans(a.pieces) == spans(b.pieces) and a.first.tolist() == b.first.tolist()


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 50).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(1, n - 1), max_size=60))))
def test_groups_of_equal_lengths_do_what_one_by_one_does(case):
    """As many bins, filled alike, as textbook best-fit decreasing."""
    from leaven.packing import _best_fit

    length, lengths = case
    room: list[int] = []
    for n in sorted(lengths, reverse=True):
        fits = [r for r in room if r >= n]
        if fits:
            room[room.index(min(fits))] -= n
        else:
            room.append(length - n)
    bins, fill = _best_fit(np.array(lengths, np.int64), length)
    assert sorted((length - fill).tolist()) == sorted(room)
    assert np.array_equal(np.bincount(bins, weights=lengths, minlength=len(fill)), fill)


def test_hardly_a_document_is_cut_where_lengths_vary():
    lengths = np.random.default_rng(0).lognormal(6.2, 1.1, 50_000).astype(np.int64) + 2
    packed, left = pack(whole(lengths), 2048)
    parts = np.bincount(np.concatenate([packed.pieces.document, left.document]), minlength=len(lengths))
    cut, too_long = (parts > 1).mean(), (lengths > 2048).mean()
    assert too_long < cut < too_long + 0.003  # concatenating and cutting cuts a third of them


def test_windows_carry_what_is_left_over():
    lengths = np.full(1000, 7)
    packed, left = packings(lengths.tolist(), 16, window=50)
    assert len(packed) > 100
    assert sum(len(p) for p in packed) == 7000 // 16
    assert left.tokens == 7000 % 16


def test_nothing_to_pack():
    for lengths in ([], [0, 0]):
        packed, left = pack(whole(np.array(lengths, np.int64)), 8)
        assert (len(packed), len(packed.pieces), left.tokens) == (0, 0, 0)
