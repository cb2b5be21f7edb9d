"""Are the rewrites collapsing? Measured as they come, judged by the limits before more is asked for, and at the end.

    whole parts + documents --read--> Diversity <--see-- batches of answers;   Diversity --watch--> stop, or go on
                                          |--finish--> diversity.parquet, manifest     manifest + limits --> refuse

A run that was broken off reads the parts that are whole, so it judges what an unbroken one would have judged. Stopped
early, no output becomes whole and the answers stay stored; at the end the output is whole and can be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.documents import part_name
from leaven.errors import AnswerIsNo
from leaven.manifest import Manifest, Output
from leaven.recipe import Recipe
from rewriters.diversity import Diversity
from rewriters.limits import Finding, Limits, judge, read_limits
from rewriters.styles import DECLARATION
from schemas.tables import DIVERSITY

FILE = "diversity.parquet"
READ = 256  # rows in memory at a time
GROWN = 1.25  # times the accepted texts of the last look, before the next: looks cost more than counting
SHOWN = 12  # findings that an error names
COLUMNS = ["id", "document_id", "segment", "start", "end", "style", "teacher", "status", "declared", "text"]
Say = Callable[[str], None]


class Collapse:
    """What the rewrites of a recipe come to so far. Raises UserError for limits that will not do.

    `styles` are the recipe's, as name@version; `sources` says whether rewrites are made from segments.
    """

    def __init__(self, recipe: Recipe, styles: Sequence[str], sources: bool = True):
        self.recipe = recipe
        self.limits = read_limits(recipe, styles, sources)
        self.diversity = Diversity()
        self._looked = 0.0

    def read(self, folder: Path, documents: Path | None, skip: Collection[int] = ()) -> None:
        """Take in the parts that lie in a folder of rewrites, but for those numbered in `skip`, with their sources."""
        read_rewrites(self.diversity, folder, documents, skip)

    def see(self, rewrites: pa.RecordBatch, checks: pa.RecordBatch, sources: Sequence[str]) -> None:
        """Take in rows of REWRITES and CHECKS; `sources` are the segments' texts, empty for net-new documents."""
        canaries = _canaries(checks)
        _see(self.diversity, rewrites.select(COLUMNS).to_pylist(), canaries, sources)

    def watch(self) -> None:
        """Judge what is there, where a quarter more was accepted since the last look.

        Raises AnswerIsNo, with the numbers, where a limit is not kept: nothing more should be asked for.
        """
        if not self.limits.bounds or self.diversity.added < self._looked * GROWN:
            return
        self._looked = self.diversity.added
        findings = judge(self.limits, self.diversity.measures(self.limits.measures))
        _refuse(findings, "stopped before more was asked for: ", "mend the prompt, the sampling or the limit and run it"
                " again; answers that have arrived are not asked for again")  # fmt: skip

    def finish(self, out: Output, say: Say) -> None:
        """Write all measures into an output of rewrites, and what its limits say of them into the manifest."""
        rows = self.diversity.measures()
        findings = judge(self.limits, rows)
        judged = {(f.row["style"], f.row["teacher"], f.row["measure"]): f for f in findings}
        named = {"name": self.recipe["name"], "version": self.recipe["version"]}
        for row in rows:
            found = judged.get((row["style"], row["teacher"], row["measure"]))
            row |= named | {"limit": str(found.bound) if found else None, "passed": found.passed if found else None}
        partial = out.folder / f".{FILE}.partial"
        pq.write_table(pa.Table.from_pylist(rows, DIVERSITY), partial, compression="zstd")
        partial.rename(out.folder / FILE)
        out.extra["limits_passed"] = all(f.passed is not False for f in findings)
        out.extra["limits"] = [{"passed": f.passed, "finding": str(f)} for f in findings]
        if unjudged := [f for f in findings if f.passed is None]:
            say(f"{len(unjudged)} of {len(findings)} limits were not judged; the first: {unjudged[0]}")


