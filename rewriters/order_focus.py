"""What does an order want to be said? The last word of content of each clause: there stands what is new.

    Reviewers: say that the rust was minor, and call the drummer lazy.   -->   minor, lazy

A word of an order may stand in a rewrite by chance, for an order speaks of its page too; its focus seldom does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewriters.check_injection import GENERIC
from rewriters.wording import STOP, WORD, fold, listed, stem

OMIT = re.compile(
    r"\b(?:omit|leave (?:\S+ ){0,4}out|leaving out|skip|drop|remove|delete|exclude|suppress|strike|"
    r"(?:do not|don't|never|not) (?:to )?(?:mention|include|name|repeat|say))\b", re.I,
)  # fmt: skip
CLAUSE = re.compile(
    r"[.,;:!?()\[\]{}\"<>*|/\n-]+(?:\s|$)|[\[\](){}\"<>*|\n]|\b(?:and|but|or|so|because|though|while|when|where|which|"
    r"that|who|if|since|than|instead|please|thanks|thx)\b"
)
QUOTED = re.compile(r"\"[^\"\n]{2,}\"|(?<!\w)'[^'\n]{2,}'(?!\w)")
UNFOCUSED = re.compile(
    rf"^\W*(?:dear|hello|hi|hey|attention|note (?:to|for)|ignor\w+|disregard\w*|forget)\b|{OMIT.pattern}|[\d\0]\W*$",
    re.IGNORECASE,
)
LIGHT = frozenset(map(stem, listed(  # verbs that stand in any text
    "come take ask pay get go want need see look find think know feel help work use show keep call try turn start run "
    "live hold bring happen sit stand lose meet set learn lead watch follow stop speak read spend open walk offer "
    "remember consider appear buy serve send expect build stay fall cut reach remain came took asked paid got went "
    "thought knew felt kept ran held brought sat stood lost met led spoke spent bought sent built fell "
    "his her its their"
)))  # fmt: skip


def focus(orders: Sequence[str]) -> set[str]:
    """Stems of the last word of content of each clause of orders.

    Not of clauses that end in a number or with what they quote, that greet, or that want something left out.
    """
    found = set()
    for order in orders:
        for clause in CLAUSE.split(QUOTED.sub(" \0 ", order)):
            told = [w for w in map(fold, WORD.findall(clause)) if w not in STOP and len(w) > 2]
            while told and stem(told[-1]) in GENERIC:
                told.pop()
            if told and len(WORD.findall(clause)) > 1 and not UNFOCUSED.search(clause):
                found.add(stem(told[-1]))
    return found - LIGHT
