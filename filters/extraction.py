"""HTML to text: trafilatura (accurate, slow), resiliparse (fast), or `auto`."""

from __future__ import annotations

import re
from dataclasses import dataclass

EXTRACTION_VERSION = "1"
EXTRACTORS = ("auto", "trafilatura", "resiliparse")
MAX_SLOW = 4 << 20  # characters of HTML beyond which the slow extractor is not tried
MAX_DEPTH = 400  # nested elements beyond which it is not tried: it recurses
SPACES = re.compile(r"[ \t\u00a0]+")


@dataclass(slots=True)
class Extracted:
    """The text of a page, '' where none was found; `extractor` is the program whose text it is."""

    text: str
    title: str | None
    extractor: str
    charset: str
    note: str | None = None


def html_to_text(
    html: bytes, extractor: str = "auto", *, url: str | None = None, charset: str | None = None
) -> Extracted:
    """The main text of a page, the same for the same bytes.

    `charset` is what the server states. A page that trafilatura might not finish (very long, very deep) goes to
    resiliparse with a note.
    """
    from resiliparse.parse.html import HTMLTree

    source, charset = decode(html, charset)
    tree = HTMLTree.parse(source)
    title = " ".join((tree.title or "").split()) or None
    note = None
    if extractor == "trafilatura":
        note = too_much(source)
        if note is None:
            return Extracted(slow_text(source), title, "trafilatura", charset)
    return Extracted(fast_text(tree), title, "resiliparse", charset, note)


def fast_text(tree: object) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(tree, main_content=True, alt_texts=False, list_bullets=False).strip()  # type: ignore


def slow_text(source: str) -> str:
    import trafilatura

    return trafilatura.extract(source, deduplicate=False, include_comments=False) or ""


def too_much(source: str) -> str | None:
    """Why trafilatura should not be tried on this page, or None."""
    if len(source) > MAX_SLOW:
        return "too long for trafilatura"
    return None


def decode(html: bytes, stated: str | None = None) -> tuple[str, str]:
    """A page's characters and the name of the encoding.

    A byte order mark decides; else bytes that are UTF-8 are UTF-8, whatever is stated; else the page's own word, the
    server's, or what the bytes look like, whichever first decodes without a fault; else what can be read of the last.
    """
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if html.startswith(mark):
            return html.decode(name, "replace"), name.removesuffix("-sig")
    try:
        return html.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        torn = error.start >= len(html) - 3  # cut inside the last character
    if torn:
        return html.decode("utf-8", "ignore"), "utf-8"
    names = [stated, detect_encoding(html, from_html_meta=True), detect_encoding(html)]
    known = [map_encoding_to_html5(n, fallback_utf8=False) for n in names if n]
    for name in (*(n for n in known if n), "utf-8"):
        try:
            return html.decode(name), name
        except (UnicodeDecodeError, LookupError):
            continue
    last = next((n for n in reversed(known) if n), "utf-8")
    try:
        return html.decode(last, "replace"), last
    except LookupError:
        return html.decode("utf-8", "replace"), "utf-8"
