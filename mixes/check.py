"""Whether a built mix is what its recipe says, down to the token; everything that is not is named.

    manifest   its recipe, inputs and stages give its fingerprint; its plan and counts are those recomputed from them
    files      every shard is there and none beside; sizes, SHA-256s, and the one digest that the build printed
    counts     recounted by SQL over the shards, phase by phase and component by component
    teachers   tokens that each wrote, by SQL over the shards and the pools' edits, against the recipe's limits
    rows       each stands in the seat that the recipe gives it, and equals its pool row, tokens and lineage

Rows: all of them with `deep`, else 1,000 drawn by the fingerprint, and in either case all rows of a shard whose
SHA-256 is wrong. Whatever looks damaged is read in a process of its own, so that a corrupt file cannot end the check.

Not covered: whether the pools are what their own recipes say (a pool's manifest and checksums are taken as they are).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from leaven.errors import UserError
from leaven.home import Home, parse_ref
from leaven.manifest import MANIFEST, Manifest, file_sha256, fingerprint, read_manifest
from leaven.shuffle import PoolOrder
from mixes.build import digest as digest_of
from mixes.compare import compare_shard, recount
from mixes.gather import Gatherer
from mixes.plan import STAGES, Plan, PlannedPool, planned_pool
from mixes.recipes import MixRecipe, mix_recipe
from mixes.replace import uses_of
from mixes.teachers import count_teachers, passed_limits

SAMPLE = 1000
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@dataclass
class CheckReport:
    """What a check found; `rows` has one dict a phase and component, with what was planned beside what is written.

    `sequence_share` and `loss_share` are of the phase, by the recount; both and `written` are None where no shard
    could be counted; `by TEACHER` is the share of the phase's tokens, counted too. `compared` rows were compared with
    their pools.
    """

    ref: str
    seed: int
    digest: str
    findings: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    sequences: int = 0
    compared: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings


def check_mix(
    home: Home,
    ref: str,
    seed: int | None = None,
    deep: bool = False,
    digest: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Check mixes/REF/seed-SEED (`seed` may be left out where one was built); never raises for what is in its files.

    `digest` is what the build printed: with it, not even a rewritten manifest can hide a change. Raises UserError where
    there is no such mix.
    """
    say = progress or (lambda line: None)
    folder, seed = _folder(home, ref, seed)
    report = CheckReport(ref, seed, "")
    try:
        manifest = _well_formed(read_manifest(folder))
        plan = _plan(manifest, home, report)
        sound = _files(manifest, plan, report, digest, say)
    except UserError as error:
        report.findings.append(f"{MANIFEST}: {error.what}")
        return report
    except MALFORMED as error:
        report.findings.append(f"{MANIFEST} is malformed: {type(error).__name__} {error}")
        return report
    report.sequences = plan.recipe.sequences
    wanted = _sample(plan, manifest.fingerprint, deep, sound)
    here = [s for s in wanted if (folder / plan.shard_name(s)).is_file()]
    readable: list[Path] = []
    suspect = not all(sound.values()) or bool(digest and _same(digest) != report.digest)
    gatherer = None if suspect else Gatherer(plan)  # a child process makes its own
    doubted = False
    with _Reader(alone=suspect) as reader:
        for shard in here:
            name = plan.shard_name(shard)
            found = reader.call(compare_shard, plan, shard, folder / name, wanted[shard], gatherer)
            if isinstance(found, str):
                report.findings.append(f"{name}: {found}")
                continue
            report.compared += found.compared
            readable += [folder / name] * found.readable
            report.findings += [f for f in found.findings if f not in report.findings]
            doubted |= sound[shard] and bool(found.differ)
            say(f"compared {name}")
        everything = [p for s in range(plan.shards) if (p := folder / plan.shard_name(s)).is_file()]
        unread = {folder / plan.shard_name(s) for s in here} - set(readable)
        countable = [p for p in everything if p not in unread]
        counted = reader.call(recount, countable, plan.recipe.sequence_length)
        edits = _edits(plan, home, report)
        taught = reader.call(count_teachers, countable, edits, plan.recipe.sequence_length)
    if isinstance(counted, str):
        report.findings.append(f"the shards cannot be counted: {counted}")
    else:
        _counts(plan, manifest, counted, report)
    _teachers(plan, taught, report)
    if doubted:
        report.findings += _changed_pools(plan, home)
    return report


