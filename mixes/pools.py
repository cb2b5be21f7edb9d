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
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaven.edits import EDITS_VERSION
from leaven.home import Home
from leaven.manifest import Manifest, Output, canonical, fingerprint, output
from leaven.masking import MASKING_VERSION
from leaven.packing import PACKING_VERSION, WINDOW
from leaven.recipe import Recipe
from leaven.shards import LAYOUT_VERSION, ROW_GROUP
from leaven.sink import disk_errors
from leaven.tokens import TOKENS_VERSION, Tokenizer
from mixes.edits import add_authors
from mixes.heldout import deciding_hashes, is_heldout
from mixes.material import Material, find_material, read_pool_recipe, refs
from mixes.sequences import write_left, write_part
from mixes.tokenizing import SIDES, Pool, decisions_path, edits_path, tokenize_part
from mixes.totals import account, add, add_tags, refuse_empty, side_counts, tally

POOLS_VERSION = "1"
STAGES = {"pools": POOLS_VERSION, "tokens": TOKENS_VERSION, "packing": PACKING_VERSION, "layout": str(LAYOUT_VERSION)}
Progress = Callable[[str], None] | None


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
    recipe, share = read_pool_recipe(recipe_path)
    tokenizer = Tokenizer.load(_tokenizer_path(recipe), where=recipe.where("tokenizer"))
    made_of = find_material(recipe, home, share)
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
                    stages=_stages(made_of),
                    fresh=fresh,
                )
            )
            for side, suffix in zip(SIDES, ("", "-heldout"))
            if side == "kept" or share
        }
        if not all(out.up_to_date for out in outs.values()):
            _build(recipe, home, made_of, tokenizer, share, outs, workers, fresh, progress)
    return [out.manifest for out in outs.values() if out.manifest]


def _stages(made_of: Material) -> dict[str, str]:
    return STAGES | ({"edits": EDITS_VERSION} if made_of.edited else {})


def _tokenizer_path(recipe: Recipe) -> str:
    beside = (recipe.path.parent if recipe.path else Path()) / recipe["tokenizer"]
    return str(beside) if beside.exists() else recipe["tokenizer"]


def _meaning(recipe: Recipe, made_of: Material, tokenizer: Tokenizer, share: Fraction, heldout: bool) -> dict:
    rewrites = {"rewrites": refs(recipe, "rewrites"), "item": made_of.item} if made_of.edited else {}
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
    recipe: Recipe, home: Home, made_of: Material, tokenizer: Tokenizer, share: Fraction, outs: dict[str, Output],
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
        totals = add(counted, [c.name for c in made_of.selection.conditions])
        refuse_empty(totals, recipe, length, made_of.item)
        if tags:
            totals["tags"] = add_tags([c["tags"] for c in counted], tags)
        authors = add_authors(counted, {side: totals[f"tokens_{side}"] for side in SIDES}) if made_of.edited else {}
        if made_of.rewrites:
            totals |= account(counted, authors["kept"])
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
            out.counts |= side_counts(totals, side) | ({"rewrites": authors[side]} if authors else {})
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


def _dry_run(recipe: Recipe, home: Home, made_of: Material, tokenizer: Tokenizer, share: Fraction) -> Manifest:
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
            | {"removed": tally(f[0] for f in failed), "removed_only": tally(f[0] for f in failed if len(f) == 1)}
        )
    names = [c.name for c in made_of.selection.conditions]
    totals = {k: v for k, v in add(counted, names).items() if not k.startswith("tokens")}
    meaning = canonical(_meaning(recipe, made_of, tokenizer, share, heldout=False))
    inputs, stages = canonical(made_of.selection.inputs), canonical(_stages(made_of))
    return Manifest(
        kind="pools", name=recipe["name"], version=recipe["version"], parts=[], meaning=meaning, inputs=inputs,
        fingerprint=fingerprint({"kind": "pools", "meaning": meaning, "inputs": inputs, "stages": stages}),
        stages=stages, counts=totals, folder=home.folder("pools", recipe.ref),
    )  # fmt: skip
