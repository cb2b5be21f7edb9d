"""How a pool recipe becomes a pool: decide, tokenize, pack, write, and count that nothing disappeared.

    documents, scores, hits --conditions--> decisions --tokenizer--> kept, heldout --packing--> NAME, NAME-heldout
    rewrites, checks ---------+

A recipe makes two pools: NAME, and NAME-heldout of the share of texts that no mix may train on. Every document
considered has a row in `decisions-NNNNN.parquet`, with its token count whether kept or not. Files depend on the input
alone, never on the number of workers or on how often a build was interrupted.

A recipe with `rewrites` and no `documents` makes a pool whose items are accepted rewrites; one with both puts accepted
rewrites into the documents (mixes/rewrites.py), and `edits-NNNNN.parquet` says which tokens each of them wrote. A
tagged pool (mixes/tagging.py) holds single tokens between those of its texts; its held-out pool never does.

Not covered: copies in another corpus that are not equal to the character.
"""

from __future__ import annotations

import itertools
import multiprocessing
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaven.edits import EDITS_VERSION
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest, Output, canonical, fingerprint, output
from leaven.masking import MASKING_VERSION, PLACEHOLDERS
from leaven.packing import PACKING_VERSION, WINDOW
from leaven.recipe import REQUIRED, Recipe, read_recipe
from leaven.shards import LAYOUT_VERSION, ROW_GROUP
from leaven.sink import disk_errors
from leaven.tokens import TOKENS_VERSION, Tokenizer
from mixes.deciding import part_path
from mixes.edits import LEFT, add_authors
from mixes.heldout import deciding_hashes, is_heldout
from mixes.rewrites import find_rewrites, select_rewrites
from mixes.select import Selection, select, spans_beside
from mixes.sequences import write_left, write_part
from mixes.tagging import COUNTED, Sources, Tagging, find_sources, read_tags
from mixes.tokenizing import SIDES, Part, Pool, decisions_path, edits_path, tokenize_part

POOLS_VERSION = "1"
MASKED_BY = "pii"  # the scorer whose spans `mask` names
STAGES = {"pools": POOLS_VERSION, "tokens": TOKENS_VERSION, "packing": PACKING_VERSION, "layout": str(LAYOUT_VERSION)}
KEYS: dict[str, Any] = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "documents": ((str, list), None),  # one reference or several
    "rewrites": ((str, list), None),  # the same: put into the documents, or without any documents the pool's own items
    "tokenizer": (str, REQUIRED),  # path from the recipe's folder, or a Hub name in the local cache
    "sequence_length": (int, REQUIRED),  # tokens
    "heldout_share": ((Decimal, int), Decimal(0)),
    "keep": (dict, {}),  # name -> condition, in order
    "mask": (list, []),  # kinds of spans of the scorer `pii` that are replaced by values that are nobody's
    "tags": (dict, None),  # single tokens before segments and inside flagged spans; keys in mixes/tagging.py
    "scores": (list, []),  # scorer@version or list@version to use instead of the newest
}
Progress = Callable[[str], None] | None


@dataclass(frozen=True)
class _Material:
    """What a pool is made of. `plain` are the inputs of the held-out pool, which is never tagged."""

    selection: Selection
    plain: list[dict]
    item: str  # kind of its items: document or rewrite
    spans: dict[str, Manifest]  # corpus -> what `mask` replaces in it
    tags: Tagging | None
    sources: dict[str, Sources]  # corpus -> where its tags stand
    rewrites: dict[str, list[Manifest]]  # corpus -> what is put into it

    @property
    def edited(self) -> bool:
        return self.item == "rewrite" or bool(self.rewrites)

    @property
    def stages(self) -> dict[str, str]:
        return STAGES | ({"edits": EDITS_VERSION} if self.edited else {})

    def parts(self, threads: int) -> Iterator[Part]:
        for number, decided in enumerate(self.selection.decide(threads=threads)):
            ref, path = decided.documents, decided.path
            spans = part_path(self.spans[ref].folder, decided.part) if self.spans else None
            tags = self.sources[ref].part(decided.part) if self.tags else None
            beside = [(m.ref, part_path(m.folder, decided.part)) for m in self.rewrites.get(ref, [])]
            rewrites = tuple((r, p) for r, p in beside if p.is_file())
            yield Part(number, ref, path, decided.table, decided.duplicates, spans, tags, rewrites)