def _folder(home: Home, ref: str, seed: int | None) -> tuple[Path, int]:
    name = parse_ref(ref)
    built = home.folder("mixes", name)
    seeds = sorted(int(p.parent.name[5:]) for p in built.glob(f"seed-*/{MANIFEST}") if p.parent.name[5:].isdigit())
    if seed is None and len(seeds) > 1:
        raise UserError(
            f"the mix {ref} was built with {len(seeds)} seeds",
            numbers=["seeds: " + ", ".join(map(str, seeds))],
            do=f"leaven check {ref} --seed {seeds[0]}",
        )
    seed = seeds[0] if seed is None and seeds else seed
    if seed is None or not (built / f"seed-{seed}" / MANIFEST).is_file():
        if seeds:
            raise UserError(f"the mix {ref} was not built with seed {seed}", numbers=[f"seeds: {seeds}"])
        home.find("mixes", name)  # says what there is
        raise UserError(f"the mix {ref} was never finished", where=str(built), do="leaven build RECIPE.toml")
    return built / f"seed-{seed}", seed


def _well_formed(manifest: Manifest) -> Manifest:
    """The manifest, if every field that is used has its type; raises TypeError."""
    for name in ("meaning", "stages", "counts", "extra"):
        _typed(name, getattr(manifest, name), dict)
    for name, keys in (("inputs", ("ref", "fingerprint")), ("files", ("path", "sha256"))):
        for entry in _typed(name, getattr(manifest, name), list):
            for key in keys:
                _typed(key, entry[key], str)
    for entry in manifest.files:
        _typed("bytes", entry["bytes"], int)
    return manifest


def _typed(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"'{name}' is not a {kind.__name__}")
    return value


def _plan(manifest: Manifest, home: Home, report: CheckReport) -> Plan:
    """The plan recomputed from the recipe that the manifest states; what the manifest states wrongly is a finding."""
    add = report.findings.append
    stated = {"kind": manifest.kind, "meaning": manifest.meaning, "inputs": manifest.inputs, "stages": manifest.stages}
    if (print_ := fingerprint(stated)) != manifest.fingerprint:
        add(f"{MANIFEST}: its recipe, inputs or stages were edited: they give the fingerprint {print_}, "
            f"and it states {manifest.fingerprint}")  # fmt: skip
    if manifest.stages != STAGES:
        add(f"{MANIFEST}: made by other stages, {manifest.stages}; this Leaven has {STAGES} and may order otherwise")
    meaning = manifest.meaning
    if (
        where := f"{meaning['name']}@{meaning['version']} seed {meaning['seed']}"
    ) != f"{report.ref} seed {report.seed}":
        add(f"{MANIFEST}: it describes {where}, and lies where {report.ref} seed {report.seed} belongs")
    values = {k: v for k, v in meaning.items() if k not in ("phases", "teachers")} | {"phase": meaning["phases"]}
    recipe = mix_recipe(values | ({"limits": {"teachers": meaning["teachers"]}} if "teachers" in meaning else {}))
    extra, pools = manifest.extra, {}
    uses = uses_of(recipe, {c: int(p["rows"]) for c, p in extra["plan"]["pools"].items()})
    prints = {i["ref"]: i["fingerprint"] for i in manifest.inputs}
    for component, ref in recipe.pools.items():
        pools[component] = _pool(
            home, component, str(ref), prints[str(ref)], recipe, uses.get(component, 0), extra, add
        )
    plan = Plan(recipe, recipe.seed, meaning["tokenizer"], extra["vocab_size"], extra["eot"], pools, manifest.inputs)
    told = ("tokenizer", "sequence_length", "batch", "seed")
    for key, value in [(k, meaning[k]) for k in told] + [("plan", plan.to_json())]:
        if extra.get(key) != value:
            add(f"{MANIFEST}: '{key}' was edited: it is not what the recipe in it gives")
    return plan


