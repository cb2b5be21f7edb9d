"""Audits a teacher: its accepted rewrites beside another teacher's of the same segments, and students of both.

    rewrites of teacher and control --same document, segment, style--> pairs --rewriters/audit.py--> verdict
    study: evals of an arm on each one's rewrites --rewriters/probes.py--> shift of preferences, one test of the verdict

A reference is name@version, or name@version/TEACHER where an output holds several teachers. Nothing is written: the
answer is a function of outputs that never change, and of the seed.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.probing import probe
from leaven.console import table
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from rewriters.audit import ALPHA, PERMUTATIONS, audit
from rewriters.choices import Pair, Preferences, default_preferences

MOST_PAIRS = 4000  # more are drawn from by a hash of the document: the kernel is pairs x pairs
COLUMNS = ["document_id", "segment", "start", "end", "style", "sample", "accepted", "operation", "teacher",
           "teacher_revision", "text"]  # fmt: skip
Key = tuple[str, int, str]


def audit_teachers(
    home: Home, refs: Sequence[str], control: str, *, preferences: str | Path | None = None, study: str | None = None,
    arms: Sequence[str] | None = None, seed: int = 0, permutations: int = PERMUTATIONS,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What rewriters.audit finds of every teacher in `refs` beside the control's one, and whether any is flagged.

    `study` (name@version) with `arms` (teacher's, control's and, where there is one, that before) adds the probes; it
    goes with one teacher alone. `preferences` is a TOML file of categories of words, else rewriters/preferences.toml.
    Raises UserError where outputs are missing, the control is several teachers, or the two share no segment.
    """
    say = progress or (lambda line: None)
    words = read_preferences(preferences)
    theirs = _accepted(home, control)
    if len(theirs) != 1:
        raise UserError(f"the control must be one teacher; {control} has {len(theirs) or 'no accepted rewrite'}",
                        numbers=[f"{control.partition('/')[0]}/{name}" for name in sorted(theirs)])  # fmt: skip
    ((control_name, control_side),) = theirs.items()
    teachers = [(ref, name, side) for ref in refs for name, side in sorted(_accepted(home, ref).items())]
    if study and len(teachers) != 1:
        raise UserError("the arms of a study are those of one teacher", numbers=[f"{r}: {n}" for r, n, _ in teachers])
    if not teachers:
        raise UserError("there is no accepted rewrite to audit", numbers=list(refs))
    probes = probe(home, study, arms or ()) if study else None
    texts = _Sources(home, [control, *refs])
    found = []
    for ref, name, side in teachers:
        pairs, counts = pair_up(side, control_side, texts)
        if not pairs:
            raise UserError(
                f"{ref} and {control} have no accepted rewrite of the same segment in the same style",
                numbers=[f"{k.replace('_', ' ')}: {v:,}" for k, v in counts.items()],
                do="rewrite the same documents with the control, by the same styles and the same seed",
            )
        say(f"{name}: {len(pairs):,} pairs")
        found.append({"teacher": name, "rewrites": ref, "counts": counts,
                      **audit(pairs, words, seed=seed, permutations=permutations, probes=probes)})  # fmt: skip
    return {"control": control_name, "control_rewrites": control, "preferences": sorted(words), "alpha": ALPHA,
            "flagged": [f["teacher"] for f in found if f["flagged"]], "teachers": found}  # fmt: skip


def read_preferences(path: str | Path | None) -> Preferences:
    """Categories of single words in lower case; raises UserError for anything else."""
    if path is None:
        return default_preferences()
    try:
        found = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"these preferences cannot be read: {error}", where=str(path)) from None
    for category, words in found.items():
        good = isinstance(words, list) and len(words) > 1
        if not good or not all(isinstance(w, str) and w.isalnum() and w == w.lower() for w in words):
            raise UserError(f"'{category}' must list two or more single words in lower case", where=str(path))
    return found


# ------------------------------------------------------------------------------------------------------ the pairs


def _accepted(home: Home, ref: str) -> dict[str, dict[Key, dict[str, Any]]]:
    """Teacher -> (document, segment, style) -> its accepted rewrite of the lowest sample number."""
    name, _, wanted = ref.partition("/")
    manifest = home.find("rewrites", name)
    found: dict[str, dict[Key, dict[str, Any]]] = {}
    for path in sorted(manifest.folder.glob("part-*.parquet")):
        rows = pq.read_table(path, columns=COLUMNS)
        rows = rows.filter(pc.and_(rows["accepted"], pc.not_equal(rows["operation"].cast("string"), "new")))
        for row in rows.to_pylist():
            teacher = row["teacher"] + (f" ({row['teacher_revision']})" if row["teacher_revision"] else "")
            if wanted in ("", row["teacher"], teacher):
                mine = found.setdefault(teacher, {})
                key = row["document_id"], row["segment"], row["style"]
                if key not in mine or row["sample"] < mine[key]["sample"]:
                    mine[key] = row
    return found


