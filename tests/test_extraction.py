"""HTML to text: the same for the same bytes, whatever the bytes; `auto` asks the slow extractor only where in doubt."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.extraction import EXTRACTORS, decode, fast_text, html_to_text, nesting, split_lines

SENTENCE = "The miller took the grain to the mill at dawn, and the wheel turned in the river until the evening came. "
PROSE = "".join(f"<p>{number}. {SENTENCE * 2}</p>" for number in range(6))
MENU = "<nav><ul>" + "".join(f'<li><a href="/{i}">Menu entry {i}</a></li>' for i in range(20)) + "</ul></nav>"
ARTICLE = f"""<!doctype html><html><head><title> The  mill </title><style>p {{ }}</style></head><body>{MENU}
<main><h1>The mill</h1>{PROSE}
<p>One bag of grain went to the miller &amp; his wife, and two to the old priest of the village.</p>
<div class="related-posts"><p>Ten mills you must see before you die</p></div></main>
<div class="newsletter-box"><p>Subscribe to our newsletter and never miss a mill again.</p></div>
<footer><p>Copyright the miller</p></footer><script>var x = "scripted";</script></body></html>"""


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_the_main_text_of_a_plain_article(extractor):
    found = html_to_text(ARTICLE.encode(), extractor)
    assert found.title == "The mill"
    assert all(f"{number}. {SENTENCE.strip()}" in found.text for number in range(6))
    assert "Menu entry" not in found.text and "scripted" not in found.text
    assert "went to the miller & his wife, and" in found.text
    assert found == html_to_text(ARTICLE.encode(), extractor)


def test_auto_leaves_boilerplate_out_and_stays_fast_on_a_plain_article():
    found = html_to_text(ARTICLE.encode(), "auto")
    assert found.extractor == "resiliparse"
    for phrase in ("Ten mills", "newsletter", "Copyright"):
        assert phrase not in found.text
    assert "\n\n" in found.text


def test_auto_asks_trafilatura_where_prose_was_lost():
    lines = "".join(f"<div>Short line {i} of a poem</div>" for i in range(80))
    poem = f"<html><body>{MENU}<div class='poem'>{lines}</div>%s</body></html>"
    found = html_to_text((poem % "").encode(), "auto")
    assert found.extractor == "resiliparse" and "Short line 41" in found.text  # there is no prose to be found
    aside = f"<div class='modal'><p>{SENTENCE * 4}</p></div>"
    assert html_to_text((poem % aside).encode(), "auto").extractor == "trafilatura"
    told = '<script type="application/ld+json">{"articleBody": "%s"}</script>' % (SENTENCE * 9)
    assert SENTENCE.strip() in html_to_text(f"<html><body>{MENU}{told}</body></html>".encode(), "auto").text


def test_what_is_called_boilerplate_and_holds_the_article_is_kept():
    for name in ("meta-related", "page-header", "newsletter"):
        page = f'<html><body>{MENU}<div class="{name}">{PROSE}</div></body></html>'
        assert SENTENCE.strip() in html_to_text(page.encode(), "auto").text


@pytest.mark.parametrize(
    ("html", "stated", "expected"),
    [
        ("Käse 奶酪".encode(), "iso-8859-1", "Käse 奶酪"),  # it is UTF-8, whatever the server says
        ("Käse".encode("latin-1"), "iso-8859-1", "Käse"),
        ("Käse".encode("latin-1"), "no-such-charset", "Käse"),
        (b'<meta charset="windows-1251">' + "Привет".encode("cp1251"), None, "Привет"),
        (b'<meta charset="utf-8">' + "奶酪很好吃".encode("gb18030") * 30, "gbk", "奶酪很好吃"),
        ("Käse".encode("utf-16"), None, "Käse"),
        ("\ufeffKäse".encode(), None, "Käse"),
        ("Käse und Brot ä".encode()[:-1], None, "Käse und Brot "),
        (b"\x80\x81\xfe\xff plain", None, "plain"),
    ],
)
def test_charsets(html, stated, expected):
    text, _ = decode(html, stated)
    assert expected in text
    text.encode()


def test_a_page_without_text_gives_none():
    for extractor in EXTRACTORS:
        for html in (b"", b"<html></html>", b"<html><body><script>x</script></body></html>", b"\0\0\0"):
            assert html_to_text(html, extractor).text.strip("\0\ufffd ") == ""


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_hostile_pages_end_soon(extractor):
    deep = "<div>" * 30_000 + "deep text" + "</div>" * 30_000
    wide = "<p class=share>x</p>" * 60_000 + PROSE
    long = "<p>" + "word " * 600_000 + "</p>"
    unclosed = "<table><tr><td><a href='" * 5_000 + PROSE
    for page in (deep, wide, long, unclosed, "<" * 200_000, "&amp" * 200_000):
        started = time.process_time()
        html_to_text(page.encode(), extractor)
        assert time.process_time() - started < 30


def test_the_note_says_why_the_slow_extractor_was_not_asked():
    found = html_to_text(b"<p>" + b"word " * 600_000 + b"</p>", "trafilatura")
    assert found.extractor == "resiliparse" and found.note == "too large for trafilatura"
    assert html_to_text(b"<div>" * 5000 + b"text", "auto").note == "nested too deep"
    assert nesting("<DIV><article>" * 1500) == 3000 and nesting("<div></div>" * 5000) == 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 10**6))
def test_any_bytes_give_a_text_that_utf8_can_hold(noise, seed):
    page = bytearray(ARTICLE.encode())
    draw = random.Random(seed)
    for byte in noise:
        page[draw.randrange(len(page))] = byte
    for extractor in EXTRACTORS:
        found = html_to_text(bytes(page), extractor)
        found.text.encode()
        assert found.extractor in ("trafilatura", "resiliparse")


def test_lines_of_minimal_html():
    lines = split_lines(
        '<h1>A &amp; b</h1>\n\n<p>See <a href="x">this\u00a0link</a> now</p>\n'
        "  <li>item</li>\n<pre>  x < 1\n  y</pre>\nend"
    )
    assert [(x.text, x.tag, x.link_chars, x.gap) for x in lines] == [
        ("A & b", "h1", 0, False), ("See this\u00a0link now", "p", 9, True), ("item", "li", 0, False),
        ("  x < 1", "pre", 0, False), ("  y", "pre", 0, False), ("end", "", 0, False),
    ]  # fmt: skip


def test_the_share_of_long_lines_is_the_doubt():
    from resiliparse.parse.html import HTMLTree

    text, share = fast_text(HTMLTree.parse(ARTICLE))
    assert 0.5 < share <= 1 and SENTENCE.strip() in text
    assert fast_text(HTMLTree.parse("<p>short</p>"))[1] == 0
