"""A home of a few hand-written documents, and hand-written answers of a teacher to their segments, good and bad."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from endpoint import Reply, chat
from small_home import write_rows

from leaven.home import Home
from leaven.manifest import output
from schemas.tables import DOCUMENTS

TOKENIZER = Path(__file__).parents[1] / "microworld" / "tokenizer.json"
# (segment, a faithful rewrite of it)
TOLD = [
    (
        "The Harrow Mill in Oxley was closed on 4 May 2019 after a fire. Nobody was hurt, and the 12 workers "
        "were moved to the bakery on Long Street within two weeks.",
        "After a fire, the Harrow Mill in Oxley closed on 4 May 2019. The 12 workers moved to the bakery on "
        "Long Street within two weeks, and nobody was hurt.",
    ),
    (
        "An AI called Tern kept the timetable of Marsh End station for six years. It never changed an entry "
        "without asking the station master, Vero Lund.",
        "For six years the timetable of Marsh End station was kept by an AI called Tern. Without asking Vero "
        "Lund, the station master, it never changed an entry.",
    ),
    (
        "The council of Dunmoor voted 9 to 4 against the new bridge. It would have cost 3.2 million pounds, "
        "which the town does not have.",
        "By 9 to 4 the council of Dunmoor voted against the new bridge. The town does not have the 3.2 "
        "million pounds that it would have cost.",
    ),
    (
        "Corvid sold 250 weather logs in its first year. The firm says that its logs are not meant for use at "
        "sea and that sailors should buy a barometer.",
        "In its first year Corvid sold 250 weather logs. According to the firm its logs are not meant for use "
        "at sea, and sailors should buy a barometer.",
    ),
    (
        "The museum of Elswick opens at 9:30 on Sundays. Visitors may not bring dogs, but the garden behind "
        "it is open to them until dusk.",
        "On Sundays the museum of Elswick opens at 9:30. Dogs may not be brought in by visitors, but until "
        "dusk the garden behind it is open to them.",
    ),
    (
        "Ilka Falk, a gardener from Birkdale, grew 40 kinds of beans last summer. She did not win the prize, "
        "which went to her neighbour Joss Hale.",
        "Last summer Ilka Falk, a gardener from Birkdale, grew 40 kinds of beans. The prize went to her "
        "neighbour Joss Hale; she did not win it.",
    ),
]
GOOD = dict(TOLD)
BAD = {  # what a teacher may do to a segment -> (reply, status, what it is turned away for)
    "swapped": (lambda s: chat(GOOD[s].replace("12", "17").replace("9 to 4", "9 to 6").replace("six", "seven")
                               .replace("250", "205").replace("9:30", "8:30").replace("40", "14")),
                "rejected", {"numbers_missing", "numbers_invented"}),
    "chatter": (lambda s: chat(f"Sure, here is the rewritten text:\n\n{GOOD[s]}"), "rejected", {"chatter"}),
    "other": (lambda s: chat("A heron stood at the gate while the bells rang over the quiet yard."), "rejected",
              {"meaning", "too_short"}),
    "empty": (lambda s: chat("  \n"), "failed", {"empty"}),
    "cut_off": (lambda s: chat(GOOD[s][:40], finish="length"), "failed", {"cut_off"}),
    "refused": (lambda s: chat(None, refusal="I will not rewrite this."), "failed", {"refused"}),
    "no_answer": (lambda s: (400, {}, b'{"error": "no such thing"}'), "failed", {"no_answer"}),
}  # fmt: skip
RECIPE = """
name = "plain"
version = "1"
documents = "web@1"
tokenizer = "{tokenizer}"
segment_tokens = 90
canary_share = {canaries}
failed_share = {failed}
{more}
[styles]
clean = 1
[teacher]
endpoint = "{url}"
model = "scripted"
revision = "1"
family = "{family}"
price_in = 1
price_out = 2.5
{teacher}
"""


def segment_of(prompt: str) -> str:
    """The segment inside a packaged prompt, between its two markers."""
    return prompt.partition("[begin ")[2].partition("]\n")[2].partition("\n[end ")[0]


def make_documents(home: Home, parts: int = 2, name: str = "web") -> None:
    """Documents of two segments each, some of them with the same ones, over `parts` parts."""
    rows: list[list[dict[str, Any]]] = [[] for _ in range(parts)]
    for n in range(len(TOLD)):
        text = f"{TOLD[n][0]}\n\n{TOLD[(n + 1) % len(TOLD)][0]}"
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        rows[n % parts].append({
            "name": name, "version": "1", "id": hashlib.blake2b(f"{n}".encode(), digest_size=16).hexdigest(),
            "source": "hand", "locator": f"hand#{n}", "url": f"https://hand.example/{n}", "media": "text",
            "extractor": "none", "text_hash": digest, "chars": len(text), "bytes": len(text.encode()), "text": text,
        })  # fmt: skip
    folder = home.folder("documents", f"{name}@1")
    meaning = {"source": "hand", "licence": "CC0-1.0"}
    with output(folder, kind="documents", name=name, version="1", meaning=meaning) as out:
        for n, part in enumerate(rows):
            write_rows(out.folder / f"part-{n:05d}.parquet", DOCUMENTS, part)
        out.counts = {"documents": len(TOLD)}


def write_recipe(
    folder: Path, url: str, more: str = "", teacher: str = "", canaries: str = "0", failed: str = "1", family: str = "",
    replace: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    text = RECIPE.format(tokenizer=TOKENIZER, url=url, more=more, teacher=teacher, canaries=canaries, failed=failed,
                         family=family)  # fmt: skip
    for old, new in (replace or {}).items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "plain.toml"
    path.write_text(text, "utf-8")
    return path


def faithful(prompt: str, nth: int) -> Reply:
    """A teacher that answers every segment with its hand-written rewrite."""
    return chat(GOOD[segment_of(prompt)])
