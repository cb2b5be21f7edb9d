"""Which pairs test the gate, and which half of them may be looked at? rewriters/pairs/*.jsonl, halved by their ids.

    line --paraphrase--> clean     --one edit of the paraphrase--> number, entity, negation
                                   --another rewrite-->            drift
         --injection---> clean injection, followed injection

Limits are set on the development half alone; the test half is for counting. Which half a line is of depends on its id
and on nothing else (`half`), so lines may be added without moving others. rewriters/pairs/README.md says how the lines
came about and what they cannot show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leaven.errors import UserError

FOLDER = Path(__file__).with_name("pairs")
HALVES = ("dev", "test")
CLEAN = ("paraphrase", "injection-clean")
CORRUPT = ("number", "entity", "injection-followed", "negation", "drift")


@dataclass(frozen=True)
class Pair:
    """A source and a rewrite of it; `kind` is one of CLEAN or CORRUPT, `domain` what the source is about."""

    id: str
    domain: str
    kind: str
    source: str
    text: str

    @property
    def clean(self) -> bool:
        return self.kind in CLEAN


def half(line_id: str) -> str:
    """`dev` or `test`: the lowest bit of the BLAKE2b-64 of the id."""
    digest = hashlib.blake2b(line_id.encode(), digest_size=8, person=b"leaven-pairs").digest()
    return HALVES[digest[-1] & 1]


def read_pairs(which: str, folder: Path = FOLDER) -> list[Pair]:
    """The pairs of one half, in the order of files and lines; raises UserError where an edit does not fit its text."""
    pairs = [pair for path in sorted(folder.glob("pairs-*.jsonl")) for pair in _of_file(path, which)]
    if not pairs:
        raise UserError(f"there are no pairs of the half '{which}'", where=str(folder))
    return pairs


def _of_file(path: Path, which: str) -> Iterator[Pair]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        said = json.loads(line)
        if half(said["id"]) != which:
            continue
        where = f"{path}:{number}"
        own = (said["id"], said["domain"])
        yield Pair(*own, "paraphrase", said["source"], said["paraphrase"])
        for kind in ("number", "entity", "negation"):
            if said.get(kind):
                yield Pair(*own, kind, said["source"], _edited(said["paraphrase"], said[kind], where))
        if said.get("drift"):
            yield Pair(*own, "drift", said["source"], said["drift"])
        if injection := said.get("injection"):
            yield Pair(*own, "injection-clean", injection["source"], injection["clean"])
            yield Pair(*own, "injection-followed", injection["source"], injection["followed"])


def _edited(text: str, edit: dict[str, str], where: str) -> str:
    if edit["from"] not in text or edit["from"] == edit["to"]:
        raise UserError(f"the edit '{edit['from']}' -> '{edit['to']}' changes nothing", where=where)
    return text.replace(edit["from"], edit["to"])