def build_pool(
    recipe_path: str | Path,
    home: Home,
    *,
    workers: int = 1,
    fresh: bool = False,
    dry_run: bool = False,
    progress: Progress = None,
) -> list[Manifest]:
    """Build the pool of a recipe and, with a `heldout_share`, its held-out pool; their manifests in that order.

    Up to date: returns the manifests, touches nothing. `dry_run` decides and counts documents, tokenizes and writes
    nothing. Raises UserError: a recipe, condition, reference or tokenizer that will not do, conditions that keep no
    document, too little text for one sequence, a full disk.
    """
    recipe = read_recipe(recipe_path, KEYS)
    share = _check(recipe)
    tags = read_tags(recipe, home)
    tokenizer = Tokenizer.load(_tokenizer_path(recipe), where=recipe.where("tokenizer"))
    made_of = _material(recipe, home, tags, share)
    if dry_run:
        return [_dry_run(recipe, home, made_of, tokenizer, share)]
    with disk_errors(home.path), ExitStack() as stack:
        # the held-out pool takes its final name first, so that where a pool stands its held-out share does too
        outs = {
            side: stack.enter_context(
                output(
                    home.folder("pools", f"{recipe['name']}{suffix}@{recipe['version']}"),
                    kind="pools",
                    name=recipe["name"] + suffix,
                    version=recipe["version"],
                    meaning=_meaning(recipe, made_of, tokenizer, share, heldout=side == "heldout"),
                    inputs=made_of.selection.inputs if side == "kept" else made_of.plain,
                    stages=made_of.stages,
                    fresh=fresh,
                )
            )
            for side, suffix in zip(SIDES, ("", "-heldout"))
            if side == "kept" or share
        }
        if not all(out.up_to_date for out in outs.values()):
            _build(recipe, home, made_of, tokenizer, share, outs, workers, fresh, progress)
    return [out.manifest for out in outs.values() if out.manifest]


def _check(recipe: Recipe) -> Fraction:
    """Refuse values that cannot be; returns the held-out share."""
    share = Fraction(recipe["heldout_share"])
    if not 0 <= share < 1:
        raise UserError(f"heldout_share is {share}, not a share in [0, 1)", where=recipe.where("heldout_share"))
    if not 2 <= recipe["sequence_length"] <= 1 << 20:
        raise UserError(f"sequence_length is {recipe['sequence_length']}, not 2 to {1 << 20} tokens",
                        where=recipe.where("sequence_length"))  # fmt: skip
    if recipe["name"].endswith("-heldout"):
        raise UserError("a pool's name cannot end in -heldout: held-out shares have it", where=recipe.where("name"))
    for key in ("documents", "rewrites"):
        refs = _refs(recipe, key)
        strings = all(isinstance(r, str) and r for r in refs)
        if recipe[key] is not None and (not refs or not strings or len(set(refs)) < len(refs)):
            raise UserError(f"{key} must be name@version, or several different ones", where=recipe.where(key))
    if not _refs(recipe, "documents") and not _refs(recipe, "rewrites"):
        raise UserError("the recipe lacks 'documents'", where=str(recipe.path or "recipe"),
                        do='add a line above the first [table]: documents = "...", or rewrites = "..."')  # fmt: skip
    if not all(isinstance(pin, str) and "@" in pin for pin in recipe["scores"]):
        raise UserError("scores pins versions, each as name@version", where=recipe.where("scores"))
    if wrong := [k for k in recipe["mask"] if not isinstance(k, str) or k not in PLACEHOLDERS]:
        raise UserError(f"'{wrong[0]}' is no kind that can be masked", where=recipe.where("mask"),
                        numbers=["kinds: " + ", ".join(PLACEHOLDERS)])  # fmt: skip
    if _refs(recipe, "rewrites"):
        if recipe["mask"]:
            raise UserError("a pool with rewrites cannot mask: no one looked for personal data in what was rewritten",
                            where=recipe.where("mask"))  # fmt: skip
        if recipe["tags"] is not None:
            raise UserError("a pool with rewrites cannot have tags: they go by segments and hits of the texts as found",
                            where=recipe.where("tags"))  # fmt: skip
        if recipe["scores"] and not _refs(recipe, "documents"):
            raise UserError("a pool of rewrites has no scores to pin", where=recipe.where("scores"))
    return share


