"""How do pages in markup look? Plain ones with headings, links, lists, tables, code, HTML; none of that is an order.

    plain text --words linked, bold, as code; lines quoted, listed; blocks put between--> a page as the web has it

bench/order_tags.py trains on them beside the plain ones: who has seen markup in orders alone takes all of it for one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from rewriters.wording import sentences

Draw = random.Random


def marked_up(text: str, draw: Draw) -> str:
    """A page in markup that says what a text does; how much of it is marked up is drawn."""
    words = re.findall(r"[A-Za-z]{3,}", text) or ["page"]
    much = draw.choice([0.15, 0.4, 0.8])
    lines: list[str] = []
    style = draw.choice(LINES)
    if draw.random() < 0.3:
        lines += front_matter(words, draw)
    if draw.random() < 0.6:
        lines += heading(words, draw)
    for a, b in sentences(text):
        if draw.random() < 0.25 * (1 + much):
            lines += draw.choice(BLOCKS)(words, draw)
        lines.append(style(inline(text[a:b], much, words, draw), len(lines) + 1))
    if draw.random() < 0.4:
        lines += draw.choice(BLOCKS)(words, draw)
    gap = draw.choice(["\n", "\n\n", "\n"]) if style is not LINES[0] else draw.choice([" ", "\n", "\n\n"])
    return gap.join(lines)


def inline(sentence: str, much: float, words: list[str], draw: Draw) -> str:
    """A sentence with some of its words linked, set in bold, as code, or with a note behind."""
    told = sentence.split(" ")
    out, i = [], 0
    while i < len(told):
        size = draw.randint(1, 4)
        if draw.random() < much / 6 and i + size <= len(told):
            out.append(draw.choice(INLINE)(" ".join(told[i : i + size]), words, draw))
            i += size
        else:
            out.append(told[i])
            i += 1
    return " ".join(out)


def address(words: list[str], draw: Draw) -> str:
    """An invented address: of a page, of a file beside, or of a part of the page."""
    w = [draw.choice(words).lower() for _ in range(4)]
    return draw.choice([
        f"https://{w[0]}.example/{w[1]}/{w[2]}-{w[3]}",
        f"https://www.{w[0]}{w[1]}.example/{w[2]}/{draw.randint(1, 9999)}",
        f"./{w[0]}-{w[1]}.md", f"../{w[0]}/{w[1]}.md#{w[2]}", f"#{w[0]}-{w[1]}",
        f"{draw.randint(1, 999):04d}-{w[0]}-{w[1]}.md",
        f"http://{w[0]}.example/{w[1]}.html?id={draw.randint(1, 99)}", f"/{w[0]}/{w[1]}", "",
    ])  # fmt: skip


Inline = Callable[[str, list[str], Draw], str]
INLINE: list[Inline] = [
    lambda s, w, d: f"[{s}]({address(w, d)})",
    lambda s, w, d: f"[{s}]({address(w, d)})",
    lambda s, w, d: f'<a href="{address(w, d)}" target="_blank">{s}</a>',
    lambda s, w, d: f"**{s}**",
    lambda s, w, d: f"*{s}*",
    lambda s, w, d: f"_{s}_",
    lambda s, w, d: f"__{s}__",
    lambda s, w, d: f"`{s}`",
    lambda s, w, d: f"'{s}'",
    lambda s, w, d: f"``{s}``",
    lambda s, w, d: f"<strong>{s}</strong>",
    lambda s, w, d: f"<em>{s}</em>",
    lambda s, w, d: f'<span class="{d.choice(w).lower()}">{s}</span>',
    lambda s, w, d: f"[{s}][{d.choice(w).lower()}]",
    lambda s, w, d: f"[{s}]",
    lambda s, w, d: f"({s})",
    lambda s, w, d: f"{s}[^{d.randint(1, 20)}]",
    lambda s, w, d: f"{s} [{d.randint(1, 40)}]",
    lambda s, w, d: f"`{s} <{address(w, d)}>`_",
    lambda s, w, d: f"{s} ({address(w, d)})",
    lambda s, w, d: f"${d.choice(w)[:1]}_{d.randint(0, 9)}$ {s}",
    lambda s, w, d: f"{s} <{d.choice(w).lower()}@{d.choice(w).lower()}.example>",
    lambda s, w, d: s.replace("'", "&#8217;") + " &amp; ",
    lambda s, w, d: f"{{{{ {d.choice(w).lower()} | url }}}} {s}",
    lambda s, w, d: f"~~{s}~~",
    lambda s, w, d: f"==> {s}",
    lambda s, w, d: f"{d.choice(w)}::{d.choice(w)}() {s}",
]
LINES: list[Callable[[str, int], str]] = [
    lambda s, n: s,
    lambda s, n: s,
    lambda s, n: f"* {s}",
    lambda s, n: f"- {s}",
    lambda s, n: f"{n}. {s}",
    lambda s, n: f"> {s}",
    lambda s, n: f"<p>{s}</p>",
    lambda s, n: f"<li>{s}</li>",
    lambda s, n: f"    {s}",
    lambda s, n: f"- **{s.split(' ')[0]}** - {s}",
    lambda s, n: f"{n:02d}:{n * 7 % 60:02d} {s}",
]


def some(words: list[str], draw: Draw, least: int = 1, most: int = 5) -> str:
    return " ".join(draw.choice(words) for _ in range(draw.randint(least, most)))


def heading(words: list[str], draw: Draw) -> list[str]:
    """A headline: by signs, underlined, in capitals, in HTML."""
    said = some(words, draw).capitalize()
    return draw.choice([
        [f"{'#' * draw.randint(1, 4)} {said}"], [said, draw.choice("=-~") * draw.randint(4, 30)], [said.upper()],
        [f"<h2>{said}</h2>"], [f"**{said}**"], [f"=== {said} ==="], [f"{said}:"],
        [f"{draw.randint(1, 9)}.{draw.randint(1, 9)} {said}"],
        [draw.choice(["Abstract", "Introduction", "Syntax", "Remarks", "See also", "Overview", "Requirements", "Notes",
                      "Motivation", "Members", "Example", "Summary", "References", "Author", "Contents"])],
    ])  # fmt: skip


def front_matter(words: list[str], draw: Draw) -> list[str]:
    """What stands before a page: fields between fences, or header lines."""
    w = [draw.choice(words).lower() for _ in range(6)]
    fields = [f'title = "{some(words, draw, 2, 6)}"', f'authors = ["{w[0].title()} {w[1].title()}"]', f"layout: {w[2]}",
              f"date: 20{draw.randint(10, 26)}-0{draw.randint(1, 9)}-{draw.randint(10, 28)}", f"tags: [{w[3]}, {w[4]}]",
              f"Status: {w[5].title()}", f"Discussions-To: {address(words, draw)}",
              f"description: {some(words, draw, 4, 9)}",
              f"{w[0]}: {draw.choice(['true', 'false', 'null', str(draw.randint(0, 99))])}"]  # fmt: skip
    fence = draw.choice(["---", "+++", ""])
    chosen = draw.sample(fields, draw.randint(2, 6))
    return [x for x in (fence, *chosen, fence) if x]


def table(words: list[str], draw: Draw) -> list[str]:
    """Rows of a table."""
    columns = draw.randint(2, 4)
    row = lambda: "| " + " | ".join(some(words, draw, 1, 3) for _ in range(columns)) + " |"  # noqa: E731
    return [row(), "|" + "---|" * columns, *(row() for _ in range(draw.randint(1, 4)))]


def code(words: list[str], draw: Draw) -> list[str]:
    """Lines of a program, of a shell, of settings, or of data."""
    w = [draw.choice(words).lower() for _ in range(5)]
    n = draw.randint(0, 99)
    lines = draw.choice([
        [f"class {w[0].title()}:", f"    def {w[1]}(self, {w[2]}):", f"        return {w[2]} + {n}"],
        [f"void {w[0]}_{w[1]}(int {w[2]});", f"// {some(words, draw, 3, 6)}", f"if ({w[3]} == {n}) {{ {w[0]}(); }}"],
        [f"$ {w[0]} --{w[1]} {w[2]}.txt", f"{w[3]}: {n} files"],
        [f'{{"{w[0]}": "{w[1]}", "{w[2]}": {n}, "{w[3]}": ["{w[4]}"]}}'],
        [f"{w[0]}:", f"  {w[1]}: {n}", f"  - {w[2]}"],
        [f"SELECT {w[0]}, {w[1]} FROM {w[2]} WHERE {w[3]} > {n};"],
        [f"<{w[0]}>", f"  <{w[1]} id=\"{n}\">{w[2]}</{w[1]}>", f"</{w[0]}>"],
        [f"function {w[0]}({w[1]}) {{ return {w[1]} * {n}; }}"], [f"template <typename {w[0].title()}>"],
        [f"#include <{w[0]}.h>", f"{w[1]} = {w[2]}[{n}]"],
    ])  # fmt: skip
    fence = draw.choice(["```", "~~~", "", "'''"])
    return [x for x in (fence + (draw.choice(["", "cpp", "python", "xml"]) if fence else ""), *lines, fence) if x]


def around(words: list[str], draw: Draw) -> list[str]:
    """Short lines that pages have between their text: notes, links, bylines, calls of a site."""
    w = some(words, draw, 1, 4)
    return [draw.choice([
        "> [!NOTE]", f">[!WARNING] {w}", f"[{w}]: {address(words, draw)}", f"[^{draw.randint(1, 9)}]: {w}",
        "***", "---", f"![{w}]({address(words, draw)})", f"See also: [{w}]({address(words, draw)})",
        f"{{% include {w} %}}", "* * *",
        f"Posted by {w.title()} on {draw.randint(1, 28)}/0{draw.randint(1, 9)}", f"<div class=\"{w}\">",
        "</div>", "<br/>", f"<!-- {w} -->", f".. note:: {w}", f":label:`{w}`", f"Source: {address(words, draw)}",
        f"Email: {w.replace(' ', '.')}@x.example",
        "Read more", "Share this page", f"Next: {w}", f"Table of contents [{w}](#{w.replace(' ', '-')})", "[edit]",
        "+1",
        f"Q: {w}?", f"A: {w}.", f"Exercise {draw.randint(1, 9)}.{draw.randint(1, 9)}", f"def {w.split()[0].lower()}",
        f"<user>{w}</user>", f"User: {w}?", f"Prompt: {w}", f"Note: {w}.", f"AI: {w}",
        f"Step {draw.randint(1, 9)}: {w}.",
    ])]  # fmt: skip


BLOCKS: list[Callable[[list[str], Draw], list[str]]] = [heading, table, code, around, around, around, front_matter]