def _pool(
    home: Home, component: str, ref: str, print_: str, recipe: MixRecipe, uses: int, extra: dict, add: Callable
) -> PlannedPool:
    """The pool as the mix saw it; a pool that is gone or another keeps its stated number of rows."""
    try:
        manifest = home.find("pools", ref)
        pool = planned_pool(component, manifest, recipe, recipe.seed, uses, "")
        if pool.fingerprint == print_:
            return pool
        add(f"pool {ref} is not the one that the mix was made from: fingerprint {pool.fingerprint}, not {print_}")
    except UserError as error:
        add(f"pool {ref} cannot be compared with: {error.what}")
        pool = None
    rows = int(extra["plan"]["pools"][component]["rows"])
    order = PoolOrder.of_pool(recipe.seed, print_, rows, recipe.sequence_length)
    if pool and pool.rows == rows:
        return replace(pool, fingerprint=print_, order=order)
    at, ends = np.array([0]), np.array([0, rows])
    return PlannedPool(component, ref, print_, home.folder("pools", ref), rows, at, ends, None, uses, order)


def _files(
    manifest: Manifest, plan: Plan, report: CheckReport, digest: str | None, say: Callable[[str], None]
) -> dict[int, bool]:
    """Files against the manifest and the digest; for each shard whether its bytes are those of the manifest."""
    add, folder = report.findings.append, manifest.folder
    listed = {f["path"]: f for f in manifest.files}
    names = {plan.shard_name(s): s for s in range(plan.shards)}
    for name in sorted(names.keys() - listed.keys()):
        add(f"{MANIFEST}: it does not list {name}")
    for name in sorted(listed.keys() - names.keys()):
        add(f"{MANIFEST}: it lists {name}, which the plan has not")
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    for name in sorted(present - names.keys() - {MANIFEST}):
        add(f"{name}: it is not part of the mix")
    sound, found = {}, []
    for name, shard in names.items():
        want = listed.get(name, {})
        sound[shard] = False
        if name not in present:
            add(f"{name}: the shard is missing")
            continue
        size = (folder / name).stat().st_size
        found.append(file_sha256(folder / name))
        sound[shard] = found[-1] == want.get("sha256")
        if want and size != want["bytes"]:
            add(f"{name}: it has {size:,} bytes, not {want['bytes']:,}")
        if want and not sound[shard]:
            add(f"{name}: its SHA-256 is {found[-1][:16]}..., not {str(want['sha256'])[:16]}...")
        say(f"hashed {name}")
    report.digest = digest_of(found)
    if manifest.extra.get("digest") != digest_of(str(f["sha256"]) for f in manifest.files):
        add(f"{MANIFEST}: its digest is not that of the SHA-256s it lists")
    if digest and _same(digest) != report.digest:
        add(f"the digest of the shards is {report.digest}, not {digest.strip()}, the one given")
    return sound


def _same(digest: str) -> str:
    return digest.strip().lower()


def _sample(plan: Plan, print_: str, deep: bool, sound: dict[int, bool]) -> dict[int, np.ndarray | None]:
    """Rows to compare, by shard; None stands for all of them."""
    total = plan.recipe.sequences
    if deep or total <= SAMPLE:
        return dict.fromkeys(range(plan.shards))
    drawn = np.sort(np.random.default_rng(list(str(print_).encode())).choice(total, SAMPLE, replace=False))
    shards, rows = np.divmod(drawn, plan.shard_rows)
    wanted: dict[int, np.ndarray | None] = {int(s): rows[shards == s] for s in np.unique(shards)}
    return dict(sorted((wanted | {s: None for s, whole in sound.items() if not whole}).items()))