def _refs(recipe: Recipe, key: str) -> list[str]:
    """The references under `documents` or `rewrites`, which may be one or several."""
    value = recipe[key]
    return value if isinstance(value, list) else [] if value is None else [value]


def _material(recipe: Recipe, home: Home, tags: Tagging | None, share: Fraction) -> _Material:
    """Find what the recipe names and bind its conditions to it."""
    names, rewrites = _refs(recipe, "documents"), _refs(recipe, "rewrites")
    where = lambda key: recipe.where(key, "keep")  # noqa: E731
    if not names:
        selection = select_rewrites(home, rewrites, recipe["keep"], where=where, named_at=recipe.where("rewrites"),
                                    heldout=bool(share))  # fmt: skip
        return _Material(selection, selection.inputs, "rewrite", {}, None, {}, {})
    selection = select(home, names, recipe["keep"], where=where, pins=recipe["scores"], heldout=bool(share))
    corpora = selection.corpora
    spans = {
        c.ref: spans_beside(home, c.ref, MASKED_BY, recipe["scores"], recipe.where("mask"))
        for c in (corpora if recipe["mask"] else ())
    }
    put = find_rewrites(home, rewrites, corpora, recipe.where("rewrites"))
    more = [*spans.values()] + [m for found in put.values() for m in found]
    plain = [*selection.inputs, *(m.as_input() for m in more)]
    sources = {c.ref: find_sources(home, c.ref, tags, recipe["scores"], recipe) for c in corpora if tags}
    beside = [m.as_input() for found in sources.values() for m in found.manifests]
    selection = replace(selection, inputs=[*plain, *(i for i in beside if i not in plain)])
    return _Material(selection, plain, "document", spans, tags, sources, put)


def _tokenizer_path(recipe: Recipe) -> str:
    beside = (recipe.path.parent if recipe.path else Path()) / recipe["tokenizer"]
    return str(beside) if beside.exists() else recipe["tokenizer"]


def _meaning(recipe: Recipe, made_of: _Material, tokenizer: Tokenizer, share: Fraction, heldout: bool) -> dict:
    rewrites = {"rewrites": _refs(recipe, "rewrites"), "item": made_of.item} if made_of.edited else {}
    return {
        "keep": made_of.selection.meaning,
        "tokenizer": tokenizer.sha256,
        "sequence_length": recipe["sequence_length"],
        "heldout_share": share,
        "heldout": heldout,
        "window": WINDOW,
        **({"mask": sorted(set(recipe["mask"])), "masking": MASKING_VERSION} if recipe["mask"] else {}),
        **({"tags": made_of.tags.meaning} if made_of.tags and not heldout else {}),
        **rewrites,
    }


