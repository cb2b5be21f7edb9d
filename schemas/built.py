"""What is built, what was it made of, and what does its manifest say? Small tables of the catalog, made from manifests.

Everything here is a fact that a manifest holds; nothing is counted again, so a table of a thousand outputs costs
milliseconds. `composition` and `funnel` (schemas/views.py) set what was planned beside what the Parquet holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leaven.catalog import newest
from leaven.home import KINDS
from leaven.manifest import Manifest
from schemas.tables import NAMED, TEXT, _table

MAIN_FILES = {  # the files whose rows are an output's rows
    "documents": "part-*.parquet", "failures": "part-*.parquet", "segments": "part-*.parquet",
    "scores": "part-*.parquet", "hits": "part-*.parquet", "spans": "part-*.parquet",
    "matches": "part-*.parquet", "benchmarks": "items.parquet", "rewrites": "part-*.parquet", "pools": "part-*.parquet",
    "mixes": "shard-*.parquet", "studies": "evals.parquet",
}  # fmt: skip
MAX_FOOTERS = 1000  # files of one output that are opened to count its rows where the manifest does not say

OUTPUTS = _table(
    "One whole output: what a manifest.json stands for.",
    ("kind", TEXT, "documents, failures, scores, hits, pools, mixes, studies, classifiers."),
    *NAMED,
    ("part", TEXT, "What further names it: scorer@version, list@version, seed-S, arm/seed-S; or empty."),
    ("fingerprint", TEXT, "Hash of recipe, inputs and stages.", "32 hex digits"),
    ("created", TEXT, "When it became whole.", "ISO 8601, UTC"),
    ("rows", pa.int64(), "Rows of its Parquet files, where it has any and the manifest or the footers say, or null."),
    ("files", pa.int64(), "Number of its files."),
    ("bytes", pa.int64(), "Size of its files.", "bytes"),
    ("seconds", pa.float64(), "How long it took.", "seconds"),
    ("is_newest", pa.bool_(), "Whether no other version of this name was made later."),
    ("drift", TEXT, "What it was made of that is gone or has changed since, or null."),
    ("leaven", TEXT, "Version of Leaven that made it."),
    ("commit", TEXT, "Commit of the checkout that made it; empty outside one."),
    ("folder", TEXT, "Where it lies."),
)
USES = _table(
    "One output or file that an output was made of.",
    ("kind", TEXT, "Kind of the output."),
    *NAMED,
    ("part", TEXT, "Part of its address, or empty."),
    ("used_kind", TEXT, "Kind of what it used; `file` for files from outside the home."),
    ("used_name", TEXT, "Name of what it used."),
    ("used_version", TEXT, "Its version; empty for files."),
    ("used_part", TEXT, "Part of its address, or empty."),
    ("used_fingerprint", TEXT, "Its fingerprint when it was used."),
)
SOURCES = _table(
    "Where the text of a corpus of documents came from.",
    *NAMED,
    ("source", TEXT, "Name of the source."),
    ("revision", TEXT, "Its revision; empty where none was stated."),
    ("licence", TEXT, "Its licence, as the recipe states it."),
    ("documents", pa.int64(), "Documents of the corpus, or null."),
)
POOLS = _table(
    "One pool, as its manifest counts it.",
    *NAMED,
    ("heldout", pa.bool_(), "Whether it is held out for evaluation."),
    ("tokenizer", TEXT, "SHA-256 of the tokenizer.", "hex"),
    ("vocab_size", pa.int64(), "Ids of the tokenizer and the 16 reserved above them."),
    ("sequence_length", pa.int64(), "Tokens of a sequence.", "tokens"),
    ("sequences", pa.int64(), "Sequences."),
    ("documents_considered", pa.int64(), "Documents (of a pool of rewrites: rewrites) that its conditions judged."),
    ("documents_kept", pa.int64(), "Those that it holds."),
    ("documents_cut", pa.int64(), "Those that stand in more than one piece."),
    ("tokens_kept", pa.int64(), "Tokens of them, with one end-of-text each.", "tokens"),
    ("tokens_dropped_tail", pa.int64(), "Tokens left over that filled no sequence.", "tokens"),
    ("pieces", pa.int64(), "Pieces of documents in all its sequences."),
)
POOL_CONDITIONS = _table(
    "One condition of a pool, in the recipe's order.",
    *NAMED,
    ("position", pa.int32(), "Place in the order, from 0."),
    ("condition", TEXT, "Its name."),
    ("sql", TEXT, "The expression, as the recipe spells it."),
    ("is_flag", pa.bool_(), "Whether it is `not blocklist_flag(...)` and nothing else."),
    ("distinct_terms", pa.int32(), "The flag's parameter, or null."),
    ("window", pa.int32(), "The flag's parameter; null also stands for the whole document, or null."),
    ("instant", pa.bool_(), "The flag's parameter, or null."),
    ("without", pa.list_(TEXT), "The flag's parameter: terms that count as absent."),
)
POOL_TAGS = _table(
    "What the tags of one tagged pool came to: segments = good + bad + untagged + without + unplaced.",
    *NAMED,
    ("segments", pa.int64(), "Segments of its documents."),
    ("good", pa.int64(), "Of them tagged good."),
    ("bad", pa.int64(), "Of them tagged bad."),
    ("untagged", pa.int64(), "Of them left without their tag, by the share that the recipe asks for."),
    ("without", pa.int64(), "Of them those of which no condition of [tags] holds."),
    ("unplaced", pa.int64(), "Of them those in documents whose tokens do not spell their text byte by byte."),
    ("span_tokens", pa.int64(), "Tokens that begin inside flagged spans.", "tokens"),
    ("harm", pa.int64(), "Of them those with a harm tag before them.", "tokens"),
)
POOL_REWRITES = _table(
    "Who wrote how much of one pool that holds rewrites; tokens_out adds up to the pool's tokens_kept.",
    *NAMED,
    ("operation", TEXT, "`replace`, `append` or `new`; `original` is the row of what no teacher wrote."),
    ("teacher", TEXT, "Model that wrote it; empty for the original text."),
    ("teacher_revision", TEXT, "Its declared revision."),
    ("teacher_family", TEXT, "Family of models that it is of; empty where the rewrites do not say."),
    ("rewrites", pa.int64(), "Rewrites that the pool holds."),
    ("tokens_in", pa.int64(), "Tokens of documents as found: taken out for these, or (`original`) left.", "tokens"),
    ("tokens_out", pa.int64(), "Tokens of the pool that begin in this text, with the items' end-of-text.", "tokens"),
)
MIXES = _table(
    "One built mix with one seed.",
    ("mix", TEXT, "Name of the mix."),
    ("version", TEXT, "Its version."),
    ("seed", pa.int32(), "Seed of its order."),
    ("sequences", pa.int64(), "Sequences planned."),
    ("sequence_length", pa.int64(), "Tokens of a sequence.", "tokens"),
    ("batch", pa.int64(), "Sequences in one training step."),
    ("steps", pa.int64(), "Training steps planned."),
    ("shards", pa.int64(), "Shards planned."),
    ("tokenizer", TEXT, "SHA-256 of the tokenizer.", "hex"),
    ("digest", TEXT, "Digest that the build printed, over the checksums of all shards, or null."),
)
PHASES = _table(
    "One component of one phase of a built mix: what was planned.",
    ("mix", TEXT, "Name of the mix."),
    ("version", TEXT, "Its version."),
    ("seed", pa.int32(), "Seed of its order."),
    ("position", pa.int32(), "Place of the phase in the mix, from 0."),
    ("phase", TEXT, "Name of the phase."),
    ("component", TEXT, "Name that the pool takes inside the mix."),
    ("pool", TEXT, "The pool, as name@version."),
    ("ratio", TEXT, "Ratio that the recipe asks for, exact: a decimal or a fraction."),
    ("planned", pa.int64(), "Sequences apportioned to it."),
    ("replaced", pa.int64(), "Sequences more than in the untouched mix; below 0 what was taken out."),
    ("phase_sequences", pa.int64(), "Sequences of the phase."),
    ("first_seat", pa.int64(), "Seat at which the phase begins."),
    ("steps", pa.int64(), "Training steps of the phase."),
)
STUDIES = _table(
    "One arm of a study.",
    *NAMED,
    ("arm", TEXT, "Name of the arm."),
    ("mix", TEXT, "Its mix, as name@version."),
    ("control", TEXT, "untouched, placebo or opposite, where the study names it one, or null."),
    ("seeds", pa.list_(pa.int32()), "Seeds of the study."),
    ("steps", pa.int64(), "Training steps of a run, or null."),
    ("primary_contrast", TEXT, "The contrast named before the study ran, or null."),
)
RUNS = _table(
    "One training of one arm with one seed.",
    *NAMED,
    ("arm", TEXT, "Name of the arm."),
    ("seed", pa.int32(), "Seed of the run."),
    ("mix", TEXT, "Its mix, as name@version."),
    ("fingerprint", TEXT, "Hash of the run's job.", "hex"),
    ("counts", TEXT, "What the trainer counted, as a JSON object."),
)
STAGE_COSTS = _table(
    "What one scorer or stage of a curation cost.",
    ("kind", TEXT, "Kind of the output."),
    *NAMED,
    ("part", TEXT, "The scorer, as name@version; or empty."),
    ("documents", pa.int64(), "Documents that it looked at.", "documents"),
    ("of_documents", pa.int64(), "Documents of the corpus, or null."),
    ("cpu_seconds", pa.float64(), "Processor time of the scorer itself, without reading and writing.", "seconds"),
    ("flops", pa.float64(), "Floating-point operations that it counted; 0 where it does not count them."),
    ("prompt_tokens", pa.float64(), "Tokens of questions to a model, or null.", "tokens"),
    ("completion_tokens", pa.float64(), "Tokens of its answers, or null.", "tokens"),
    ("price", pa.float64(), "What the rubric's prices make of them, or null.", "currency of the rubric"),
)
REWRITE_COSTS = _table(
    "What the answers of one role took for one style; each answer counts once, in whichever run it arrived.",
    *NAMED,
    ("style", TEXT, "Style, as name@version."),
    ("role", TEXT, "`teacher`, `canary` (it, on segments with an instruction of ours) or `judge` (asked by the gate)."),
    ("model", TEXT, "Model that answered."),
    ("model_revision", TEXT, "Its declared revision."),
    ("requests", pa.int64(), "Rewrites asked for; of a canary or judge the checks that rest on an answer."),
    ("answers", pa.int64(), "Different answers among them: equal questions share theirs."),
    ("accepted", pa.int64(), "Rewrites accepted; absent where none are asked for, or null."),
    ("rejected", pa.int64(), "Rewrites rejected by the gate; absent likewise, or null."),
    ("failed", pa.int64(), "Requests without a whole answer, or (`judge`) without a valid one."),
    ("accepted_tokens", pa.int64(), "Tokens of accepted rewrites, by the recipe's tokenizer, or null.", "tokens"),
    ("prompt_tokens", pa.int64(), "Tokens of questions, as the model counts them, or null.", "tokens"),
    ("completion_tokens", pa.int64(), "Tokens of answers, as the model counts them, or null.", "tokens"),
    ("seconds", pa.float64(), "Sum of what each answer took; answers under way together overlap.", "seconds"),
    ("price", pa.float64(), "What the prices of the recipe or the rubric make of the tokens, or null.", "currency"),
    ("currency", TEXT, "Currency of the price."),
    ("flops", pa.float64(), "2 x parameters x tokens; 0 where the parameters are not stated."),
)
TWIN_MATCHES = _table(
    "One measure of how alike the accepted twins of two roles are, beside what it is without the match.",
    *NAMED,
    ("measure", TEXT, "What is measured, of length, topic or meaning (docs/twins.md)."),
    ("a", TEXT, "One role."),
    ("b", TEXT, "The other."),
    ("value", pa.float64(), "The measure, or null."),
    ("low", pa.float64(), "Lower end of its 95 % interval over twins, or null."),
    ("high", pa.float64(), "Its upper end, or null."),
    ("beside", pa.float64(), "The same without the match, or null."),
    ("beside_low", pa.float64(), "Lowest of it over shuffles, or null."),
    ("beside_high", pa.float64(), "Highest of it over shuffles, or null."),
    ("beside_is", TEXT, "How `beside` was had."),
)
BUILT: dict[str, pa.Schema] = {
    "outputs": OUTPUTS, "uses": USES, "sources": SOURCES, "pools": POOLS, "pool_conditions": POOL_CONDITIONS,
    "pool_tags": POOL_TAGS, "pool_rewrites": POOL_REWRITES, "mixes": MIXES, "phases": PHASES, "studies": STUDIES,
    "runs": RUNS, "stage_costs": STAGE_COSTS, "rewrite_costs": REWRITE_COSTS, "twin_matches": TWIN_MATCHES,
}  # fmt: skip


def built_rows(manifests: list[Manifest]) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table of BUILT."""
    import json

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in BUILT}
    drifted = drift(manifests)
    latest = {m.address for m in newest(manifests)}
    for m in manifests:
        part = "/".join(m.parts)
        named = {"kind": m.kind, "name": m.name, "version": m.version, "part": part}
        rows["outputs"].append(named | {
            "fingerprint": m.fingerprint, "created": m.created, "rows": count_rows(m), "files": len(m.files),
            "bytes": sum(f["bytes"] for f in m.files), "seconds": m.seconds, "is_newest": m.address in latest,
            "drift": drifted.get(m.address), "leaven": m.leaven, "commit": m.commit, "folder": str(m.folder),
        })  # fmt: skip
        for used in m.inputs:
            name, version, below = _split(used) if used["kind"] in KINDS else (used["ref"], "", "")
            rows["uses"].append(named | {
                "used_kind": used["kind"], "used_name": name, "used_version": version, "used_part": below,
                "used_fingerprint": used["fingerprint"],
            })  # fmt: skip
        if m.kind == "rewrites":
            mine = {"name": m.name, "version": m.version}
            rows["rewrite_costs"] += [mine | entry for entry in m.cost.get("ledger", [])]
            rows["twin_matches"] += [mine | line for line in m.extra.get("match", [])]
        elif m.cost:
            rows["stage_costs"].append(named | {
                "documents": m.cost.get("documents"), "of_documents": m.counts.get("documents"),
                "cpu_seconds": m.cost.get("cpu_seconds"), "flops": m.cost.get("flops", 0),
                **{key: m.cost.get(key) for key in ("prompt_tokens", "completion_tokens", "price")},
            })  # fmt: skip
        named = {"name": m.name, "version": m.version}
        if m.kind == "documents":
            rows["sources"].append(named | {
                "source": str(m.meaning.get("source") or m.name), "revision": str(m.meaning.get("revision") or ""),
                "licence": str(m.meaning.get("licence") or "unknown"), "documents": m.counts.get("documents"),
            })  # fmt: skip
        elif m.kind == "pools":
            said = {f.name: m.counts.get(f.name, m.extra.get(f.name, 0)) for f in POOLS}
            tokenizer = m.extra.get("tokenizer", "")
            rows["pools"].append(said | named | {"tokenizer": tokenizer, "heldout": bool(m.extra.get("heldout"))})
            for position, condition in enumerate(m.extra.get("conditions", []) if not m.extra.get("heldout") else []):
                rows["pool_conditions"].append(named | {"position": position} | condition)
            if tags := m.counts.get("tags"):
                counts = {"good": 0, "bad": 0} | tags | tags["tagged"]
                rows["pool_tags"].append({f.name: counts.get(f.name) for f in POOL_TAGS} | named)
            rows["pool_rewrites"] += [named | author for author in m.counts.get("rewrites", [])]
        elif m.kind == "mixes":
            _mix_rows(m, rows)
        elif m.kind == "studies" and not m.parts:
            controls = {arm: control for control, arm in (m.extra.get("controls") or {}).items()}
            for arm, spec in m.meaning.get("arms", {}).items():
                rows["studies"].append(named | {
                    "arm": arm, "mix": spec["mix"], "control": controls.get(arm), "seeds": m.meaning.get("seeds", []),
                    "steps": m.counts.get("steps"), "primary_contrast": m.extra.get("primary"),
                })  # fmt: skip
        elif m.kind == "studies" and len(m.parts) == 2:
            mix = next((i["ref"].partition("/")[0] for i in m.inputs if i["kind"] == "mixes"), "")
            rows["runs"].append(named | {
                "arm": m.parts[0], "seed": int(m.parts[1].removeprefix("seed-")), "mix": mix,
                "fingerprint": m.fingerprint, "counts": json.dumps(m.counts, sort_keys=True),
            })  # fmt: skip
    return rows


