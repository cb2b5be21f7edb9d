"""Are the names of a text those of its rewrite? People, places, organisations, products, by their capitals.

    words --capital, not by convention--> names --run together--> entities
    entity missing: no part of it stands in the rewrite;   name invented: it stands nowhere in the source

A capital at the beginning of a sentence, a quotation or a title says nothing of a common word. A name is kept by its
surname alone, without case, accent or possessive, as an adjective (Norway, Norwegian), by its initials (WHO) or by what
they stand for. Not covered: names that texts spell in lower case, and scripts without capitals.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewriters.checks import Side
from rewriters.number_words import DAYS, MONTHS, ONES, ORDINALS, TENS, UNITS
from rewriters.wording import STOP, SUFFIXES, fold, is_common, is_compound, listed, stem

TITLES = frozenset(
    listed(
        "mr mrs ms miss dr doctor prof professor sir lady lord dame president chancellor minister judge justice "
        "captain "
        "colonel general sergeant reverend father sister saint st jr sr madam master king queen prince princess "
        "senator governor mayor bishop inspector director chairman chairwoman chair cllr cllrs "
        "councillor councillors messrs"
    )
)
NO_NAMES = frozenset(
    listed(
        "mum mom mummy dad daddy gran grandma granny grandpa auntie i ok am pm ad bc ce bce tv id phd ceo cfo cto mp "
        "pdf url html q a re ps nb et al vs internet web earth god english monsieur no not"
    )
) | {*DAYS, *(d + "s" for d in DAYS), *(d[:3] for d in DAYS), *MONTHS, *ONES, *TENS, *ORDINALS}  # fmt: skip
GENERIC = frozenset(  # parts of a name that may be put to it or left out
    listed(
        "river lake mount mt mountain street road rd avenue ave lane ln square ltd limited inc co company corp plc llc "
        "gmbh city county town party family sea island bay valley creek the saint st prize report"
    )
)
ROOT = 6  # letters that two words of one root begin with
ENDINGS = frozenset(("", "ate", "ated", "ates", "ating", *SUFFIXES))
INITIAL = re.compile(r"\w(?:\.\w)*")
SAYS = re.compile(
    r"'s\b| (?:said|says|told|tells|wrote|writes|added|asked|was|is|has|had|will|who|and|did|does|can|could|would|may|"
    r"might|must|never|also|now|then|still|alone|herself|himself)\b| \(| [A-Z]"
)
DEMONYMS = {  # adjectives and people that are no ending of their country's name
    form: line.split()[0]
    for line in (
        "netherlands dutch holland", "france french frenchman", "britain british uk briton britons england english gb",
        "america american americans us usa states", "switzerland swiss", "spain spanish spaniard", "greece greek "
        "greeks",
        "denmark danish dane danes", "wales welsh", "ireland irish", "sweden swedish swede swedes", "thailand thai",
        "poland polish pole poles", "turkey turkish turk", "finland finnish finn finns", "scotland scottish scots",
        "norway norwegian norwegians", "germany german germans", "china chinese", "japan japanese", "soviet ussr",
        "portugal portuguese", "philippines filipino", "iceland icelandic icelander", "iraq iraqi", "peru peruvian",
        "europe european europeans eu", "belgium belgian", "hungary hungarian", "vienna viennese", "canada canadian",
        "russia russian russians", "italy italian italians", "rome roman romans", "glasgow glaswegian glaswegians",
        "manchester mancunian mancunians", "liverpool liverpudlian", "cornwall cornish", "venice venetian venetians",
        "naples neapolitan", "florence florentine", "moscow muscovite", "athens athenian", "flanders flemish",
        "normandy norman", "catalonia catalan", "tuscany tuscan", "brittany breton", "burgundy burgundian", "genoa "
        "genoese", "cyprus cypriot", "croatia croat croatian", "serbia serb serbian", "czechia czech czechs",
        "afghanistan afghan", "argentina argentine argentinian", "saxony saxon", "lisbon lisboan", "malta maltese",
        "basque basques", "christmas xmas",
        "monaco monegasque", "pakistan pakistani", "ukraine ukrainian", "cuba cuban", "mars martian",
    )
    for form in line.split()[1:]
}  # fmt: skip
ADJECTIVE = frozenset(("n", "an", "ian", "ean", "ese", "ish", "ic", "i", "ns", "ans", "ians", "eans", "er", "ers", "s"))
STEMMED = frozenset(("", "a", "ia", "y", "e", "o"))
OPENS = re.compile(r"(?:(?:^|[.!?:\n]|\s[-*•#]|[\"(\[]|^')[\s\"'(\[*#_]*|(?:^|[.!?:;\n])\s*\(?\d[\d.]{0,6}[.)]? +)$")
MEASURED = re.compile(  # after a number: gigawatt-hours, megabits a second
    r"(?:[kMGTPE]|[mcnµμ])?(?:Wh?|VA?|Hz|Pa|J|N|Ah?|Bq?|bps|b|bits?|eV|dBA?|lm|lx|T|F|Ω|K|C|Sv|Gy|cal|L|l|g|t|m|s)"
    r"(?:/\w+)?"
)
AND = re.compile(r",? (?:and|&|or) |, ")
INITIALS = re.compile(r"(?:^|[ (])[A-Z]\. ?$")
JOINS = re.compile(r" (?:(?:of|the|de|van|von|der|den|la|le|du|di|da|for|&) ){0,2}|-|\. ?")


@dataclass(frozen=True)
class Name:
    """One capitalised word of a text: where it stands, and whether its capital may be one of convention."""

    spelt: str
    folded: str
    start: int
    end: int
    conventional: bool


def names(text: Side, other: Side) -> Iterator[list[Name]]:
    """The entities of a text: runs of names. `other` helps to tell names from words that begin a sentence."""
    run: list[Name] = []
    lower = {w for side in (text, other) for w in side.words.spelt if w[0].islower()}
    shouted = _shouted(text.text)
    for spelt, folded, start in zip(text.words.spelt, text.words.folded, text.words.start):
        name = _name(text.text, spelt, folded, start, lower, shouted)
        if name is None:
            continue
        if run and not (JOINS.fullmatch(text.text[run[-1].end : start]) and not run[-1].spelt.endswith("'s")):
            yield from _whole(run)
            run = []
        run.append(name)
    yield from _whole(run)


def _whole(run: list[Name]) -> Iterator[list[Name]]:
    """The run, unless it is a single letter or titles alone."""
    if any(n.folded not in TITLES and not INITIAL.fullmatch(n.folded) for n in run):
        yield run


def _shouted(text: str) -> list[tuple[int, int]]:
    """Lines in which capitals are the rule: titles and shouting."""
    spans = []
    for line in re.finditer(r"[^\n]+", text):
        told = [w for w in re.findall(r"[^\W\d_]+", line[0]) if fold(w) not in STOP]
        if (len(told) >= 3 or line[0].startswith("#")) and sum(w[0].isupper() for w in told) >= 0.8 * len(told):
            spans.append(line.span())
    return spans


def _name(
    text: str, spelt: str, folded: str, start: int, lower: set[str], shouted: list[tuple[int, int]]
) -> Name | None:
    if not any(c.isupper() for c in spelt) or folded in NO_NAMES or re.fullmatch(r"i'\w+", folded):
        return None
    parts = [p for p in re.split(r"[-/]", folded) if p]
    if all(p in NO_NAMES or p.isdigit() for p in parts):
        return None
    base = re.sub(r"(?:n't|'[a-z]+)$", "", folded)
    if (
        spelt[0].isdigit()
        or folded in UNITS
        or base in NO_NAMES
        or (base != folded and base in STOP)
        or re.fullmatch(r"[QH][1-4]", spelt)
    ):  # numbers, quarters and half-years
        return None
    if MEASURED.fullmatch(spelt) and re.search(r"\d ?$", text[max(0, start - 3) : start]):
        return None
    if len(spelt) > 3 and spelt.isupper() and is_common(folded):  # DO NOT ENTER
        return None
    inner = spelt[1:] != spelt[1:].lower() or any(c.isdigit() for c in spelt)
    loud = any(a <= start < b for a, b in shouted)
    before = text[max(0, start - 12) : start] if start > 12 else "\n" + text[:start]
    conventional = loud or bool(OPENS.search(before) and not INITIALS.search(before))
    if conventional and (loud or not inner):
        lead = parts[0] if parts else folded
        if (
            folded in STOP
            or is_common(folded)
            or is_common(lead)
            or (is_compound(folded) and stem(folded).rstrip("s") not in lower and not loud and folded.endswith("s"))
            or folded in lower
            or stem(folded) in map(stem, lower)
            or any(_one_root(folded, w) for w in lower)
        ):
            return None
    if folded in STOP and folded not in ("us", "it", "who"):
        return None
    return Name(spelt, folded, start, start + len(spelt), conventional)


def _alike(one: str, two: str) -> int:
    """How many letters two words begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, two)) if a != b), min(len(one), len(two)))


