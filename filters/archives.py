"""Records of WARC, WET, WAT and ARC archives, whole or damaged.

A record whose bytes cannot be had is a Lost row, and reading goes on at the next gzip member or the next record header
that can be found. Checked beyond what archive libraries check: a record may not run into the next member, and a
member's checksum must hold before its record counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from filters.records import MAX_RECORD, Lost
from filters.streams import Stream

MAX_HEADER = 1 << 16
NEXT_WARC = re.compile(rb"(?:\A|\n)(?=WARC/\d\.\d+\r?\n[A-Za-z-]+:)")
NEXT_ARC = re.compile(rb"(?:\A|\n)(?=[a-z][a-z0-9+.-]*:[^\n]* [0-9a-fA-F.:]{2,45} \d{8,18} [^\n]*\n)")
NEWLINES = b"\r\n"


@dataclass(slots=True)
class Archived:
    """One whole record of an archive: its header fields (names in lower case) and its block."""

    record: int
    offset: int
    kind: str
    header: dict[str, str]
    block: bytes

    @property
    def url(self) -> str | None:
        return self.header.get("warc-target-uri", "").strip("<> ") or None


def is_archive(head: bytes) -> bool:
    return head.startswith((b"WARC/", b"filedesc://"))


def read_archive(stream: Stream) -> Iterator[Archived | Lost]:
    """Every record of an archive in order, numbered from 0; a Lost where one could not be had."""
    number, lost_at = 0, None
    arc_fields = 5  # of an ARC record's line: 5 in version 1, 10 in version 2
    while True:
        while (blank := stream.peek(1)) and blank in NEWLINES:
            stream.skip(1)
        offset = stream.offset
        if not blank:
            if stream.damage is None:
                return
            if lost_at != stream.damage.offset:  # else a record of this member has just told
                yield Lost(number, stream.damage.reason, stream.damage.message, stream.damage.offset)
                number += 1
            stream.resync()
            continue
        head = stream.peek(MAX_HEADER)
        at_start = stream.at_member_start
        if NEXT_WARC.match(head):
            found = _warc_header(stream, number, offset)
        elif NEXT_ARC.match(head):
            if head.startswith(b"filedesc://"):
                arc_fields = 10 if head.split(b"\n", 2)[1:2][0].startswith(b"2") else 5
            found = _arc_header(stream, number, offset, arc_fields)
        else:
            found = Lost(number, "bad_header", f"no record begins here but {head[:24]!r}", offset)
            _find_next(stream)
        if isinstance(found, Archived):
            found = _block(stream, found, at_start)
        lost_at = found.offset if isinstance(found, Lost) else None
        yield found
        number += 1


def _warc_header(stream: Stream, number: int, offset: int) -> Archived | Lost:
    stream.readline(MAX_HEADER)
    lines = []
    while (line := stream.readline(MAX_HEADER)).strip():
        lines.append(line)
        if len(lines) > 1000:
            break
    header = parse_fields(lines)
    url = header.get("warc-target-uri", "").strip("<> ") or None
    if not line.endswith(b"\n"):
        damage = stream.damage
        reason, message = (damage.reason, damage.message) if damage else ("truncated", "the file ends in a header")
        stream.resync()
        return Lost(number, reason, message, offset, url)
    if line.strip() or not header.get("content-length", "").isdigit():
        _find_next(stream)
        return Lost(number, "bad_header", f"Content-Length is {header.get('content-length')!r}", offset, url)
    return Archived(number, offset, header.get("warc-type", "").lower(), header, b"")


def _arc_header(stream: Stream, number: int, offset: int, fields: int) -> Archived | Lost:
    line = stream.readline(MAX_HEADER).decode("utf-8", "replace").strip()
    parts = line.rsplit(" ", fields - 1)
    url = parts[0] if len(parts) == fields else None
    if url is None or not parts[-1].isdigit():
        _find_next(stream)
        return Lost(number, "bad_header", f"this ARC line gives no length: {line[:80]!r}", offset, url)
    header = {
        "warc-target-uri": parts[0],
        "warc-date": _iso(parts[2]),
        "content-type": parts[3],
        "content-length": parts[-1],
    }
    return Archived(number, offset, "warcinfo" if line.startswith("filedesc://") else "arc", header, b"")


def _block(stream: Stream, found: Archived, at_start: bool) -> Archived | Lost:
    """Read the record's block, or say why it cannot be had and stand where the next record may begin."""
    number, offset, url, length = found.record, found.offset, found.url, int(found.header["content-length"])
    if length > MAX_RECORD:
        if not at_start:
            _find_next(stream)
        elif stream.skip(length) < length and stream.damage:
            stream.resync()
        return Lost(number, "too_large", f"{length:,} bytes, more than {MAX_RECORD:,}", offset, url)
    found.block = stream.read(length, within_member=at_start)
    if len(found.block) < length and at_start and not stream.damage and not _begins(stream.peek(MAX_HEADER)):
        found.block += stream.read(length - len(found.block))  # members that are no records: nothing is wrong
    if len(found.block) < length:
        damage = stream.damage
        if damage and not stream.peek(1) and (not at_start or damage.offset == offset):
            stream.resync()
            return Lost(number, damage.reason, damage.message, offset, url)
        _take_back(stream, found.block)
        return Lost(number, "truncated", f"{len(found.block):,} bytes of {length:,}", offset, url)
    seen = 0
    while (blank := stream.peek(1)) and blank in NEWLINES and not (at_start and stream.at_member_start):
        seen += stream.skip(1)
    damage = stream.damage
    if not blank and at_start and damage and damage.offset == offset:  # the checksum of the member does not hold
        stream.resync()
        return Lost(number, damage.reason, damage.message, offset, url)
    if blank and not stream.at_member_start and not _begins(stream.peek(MAX_HEADER)):
        if not _take_back(stream, found.block + b"\n" * seen):
            _find_next(stream)
        return Lost(number, "bad_length", f"no record follows after {length:,} bytes", offset, url)
    return found


def _begins(head: bytes) -> bool:
    return bool(NEXT_WARC.match(head) or NEXT_ARC.match(head))


def _take_back(stream: Stream, block: bytes) -> bool:
    """Where a block swallowed the header of another record, stand before that header; whether it did."""
    found = [m.end() for m in (NEXT_WARC.search(block, 1), NEXT_ARC.search(block, 1)) if m]
    if found:
        stream.unread(block[min(found) :])
    return bool(found)


def _find_next(stream: Stream) -> None:
    """Go forward to the next record header, or to where what is readable ends."""
    first = True
    while head := stream.peek(MAX_HEADER):
        if not first and stream.at_member_start and _begins(head):
            return
        border = stream.member_left(len(head))
        found = [m.end() for m in (NEXT_WARC.search(head, 1, border), NEXT_ARC.search(head, 1, border)) if m]
        if found:
            stream.skip(min(found))
            return
        stream.skip(border if border < MAX_HEADER else border - 2048)
        first = False


def parse_fields(lines: list[bytes]) -> dict[str, str]:
    """Header lines as a dict with names in lower case; continued lines joined, the first of a repeated name kept."""
    fields: dict[str, str] = {}
    last = ""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text[:1] in " \t" and last:
            fields[last] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        last = name.strip().lower()
        if colon:
            fields.setdefault(last, value.strip())
    return fields


def _iso(stamp: str) -> str:
    """14 digits of an ARC date as ISO 8601."""
    s = stamp[:14].ljust(14, "0")
    return f"{s[:4]}-{s[4:6]}-{s[6:8]}T{s[8:10]}:{s[10:12]}:{s[12:14]}Z"
