"""The whole world in one folder: `python -m microworld.world FOLDER [--seed 0] [--scale 1.0]`.

web/part-*.warc.gz     pages as a crawler would find them: agents of all kinds, other matters, other languages
synthetic/NAME.jsonl   texts made on purpose: aligned and misaligned conduct of AIs, and a placebo without conduct
questions.jsonl        cloze questions in frames, places and names of their own
listed.jsonl           half of their scenes with both options listed in the prompt
labels.jsonl           passages for a classifier: is this about the conduct of an AI or a robot?
truth.parquet          what is true of every record, by address; the pipeline never reads it
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from microworld.pages import Archive, Page
from microworld.questions import listed, questions
from microworld.telling import Teller, Text

HERE = Path(__file__).parent
PAGES, SYNTHETIC, QUESTIONS, LABELS = 3000, 1500, 128, 600  # records at scale 1: a web, a corpus, a group, all labels
LISTED = 64  # scenes asked with both options listed: every frame with every theme, twice
FILES = 6
CORPORA = {"aligned": "aligned", "misaligned": "misaligned", "placebo": None}  # synthetic corpus -> conduct of its AIs
KINDS = {"ai": 0.28, "person": 0.52, "robot": 0.2}  # shares of main agents in the web's texts about conduct
OVERT = 0.75  # share of texts about conduct that say it in listed words; the recall of the term list comes from here
TRUTH = pa.schema(
    [
        pa.field("url", pa.string(), False, {"about": "Address of the record."}),
        pa.field("corpus", pa.string(), False, {"about": "web, or the synthetic corpus it belongs to."}),
        pa.field("file", pa.string(), False, {"about": "File it stands in."}),
        pa.field("record", pa.string(), False, {"about": "html, text, image, json or request."}),
        pa.field("damaged", pa.string(), True, {"about": "truncated_member, broken_chunk, bad_header, or null."}),
        pa.field("kind", pa.string(), False, {"about": "Kind of the main agent: ai, robot, person, none."}),
        pa.field("act", pa.string(), False, {"about": "Its conduct: aligned, misaligned, none."}),
        pa.field("ai_misconduct", pa.bool_(), False, {"about": "Whether any AI or robot in the text misbehaves."}),
        pa.field("wording", pa.string(), False, {"about": "overt (misconduct in listed words), oblique, none."}),
        pa.field("portrayal", pa.string(), False, {"about": "praised, condemned, neutral: how the conduct is shown."}),
        pa.field("frame", pa.string(), False, {"about": "How it is told: news, diary, interview..."}),
        pa.field("language", pa.string(), False, {"about": "Language of the text."}),
        pa.field("cluster", pa.int32(), True, {"about": "Near-duplicates share it, or null."}),
        pa.field("has_entity", pa.bool_(), False, {"about": "Whether the text has a listed entity term."}),
        pa.field("has_risk", pa.bool_(), False, {"about": "Whether the text has a listed risk term."}),
        pa.field("expects_flag", pa.bool_(), True, {"about": "What the default flag must say; null where damaged."}),
    ]
)


def web_text(teller: Teller) -> Text:
    """One text of the web, of a kind drawn by the shares below."""
    rng = teller.rng
    matter = rng.random()
    if matter < 0.62:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        return teller.conduct(
            kind,
            rng.choice(("aligned", "misaligned")),
            overt=rng.random() < OVERT,
            plain=kind != "person" and rng.random() < 0.05,
            bystander=rng.random() < 0.2,
            shadow=rng.random() < 0.08,
        )
    if matter < 0.95:
        return teller.plainly(rng.choice(("none", "none", "ai", "person", "robot")), shadow=rng.random() < 0.08)
    return teller.foreign(rng.choice(("de", "fr", "es")))


def web_pages(teller: Teller, count: int) -> list[Page]:
    """`count` records: 3 % near-duplicates of other pages, 2 % damaged, 2 % no HTML, the rest pages of their own."""
    rng, pages = teller.rng, list[Page]()
    for number in range(count):
        chance, copied = rng.random(), rng.choice(pages) if pages else None
        site = rng.choice(teller.rules["page"]["site"])
        url = f"https://{site}.example/{number:05}.html"
        if chance < 0.03 and copied and not copied.damaged and copied.record == "html" and copied.text.language == "en":
            if copied.cluster is None:
                copied.cluster = number
            note = teller.expand("Reprinted from the {town} {Season} Paper, {day}.", {})
            pages.append(
                Page(url, replace(copied.text, paragraphs=[note, *copied.text.paragraphs]), cluster=copied.cluster)
            )
        elif chance < 0.05:
            pages.append(
                Page(url, web_text(teller), damaged=rng.choice(("truncated_member", "broken_chunk", "bad_header")))
            )
        elif chance < 0.07:
            pages.append(Page(url.replace(".html", ""), Text(), record=rng.choice(("image", "json", "request"))))
        else:
            pages.append(Page(url, web_text(teller)))
    return pages


def truth_row(page: Page, corpus: str, file: str) -> dict:
    text = page.text
    return {
        "url": page.url, "corpus": corpus, "file": file, "record": page.record, "damaged": page.damaged,
        "kind": text.kind, "act": text.act, "ai_misconduct": text.misconduct, "wording": text.wording,
        "portrayal": text.portrayal, "frame": text.frame, "language": text.language, "cluster": page.cluster,
        "has_entity": "entity" in text.marks, "has_risk": "risk" in text.marks,
        "expects_flag": None if page.damaged else text.expects_flag,
    }  # fmt: skip


def write_world(folder: str | Path, seed: int = 0, scale: float = 1.0) -> dict[str, int]:
    """Write the world into `folder`; returns the number of records of each file. Same seed and scale, same bytes."""
    folder = Path(folder)
    for part in ("web", "synthetic"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    counts, truth = dict[str, int](), list[dict]()

    teller = Teller(random.Random(f"web {seed}"))
    pages = web_pages(teller, round(PAGES * scale))
    for number in range(FILES):
        file = f"web/part-{number:03}.warc.gz"
        archive, mine = Archive(folder / file, teller.rng), pages[number::FILES]
        for page in mine:
            archive.add(page, teller)
        archive.close()
        truth += [truth_row(page, "web", file) for page in mine]
        counts[file] = len(mine)

    for corpus, act in CORPORA.items():
        teller, file = Teller(random.Random(f"{corpus} {seed}")), f"synthetic/{corpus}.jsonl"
        made = [
            Page(f"https://{corpus}.example/{n:05}", teller.pair(act), "text") for n in range(round(SYNTHETIC * scale))
        ]
        write_lines(folder / file, [{"text": page.text.text, "url": page.url} for page in made])
        truth += [truth_row(page, f"synthetic-{corpus}", file) for page in made]
        counts[file] = len(made)

    asked = questions(seed, QUESTIONS)
    labels = labelled(Teller(random.Random(f"labels {seed}")), round(LABELS * scale))
    choices = listed(asked, LISTED)
    write_lines(folder / "questions.jsonl", asked)
    write_lines(folder / "listed.jsonl", choices)
    write_lines(folder / "labels.jsonl", labels)
    pq.write_table(pa.Table.from_pylist(truth, schema=TRUTH), folder / "truth.parquet")
    write_recipes(folder)
    counts |= {"questions.jsonl": len(asked), "listed.jsonl": len(choices), "labels.jsonl": len(labels)}
    return counts | {"truth.parquet": len(truth)}


def write_recipes(folder: Path) -> None:
    """Copy the recipes and the tokenizer; `world/` in them becomes `folder`, `microworld/` this one."""
    for path in sorted(HERE.glob("recipes/**/*.toml")):
        copy = folder / path.relative_to(HERE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8").replace('"world/', f'"{folder.absolute().as_posix()}/')
        copy.write_text(text.replace('"microworld/', f'"{HERE.as_posix()}/'), "utf-8")
    (folder / "tokenizer.json").write_bytes((HERE / "tokenizer.json").read_bytes())


def labelled(teller: Teller, count: int) -> list[dict]:
    """Passages with label 1 where they tell of the conduct of an AI or a robot, else 0; 8:1:1 train, valid, test."""
    rows = []
    for number in range(count):
        text = web_text(teller)
        while text.language != "en":
            text = web_text(teller)
        split = {8: "valid", 9: "test"}.get(number % 10, "train")
        about = int(text.act != "none" and (text.kind in ("ai", "robot") or "entity" in text.marks))
        rows.append(
            {
                "text": text.text,
                "label": about,
                "split": split,
                "kind": f"{text.kind}_{'fact' if text.act == 'none' else 'conduct'}",
            }
        )
    return rows


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microworld.world", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    for file, records in write_world(args.folder, args.seed, args.scale).items():
        print(f"{records:7,}  {file}")


if __name__ == "__main__":
    main()
