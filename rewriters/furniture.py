"""Which parts of a page are furniture? Menus, trails, calls to click, adverts and counters: to be told or left out.

    text --trails, frames--> spans      Home | News | Obituaries      Home > Recipes > Breads.      >> Like us <<
         --lines, sentences--> stretches --first words, length, end--> spans     Tap to see 23 photos >>   3 comments

A stretch is furniture by its build first: items parted by strokes or arrows, no sentence's end, a verb of clicking with
a thing to click on; lists of words come second. What tells is none: a sentence that says something of someone, a
headline, an item of a list, a row of a table, a line of verse. In a text that gives its reader orders (a manual, a
recipe) only what speaks of the page itself is a call.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from rewriters.furniture_words import (
    ABOUT_PAGE,
    ALONE,
    BESIDE,
    CALL,
    CLICK,
    COUNTED,
    FRAME,
    LABEL,
    MENU,
    NOTICE,
    PART,
    SAYS,
    TRAIL,
    WEAK,
)
from rewriters.wording import STOP, WORD, fold, sentences

Span = tuple[int, int]
ITEM_WORDS = 3
CALLED, LABELLED, NOTED = 14, 16, 25  # words of a call, of a labelled line, of a notice: more tell something
ORDERING = 3  # sentences with a verb of clicking from which on a text is a manual
BORDER = re.compile(r"(?<=\])\s+|(?<=[▼▲►▶→»›✕×↓])\s+|(?<=>>)\s+|\s+(?=(?:>>|<<))")
BEFORE = re.compile(r"[\s\[({<>|»›→▼▲►▶•·*#_~=+✕×☰↓-]+")
AFTER = re.compile(r"[\s\])}<>|»›→▼▲►▶•·*#_~=✕×!.?:↓-]+$")
VERB = re.compile(rf"\b(?:{'|'.join(sorted(SAYS))}|[a-z]{{2,}}ed)\b", re.IGNORECASE)
OPENING = re.compile(
    r"(?<=[\w)]) (?=(?:The|An?|It|In|On|At|He|She|They|We|This|These|There|When|After|For|From|I|My|Our|Its|His|Her|"
    r"Last|Nobody|No|Two|Three|If|As|By)\b [\w'])"
)
ITEM_OR_HEAD = re.compile(r"\s*(?:[-*•+] |\d+[.)] |#+ )")  # an item of a list or a headline is content
DASH = re.compile(r" [-\u2013\u2014] ")
LEAD_IN = re.compile(r"[^.!?\n]{2,40}\?$")


def furniture(text: str) -> list[Span]:
    """Spans of a plain text that are page furniture, in order and apart."""
    found = [m.span() for m in FRAME.finditer(text) if CALL.match(_core(m[0])) or CALL.search(m[0])]
    found += _trails(text)
    rest = text
    for a, b in found:
        rest = rest[:a] + "\0" * (b - a) + rest[b:]
    stretches = [(a, b) for a, b in _stretches(rest) if rest[a:b].strip("\0 \t")]
    manual = sum(bool(CLICK.match(_core(rest[a:b]))) for a, b in stretches) >= ORDERING
    last: Span | None = None
    for a, b in stretches:
        said = rest[a:b]
        if (end := _before_prose(said, manual)) is not None:  # a call, and a sentence joined to it
            found += [(a, a + end)] if end else []
            last = a, b
            continue
        if _goes_on(rest, a) or ITEM_OR_HEAD.match(rest[rest.rfind("\n", 0, a) + 1 : b]):
            last = None
            continue
        if _is_call(said, manual):
            if last and LEAD_IN.fullmatch(rest[slice(*last)].strip()) and len(WORD.findall(rest[slice(*last)])) <= 4:
                found.append(last)
            found.append((a, b))
        elif (
            _is_menu(said) or _is_dashed(said) or _is_labelled(said, rest, a) or _is_notice(said)
            or COUNTED.fullmatch(_core(said))
        ):  # fmt: skip
            found.append((a, b))
        elif a == 0 and (end := _leading_menu(said)):
            found.append((0, end))
        last = a, b
    return _joined(found)


def _goes_on(text: str, at: int) -> bool:
    """Whether a stretch goes on with a sentence of the line before: a small letter behind no end."""
    first = next((c for c in text[at:] if c.isalnum()), "")
    before = text[:at].rstrip(" \0\t")
    if not first.islower() or not before or before.endswith("\n\n"):
        return False
    return before.rstrip()[-1:] not in {"", *".!?:>|*\"')]"}


def _before_prose(said: str, manual: bool) -> int | None:
    """Of a stretch that ends as a sentence and says something, where the words before it end that are none; else None.

    A sentence begins with a capital where a small word has one, `Read more The mill was rebuilt.`, or right behind what
    is a call or a label by itself.
    """
    label = LABEL.match(told := _core(said))
    if not said.rstrip("\0 ").endswith((".", '."', ".)")) or not VERB.search(told[label.end() :] if label else told):
        return None
    if _is_notice(said) or COUNTED.fullmatch(_core(said)):
        return None
    if (at := OPENING.search(said)) and _is_furniture(said[: at.start()], manual):
        return at.start()
    core = said[m.end() :] if (m := BEFORE.match(said)) else said
    lead = CALL.match(core) or LABEL.match(core)
    if lead and (after := re.match(r"[^\w\n,]{1,4}(?=[A-Z])", core[lead.end() :])):
        return len(said) - len(core) + lead.end() + len(after[0])
    return _leading_menu(said)


def _is_furniture(said: str, manual: bool) -> bool:
    return _is_call(said, manual) or _is_menu(said) or _is_labelled(said, "", 0) or bool(COUNTED.fullmatch(_core(said)))


def _joined(spans: list[Span]) -> list[Span]:
    out: list[Span] = []
    for a, b in sorted(spans):
        if out and a <= out[-1][1]:
            out[-1] = out[-1][0], max(b, out[-1][1])
        else:
            out.append((a, b))
    return out


def _core(said: str) -> str:
    """A stretch without the signs around it."""
    said = said.strip("\0 \t\n")
    said = said[m.end() :] if (m := BEFORE.match(said)) else said
    return AFTER.sub("", said)


def _stretches(text: str) -> Iterator[Span]:
    """Lines, parted at sentences' ends, at arrows that point down or on, and where something was taken out."""
    for line in re.finditer(r"[^\n\0]+", text):
        for a, b in sentences(line[0]) or [(0, len(line[0]))]:
            at = a
            for cut in BORDER.finditer(line[0], a, b):
                if line[0][at : cut.start()].strip():
                    yield line.start() + at, line.start() + cut.start()
                at = cut.end()
            if line[0][at:b].strip():
                yield line.start() + at, line.start() + b


