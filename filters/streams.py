"""The bytes of a stored file, decompressed, with damage met on the way and a way past it.

A gzip file is a row of members (zstd: frames). Each is inflated by itself; where one is damaged or cut short, what
could be inflated is given out first, then `damage` says what is wrong, and `resync` goes on at the next member that
inflates. Memory is bounded by what a caller asks for in one `peek`.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any, BinaryIO

CHUNK = 1 << 18  # stored bytes read at a time
PIECE = 1 << 20  # most bytes inflated at a time, so that a bomb does not fill memory
GZIP = b"\x1f\x8b\x08"
ZSTD = b"\x28\xb5\x2f\xfd"
ZSTD_FED = 1 << 14  # stored bytes fed to zstd at a time: its decompressor has no bound of its own


@dataclass
class Damage:
    """What is wrong with the stored bytes from `offset` on: reason `bad_gzip`, `bad_zstd` or `truncated`."""

    reason: str
    offset: int
    message: str


class Stream:
    """Decompressed bytes, read once from front to back.

    `offset` is where the next byte lies in the stored file: exact in a plain file, the start of its member in another.
    A read that comes up short has met the end or `damage`; after damage call `resync`.
    """

    def __init__(self, raw: BinaryIO, name: str = ""):
        self.raw = raw
        self.damage: Damage | None = None
        self._buffer = bytearray()
        self._at = 0  # position in _buffer of the next byte to give out
        self._base = 0  # position in the decompressed stream of _buffer[0]
        self._members: deque[tuple[int, int]] = deque()  # (decompressed position, stored offset) of members begun
        self._raw = b""  # stored bytes read and not inflated yet
        self._raw_at = 0  # stored offset of _raw[0]
        self._inflate: Any = None  # the running member's decompressor
        self._salvaged = b""  # what it gave before the byte at which it failed
        self._ended = False
        head = self._more(4)
        self.kind = "gzip" if head.startswith(GZIP) else "zstd" if head.startswith(ZSTD) else "plain"
        if self.kind == "plain" and not head.isascii():  # the name may know better, where the first bytes are damaged
            self.kind = {".gz": "gzip", ".zst": "zstd"}.get(name[name.rfind(".") :].lower(), "plain")
        self._magic = {"gzip": GZIP, "zstd": ZSTD}.get(self.kind, b"")

    # reading

    @property
    def position(self) -> int:
        """Bytes given out so far, counted after decompression."""
        return self._base + self._at

    @property
    def offset(self) -> int:
        return self._member()[1] if self._magic else self.position

    @property
    def at_member_start(self) -> bool:
        return bool(self._magic) and self._member()[0] == self.position

    def peek(self, n: int) -> bytes:
        """The next n bytes, or fewer before the end or damage, without giving them out."""
        while len(self._buffer) - self._at < n and self._fill():
            pass
        return bytes(self._buffer[self._at : self._at + n])

    def read(self, n: int, *, within_member: bool = False) -> bytes:
        """The next n bytes, or fewer before the end or damage (or, if asked, the end of the member)."""
        while len(self._buffer) - self._at < n:
            if (within_member and self._next_member() is not None) or not self._fill():
                break
        end = self._at + n
        if within_member and (border := self._next_member()) is not None:
            end = min(end, border - self._base)
        data = bytes(self._buffer[self._at : end])
        self._advance(len(data))
        return data

    def readline(self, limit: int) -> bytes:
        """The next line with its newline; at most `limit` bytes, or fewer before the end or damage."""
        seen = 0
        while (found := self._buffer.find(b"\n", self._at + seen, self._at + limit)) < 0:
            seen = len(self._buffer) - self._at
            if seen >= limit or not self._fill():
                break
        data = bytes(self._buffer[self._at : found + 1 if found >= 0 else self._at + limit])
        self._advance(len(data))
        return data

    def skip(self, n: int) -> int:
        """Give n bytes up; returns how many there were."""
        left = n
        while left > 0:
            if len(self._buffer) == self._at and not self._fill():
                break
            step = min(left, len(self._buffer) - self._at)
            self._advance(step)
            left -= step
        return n - left

    def member_left(self, n: int) -> int:
        """How many of the next n bytes lie before the next member, as far as it is known."""
        border = self._next_member()
        return n if border is None else min(n, border - self.position)

    def unread(self, data: bytes) -> None:
        """Take back the last bytes given out."""
        self._buffer[: self._at] = data
        self._base, self._at = self.position - len(data), 0

    def resync(self) -> bool:
        """Drop what is buffered and go on at the next member that inflates; False where there is none."""
        damage, self.damage = self.damage, None
        if damage is None or not self._magic:
            self._ended = True
            return False
        self._base += len(self._buffer)
        self._buffer.clear()
        self._at, self._ended, self._inflate = 0, False, None
        self._seek(damage.offset + 1)
        while True:
            found = self._raw.find(self._magic)
            if found < 0:
                keep = self._raw[-3:]
                self._cut(len(self._raw) - len(keep))
                if not self._grow():
                    self._cut(len(self._raw))
                    self._ended = True
                    return False
                continue
            self._cut(found)
            if self._inflates():
                return True
            self._cut(1)

    # inflating

    def _fill(self) -> bool:
        """Put more bytes into the buffer; False at the end and at damage."""
        if self._ended or self.damage:
            return False
        if self.kind == "plain":
            data = self._raw or self.raw.read(CHUNK)
            self._raw = b""
        else:
            data = self._inflate_some()
        self._buffer += data
        if not data:
            self._ended = self._ended or self.damage is None
        return bool(data)

    def _inflate_some(self) -> bytes:
        """Bytes of the running member, or of the next; b'' at the end and at damage."""
        while True:
            if self._inflate is None and not self._begin_member():
                return b""
            assert self._inflate is not None
            if not self._raw and not self._grow():
                self.damage = Damage("truncated", self._members[-1][1], "the file ends inside a compressed member")
                return b""
            try:
                data = self._feed()
            except Exception as error:  # zlib.error, zstandard.ZstdError
                self.damage = Damage(f"bad_{self.kind}", self._members[-1][1], str(error))
                data = self._salvaged
            if data or self.damage:
                return data

    def _feed(self) -> bytes:
        """Give the running member's decompressor more; raises what it raises."""
        if self.kind == "zstd":
            fed, self._salvaged = self._raw[:ZSTD_FED], b""
            data = self._inflate.decompress(fed)
            left = self._inflate.unused_data if self._inflate.eof else b""
        else:
            fed, before = self._raw, self._inflate.copy()
            try:
                data = self._inflate.decompress(fed, PIECE)
            except zlib.error:
                self._salvaged = _salvage(before, fed)
                raise
            left = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        self._cut(len(fed) - len(left))
        if self._inflate.eof:
            self._inflate = None
        return data

    def _begin_member(self) -> bool:
        """Start a decompressor at the next member; False at the end, and where something else stands there."""
        while len(self._raw) < 4 and self._grow():
            pass
        while self._raw.startswith(b"\0"):  # padding with zeros is allowed after a member
            bare = self._raw.lstrip(b"\0")
            self._cut(len(self._raw) - len(bare))
            while len(self._raw) < 4 and self._grow():
                pass
        if not self._raw:
            return False
        if not self._raw.startswith(self._magic):
            self.damage = Damage(f"bad_{self.kind}", self._raw_at, f"bytes that are no {self.kind} member")
            return False
        self._inflate = self._decompressor()
        self._members.append((self._base + len(self._buffer), self._raw_at))
        return True

    def _inflates(self) -> bool:
        """Whether a member that gives data begins at _raw[0]."""
        while len(self._raw) < 4096 and self._grow():
            pass
        try:
            data = self._decompressor().decompress(self._raw[:ZSTD_FED])
            return bool(data) or self.kind == "zstd"  # whose blocks are larger than what was fed
        except Exception:  # zlib.error, zstandard.ZstdError
            return False

    def _decompressor(self) -> Any:
        if self.kind == "gzip":
            return zlib.decompressobj(31)
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj()

    # bookkeeping

    def _more(self, n: int) -> bytes:
        """At least n stored bytes where there are so many, read ahead at the very start."""
        while len(self._raw) < n and self._grow():
            pass
        return self._raw

    def _grow(self) -> bool:
        more = self.raw.read(CHUNK)
        self._raw = self._raw + more if self._raw else more
        return bool(more)

    def _cut(self, n: int) -> None:
        self._raw = self._raw[n:]
        self._raw_at += n

    def _seek(self, offset: int) -> None:
        """Go back to a stored offset, if the file can; otherwise stay."""
        if self._raw_at <= offset <= self._raw_at + len(self._raw):
            self._cut(offset - self._raw_at)
            return
        try:
            self.raw.seek(offset)
        except (OSError, ValueError, AttributeError):
            return
        self._raw, self._raw_at = b"", offset

    def _advance(self, n: int) -> None:
        self._at += n
        if self._at >= PIECE or self._at == len(self._buffer):
            del self._buffer[: self._at]
            self._base, self._at = self._base + self._at, 0

    def _member(self) -> tuple[int, int]:
        """The member that holds the next byte."""
        here = self.position
        while len(self._members) > 1 and self._members[1][0] <= here:
            self._members.popleft()
        return self._members[0] if self._members else (-1, self._raw_at)

    def _next_member(self) -> int | None:
        """Decompressed position at which the member after the next byte's begins, where that is known."""
        self._member()
        return self._members[1][0] if len(self._members) > 1 else None


def _salvage(inflate: Any, fed: bytes) -> bytes:
    """What a decompressor gives before the byte at which it fails."""
    out, step, at = b"", 4096, 0
    while step:
        kept = inflate.copy()
        try:
            out += inflate.decompress(fed[at : at + step])
            at += step
            if at >= len(fed):
                break
        except zlib.error:
            inflate, step = kept, step // 16
    return out