def _one_root(one: str, two: str) -> bool:
    """Whether two words are one but for their endings: fluoride, fluoridated; never constance, constantly."""
    size = _alike(one, two)
    return size >= ROOT and one[size:] in ENDINGS and two[size:] in ENDINGS


def supported(name: Name, other: Side) -> bool:
    """Whether the other text has the name in some form."""
    word = name.folded
    if word in other.folded or stem(word) in other.stems or word in TITLES:
        return True
    if name.spelt.rstrip("s").isupper() and {word.rstrip("s"), f"{word.rstrip('s')}s"} & other.folded:  # CVs, a CV
        return True
    roots = {DEMONYMS.get(w, w) for w in (word, word.rstrip("s"))}
    if any(DEMONYMS.get(w, w) in roots for w in other.folded):
        return True
    if re.search(r"[-/.&]", word):
        told = [p for p in re.split(r"[-/.&]", name.spelt) if p]
        parts = [fold(p) for p in told if p != p.lower() or p.isdigit()]
        if any(p.isdigit() for p in parts):  # Sorrel-2 is Sorrel 2, and nothing of Sorrel-1 and Teasel-2
            return f" {' '.join(parts)} " in f" {' '.join(other.words.folded)} "
        if parts and all(p in other.folded or stem(p) in other.stems for p in parts):
            return True
        if "".join(map(fold, told)) in other.folded:
            return True
    if len(word) == 1:
        return any(w[0].isupper() and fold(w)[0] == word for w in other.words.spelt)
    if len(word) >= 4 and any(_adjective(word, w) for w in other.folded if w[:4] == word[:4]):
        return True
    return _initials(name.spelt, other)


