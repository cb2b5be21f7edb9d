"""Which row of a pool its u-th use draws: a keyed permutation an epoch, in closed form and without memory.

    use <-> (epoch, row)

Use u of a pool, counted over all phases of a mix, is epoch u div rows. Inside an epoch the rows come in the order of a
keyed permutation: a Feistel network of 6 rounds over an a x b rectangle just larger than the pool, walked until it
lands inside. The key is (seed, pool fingerprint, epoch) and nothing else, so mixes that share a pool and a seed draw
its sequences in the same order whatever their ratios. It shuffles; it hides nothing.

A pool too large for memory is permuted in two steps, blocks of rows first and then rows within windows of blocks, so
that a shard touches few places of it. Which pools are too large is a constant and never asks the machine.

All is integer arithmetic but one square root, which IEEE 754 rounds alike everywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SHUFFLE_VERSION = "shuffle-1"  # a change of any draw changes this
ROUNDS = 6
GLOBAL_BYTES = 32 << 30  # of tokens; a larger pool is permuted in blocks
GLOBAL_ROWS = 1 << 22  # whose lineage a worker keeps in memory, about a gigabyte
BLOCK, WINDOW = 1024, 64  # rows of a block, blocks of a window


@dataclass(frozen=True)
class PoolOrder:
    """The order in which a seed draws one pool's rows: use <-> (epoch, row).

    Pools of at most GLOBAL_ROWS rows and GLOBAL_BYTES of tokens are permuted as a whole. In a larger one blocks of
    `block` rows are permuted first, then rows within windows of `window` such blocks, so that a shard touches few
    places. `scheme` is what a manifest records.
    """

    seed: int
    fingerprint: str
    rows: int
    block: int = 0  # 0: permuted as a whole
    window: int = 0

    @classmethod
    def of_pool(cls, seed: int, fingerprint: str, rows: int, sequence_length: int) -> PoolOrder:
        small = rows <= GLOBAL_ROWS and rows * sequence_length * 4 <= GLOBAL_BYTES
        return cls(seed, fingerprint, rows) if small else cls(seed, fingerprint, rows, BLOCK, WINDOW)

    @property
    def scheme(self) -> str:
        if not self.block:
            return f"{SHUFFLE_VERSION}: whole pool"
        return f"{SHUFFLE_VERSION}: blocks of {self.block} rows, then rows in windows of {self.window} blocks"

    def draw(self, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(epoch, pool row) of uses, int64."""
        epoch, at = np.divmod(np.asarray(use, dtype=np.int64), self.rows)
        row = np.empty_like(at)
        for e in np.unique(epoch):
            here = epoch == e
            row[here] = self._permute(at[here], int(e))
        return epoch, row

    def use_of(self, epoch: np.ndarray, row: np.ndarray) -> np.ndarray:
        """The use that draws a row in an epoch: the inverse of `draw`."""
        epoch, row = np.asarray(epoch, dtype=np.int64), np.asarray(row, dtype=np.int64)
        at = np.empty_like(row)
        for e in np.unique(epoch):
            here = epoch == e
            at[here] = self._unpermute(row[here], int(e))
        return epoch * self.rows + at

    def key(self, epoch: int, window: int | None = None) -> np.ndarray:
        """Round keys, uint64[6]."""
        return _key(self.seed, self.fingerprint, epoch, window)

    # A windowed epoch: blocks stand in permuted order; the last, short block (if any) may stand anywhere.

    def _layout(self, epoch: int) -> tuple[int, int, int]:
        """(blocks, rows of the short block, position of the slot in which it stands)."""
        blocks = -(-self.rows // self.block)
        short = self.rows - (blocks - 1) * self.block
        return blocks, short, int(unpermute(np.array([blocks - 1]), blocks, self.key(epoch))[0])

    def _slot_start(self, slot: np.ndarray, layout: tuple[int, int, int]) -> np.ndarray:
        """First position of a slot, in rows."""
        blocks, short, where = layout
        return np.minimum(slot, blocks) * self.block - np.where(slot > where, self.block - short, 0)

    def _in_window(self, at: np.ndarray, epoch: int, layout: tuple[int, int, int], forward: bool) -> np.ndarray:
        """Positions shuffled (or put back) inside their windows."""
        slot = self._slot(at, layout)
        window, back = np.unique(slot // self.window, return_inverse=True)
        first = self._slot_start(window * self.window, layout)
        size = self._slot_start((window + 1) * self.window, layout) - first
        keys = np.array([self.key(epoch, int(w)) for w in window])
        move = permute if forward else unpermute
        return first[back] + move(at - first[back], size[back], keys[back])

    def _slot(self, at: np.ndarray, layout: tuple[int, int, int]) -> np.ndarray:
        _, short, where = layout
        return np.where(at < where * self.block + short, at // self.block, (at + self.block - short) // self.block)

    def _permute(self, at: np.ndarray, epoch: int) -> np.ndarray:
        if not self.block:
            return permute(at, self.rows, self.key(epoch))
        layout = self._layout(epoch)
        at = self._in_window(at, epoch, layout, forward=True)
        slot = self._slot(at, layout)
        return permute(slot, layout[0], self.key(epoch)) * self.block + at - self._slot_start(slot, layout)

    def _unpermute(self, row: np.ndarray, epoch: int) -> np.ndarray:
        if not self.block:
            return unpermute(row, self.rows, self.key(epoch))
        layout = self._layout(epoch)
        slot = unpermute(row // self.block, layout[0], self.key(epoch))
        return self._in_window(self._slot_start(slot, layout) + row % self.block, epoch, layout, forward=False)


@lru_cache(maxsize=4096)
def _key(seed: int, fingerprint: str, epoch: int, window: int | None) -> np.ndarray:
    text = "\0".join(str(part) for part in (SHUFFLE_VERSION, seed, fingerprint, epoch, window))
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8 * ROUNDS).digest(), dtype="<u8").astype(np.uint64)


def permute(index: np.ndarray, n: int | np.ndarray, key: np.ndarray) -> np.ndarray:
    """Where a keyed permutation of range(n) sends each index, int64; constant time and no memory.

    `key` is uint64[6] or one row of 6 an index; n (at most 2^60) likewise. IndexError outside the range.
    """
    return _walk(index, n, key, _forward)


def unpermute(index: np.ndarray, n: int | np.ndarray, key: np.ndarray) -> np.ndarray:
    """The inverse of `permute`."""
    return _walk(index, n, key, _backward)


def _walk(index, n, key, step) -> np.ndarray:
    index = np.asarray(index, dtype=np.int64)
    sizes = np.broadcast_to(np.asarray(n, dtype=np.int64), index.shape)
    keys = np.broadcast_to(np.asarray(key, dtype=np.uint64), (*index.shape, ROUNDS))
    if len(index) and (index.min() < 0 or (index >= sizes).any()):
        raise IndexError(f"indices {index.min()} to {index.max()} of {sizes.max()}")
    out = np.empty_like(index)
    for lo in range(0, len(index), 1 << 15):  # small enough for the cache
        part = slice(lo, lo + (1 << 15))
        size = sizes[part].astype(np.uint64)
        a = np.ceil(np.sqrt(sizes[part])).astype(np.uint64)
        b = (size + a - np.uint64(1)) // np.maximum(a, np.uint64(1))
        k = np.moveaxis(keys[part], -1, 0)
        x = step(index[part].astype(np.uint64), a, b, k)
        while (outside := x >= size).any():
            x[outside] = step(x[outside], a[outside], b[outside], k[:, outside])
        out[part] = x.astype(np.int64)
    return out


def _scramble(half: np.ndarray, key: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A number below `size` (at most 2^31) that depends on a half and a round key: the finalizer of MurmurHash3."""
    z = half ^ key
    z = (z ^ (z >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    z = (z ^ (z >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return ((z >> np.uint64(32)) * size) >> np.uint64(32)


def _forward(x, a, b, key) -> np.ndarray:
    """Rounds turn (left, right) in a x b by adding to one half what the other says."""
    left, right = np.divmod(x, b)
    for turn in range(ROUNDS):
        if turn % 2:
            right = right + _scramble(left, key[turn], b)
            right = np.where(right >= b, right - b, right)
        else:
            left = left + _scramble(right, key[turn], a)
            left = np.where(left >= a, left - a, left)
    return left * b + right


def _backward(x, a, b, key) -> np.ndarray:
    left, right = np.divmod(x, b)
    for turn in reversed(range(ROUNDS)):
        if turn % 2:
            drop = _scramble(left, key[turn], b)
            right = np.where(right >= drop, right - drop, right + b - drop)
        else:
            drop = _scramble(right, key[turn], a)
            left = np.where(left >= drop, left - drop, left + a - drop)
    return left * b + right