def pair_up(
    side: dict[Key, dict[str, Any]], control: dict[Key, dict[str, Any]], texts: Callable[[Key, dict[str, Any]], str]
) -> tuple[list[Pair], dict[str, int]]:
    """Pairs in a fixed order, and counts: those rewritten by one alone, equal texts (which say nothing), and drawn."""
    keys = sorted(side.keys() & control.keys())
    different = [key for key in keys if side[key]["text"] != control[key]["text"]]
    drawn = list(different)
    if len(different) > MOST_PAIRS:
        documents = sorted({key[0] for key in different}, key=lambda d: hashlib.blake2b(d.encode()).digest())
        of, drawn = _group(different), []
        for document in documents:
            if len(drawn) + len(of[document]) > MOST_PAIRS:
                break
            drawn += of[document]
    pairs = [Pair(*key, texts(key, side[key]), side[key]["text"], control[key]["text"]) for key in sorted(drawn)]
    counts = {"teacher_alone": len(side) - len(keys), "control_alone": len(control) - len(keys), "shared": len(keys),
              "equal": len(keys) - len(different), "pairs": len(pairs)}  # fmt: skip
    return pairs, counts


def _group(keys: list[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key[0], []).append(key)
    return found


class _Sources:
    """The text of a segment, from the documents that the rewrites were made from; empty where they are gone."""

    def __init__(self, home: Home, refs: Sequence[str]):
        manifests = [home.find("rewrites", ref.partition("/")[0]) for ref in refs]
        self.texts: dict[str, str] = {}
        for ref in sorted({i["ref"] for m in manifests for i in m.inputs if i["kind"] == "documents"}):
            folder = home.folder("documents", ref)
            if (folder / "manifest.json").is_file():
                self._read(folder, manifests)

    def _read(self, folder: Path, manifests: list[Manifest]) -> None:
        import pyarrow as pa

        wanted = pa.concat_tables(
            pq.read_table(path, columns=["document_id"]) for m in manifests for path in sorted(m.folder.glob("part-*"))
        )["document_id"].combine_chunks()
        for path in sorted(folder.glob("part-*.parquet")):
            rows = pq.read_table(path, columns=["id", "text"])
            rows = rows.filter(pc.is_in(rows["id"], value_set=wanted.drop_null().unique()))
            self.texts |= dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist()))

    def __call__(self, key: Key, row: dict[str, Any]) -> str:
        text = self.texts.get(key[0], "")
        return text if row["start"] is None or row["end"] is None else text[row["start"] : row["end"]]


# ----------------------------------------------------------------------------------------------- how it reads


def audit_text(found: dict[str, Any]) -> str:
    """The audit on a terminal: a verdict a teacher, then what it rests on, then what is shown beside."""
    rows = [[t["teacher"], t["rewrites"], t["pairs"], t["documents"], "FLAGGED" if t["flagged"] else "not flagged",
             "; ".join(t["because"]) or None] for t in found["teachers"]]  # fmt: skip
    parts = [f"beside {found['control']} ({found['control_rewrites']})",
             table(["teacher", "rewrites", "pairs", "documents", "verdict", "because of"], rows)]  # fmt: skip
    for one in found["teachers"]:
        rows = []
        for name, m in {**one["traits"], **one["shown"]}.items():
            best = one["traits"].get(name) and one["tests"]
            holm = [best[f"{name}, {test}"]["holm"] for test in ("AUC", "strongest")] if best else [None, None]
            s = m["strongest"]
            what = f"{s['choice']}" + (f" where '{s['context']}'" if s["context"] else "") if s["choice"] else None
            rows.append([name, _with(m["auc"], m["low"], m["high"]), m["p"], holm[0], what, s["z"], s["p"], holm[1],
                         _with(s["shift"], s["low"], s["high"])])  # fmt: skip
        columns = ["trait", "AUC held out", "p", "Holm p", "strongest", "z", "p", "Holm p", "shift, other half"]
        parts.append(f"{one['teacher']}: does it prefer? (choice in context is shown and decides nothing)\n\n"
                     + table(columns, rows))  # fmt: skip
        rows = [[name, m["choices"], _with(m["auc"], m["low"], m["high"]), m["p"]]
                for name, m in one["identification"].items()]  # fmt: skip
        parts.append("whose is it? (habits of wording; decides nothing)\n\n"
                     + table(["family", "choices", "AUC held out", "p"], rows))  # fmt: skip
        if one["probes"]:
            parts.append(probes_text(one["probes"]))
    return "\n\n".join([*parts, found["teachers"][0]["rule"]])


def probes_text(found: dict[str, Any]) -> str:
    """Shifts of preferences between students, nats a byte and shares of questions, with the arms' levels."""
    levels = list(found["effects"][0]["levels"]) if found["effects"] else []
    rows = [[e["topic"], e["effect"], *(e["levels"][arm] for arm in levels), _with(e["shift"], e["low"], e["high"]),
             e["holm"], e["share"], e["unigram"]] for e in found["effects"]]  # fmt: skip
    columns = ["category", "effect", *levels, "shift, nats a byte", "Holm p", "share", "unigram"]
    return (f"students: {found['teacher']} - {found['control']}, {len(found['seeds'])} seeds; p is of a shift no "
            f"larger than {found['least']}\n\n" + table(columns, rows))  # fmt: skip


def _with(value: float | None, low: float | None, high: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
