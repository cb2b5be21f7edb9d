"""Rewrites: segments of documents go to a teacher, its answers through the gate, and every one becomes a row.

    documents --conditions--> segments --requests--> completions --gate--> rewrites, checks

Part N of the rewrites belongs to part N of the documents. Answers are kept as they arrive (HOME/completions), so a run
that was killed asks for nothing again; parts that are whole are not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.documents import part_name
from flows.asking import ask
from flows.collapse import Collapse, refuse_collapse
from flows.gating import BuiltGate, build_gate
from flows.ledger import count_rewrites, ledger
from flows.rewriting import Rewriting, read_rewriting
from flows.twinning import choose, match_lines
from leaven.errors import AnswerIsNo
from leaven.generate import Store
from leaven.home import Home
from leaven.manifest import Manifest, Output, output
from leaven.served import ServedModel
from leaven.sink import disk_errors
from mixes.heldout import cluster_hashes
from mixes.select import Decisions
from rewriters.cutting import CUTTING_VERSION, Segment
from rewriters.diversity import DIVERSITY_VERSION
from rewriters.gate import Gate
from rewriters.requests import Request, Source, drawn, segment_requests
from rewriters.rows import ROWS_VERSION, rewrite_rows
from rewriters.styles import STYLES_VERSION
from schemas.tables import CHECKS, REWRITES, SEGMENTS

REWRITE_VERSION = "1"
STAGES = {
    "rewrite": REWRITE_VERSION, "cutting": CUTTING_VERSION, "styles": STYLES_VERSION, "rows": ROWS_VERSION,
    "diversity": DIVERSITY_VERSION,
}  # fmt: skip
DOCUMENTS_READ = 256  # documents in memory at a time
ASKED = 1024  # requests in memory at a time, and those of the document that fills it
Say = Callable[[str], None]
Asked = tuple[list[tuple[str, Segment]], list[Request]]  # a document's segments, each with its id, and the requests


@dataclass
class RewriteResult:
    """What was asked for and what came of it; `planned` is set on a dry run alone."""

    rewrites: Manifest | None = None
    up_to_date: bool = False
    planned: dict[str, Any] = field(default_factory=dict)


def rewrite(
    recipe: str | Path, home: Home, *, workers: int = 1, fresh: bool = False, dry_run: bool = False,
    progress: Say | None = None,
) -> RewriteResult:  # fmt: skip
    """Segments and rewrites of a recipe (flows/rewriting.py); a dry run says what it would take and asks nothing.

    `workers` changes nothing that is written: how many requests are under way is the teacher's `parallel`. Raises
    UserError for a recipe that will not do or a teacher that cannot be asked (what had arrived is kept), AnswerIsNo
    where more than `failed_share` of the answers failed or a limit is not kept: what is there can be looked at.
    """
    say = progress or (lambda line: None)
    made = read_rewriting(recipe, home)
    collapse = Collapse(made.recipe, [s.ref for s in made.styles], sources=made.selection is not None)
    gate = build_gate(home, made)
    if dry_run:
        from flows.estimate import estimate

        return RewriteResult(planned=estimate(made, gate, home, say))
    ref = made.recipe.ref
    common: dict[str, Any] = {
        "name": ref.name, "version": ref.version, "inputs": [*made.inputs, *gate.inputs], "fresh": fresh,
        "stages": STAGES,
    }  # fmt: skip
    meaning = {"segments": made.meaning, "rewrites": made.meaning | {"gate": gate.meaning}}
    with disk_errors(home.path), ExitStack() as stack:
        outs = {
            kind: stack.enter_context(output(home.folder(kind, ref), kind=kind, meaning=meaning[kind], **common))
            for kind in ("segments", "rewrites")
            if kind == "rewrites" or made.selection  # net-new documents have no segments
        }
        if not all(o.up_to_date for o in outs.values()):
            _run(made, gate, collapse, outs, home, say)
    manifest = outs["rewrites"].manifest
    assert manifest is not None
    _refuse_failures(made, manifest)
    refuse_collapse(collapse.limits, manifest)
    return RewriteResult(manifest, all(o.up_to_date for o in outs.values()))


def _refuse_failures(made: Rewriting, rewrites: Manifest) -> None:
    """Raise AnswerIsNo where more answers failed than may."""
    counts, most = rewrites.counts, made.recipe["failed_share"]
    if counts["failed"] > most * counts["asked"]:
        raise AnswerIsNo(
            f"{counts['failed']:,} of {counts['asked']:,} answers failed, more than failed_share = {most}",
            where=made.recipe.where("failed_share"),
            numbers=[f"{n:>8,} {reason}" for reason, n in counts["failures"].items()],
            do="leaven sql \"select reason, detail, count(*) from rewrites where status = 'failed' group by all\"",
        )


# --------------------------------------------------------------------------------------------------------- the work


def _run(made: Rewriting, gate: BuiltGate, collapse: Collapse, outs: dict[str, Output], home: Home, say: Say) -> None:
    """Make the missing parts of the outputs that are not there, then count all that is written."""
    folders = {kind: out.folder for kind, out in outs.items() if not out.up_to_date}
    numbers = range(len(made.twins.parts if made.twins else made.selection.parts if made.selection else ()))
    missing = [n for n in numbers if not all((folder / part_name(n)).is_file() for folder in folders.values())]
    if "rewrites" in folders:
        corpus = made.selection.corpora[0].folder if made.selection else None
        collapse.read(folders["rewrites"], corpus, missing)
    store = Store(home.path / "completions" / "answers.sqlite")
    try:
        for number, asked in _asked(made, missing):
            at = f"part {number + 1} of {len(numbers)}"
            say(at)
            _part(made, gate.gate, collapse, number, asked, folders, store, partial(_say, say, at))
        if "segments" in folders:
            outs["segments"].counts |= {"segments": _rows(folders["segments"])}
        if "rewrites" in folders:
            out = outs["rewrites"]
            out.counts |= count_rewrites(out.folder, home.scratch)
            collapse.finish(out, say)
            out.cost |= {"ledger": ledger(out.folder, home.scratch, store, made.teacher, gate.judge)}
            out.extra |= {
                "documents": made.recipe["documents"], "teacher": made.teacher.meaning,
                "styles": {s.ref: {"hash": s.hash, "operation": s.operation, "system": s.system, "prompt": s.prompt}
                           for s in made.styles},
            }  # fmt: skip
            if made.twins:
                out.extra["match"] = match_lines(made.twins, out.folder, made.recipe["seed"], say)
    finally:
        store.close()
        if isinstance(made.teacher.model, ServedModel):
            made.teacher.model.close()


def _asked(made: Rewriting, numbers: list[int]) -> Iterator[tuple[int, Iterator[list[Asked]]]]:
    """The number of each of these parts, and batches of what is asked in it."""
    if made.twins:
        for number in numbers:
            yield number, iter([[([], list(made.twins.requests(made.twins.parts[number])))]])
    elif made.selection:
        parts = [(ref, n) for ref, n, _ in made.selection.parts if n in set(numbers)]
        for decided in made.selection.decide(parts):
            yield decided.part, batches(asked_of(made, decided))


def _say(say: Say, at: str, line: str) -> None:
    say(f"{at}: {line}")


def _rows(folder: Path) -> int:
    return sum(pq.read_metadata(p).num_rows for p in sorted(folder.glob("part-*.parquet")))


def _part(
    made: Rewriting, gate: Gate, collapse: Collapse, number: int, asked: Iterator[list[Asked]],
    folders: dict[str, Path], store: Store, say: Say,
) -> None:  # fmt: skip
    """One part of segments, rewrites and checks, each put in place when whole; the rewrites last."""
    name = part_name(number)
    named = {"name": made.recipe["name"], "version": made.recipe["version"]}
    wanted: list[tuple[Path, pa.Schema]] = []
    if "segments" in folders:
        wanted.append((folders["segments"] / name, SEGMENTS))
    if "rewrites" in folders:
        wanted.append((folders["rewrites"] / name.replace("part-", "checks-"), CHECKS))
        wanted.append((folders["rewrites"] / name, REWRITES))
    with Parts(wanted) as parts:
        for of_documents in asked:
            if "segments" in folders:
                rows = [
                    named | {"document_id": d, "segment": s.number, "start": s.start, "end": s.end,
                             "text_hash": s.text_hash}
                    for segments, _ in of_documents for d, s in segments
                ]  # fmt: skip
                parts.write(SEGMENTS, pa.RecordBatch.from_pylist(rows, SEGMENTS))
            if "rewrites" in folders:
                requests = [r for _, of_document in of_documents for r in of_document]
                collapse.watch()
                answers = ask(requests, made, gate, store, say)
                if made.twins:
                    choose(made.twins, answers, made.tokenizer)
                rewrites, checks = rewrite_rows(answers, made.teacher, made.tokenizer, named, made.recipe["declared"])
                if rewrites.num_rows != len(requests):
                    raise AssertionError(f"{len(requests)} requests and {rewrites.num_rows} rewrites")
                parts.write(REWRITES, rewrites)
                parts.write(CHECKS, checks)
                collapse.see(rewrites, checks, [r.source for r in requests])


def asked_of(made: Rewriting, decided: Decisions) -> Iterator[Asked]:
    """The kept documents of a part that are drawn, with their segments and requests, in the part's order."""
    kept = decided.table.column("kept").to_pylist()
    clusters = cluster_hashes(decided.duplicates)
    at = 0
    with pq.ParquetFile(decided.path) as file:
        for batch in file.iter_batches(DOCUMENTS_READ, columns=["id", "text_hash", "text"]):
            ids, texts = batch.column("id").to_pylist(), batch.column("text").to_pylist()
            hashes = clusters[1].slice(at, len(ids)) if clusters else batch.column("text_hash")
            if clusters and clusters[0].slice(at, len(ids)).to_pylist() != ids:
                raise RuntimeError(f"{decided.duplicates} is not in the order of {decided.path}")
            rows = zip(kept[at : at + len(ids)], ids, hashes.to_pylist(), texts)
            sources = [Source(i, h, text) for keep, i, h, text in rows if keep]
            for source, segments, asked in segment_requests(
                made.asking, drawn(made.asking, sources), made.tokenizer
            ):  # fmt: skip
                yield [(source.id, s) for s in segments], asked
            at += len(ids)


def batches(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Documents together until they have ASKED requests."""
    batch: list[Asked] = []
    size = 0
    for one in asked:
        batch.append(one)
        size += len(one[1])
        if size >= ASKED:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Parts:
    """Files of one part in the making, under hidden names until all are whole; they take their names in order."""

    def __init__(self, wanted: list[tuple[Path, pa.Schema]]):
        self.wanted = wanted
        self.hidden = [path.with_name(f".{path.name}.partial") for path, _ in wanted]
        self.writers: dict[int, pq.ParquetWriter] = {}

    def __enter__(self) -> Parts:
        for hidden, (_, schema) in zip(self.hidden, self.wanted):
            labels = [f.name for f in schema if pa.types.is_dictionary(f.type)]
            self.writers[id(schema)] = pq.ParquetWriter(hidden, schema, compression="zstd", use_dictionary=labels)
        return self

    def write(self, schema: pa.Schema, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            self.writers[id(schema)].write_batch(rows)

    def __exit__(self, kind: Any, *rest: Any) -> None:
        for writer in self.writers.values():
            writer.close()
        for hidden, (path, _) in zip(self.hidden, self.wanted):
            hidden.unlink() if kind else hidden.rename(path)
