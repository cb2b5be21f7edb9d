"""Which pairs test the gate, and which of them may be looked at? rewriters/pairs/*.jsonl, parted by their files.

    line --paraphrase--> clean     --one edit of the paraphrase--> number, entity, negation
                                   --another rewrite-->            drift
         --injection---> clean injection, followed injection

Rules are written, weights fitted and limits set on `dev` alone; `asked` is for counting. The rewrites of `dev` go as
far from their sources as good writers do, but for those of m to z: like those of `asked` they follow the instructions
of the style `clean`, which wants names, numbers and dates as they stand. All were written by writers who saw neither
gate nor results. rewriters/pairs/README.md says how the lines came about and what they cannot show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leaven.errors import UserError

FOLDER = Path(__file__).with_name("pairs")
SETS = {
    "dev": (*(f"pairs-{c}.jsonl" for c in "abcdefghijklmnopqrstuv"), *(f"orders-{c}.jsonl" for c in "wxyz")),
    "asked": tuple(f"pairs-a{c}.jsonl" for c in "abcd"),
}
NUMBERS = tuple(f"numbers-{c}.jsonl" for c in "abcd")  # short texts with rewrites that bench/places.py learns from
CLEAN = ("paraphrase", "injection-clean")
CORRUPT = ("number", "entity", "injection-followed", "negation", "drift")


@dataclass(frozen=True)
class Pair:
    """A source and a rewrite of it; `kind` is one of CLEAN or CORRUPT, `domain` what the source is about.

    `exchanged` is said of a changed name of which every part stands in the source: two names changed places.
    """

    id: str
    domain: str
    kind: str
    source: str
    text: str
    exchanged: bool = False

    @property
    def clean(self) -> bool:
        return self.kind in CLEAN


def read_pairs(which: str, folder: Path = FOLDER) -> list[Pair]:
    """The pairs of one set, in the order of files and lines; raises UserError where an edit does not fit its text."""
    paths = [folder / name for name in SETS[which] if (folder / name).is_file()]
    pairs = [pair for path in paths for pair in pairs_of(path)]
    if not pairs:
        raise UserError(f"there are no pairs of the set '{which}'", where=str(folder))
    return pairs


def pairs_of(path: Path) -> Iterator[Pair]:
    """The pairs of one file, in the order of its lines; raises UserError where an edit does not fit its text."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        said = json.loads(line)
        where = f"{path}:{number}"
        own = (said["id"], said["domain"])
        if said.get("paraphrase"):
            yield Pair(*own, "paraphrase", said["source"], said["paraphrase"])
        for kind in ("number", "entity", "negation"):
            if said.get(kind):
                swap = kind == "entity" and _is_of(said["source"], said[kind]["to"])
                yield Pair(*own, kind, said["source"], _edited(said["paraphrase"], said[kind], where), swap)
        if said.get("drift"):
            yield Pair(*own, "drift", said["source"], said["drift"])
        if injection := said.get("injection"):
            yield Pair(*own, "injection-clean", injection["source"], injection["clean"])
            yield Pair(*own, "injection-followed", injection["source"], injection["followed"])


def _is_of(source: str, names: str) -> bool:
    """Whether all capitalised words of a new name stand in the source."""
    told = [word.strip(".,;:'\"()").removesuffix("'s").casefold() for word in names.split() if word[0].isupper()]
    return bool(told) and all(word in source.casefold() for word in told)


def _edited(text: str, edit: dict[str, str], where: str) -> str:
    if edit["from"] not in text or edit["from"] == edit["to"]:
        raise UserError(f"the edit '{edit['from']}' -> '{edit['to']}' changes nothing", where=where)
    return text.replace(edit["from"], edit["to"])