def _counts(plan: Plan, manifest: Manifest, counted: dict[str, Any], report: CheckReport) -> None:
    """The plan beside the recount; what differs is a finding."""
    add, written = report.findings.append, counted["written"]
    found = {(r["phase"], r["component"], r["pool"]): r for r in written}
    phases: dict[str, list[int]] = {}
    for r in written:
        total = phases.setdefault(r["phase"], [0, 0])
        total[0] += r["written"]
        total[1] += r["loss_tokens"] or 0
    for row in plan.rows():
        key = (row["phase"], row["component"], row["pool"])
        here = found.pop(key, None) or {"written": 0, "loss_tokens": 0}
        sequences, loss = phases.get(row["phase"], [0, 0])
        report.rows.append(
            {k: row[k] for k in ("phase", "component", "pool", "ratio", "planned", "replaced") if k in row}
            | {
                "written": here["written"],
                "sequence_share": here["written"] / sequences if sequences else None,
                "loss_share": (here["loss_tokens"] or 0) / loss if loss else None,
            }
        )
        if here["written"] != row["planned"]:
            add(
                f"phase {key[0]}, component {key[1]}: planned {row['planned']:,} sequences, written {here['written']:,}"
            )
    for phase, component, ref in found:
        add(f"phase {phase}, component {component}, pool {ref}: the shards hold it and the plan does not")
    seats = counted["seats"]
    if seats != {"rows": report.sequences, "distinct": report.sequences, "first": 0, "last": report.sequences - 1}:
        add(f"seats do not run from 0 to {report.sequences - 1:,}, each once: {seats}")
    if counted["loss_tokens_wrong"]:
        add(f"{counted['loss_tokens_wrong']:,} rows state loss_tokens that are not the length less the pieces")
    if manifest.counts.get("written") != written:
        add(f"{MANIFEST}: the counts it states are not those of the shards")
    totals = {"shards": plan.shards, "sequences": report.sequences,
              "tokens": report.sequences * plan.recipe.sequence_length}  # fmt: skip
    for name, number in totals.items():
        if manifest.counts.get(name) != number:
            add(f"{MANIFEST}: it counts {manifest.counts.get(name)} {name}, and there are {number:,}")


def _edits(plan: Plan, home: Home, report: CheckReport) -> dict[str, list[Path]]:
    """Pool -> its files that say who wrote what; one that is not what the pool's manifest says is a finding."""
    found: dict[str, list[Path]] = {}
    for pool in plan.pools.values():
        manifest = home.find("pools", pool.ref) if pool.teachers and pool.uses else None
        for file in manifest.files if manifest else []:
            if file["path"].startswith("edits-"):
                path = pool.folder / file["path"]
                if path.is_file() and file_sha256(path) == file["sha256"]:
                    found.setdefault(pool.ref, []).append(path)
                else:
                    report.findings.append(f"pool {pool.ref}: {file['path']} has changed since the pool was built")
    return found


def _teachers(plan: Plan, taught: list[dict[str, Any]] | str, report: CheckReport) -> None:
    """What each teacher wrote, beside the limits; passed limits are findings."""
    if isinstance(taught, str):
        report.findings.append(f"what teachers wrote cannot be counted: {taught}")
        return
    phases: dict[str, int] = {}
    for row in report.rows:
        phases[row["phase"]] = phases.get(row["phase"], 0) + row["written"] * plan.recipe.sequence_length
    for row in report.rows:
        mine = [t for t in taught if (t["phase"], t["component"]) == (row["phase"], row["component"])]
        for name in plan.teachers:
            wrote = sum(t["tokens"] for t in mine if name in ("*", t["teacher"]))
            row[f"by {name}"] = wrote / phases[row["phase"]] if phases[row["phase"]] else None
    report.findings += passed_limits(plan.recipe, taught, report.sequences * plan.recipe.sequence_length)


def _changed_pools(plan: Plan, home: Home) -> list[str]:
    """Parts of pools that are not what their manifests say: the other way for a row to differ from its pool."""
    found = []
    for pool in plan.pools.values():
        for file in home.find("pools", pool.ref).files if (pool.folder / MANIFEST).is_file() else []:
            path = pool.folder / file["path"]
            if not path.is_file() or file_sha256(path) != file["sha256"]:
                found.append(f"pool {pool.ref}: {file['path']} has changed since the pool was built")
    return found


class _Reader:
    """Calls functions here, or in a child process where the files are suspect; a child that dies is an answer."""

    def __init__(self, alone: bool):
        self.alone = alone
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.pool:
            self.pool.shutdown()

    def call(self, function: Callable, *args: Any) -> Any:
        """The result, or a line of text that says why there is none."""
        if not self.alone:
            return function(*args)
        self.pool = self.pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self.pool.submit(function, *args).result()
        except BrokenProcessPool:
            self.pool = None
            return "reading it ends the reading process"
