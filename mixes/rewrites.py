"""Which rewrites does a pool take: as its items, or put into the documents that they were made from?

    rewrites, checks --accepted, then [keep]--> decisions, one row a rewrite         (a recipe with no documents)
    documents, part N --its accepted rewrites, part N--> documents as they are read  (a recipe with both)

A rewrite that is not accepted enters no pool, whatever a recipe says. A rewrite is held out where its document is: by
the document's cluster where duplicates were looked for, else by its source_hash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from leaven.catalog import escape, parquet
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from mixes.conditions import Condition, parse_conditions
from mixes.deciding import STEMS, Corpus, bind, part_numbers
from mixes.select import Selection, duplicates_of

ACCEPTED = "accepted"  # name and SQL of the first condition of every pool of rewrites


def select_rewrites(
    home: Home,
    refs: Sequence[str],
    conditions: dict[str, str],
    *,
    where: Callable[[str], str],
    named_at: str | None = None,
    heldout: bool = False,
) -> Selection:
    """Conditions bound to rewrites, `accepted` always the first of them; `heldout` says that a share will be held out.

    Raises UserError: rewrites missing, a condition that is not allowed, a check that was not run, a condition of the
    recipe that is named `accepted`.
    """
    if ACCEPTED in conditions:
        raise UserError("a pool of rewrites has a condition 'accepted' of its own, the first", where=where(ACCEPTED),
                        do="leave it out: a rewrite that was not accepted is never taken")  # fmt: skip
    parsed = parse_conditions({ACCEPTED: ACCEPTED} | conditions, where, of="rewrites")
    corpora, inputs = [], []
    for ref in refs:
        manifest = kept_rewrites(home, ref, named_at)
        _check_names(manifest, parsed)
        copies = None
        if heldout and (made_of := source_of(manifest)):
            folder = home.folder("documents", made_of["ref"])
            if (folder / "manifest.json").is_file():
                copies = duplicates_of(home, home.find("documents", made_of["ref"]))
        inputs += [manifest.as_input(), *([copies.as_input()] if copies else [])]
        tables: dict[str, tuple[Path, ...]] = {"rewrites": (manifest.folder,), "checks": (manifest.folder,)}
        corpora.append(
            Corpus(manifest.ref, manifest.folder, part_numbers(manifest), {}, (), tables,
                   copies.folder if copies else None, "rewrites")
        )  # fmt: skip
    bind(parsed, home.scratch)
    return Selection(tuple(parsed), tuple(corpora), inputs, home.scratch, heldout)


def kept_rewrites(home: Home, ref: str, where: str | None) -> Manifest:
    """The rewrites of a reference; raises UserError where they are missing or a limit of their recipe was not kept."""
    manifest = home.find("rewrites", ref, where=where)
    if manifest.extra.get("limits_passed") is False:
        broken = [said["finding"] for said in manifest.extra["limits"] if said["passed"] is False]
        raise UserError(
            f"rewrites {ref} do not keep to the limits of their recipe", where=where, numbers=broken[:8],
            do="mend the prompt, the sampling or the limit under a new version: answers that have arrived are kept",
        )  # fmt: skip
    return manifest


def source_of(rewrites: Manifest) -> dict | None:
    """The documents that rewrites were made from, as their manifest names them; None for net-new ones."""
    return next((i for i in rewrites.inputs if i["kind"] == "documents"), None)


def _check_names(rewrites: Manifest, conditions: Sequence[Condition]) -> None:
    """Refuse checks that no gate ran on these rewrites: their conditions would hold nowhere."""
    asked = {m: c.where for c in conditions for _, m in c.measures}
    files = [escape(rewrites.folder / f["path"]) for f in rewrites.files if f["path"].startswith(STEMS["checks"])]
    if not asked:
        return
    with duckdb.connect() as con:
        query = f'SELECT DISTINCT "check" FROM {parquet(files)} ORDER BY ALL'
        there = [name for (name,) in con.execute(query).fetchall()] if files else []
    for name, where in sorted(asked.items()):
        if name not in there:
            raise UserError(f"no check '{name}' was run on rewrites {rewrites.ref}", where=where,
                            numbers=["checks there: " + (", ".join(there) or "none")])  # fmt: skip


def find_rewrites(home: Home, refs: Sequence[str], corpora: Sequence[Corpus], where: str) -> dict[str, list[Manifest]]:
    """Corpus -> the rewrites to put into its documents, in the recipe's order.

    Raises UserError for rewrites that were made from other documents, or from none.
    """
    found: dict[str, list[Manifest]] = {}
    for ref in refs:
        manifest = kept_rewrites(home, ref, where)
        source = source_of(manifest)
        if source is None or source["ref"] not in {c.ref for c in corpora}:
            made = f"documents {source['ref']}" if source else "no documents"
            raise UserError(f"rewrites {ref} were made from {made}, and cannot be put into other documents",
                            where=where, numbers=["documents of the pool: " + ", ".join(c.ref for c in corpora)],
                            do="leave out `documents` for a pool whose items are the rewrites")  # fmt: skip
        documents = home.find("documents", source["ref"])
        if documents.fingerprint != source["fingerprint"]:
            raise UserError(f"documents {documents.ref} were made anew since rewrites {ref} were made from them",
                            where=where, do="rewrite them again, under a new version")  # fmt: skip
        found.setdefault(documents.ref, []).append(manifest)
    return found