def _trails(text: str) -> list[Span]:
    """Short items parted by strokes or arrows, of which one names a part of a site; no rows of a table."""
    found = []
    lines = [(m.start(), m[0]) for m in re.finditer(r"[^\n]+", text)]
    parted = [len(PART.findall(line)) for _, line in lines]
    for (start, line), many in zip(lines, parted):
        if not many or parted.count(many) > 1:
            continue
        for m in TRAIL.finditer(line):
            found += [(start + m.start() + a, start + m.start() + b) for a, b in _trail(m[0])]
    return found


def _trail(said: str) -> Iterator[Span]:
    """Runs of short items, where one is a part of a site.

    A run may begin behind a sentence's end, and end with the first words of a long item that name parts of a site.
    """
    borders = [(0, 0), *(m.span() for m in PART.finditer(said)), (len(said), len(said))]
    items = [(a[1], b[0]) for a, b in itertools.pairwise(borders) if b[0] > a[1]]
    short = [_short(said[a:b]) for a, b in items]
    i = 0
    while i < len(items):
        j = i
        while j < len(items) and short[j]:
            j += 1
        start, end = (items[i][0], items[j - 1][1]) if j > i else (items[i][0], items[i][0])
        if j > i and j < len(items) and (more := _leading_menu(said[slice(*items[j])], least=1)):
            end = items[j][0] + more
        if i and j > i and not short[i - 1]:
            tail = re.search(r"(?<=[.!?]) ([^.!?]+)$", said[slice(*items[i - 1])])
            if tail and _short(tail[1]):
                start = items[i - 1][0] + tail.start(1)
        several = j > i and (j - i > 1 or end > items[j - 1][1] or start < items[i][0])
        if several and any(_site(said[slice(*item)]) for item in items[i:j]):
            yield start, end
        i = max(j, i + 1)


def _short(item: str) -> bool:
    told = item.split()
    if COUNTED.fullmatch(item.strip()):
        return True
    return 0 < len(told) <= ITEM_WORDS and not re.search(r"\d", item) and not {fold(w) for w in told} & SAYS


def _site(item: str) -> bool:
    """Whether all words of an item name a part of a site: Home, Contact us, Log in."""
    told = {fold(w) for w in WORD.findall(item)}
    return (
        bool(COUNTED.fullmatch(item.strip())) or bool(told and told <= MENU and told - WEAK) or bool(CALL.match(item))
    )


def _is_menu(said: str) -> bool:
    """Whether a stretch without an end is made of parts of a site, by the half, or begins with two of them."""
    core = _core(said)
    told = [fold(w) for w in WORD.findall(core)]
    if not told or len(told) > 20 or re.search(r"[.!?:\\]\W*$", said.strip("\0 ")) or re.search(r"\d", core):
        return False
    if any(w in STOP and w not in BESIDE for w in told) or set(told) & SAYS or re.search(r"[,;:\"]", core):
        return False
    content = [w for w in told if w not in BESIDE]
    parts = [w for w in content if w in MENU - WEAK]
    if len(told) == 1:
        return told[0] in ALONE
    return len(parts) > 1 and (2 * len(parts) > len(content) or all(w in MENU for w in content[:2]))


def _is_dashed(said: str) -> bool:
    """Whether a stretch is parts of a site alone, parted by dashes: `Menu - Search - Log in.`"""
    items = DASH.split(_core(said))
    return len(items) > 1 and all(map(_site, items))


def _leading_menu(said: str, least: int = 2) -> int:
    """Where the words that name parts of a site end, of a stretch that begins with some of them; else 0."""
    end = many = 0
    for word in WORD.finditer(said):
        if said[end : word.start()].strip() or fold(word[0]) not in MENU - WEAK or not word[0][0].isupper():
            break
        end, many = word.end(), many + 1
    return end if many >= least else 0


def _is_call(said: str, manual: bool) -> bool:
    core = _core(said)
    if not CALL.match(core) or len(WORD.findall(core)) > CALLED:
        return False
    return not manual or bool(ABOUT_PAGE.search(said))


def _is_labelled(said: str, text: str, start: int) -> bool:
    """Whether a stretch begins its line with a label of what else the site has, and is little more than a line."""
    core = _core(said)
    label = LABEL.match(core)
    if (
        not label
        or len(WORD.findall(core)) > LABELLED
        or text[:start].rstrip(" \0\t[(*#>-")[-1:] not in ("", "\n", ".")
    ):
        return False
    rest = core[label.end() :]
    return not rest or label[0].endswith("by") or rest.lstrip().startswith((":", "»", "|", "-"))


def _is_notice(said: str) -> bool:
    return bool(NOTICE.search(_core(said))) and len(WORD.findall(said)) <= NOTED