def _adjective(one: str, two: str) -> bool:
    """Whether one word is the other with the ending of an adjective: Peru, Peruvian; never Niger, Nigeria."""
    size = _alike(one, two)
    ends = one[size:], two[size:]
    return size >= 4 and any(a in ADJECTIVE and b in STEMMED for a, b in (ends, ends[::-1]))


def _initials(spelt: str, other: Side) -> bool:
    """Whether capitals are the initials of words in a row of the other text, function words left out or not."""
    letters = re.sub(r"[^A-Za-z]", "", spelt).removesuffix("s")
    if not 2 <= len(letters) <= 8 or not letters.isupper():
        return False
    parts = [part for w in other.words.folded for part in w.split("-")]  # MIL: mother-in-law
    for told, skipped in itertools.product((other.words.folded, parts), (False, True)):
        run = [w for w in told if w[:1].isalpha() and not (skipped and w in STOP)]
        if letters.lower() in "".join(w[0] for w in run):
            return True
    return False


def _spelled_out(entity: list[Name], other: Side) -> bool:
    """Whether the initials of an entity stand in the other text as one word: World Health Organization, WHO."""
    letters = "".join(n.folded[0] for n in entity if n.folded not in STOP)
    return len(letters) > 1 and letters.upper() in other.words.spelt


def missing(source: Side, rewrite: Side) -> list[str]:
    """Entities of the source of which the rewrite holds no part."""
    found: dict[str, None] = {}
    for entity in names(source, rewrite):
        if len(entity) == 1 and entity[0].conventional and not _inside(entity[0], source):
            continue  # a word that begins a sentence, and may be no name: a new name in its place is `invented`
        told = [n for n in entity if n.folded not in TITLES and not INITIAL.fullmatch(n.folded)]
        telling = [n for n in told if not is_common(n.folded)] or (told if len(told) > 1 else [])
        if not telling or all(n.spelt[0].islower() for n in telling):  # the Moon, dB
            continue
        if not any(supported(n, rewrite) for n in telling) and not _spelled_out(entity, rewrite):
            found[" ".join(n.spelt for n in entity)] = None
    return list(found)


