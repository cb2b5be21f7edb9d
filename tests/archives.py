"""Small archives for tests, whole or damaged."""

from __future__ import annotations

import gzip
import zlib

PAGE = "<html><head><title>A page</title></head><body><article><p>{}</p></article></body></html>"
PROSE = "The miller took the grain to the mill, and the river turned the wheel all day long. " * 4


def http(body: bytes, status: str = "200 OK", kind: str = "text/html; charset=utf-8", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}\r\n".encode() + body


def warc(block: bytes, kind: str = "response", url: str = "http://x.test/", length: int | None = None, **more) -> bytes:
    mime = more.pop("mime", "application/http; msgtype=response")
    fields = {"WARC-Type": kind, "WARC-Target-URI": url, "WARC-Date": "2026-11-21T00:00:00Z", "Content-Type": mime}
    fields |= {k.replace("_", "-"): v for k, v in more.items()}
    fields["Content-Length"] = str(len(block) if length is None else length)
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n"


def page(number: int, **more) -> bytes:
    """A WARC record of an HTML page that says its number."""
    return warc(http(PAGE.format(f"Page number {number}. {PROSE}").encode()), url=f"http://x.test/{number}", **more)


def gz(*records: bytes) -> bytes:
    """One gzip member a record."""
    return b"".join(gzip.compress(r, mtime=0) for r in records)


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def arc(*entries: tuple[str, str, bytes], version: int = 1) -> bytes:
    """An ARC file of (url, media type, block) entries."""
    about = b"%d 0 Tests\nURL IP-address Archive-date Content-type Archive-length\n" % version
    middle = " 200 - - 0 x.arc" if version == 2 else ""
    out = f"filedesc://x.arc 0.0.0.0 20260101000000 text/plain{middle} {len(about)}\n".encode() + about + b"\n"
    for url, mime, block in entries:
        out += f"{url} 10.0.0.1 20260101000000 {mime}{middle} {len(block)}\n".encode() + block + b"\n"
    return out


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)
