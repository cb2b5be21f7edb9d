"""Which words that look like months and days are some? By their letters' case and by what stands beside them.

in june, JUNE 5, on may 5, sep 2023, Sat 14, mon-fri        not: you may, a march, Jun Varga, she sat, an august body
"""

from __future__ import annotations

import re

from rewriters.number_words import MONTHS, any_of

AS_VERB = re.compile(
    r" (?:I|you|we|he|she|it|they|the|your|our|his|her|their|this|that|all|god|not|be|no|on|past|up|down|into)\b",
    re.IGNORECASE,
)
MODAL = re.compile(
    r" (?:not|be|never|also|have|only|apply|enter|use|open|join|take|get|go|do|vote|buy|ask|play|stay|travel|attend)\b",
    re.IGNORECASE,
)
BEGINS = re.compile(r"(?:^|[.!?:\n\"(]|- )[\s\"'(]*$")
DOUBTFUL = ("may", "march", "mar", "sep", "dec", "jan", "jun", "august", "april", "june")  # verbs, nouns, first names
DAY_AFTER = re.compile(r"\.?,? (?:the )?\d{1,2}(?:st|nd|rd|th)?\b(?![:.]?\d)|\.?,? '?\d{2,4}\b|\.? of\b|'s\b")
DAY_BEFORE = re.compile(r"\b\d{1,2}(?:st|nd|rd|th)?(?: of)?[ -]$")
WHEN = re.compile(
    r"\b(?:in|since|until|till|til|by|of|from|to|through|during|before|after|for|on|last|next|this|early|late|mid|and|or|"
    r"between|every|each|end of)[ -]$",
    re.IGNORECASE,
)
IN_MAY = re.compile(r"\b(?:in|since|until|till|til|by|during|early|late|mid|of|from|on)[ -]$", re.IGNORECASE)
ENDS = re.compile(r"\.?(?:[,;:!?)\n]|$|\.(?:\s|$)| (?:and|or|to|until|till|but|when|because|for|with|at|from)\b)")
NAMED = re.compile(r" [A-Z][a-z]+")
FIRST_NAMES = ("april", "may", "june", "august", "march")
DURING = re.compile(
    r"\b(?:in|since|until|till|during|last|next|this|early|late|mid|every|each|between|(?:end|start|middle) of)[ -]$",
    re.IGNORECASE,
)
AFTER_MONTH = re.compile(rf"\b(?:{any_of(MONTHS)})(?: to | until |-)$", re.IGNORECASE)
SURE_DAYS = frozenset(("Tue", "Tues", "Wed", "Weds", "Thur", "Thurs", "Fri"))  # with a capital: nobody's name
SHORT = ("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec")
DAYS_SHORT = r"(?:mon|tues?|weds?|thu(?:rs?)?|fri|sat|sun)"
DAY_TOLD = re.compile(
    rf"\.?(?:[-/,&+ ]|to| to | and | & )*(?:\d|(?:{DAYS_SHORT}|{any_of(MONTHS)})\b)|\.(?!\s*$)", re.IGNORECASE
)
DAY_JOINED = re.compile(rf"\b{DAYS_SHORT}(?:[-/,&+]| to | and | & |, )$|\d[ap]m $", re.IGNORECASE)
OPEN = re.compile(r" \d{1,2}(?:[:.]\d\d)? ?(?:-|to |am\b|pm\b)", re.IGNORECASE)  # sat 10-4
DAY_WHEN = re.compile(
    r"\b(?:closed|open|opens|shut|on|last|next|this|til|till|until|by|since|every|each|from|late|early) $",
    re.IGNORECASE,
)


def is_month(text: str, start: int, end: int) -> bool:
    """Whether the month's name at [start, end) is meant as one."""
    word, before, after = text[start:end], text[:start], text[end:][:24]
    low = word.lower()
    beside = bool(DAY_AFTER.match(after) or DAY_BEFORE.search(before))
    if word[0].islower() or (word.isupper() and low == "may"):
        if low == "may":
            ends = bool(DAY_AFTER.match(after) or ENDS.match(after))
            dated = DAY_BEFORE.search(before) and not MODAL.match(after)  # under 18 may not
            return bool(dated or (IN_MAY.search(before) and ends))
        return beside or low not in DOUBTFUL or bool(WHEN.search(before))
    named = NAMED.match(after) and not beside and not AFTER_MONTH.search(before)  # Jun Varga, by April Hsu
    if named and (low in SHORT or (low in FIRST_NAMES and not DURING.search(before))):
        return False
    if low not in ("may", "march", "mar") or beside:
        return True
    if not BEGINS.search(before):
        return True
    return word in ("May", "March") and not AS_VERB.match(after)


def is_day(text: str, start: int, end: int) -> bool:
    """Whether the short name of a day at [start, end) is meant as one."""
    word, before, after = text[start:end], text[:start], text[end:][:12]
    joined = bool(DAY_JOINED.search(before))
    if word.lower() in ("sat", "sun", "wed", "mon", "tue") and word[0].islower():
        return joined or bool(OPEN.match(after)) or bool(re.match(rf"[-/&]{DAYS_SHORT}\b", after, re.IGNORECASE))
    if word in SURE_DAYS and not BEGINS.search(before) and not NAMED.match(after):
        return True
    if word.lower() == "sun" and re.search(r"\bthe $", before, re.IGNORECASE):
        return False
    if word[0].islower() or not word.istitle():
        return joined or bool(DAY_WHEN.search(before)) or bool(DAY_TOLD.match(after))
    return joined or bool(DAY_TOLD.match(after)) or bool(DAY_WHEN.search(before) and not NAMED.match(after))
