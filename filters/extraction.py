"""HTML to text: trafilatura (accurate, slow), resiliparse (fast), or `auto`, which asks the slow one where in doubt.

`auto` extracts with resiliparse, helped in two ways: elements whose class or id names boilerplate are skipped, and each
line is kept or not by a logistic rule of ten features that know nothing of the language (LINE). Where few of the kept
characters stand in long lines and the page has prose that is not among them, trafilatura decides. Every constant below
was chosen on one half of the pages with ground truth and measured on the other: docs/extraction.md has the figures.

Not covered: pages that a script fills, text in images, frames; comments of readers are left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import unescape
from typing import Any

EXTRACTION_VERSION = "2"
EXTRACTORS = ("auto", "trafilatura", "resiliparse")

# Parts of a class or id that name boilerplate, and elements that are. Each raised the mean F1 of the training half.
SKIPPED_CLASSES = (
    "footer", "related", "newsletter", "meta", "prev", "next", "category", "author", "byline", "tags", "bio",
    "disclaimer", "credit", "copyright", "modal", "button", "gallery", "share", "social", "cookie", "breadcrumb",
    "rating", "stories",
)  # fmt: skip
SKIPPED_IDS = (
    "footer", "related", "newsletter", "author", "tags", "comment", "respond", "sidebar", "cookie", "subscribe",
    "login",
)  # fmt: skip
SKIPPED_ELEMENTS = ("form", "header", "footer", "small", "address")
# What holds the heading or three paragraphs side by side is content, whatever it is called.
UNLESS = ":not(:has(h1)):not(body):not(html):not(main):not(article):not(:has(p ~ p ~ p))"
SKIPPED = tuple(
    selector + UNLESS
    for selector in (
        *(f'[class*="{part}" i]' for part in SKIPPED_CLASSES),
        *(f'[id*="{part}" i]' for part in SKIPPED_IDS),
        *SKIPPED_ELEMENTS,
    )
)

# Weights of the line rule: fitted to foresee whether trafilatura keeps a line.
LINE = {
    "bias": -1.98, "p": 1.02, "li": 0.51, "pre": 3.97, "length": 3.87, "link_share": -1.19, "commas": -1.11,
    "text_before": -0.63, "length_before": 0.78, "link_share_after": -0.83, "page_link_share": 1.54,
}  # fmt: skip
KEEP_FROM = 0.405  # log-odds (0.6) from which a line is kept
LONG_LINE = 120  # characters
DOUBT_BELOW = 0.5  # share of the kept characters in long lines below which a page goes to trafilatura
MISSED = 200  # characters in long lines that the page shows and the text lacks, from which it is worth asking

TOO_LONG = 2 << 20  # characters of HTML, or
TOO_MANY = 30_000  # tags, beyond which a page does not go to trafilatura
TOO_DEEP = 1000  # nested blocks beyond which resiliparse only lists the text: its rules take quadratic time
OPEN = re.compile(r"<(?:div|article)\b", re.I)
OPEN_OR_CLOSE = re.compile(r"<(/?)(?:div|article)\b", re.I)

BLOCK = re.compile(r"<(p|h[1-6]|li|pre)\b")
LINK = re.compile(r"<a\b[^>]*>(.*?)</a>", re.S)
MARKUP = re.compile(r"<[^>]+>")
COMMAS = re.compile("[,，、]")


@dataclass(slots=True)
class Extracted:
    """The text of a page, '' where none was found; `extractor` is the program whose text it is."""

    text: str
    title: str | None
    extractor: str
    charset: str
    note: str | None = None


@dataclass(slots=True)
class Line:
    """One line of a page: `gap` says whether a blank line stood before it."""

    text: str
    tag: str
    link_chars: int
    gap: bool


def html_to_text(
    html: bytes, extractor: str = "auto", *, url: str | None = None, charset: str | None = None
) -> Extracted:
    """The main text of a page, the same for the same bytes.

    `charset` is what the server states. A page that trafilatura might not finish (very long, very many elements) goes
    to resiliparse with a note. Raises what the extractors raise.
    """
    from resiliparse.parse.html import HTMLTree

    source, charset = decode(html, charset)
    tags = source.count("<")
    tree = HTMLTree.parse(source)
    title = " ".join((tree.title or "").split()) or None
    if tags > 2 * TOO_DEEP and nesting(source) > TOO_DEEP:
        return Extracted(plain_text(tree, main_content=False), title, "resiliparse", charset, "nested too deep")
    note = None
    if extractor != "resiliparse" and (len(source) > TOO_LONG or tags > TOO_MANY):
        extractor, note = "resiliparse", "too large for trafilatura"
    if extractor == "auto":
        text, long_share = fast_text(tree)
        if not in_doubt(source, tree, text, long_share):
            return Extracted(text, title, "resiliparse", charset)
        slow = slow_text(source, fallback=False)
        return Extracted(slow or text, title, "trafilatura" if slow else "resiliparse", charset)
    if extractor == "trafilatura":
        return Extracted(slow_text(source), title, "trafilatura", charset)
    return Extracted(plain_text(tree, main_content=True), title, "resiliparse", charset, note)


def in_doubt(source: str, tree: Any, text: str, long_share: float) -> bool:
    """Whether trafilatura should be asked: little of the text is prose, and there is prose that it could find.

    That prose is on the page, or in the page's structured data, which trafilatura reads and resiliparse does not.
    """
    if not text or long_share >= DOUBT_BELOW:
        return not text
    shown, kept = (
        sum(len(line) for line in whole.split("\n") if len(line) >= LONG_LINE)
        for whole in (plain_text(tree, main_content=False), text)
    )
    return shown - kept >= MISSED or '"articleBody"' in source


def slow_text(source: str, *, fallback: bool = True) -> str:
    """Trafilatura's text: no readers' comments, no removal of duplicates (it would depend on the pages before).

    `fallback` lets it compare its text with those of two further programs; on doubtful pages that gained nothing.
    """
    import trafilatura

    return trafilatura.extract(source, include_comments=False, deduplicate=False, fast=not fallback) or ""


def plain_text(tree: Any, *, main_content: bool) -> str:
    """Resiliparse's text with its own rules."""
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(tree, main_content=main_content, alt_texts=False, comments=False).strip()


