"""An HTTP response as an archive stores it: status, media type, charset, and the body with its codings undone.

Codings that are announced but not there, or damaged on the way, degrade: the body is taken as it stands or as far as
it could be decoded, and `note` says so.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from filters.archives import parse_fields
from filters.records import MAX_RECORD

HTML = ("text/html", "application/xhtml+xml")
LOOKS_HTML = re.compile(
    rb"\A\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*"
    rb"<(?:!doctype\s+html|html|head|body)\b",
    re.I | re.S,
)
CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.I)
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\n]{0,200})?\r?\n")
HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(slots=True)
class Response:
    status: int | None
    media_type: str
    charset: str | None
    body: bytes
    note: str | None = None


def parse_response(block: bytes, *, content_type: str = "") -> Response:
    """Take a record's block apart; one without a status line is a body of `content_type`."""
    status, header, body, note = None, {}, block, None
    if block.startswith(b"HTTP/"):
        end = HEAD_END.search(block)
        head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
        first, *lines = head.split(b"\n")
        parts = first.split(None, 2)
        status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None
        header = parse_fields(lines)
        content_type = header.get("content-type", "")
        body, note = _decode(body, header)
    media_type = content_type.partition(";")[0].strip().lower()
    charset = CHARSET.search(content_type)
    return Response(status, media_type, charset.group(1) if charset else None, body, note)


def is_html(response: Response, identified: str = "") -> bool:
    """Whether the body is an HTML page; where the server says nothing the archive's word or the body's start does."""
    stated = response.media_type or identified.lower()
    return stated in HTML if stated else bool(LOOKS_HTML.match(response.body[:4096]))


def _decode(body: bytes, header: dict[str, str]) -> tuple[bytes, str | None]:
    notes = []
    if "chunked" in header.get("transfer-encoding", "").lower():
        body, whole = _dechunk(body)
        if not whole:
            notes.append("damaged chunks")
    for coding in reversed(re.split(r"[,\s]+", header.get("content-encoding", "").lower())):
        if coding in ("", "identity"):
            continue
        decoded = _undo(body, coding)
        if decoded is None:
            notes.append(f"not {coding}")
            break
        body, whole = decoded
        if not whole:
            notes.append(f"damaged {coding}")
    return body, ", ".join(notes) or None


def _dechunk(body: bytes) -> tuple[bytes, bool]:
    """The chunks joined and whether all were whole; from the first that cannot be read on, the body as it stands."""
    out: list[bytes] = []
    at = 0
    while True:
        size = CHUNK_SIZE.match(body, at)
        if not size:
            return b"".join([*out, body[at:]]), False
        length = int(size.group(1), 16)
        if not length:
            return b"".join(out), True
        out.append(body[size.end() : size.end() + length])
        at = size.end() + length
        if at >= len(body):
            return b"".join(out), False
        at += 2 if body.startswith(b"\r\n", at) else 1 if body.startswith(b"\n", at) else 0


def _undo(body: bytes, coding: str) -> tuple[bytes, bool] | None:
    """The body decoded and whether it was whole; None where it is not of this coding."""
    if coding in ("gzip", "x-gzip", "deflate"):
        gzipped = body.startswith(b"\x1f\x8b")
        for bits in (31,) if gzipped else (15, -15) if coding == "deflate" else ():
            data, whole = _inflate(body, bits)
            if data:
                return data, whole
        return None
    try:
        if coding == "br":
            import brotli

            return brotli.decompress(body), True
        if coding == "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(body), True
    except Exception:  # brotli.error, zstandard.ZstdError: not of this coding
        return None
    return None


def _inflate(body: bytes, bits: int) -> tuple[bytes, bool]:
    """Inflate in steps, keeping what came before an error; at most MAX_RECORD bytes."""
    inflate, out = zlib.decompressobj(bits), bytearray()
    for at in range(0, len(body), 4096):
        try:
            out += inflate.decompress(body[at : at + 4096], MAX_RECORD - len(out))
        except zlib.error:
            return bytes(out), False
        if inflate.eof or len(out) >= MAX_RECORD:
            break
    return bytes(out), inflate.eof
