"""What a reader gives: a Page (text, or HTML to make text of) or a Lost (why there is none)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MAX_RECORD = 64 << 20  # bytes: longer records are lost as `too_large`, so that memory has a bound

# Why a record is not a document. Dropped: it was read and is not wanted. Failed: it could not be read or used.
DROPPED = ("metadata_format", "revisit", "http_status", "media_type", "empty_text", "unknown_format")
FAILED = (
    "truncated", "bad_gzip", "bad_zstd", "bad_header", "bad_length", "bad_json", "bad_parquet", "missing_text",
    "bad_encoding", "unreadable_file", "too_large", "extraction_failed", "timeout",
)  # fmt: skip


@dataclass(slots=True)
class Page:
    """One record that holds a text. `html` is set where text has yet to be extracted; then `text` is empty."""

    record: int
    media: str
    text: str = ""
    html: bytes | None = None
    charset: str | None = None
    offset: int | None = None
    url: str | None = None
    fetched: str | None = None
    title: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Lost:
    """One record that is no document, for the table `failures`."""

    record: int | None
    reason: str
    message: str | None = None
    offset: int | None = None
    url: str | None = None
    stage: str = "read"

    @property
    def outcome(self) -> str:
        return "dropped" if self.reason in DROPPED else "failed"
