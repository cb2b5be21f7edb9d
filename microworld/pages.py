"""How do MicroWorld's texts become a web? HTML pages with all that surrounds a text, in WARC files, some damaged."""

from __future__ import annotations

import gzip
import io
import json
import random
import uuid
from dataclasses import dataclass
from html import escape
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from microworld.telling import Teller, Text

DATE = "2026-11-21T00:00:00Z"
LAYOUTS = (  # where the text stands among the rest of the page
    "<body><header>{menu}</header><main><article><h1>{title}</h1>{body}</article></main>{aside}"
    "<footer>{footer}</footer>{cookie}</body>",
    '<body>{cookie}<div id="nav" class="menu">{menu}</div><div id="content"><h1>{title}</h1>{body}</div>'
    '<div class="sidebar">{aside}</div><div id="footer" class="footer">{footer}</div></body>',
    '<body><nav>{menu}</nav><div class="wrap"><div class="post entry-content"><h2>{title}</h2>{body}</div></div>'
    '{aside}{cookie}<footer class="site-footer">{footer}</footer></body>',
)  # fmt: skip


@dataclass
class Page:
    """One record of the web: its address, its text where it is a page, what damage it has, its duplicates' cluster."""

    url: str
    text: Text
    record: str = "html"
    damaged: str | None = None
    cluster: int | None = None


def html(text: Text, teller: Teller) -> bytes:
    """The page around a text: menu, aside, footer and cookie notice, none of which holds a listed word."""
    rng, rules, scene = teller.rng, teller.rules["page"], teller.scene()
    links = "".join(f'<li><a href="/{m.lower().replace(" ", "-")}">{m}</a></li>' for m in rng.sample(rules["menu"], 6))
    parts = {
        "menu": f"<ul>{links}</ul>",
        "title": escape(text.title),
        "body": "".join(f"<p>{escape(p)}</p>\n" for p in text.paragraphs),
        "aside": f'<aside class="widget"><h3>{rng.choice(rules["aside"])}</h3><ul>{links}</ul></aside>',
        "footer": f"<p>{teller.expand(rng.choice(rules['footer']), scene)}</p>",
        "cookie": f'<div class="cookie-banner" role="dialog">{rng.choice(rules["cookie"])}</div>',
    }
    head = f'<head><meta charset="utf-8"><title>{parts["title"]}</title><script>var q = [];</script></head>'
    body = rng.choice(LAYOUTS).format(**parts)
    return f'<!DOCTYPE html>\n<html lang="{text.language}">{head}\n{body}\n</html>\n'.encode()


class Archive:
    """Writes one WARC file, one gzip member a record, without a clock or a hidden source of chance."""

    def __init__(self, path: Path, rng: random.Random):
        self.path, self.rng, self.members = path, rng, list[bytes]()
        self._member("warcinfo", None, b"software: microworld\r\n", "application/warc-fields")

    def _member(
        self, kind: str, url: str | None, block: bytes, media: str | None = None, http: list | None = None
    ) -> None:
        out = io.BytesIO()
        writer = WARCWriter(out, gzip=True)
        status = StatusAndHeaders("200 OK", http, protocol="HTTP/1.1") if http else None
        headers = {
            "WARC-Date": DATE,
            "WARC-Record-ID": f"<urn:uuid:{uuid.UUID(int=self.rng.getrandbits(128), version=4)}>",
        }
        writer.write_record(
            writer.create_warc_record(
                url or "", kind, payload=io.BytesIO(block), length=len(block), warc_content_type=media or "",
                http_headers=status, warc_headers_dict=headers,
            )
        )  # fmt: skip
        self.members.append(out.getvalue())

    def add(self, page: Page, teller: Teller) -> None:
        """One record; a damaged one loses what its `damaged` says, and nothing but itself."""
        http = [("Content-Type", "text/html; charset=utf-8")]
        if page.record == "request":
            return self._member("request", page.url, b"", http=[("User-Agent", "microworld")])
        if page.record == "image":
            return self._member(
                "response",
                page.url,
                b"\x89PNG\r\n\x1a\n" + self.rng.randbytes(64),
                http=[("Content-Type", "image/png")],
            )
        if page.record == "json":
            block = json.dumps({"day": teller.pick("day"), "visits": self.rng.randrange(1000)}).encode()
            return self._member("response", page.url, block, http=[("Content-Type", "application/json")])
        body = html(page.text, teller)
        if page.damaged == "broken_chunk":  # the chunk says that it is longer than what follows
            http.append(("Transfer-Encoding", "chunked"))
            body = b"%x\r\n%b" % (2 * len(body), body)
        else:
            http.append(("Content-Length", str(len(body))))
        self._member("response", page.url, body, http=http)
        if page.damaged == "truncated_member":
            self.members[-1] = self.members[-1][: len(self.members[-1]) // 2]
        elif page.damaged == "bad_header":
            plain = gzip.decompress(self.members[-1])
            self.members[-1] = gzip.compress(
                plain.replace(b"\r\nContent-Length:", b"\r\nContent-Length: many", 1), mtime=0
            )

    def close(self) -> None:
        self.path.write_bytes(b"".join(self.members))