def _mix_rows(m: Manifest, rows: dict[str, list[dict[str, Any]]]) -> None:
    plan = m.extra["plan"]
    named = {"mix": m.name, "version": m.version, "seed": int(m.parts[0].removeprefix("seed-"))}
    rows["mixes"].append(named | {
        "sequences": sum(p["sequences"] for p in plan["phases"]), "sequence_length": m.extra["sequence_length"],
        "batch": m.extra["batch"], "steps": sum(p["steps"] for p in plan["phases"]), "shards": plan["shards"],
        "tokenizer": m.extra["tokenizer"], "digest": m.extra.get("digest"),
    })  # fmt: skip
    for position, phase in enumerate(plan["phases"]):
        for component, planned in phase["planned"].items():
            rows["phases"].append(named | {
                "position": position, "phase": phase["name"], "component": component,
                "pool": plan["pools"][component]["pool"], "ratio": phase["ratio"][component], "planned": planned,
                "replaced": phase.get("replaced", {}).get(component, 0),
                "phase_sequences": phase["sequences"], "first_seat": phase["first_seat"], "steps": phase["steps"],
            })  # fmt: skip


def _split(used: dict) -> tuple[str, str, str]:
    """(name, version, part) of an input's reference name@version[/part]."""
    ref, _, part = used["ref"].partition("/")
    name, _, version = ref.partition("@")
    return name, version, part