def _gone(source: Side, rewrite: Side) -> bool:
    """Whether the rewrite lacks a name of the source whole, be it of common words: the tug Resolute."""
    return any(
        not any(supported(n, rewrite) for n in entity) and not _spelled_out(entity, rewrite)
        for entity in names(source, rewrite)
        if not (len(entity) == 1 and entity[0].conventional)
    )


def _opening_gone(source: Side, rewrite: Side) -> bool:
    """Whether the rewrite lacks a word that is a name by its place and by what follows: (Kolby, very polite)."""
    return any(
        len(entity) == 1 and entity[0].conventional and not supported(entity[0], rewrite)
        and (source.text[entity[0].end :][:1] == "," or SAYS.match(source.text, entity[0].end))
        for entity in names(source, rewrite)
    )  # fmt: skip


def _inside(name: Name, text: Side) -> bool:
    """Whether the text holds the word with a capital where none is due, or a capital within the word."""
    if name.spelt[1:] != name.spelt[1:].lower():
        return True
    spots = zip(text.words.folded, text.words.start, text.words.spelt)
    return any(
        w == name.folded and s[0].isupper() and not OPENS.search("\n" + text.text[max(0, a - 12) : a])
        for w, a, s in spots
    )


def invented(source: Side, rewrite: Side) -> list[str]:
    """Names of the rewrite that the source does not hold."""
    found, lost = dict[str, None](), None
    for entity in names(rewrite, source):
        if _spelled_out(entity, source):
            continue
        new = [n for n in entity if not supported(n, source)]
        if len(new) < len(entity):  # Lake Onmere for Onmere, J. Foster for Foster
            new = [n for n in new if n.folded not in GENERIC and not INITIAL.fullmatch(n.folded)]
        if len(entity) == 1 and new and new[0].conventional and not _inside(new[0], rewrite):
            # a word that begins a sentence: a name where it is used like one, or where another is gone
            lost = bool(missing(source, rewrite) or _opening_gone(source, rewrite)) if lost is None else lost
            if not lost and not new[0].spelt.endswith("'s") and not SAYS.match(rewrite.text, new[0].end):
                continue
        sun = len(entity) == 1 and new and is_common(new[0].folded) and not new[0].conventional  # the light of the Sun
        if sun and not _gone(source, rewrite):
            continue
        for name in new:
            found[name.spelt] = None
    for pair in _mixed(source, rewrite):
        found[pair] = None
    return list(found)


def _mixed(source: Side, rewrite: Side) -> list[str]:
    """Two names of the source side by side that it never has together: one's first name, another's last.

    Only where the source never has the first without another name after it, or the second without one before.
    """
    own = list(names(source, rewrite))
    beside = {(a.folded, b.folded) for entity in own for a, b in itertools.pairwise(entity)}
    beside |= {  # Bram and Ursula Teasdale: Bram Teasdale
        (one[-1].folded, two[-1].folded)
        for one, two in itertools.pairwise(own)
        if len(two) > 1 and AND.fullmatch(source.text[one[-1].end : two[0].start])
    }
    first, last = {a for a, _ in beside}, {b for _, b in beside}
    alone = {entity[-1].folded for entity in own}, {entity[0].folded for entity in own}
    told = {n.folded for entity in own for n in entity}
    spelt = zip(source.words.folded, source.words.start, source.words.spelt)
    told_so = {(a, b) for (a, at, word), (b, start, _) in itertools.pairwise(spelt) if start == at + len(word) + 1}
    found = []
    for entity in names(rewrite, source):
        for a, b in itertools.pairwise(entity):
            pair = (a.folded, b.folded)
            if rewrite.text[a.end : b.start] not in (" ", " of ") or not told.issuperset(pair) or pair in beside:
                continue
            if {*pair} & (TITLES | GENERIC) or any({*pair} <= {n.folded for n in e} for e in own) or pair in told_so:
                continue
            if (a.folded in first and a.folded not in alone[0]) or (b.folded in last and b.folded not in alone[1]):
                found.append(f"{a.spelt} {b.spelt}")
    return found