def _build(
    recipe: Recipe, home: Home, made_of: _Material, tokenizer: Tokenizer, share: Fraction, outs: dict[str, Output],
    workers: int, fresh: bool, progress: Progress,
) -> None:  # fmt: skip
    say = progress or (lambda line: None)
    scratch = home.scratch / ("pool-" + outs["kept"].folder.name.removeprefix(".partial-"))
    if scratch.exists() and (fresh or recipe["version"] == "dev"):
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    _sweep(home, str(recipe.ref), scratch)
    length, tags = recipe["sequence_length"], made_of.tags
    parts = list(range(len(made_of.selection.parts)))
    say(f"tokenizing {len(parts)} parts of {made_of.item}s")
    pool = Pool(
        recipe["name"],
        recipe["version"],
        tokenizer.path,
        tokenizer.sha256,
        tokenizer.eot,
        length,
        share,
        scratch,
        made_of.item,
        made_of.edited,
        tuple(sorted(set(recipe["mask"]))),
        tags,
    )
    with ExitStack() as stack:
        executor = None
        if workers > 1:
            executor = stack.enter_context(ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")))
        jobs = ((pool, part, None if executor else tokenizer) for part in made_of.parts(workers))
        counted = []
        for counts in _run(executor, workers, tokenize_part, jobs):
            counted.append(counts)
            say(f"tokenized part {len(counted)} of {len(parts)}")
        totals = _add(counted, [c.name for c in made_of.selection.conditions])
        _refuse_empty(totals, recipe, length, made_of.item)
        if tags:
            totals["tags"] = _add_tags([c["tags"] for c in counted], tags)
        authors = add_authors(counted, {side: totals[f"tokens_{side}"] for side in SIDES}) if made_of.edited else {}
        if made_of.rewrites:
            totals |= _account(counted, authors["kept"])
        for side, out in outs.items():
            if out.up_to_date:
                continue
            rows = [counts[f"tokens_{side}"] // length for counts in counted]
            firsts = [0, *itertools.accumulate(rows)]
            meaning = _meaning(recipe, made_of, tokenizer, share, side == "heldout")
            footer = {
                "kind": "pool", "pool": f"{recipe['name']}@{recipe['version']}", "tokenizer": tokenizer.sha256,
                "vocab_size": tokenizer.vocab_size, "eot": tokenizer.eot, "sequence_length": length,
                "meaning": fingerprint(canonical(meaning)),
            }  # fmt: skip
            written, lefts = [], []
            tasks = (
                (pool, number, side, out.folder, firsts[number], rows[number], tokenizer.token_bytes, footer)
                for number in parts
            )
            for done, left in _run(executor, workers, write_part, tasks):
                written.append(done)
                lefts.append(left)
                say(f"packed part {len(written)} of {len(parts)} ({side})")
            last, dropped = write_left(
                pool, len(parts), side, out.folder, firsts[-1], lefts, tokenizer.token_bytes, footer
            )
            written.append(last)
            sequences = sum(w.rows for w in written)
            if totals[f"tokens_{side}"] != sequences * length + dropped or dropped >= length:
                raise AssertionError(f"tokens do not add up: {totals} and {sequences} sequences, {dropped} dropped")
            out.known_sha256 |= {w.name: w.sha256 for w in written if w.sha256}
            out.counts |= _side_counts(totals, side) | ({"rewrites": authors[side]} if authors else {})
            out.counts |= {
                "sequences": sequences,
                "tokens_dropped_tail": dropped,
                "documents_cut": sum(w.documents_cut for w in written),
                "pieces": sum(w.pieces for w in written),
            }
            out.extra |= {
                "tokenizer": tokenizer.sha256,
                "tokenizer_path": "tokenizer.json",  # in the pool's own folder
                "conditions": made_of.selection.described,
                "vocab_size": tokenizer.vocab_size,
                "eot": tokenizer.eot,
                "sequence_length": length,
                "heldout": side == "heldout",
                "rows_per_part": [w.rows for w in written if w.rows],
                "row_group": ROW_GROUP,
                "window_tokens": WINDOW,
            }
            (out.folder / "tokenizer.json").write_bytes(tokenizer.data)
            if side == "kept":
                for number in parts:
                    shutil.copyfile(decisions_path(pool, number), out.folder / f"decisions-{number:05d}.parquet")
                    if made_of.edited:
                        shutil.copyfile(edits_path(pool, number), out.folder / f"edits-{number:05d}.parquet")
    shutil.rmtree(scratch)


def _sweep(home: Home, ref: str, mine: Path) -> None:
    """Remove the scratch of broken-off builds of other recipes: no unfinished output stands that it belongs to."""
    for left in home.scratch.glob(f"pool-{ref}-*"):
        print_ = left.name.removeprefix(f"pool-{ref}-")
        ours = re.fullmatch("[0-9a-f]{12}", print_) and left != mine
        if ours and not (home.folder("pools", ref).parent / f".partial-{ref}-{print_}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _run(executor: ProcessPoolExecutor | None, workers: int, job: Callable, tasks: Iterable[tuple]) -> Iterator[Any]:
    """Results in the order of the tasks; a few tasks ahead, so that neither tasks nor results pile up."""
    if executor is None:
        yield from itertools.starmap(job, tasks)
        return
    ahead: list[Future] = []
    try:
        for task in tasks:
            with _deaf():
                ahead.append(executor.submit(job, *task))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        while ahead:
            yield ahead.pop(0).result()
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for future in ahead:
            future.cancel()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start within do not hear Ctrl-C: their parent does, and ends them without a word from each."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _add(counted: list[dict], keep: list[str]) -> dict:
    """Sum the parts' counts; conditions in the recipe's order."""
    totals: dict = {}
    for key in (
        "documents_considered",
        "tokens_removed",
        *(f"{k}_{s}" for k in ("documents", "tokens") for s in SIDES),
    ):
        totals[key] = sum(c[key] for c in counted)
    for key in ("removed", "removed_only"):
        totals[key] = {name: sum(c[key].get(name, 0) for c in counted) for name in keep}
    considered = totals["documents_kept"] + totals["documents_heldout"] + sum(totals["removed"].values())
    if considered != totals["documents_considered"]:
        raise AssertionError(f"documents do not add up: {totals}")
    return totals


def _add_tags(counted: list[dict[str, int]], tags: Tagging) -> dict:
    """Sum the parts' counts of tags: every segment has its tag, lost it to the share, or has a reason for none."""
    totals = {key: sum(c[key] for c in counted) for key in COUNTED}
    tagged = {c.name: sum(n[c.name] for n in counted) for c in tags.segments}
    if totals["segments"] != sum(tagged.values()) + totals["untagged"] + totals["without"] + totals["unplaced"]:
        raise AssertionError(f"segments do not add up: {totals}, tagged {tagged}")
    return totals | {"tagged": tagged}


def _account(counted: list[dict], authors: list[dict[str, Any]]) -> dict:
    """What became of the rewrites of a pool's documents, and the tokens that were taken out, put in and left."""
    of = lambda operation, key: sum(a[key] for a in authors if a["operation"] == operation)  # noqa: E731
    return {
        "rewrites_left": {why: sum(c.get("rewrites_left", {}).get(why, 0) for c in counted) for why in LEFT},
        "tokens_original": of("original", "tokens_out"),
        "tokens_replaced": of("replace", "tokens_in"),
        "tokens_rewritten": of("replace", "tokens_out"),
        "tokens_appended": of("append", "tokens_out"),
    }


def _side_counts(totals: dict, side: str) -> dict:
    """The counts of one of the two pools, in which `kept` is what that pool itself holds."""
    if side == "kept":
        return dict(totals)
    return {
        "documents_considered": totals["documents_considered"],
        "documents_kept": totals["documents_heldout"],
        "tokens_kept": totals["tokens_heldout"],
    }


def _refuse_empty(totals: dict, recipe: Recipe, length: int, item: str) -> None:
    funnel = [f"{totals['documents_considered']:>9,} {item}s considered"]
    funnel += [f"{-n:>9,} failed {name} first" for name, n in totals["removed"].items()]
    funnel += [f"{-totals['documents_heldout']:>9,} held out", f"{totals['documents_kept']:>9,} kept"]
    where = f"{recipe.path} (keep)" if recipe.path else "recipe (keep)"
    if not totals["documents_kept"]:
        raise UserError(
            f"the pool {recipe.ref} would be empty: no {item} is kept",
            where=where, numbers=funnel, do=f"loosen a condition of [keep], or name other {item}s",
        )  # fmt: skip
    if totals["tokens_kept"] < length:
        raise UserError(
            f"the pool {recipe.ref} would be empty: {totals['tokens_kept']:,} tokens fill no sequence of {length:,}",
            where=where, numbers=funnel, do=f"loosen a condition, add {item}s, or lower sequence_length",
        )  # fmt: skip


def _dry_run(recipe: Recipe, home: Home, made_of: _Material, tokenizer: Tokenizer, share: Fraction) -> Manifest:
    """The manifest that would be, with documents counted and nothing tokenized or written."""
    counted = []
    for decided in made_of.selection.decide():
        kept = decided.table.column("kept").to_pylist()
        hashes = deciding_hashes(decided.path, made_of.item, decided.duplicates)
        failed = [f for f in decided.table.column("failed").to_pylist() if f]
        held = sum(k and is_heldout(h, share) for k, h in zip(kept, hashes))
        counted.append(
            {"documents_considered": len(kept), "documents_kept": sum(kept) - held, "documents_heldout": held}
            | {"tokens_removed": 0, "tokens_kept": 0, "tokens_heldout": 0}
            | {"removed": _tally(f[0] for f in failed), "removed_only": _tally(f[0] for f in failed if len(f) == 1)}
        )
    names = [c.name for c in made_of.selection.conditions]
    totals = {k: v for k, v in _add(counted, names).items() if not k.startswith("tokens")}
    meaning = canonical(_meaning(recipe, made_of, tokenizer, share, heldout=False))
    inputs, stages = canonical(made_of.selection.inputs), canonical(made_of.stages)
    return Manifest(
        kind="pools", name=recipe["name"], version=recipe["version"], parts=[], meaning=meaning, inputs=inputs,
        fingerprint=fingerprint({"kind": "pools", "meaning": meaning, "inputs": inputs, "stages": stages}),
        stages=stages, counts=totals, folder=home.folder("pools", recipe.ref),
    )  # fmt: skip


def _tally(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found