def fast_text(tree: Any) -> tuple[str, float]:
    """Resiliparse's text less boilerplate, and the share of its characters that stand in long lines."""
    return join_lines(kept_lines(page_lines(tree)))


def kept_lines(lines: list[Line]) -> list[Line]:
    """The lines that the rule keeps; all where it would drop more than half of the characters (lists, poems)."""
    kept = [line for line, odd in zip(lines, line_odds(lines)) if odd >= KEEP_FROM]
    few = 2 * sum(len(line.text) for line in kept) < sum(len(line.text) for line in lines)
    return lines if few else kept


def page_lines(tree: Any) -> list[Line]:
    """The lines that resiliparse takes for main content, boilerplate elements skipped unless that leaves little."""
    from resiliparse.extract.html2text import extract_plain_text

    settings: dict[str, Any] = {"main_content": True, "alt_texts": False, "comments": False, "links": True}
    settings["preserve_formatting"] = "minimal_html"
    lines = split_lines(extract_plain_text(tree, skip_elements=SKIPPED, **settings))
    length = sum(len(line.text) for line in lines)
    if length < 250:
        all_lines = split_lines(extract_plain_text(tree, **settings))
        if sum(len(line.text) for line in all_lines) > 2 * length:
            return all_lines
    return lines


def split_lines(minimal: str) -> list[Line]:
    """Lines of resiliparse's minimal HTML, with their block's tag and how many characters are links."""
    lines = []
    gap, inside_pre = False, False
    for raw in minimal.split("\n"):
        block = BLOCK.match(raw.lstrip())
        tag = "pre" if inside_pre else block.group(1) if block else ""
        if tag == "pre":
            inside_pre = "</pre>" not in raw
        links = sum(len(MARKUP.sub("", link)) for link in LINK.findall(raw)) if "<a" in raw else 0
        text = MARKUP.sub("", raw) if "<" in raw else raw
        if "&" in text:
            text = unescape(text)
        text = text.rstrip() if tag == "pre" else text.strip()
        if text:
            lines.append(Line(text, tag, links, gap))
        gap = gap and not text if text else True
    return lines


def line_odds(lines: list[Line]) -> list[float]:
    """Log-odds that a line belongs to the main text."""
    total = sum(len(line.text) for line in lines)
    if not total:
        return []
    shares = [min(line.link_chars / len(line.text), 1.0) for line in lines]
    lengths = [math.log1p(len(line.text)) / 6 for line in lines]
    prose = [0 if share >= 0.5 else len(line.text) for line, share in zip(lines, shares)]
    all_prose = max(sum(prose), 1)
    w = LINE
    page = w["bias"] + w["page_link_share"] * min(sum(line.link_chars for line in lines) / total, 1.0)
    odds, seen = [], 0
    for i, line in enumerate(lines):
        seen += prose[i]
        odd = page + w["length"] * lengths[i] + w["link_share"] * shares[i] + w["text_before"] * seen / all_prose
        odd += w["commas"] * min(len(COMMAS.findall(line.text)), 8) / 8
        if line.tag in ("p", "li", "pre"):
            odd += w[line.tag]
        if i:
            odd += w["length_before"] * lengths[i - 1]
        if i + 1 < len(lines):
            odd += w["link_share_after"] * shares[i + 1]
        odds.append(odd)
    return odds


def join_lines(lines: list[Line]) -> tuple[str, float]:
    """The text of lines, paragraphs set apart, and the share of characters in long ones."""
    pieces: list[str] = []
    for line in lines:
        pieces.append("\n\n" if line.gap and pieces else "\n" if pieces else "")
        pieces.append("- " + line.text if line.tag == "li" else line.text)
    length = sum(len(line.text) for line in lines)
    long = sum(len(line.text) for line in lines if len(line.text) >= LONG_LINE)
    return "".join(pieces), long / (length + 50)


def nesting(source: str) -> int:
    """How deep divs and articles nest."""
    if len(OPEN.findall(source)) <= TOO_DEEP:
        return 0
    depth = deepest = 0
    for tag in OPEN_OR_CLOSE.finditer(source):
        depth += -1 if tag.group(1) else 1
        deepest = max(deepest, depth)
    return deepest


def decode(html: bytes, stated: str | None = None) -> tuple[str, str]:
    """A page's characters and the name of the encoding.

    A byte order mark decides; else bytes that are UTF-8 are UTF-8, whatever is stated; else the server's word, the
    page's own, or what the bytes look like, whichever first decodes without a fault; else what can be read of the last.
    """
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if html.startswith(mark):
            return html.decode(name, "replace"), name.removesuffix("-sig")
    try:
        return html.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        torn = error.reason == "unexpected end of data" and error.start > 0  # cut inside the last character
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