def drift(manifests: list[Manifest]) -> dict[str, str]:
    """Address -> what an output was made of that is gone or has changed since, its own inputs' drift included."""
    present = {m.address: m for m in manifests}
    found: dict[str, str | None] = {}

    def of(m: Manifest) -> str | None:
        if m.address in found:
            return found[m.address]
        found[m.address] = None  # a cycle cannot be, but must not hang
        for used in (u for u in m.inputs if u["kind"] in KINDS):
            address = f"{used['kind']}/{used['ref']}"
            other = present.get(address)
            if other is None:
                found[m.address] = f"{address} is gone"
            elif other.fingerprint != used["fingerprint"]:
                found[m.address] = f"{address} was built again from another recipe"
            elif of(other):
                found[m.address] = f"{address} drifted"
            if found[m.address]:
                break
        return found[m.address]

    return {m.address: said for m in manifests if (said := of(m))}


def count_rows(manifest: Manifest) -> int | None:
    """Rows of an output's main files: from its counts where they say, else from the Parquet footers."""
    for key in {"documents": ("documents",), "pools": ("sequences",), "mixes": ("sequences",)}.get(manifest.kind, ()):
        if key in manifest.counts:
            return manifest.counts[key]
    pattern = MAIN_FILES.get(manifest.kind)
    paths = [f["path"] for f in manifest.files if pattern and Path(f["path"]).match(pattern)]
    if not paths or len(paths) > MAX_FOOTERS:
        return None
    try:
        return sum(pq.read_metadata(manifest.folder / p).num_rows for p in paths)
    except (OSError, pa.ArrowException):  # leaven check says what is wrong; the catalog must still open
        return None