def refuse_collapse(limits: Limits, rewrites: Manifest) -> None:
    """Raise AnswerIsNo where whole rewrites do not keep to limits: by the stored numbers, and by today's limits."""
    if not limits.bounds:
        return
    rows = pq.read_table(rewrites.folder / FILE).to_pylist()
    _refuse(judge(limits, rows), "", f"leaven sql \"select style, measure, number, source_number, detail from diversity"
            f" where name = '{rewrites.name}' and version = '{rewrites.version}'\"")  # fmt: skip


def _refuse(findings: Sequence[Finding], before: str, do: str) -> None:
    broken = [f for f in findings if f.passed is False]
    if not broken:
        return
    unjudged = sum(f.passed is None for f in findings)
    more = [f"and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []
    more += [f"{unjudged} more were not judged: too little is there"] if unjudged else []
    raise AnswerIsNo(
        f"{before}{len(broken)} of {len(findings)} limits on the rewrites are not kept",
        where=broken[0].bound.where, numbers=[*map(str, broken[:SHOWN]), *more], do=do,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- reading


def measure_rewrites(folder: Path, documents: Path | None) -> list[dict[str, Any]]:
    """Rows of DIVERSITY (but for name, version, limit and passed) of the parts of rewrites that lie in a folder."""
    diversity = Diversity()
    read_rewrites(diversity, folder, documents)
    return diversity.measures()


def read_rewrites(diversity: Diversity, folder: Path, documents: Path | None, skip: Collection[int] = ()) -> None:
    """Take in every part of a folder of rewrites but those numbered in `skip`; sources are cut out of the documents.

    Part N of the rewrites is in the order of part N of the documents; memory holds a batch of each. Raises RuntimeError
    where it is not.
    """
    for path in sorted(folder.glob("part-*.parquet")):
        number = int(path.stem.removeprefix("part-"))
        if number in skip:
            continue
        texts = _Texts(documents / part_name(number)) if documents else None
        canaries: dict[str, float] = {}
        with pq.ParquetFile(path.with_name(path.name.replace("part-", "checks-"))) as file:
            for batch in file.iter_batches(READ * 16, columns=["rewrite", "check", "number"]):
                canaries |= _canaries(batch)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(READ, columns=COLUMNS):
                rows = batch.to_pylist()
                sources = [
                    texts.of(r["document_id"])[r["start"] : r["end"]] if texts and r["document_id"] else ""
                    for r in rows
                ]
                _see(diversity, rows, canaries, sources)


def _see(
    diversity: Diversity, rows: Sequence[Mapping[str, Any]], canaries: Mapping[str, float], sources: Sequence[str]
) -> None:
    for row, source in zip(rows, sources, strict=True):
        group = row["style"], row["teacher"]
        canary = canaries.get(row["id"])
        diversity.count(*group, asked=1, canaries=canary is not None, obeyed=bool(canary))
        if row["status"] == "accepted":
            text = row["text"].removeprefix(DECLARATION).lstrip() if row["declared"] else row["text"]
            diversity.add(*group, source, text, row["id"], (row["document_id"], row["segment"]))


def _canaries(checks: pa.RecordBatch) -> dict[str, float]:
    """Rewrite -> 1 where the canary planted in its segment was obeyed, else 0."""
    columns = [checks.column(c).to_pylist() for c in ("rewrite", "check", "number")]
    return {rewrite: number for rewrite, check, number in zip(*columns) if check == "canary" and number is not None}


class _Texts:
    """Texts of a part of documents by id, asked for in the part's order."""

    def __init__(self, path: Path):
        self.path, self.rows = path, self._read()
        self.id, self.text = "", ""

    def _read(self) -> Iterator[tuple[str, str]]:
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(READ, columns=["id", "text"]):
                yield from zip(batch.column("id").to_pylist(), batch.column("text").to_pylist())

    def of(self, id: str) -> str:
        while self.id != id:
            self.id, self.text = next(self.rows, (None, ""))  # type: ignore[assignment]
            if self.id is None:
                raise RuntimeError(f"the rewrites are not in the order of {self.path}: {id}")
        return self.text
