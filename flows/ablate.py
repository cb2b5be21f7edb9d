"""A study from recipe to contrasts: build each arm's mix per seed, train, evaluate, compare.

    study recipe -> mixes (one an arm and seed) -> one job a seed -> python -m trainer.run -> evals -> contrasts.parquet

Everything of a study lies in studies/NAME@VERSION/, which takes that name when all runs are whole and verified. Until
then it is a hidden folder whose name carries the fingerprint, so running the same recipe again resumes in it: arms that
are done stay, others go on from their newest checkpoint. Contrasts belong to the recipe: what counts is named before it
runs, and any other comparison is a query over `evals`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows import contrasts as compare
from flows import questions as asking
from flows.arms import Mix, arm_mix, family_warnings, heldout_pools, pool_tokenizer, run_steps
from flows.contrasts import Contrast
from flows.jobs import run_jobs, turns
from flows.runs import drop_checkpoints, verify, write_manifests
from flows.studies import Study, read_study
from flows.tables import differences, levels
from leaven.errors import UserError
from leaven.home import Home, Ref
from leaven.manifest import Manifest, file_sha256, output
from trainer import VERSION as TRAINER

VERSION = "1"
Progress = Callable[[str], None] | None
UNCOUNTED = ("device", "threads", "compile", "log_every", "save_every", "keep")  # settings that change no result


@dataclass
class StudyResult:
    """What a study came to. `state` is `done`, `up to date` or `planned` (a dry run, without contrasts)."""

    ref: str
    state: str
    folder: Path
    warnings: list[str]
    plan: list[dict[str, Any]]
    contrasts: list[dict[str, Any]] = field(default_factory=list)
    manifest: Manifest | None = None

    def tables(self) -> list[tuple[list[str], list[list[Any]]]]:
        """Columns and rows to print: the plan of a dry run, else levels by arm and the contrasts."""
        if self.state == "planned":
            return [(list(self.plan[0]), [list(p.values()) for p in self.plan])]
        return [levels(self.contrasts), differences(self.contrasts)]


def ablate(
    recipe: str | Path,
    home: Home,
    workers: int = 2,
    fresh: bool = False,
    dry_run: bool = False,
    progress: Progress = None,
) -> StudyResult:
    """Run a study to its contrasts; `workers` seeds train at a time, one thread each.

    Raises UserError for whatever is wrong in the recipe, its mixes or its questions before any work starts, and
    DriftError where this name@version was run from another recipe.
    """
    say = progress or (lambda line: None)
    study = read_study(recipe)
    mixes = {arm: arm_mix(home, study, spec.mix, arm) for arm, spec in study.arms.items()}
    trunk = arm_mix(home, study, study.trunk, "trunk") if study.trunk else None
    taught = family_warnings(home, study, {**mixes, **({"trunk": trunk} if trunk else {})})
    study = replace(study, warnings=[*study.warnings, *taught])
    steps, branch_at = run_steps(study, mixes, trunk)
    heldout = heldout_pools(home, study, mixes)
    folder = home.folder("studies", Ref(study.name, study.version))
    plan = [
        {"arm": arm, "mix": str(m.ref), "sequences": m.sequences, "steps": steps, "seeds": len(study.seeds),
         "tokens a run": m.sequences * m.sequence_length, "built": len(m.built)}
        for arm, m in mixes.items()
    ]  # fmt: skip
    ref = f"{study.name}@{study.version}"
    tokenizer = pool_tokenizer(home, next(iter(next(iter(mixes.values())).pools.values())))
    table, asked = asking.tokenize_questions(study.questions, tokenizer)
    primary = _measured(study, heldout, table)
    if dry_run:
        return StudyResult(ref, "planned", folder, study.warnings, plan)

    built = _build(home, study, {**mixes, **({"trunk": trunk} if trunk else {})}, workers, say)
    files = [{"kind": "file", "ref": ref, "fingerprint": file_sha256(p)} for p, ref in _apart(study.questions).items()]
    inputs = [*(m.as_input() for m in built.values()), *(m.as_input() for m in heldout.values()), *files]
    with output(
        folder, kind="studies", name=study.name, version=study.version, fresh=fresh, inputs=_once(inputs),
        meaning=_meaning(study, mixes, trunk, steps, heldout),
        stages={"ablate": VERSION, "contrasts": compare.VERSION, "questions": asking.VERSION,
                "trainer": TRAINER},
    ) as out:  # fmt: skip
        if out.up_to_date:
            rows = pq.read_table(folder / "contrasts.parquet").to_pylist()
            return StudyResult(ref, "up to date", folder, study.warnings, plan, rows, out.up_to_date)
        np.save(out.folder / "token_bytes.npy", tokenizer.token_bytes)
        if asked["rows"]:
            pq.write_table(table, out.folder / "questions.parquet", compression="zstd")
        jobs = _jobs(home, study, built, heldout, steps, branch_at, asked, out.folder)
        say(f"training {len(study.arms)} arms with {len(study.seeds)} seeds, {steps:,} steps each")
        shared = bool(study.trunk or study.train.get("branch_at"))
        run_jobs(turns(jobs, list(study.arms), workers, shared), workers, say)
        verify(study, out.folder, steps, asked["rows"], bool(heldout))
        drop_checkpoints(study, out.folder)
        out.known_sha256 = write_manifests(study, built, out.folder)
        found = _contrasts(study, primary, out.folder)
        pq.write_table(found, out.folder / "contrasts.parquet", compression="zstd")
        out.counts = {"arms": len(study.arms), "seeds": len(study.seeds), "steps": steps, **asked,
                      "contrasts": found.num_rows}  # fmt: skip
        out.extra = {
            "arms": list(study.arms), "controls": study.controls, "primary": study.recipe["primary"],
            "warnings": study.warnings, "heldout": {c: m.ref for c, m in heldout.items()},
        }  # fmt: skip
    return StudyResult(ref, "done", folder, study.warnings, plan, found.to_pylist(), out.manifest)


# ------------------------------------------------------------------------------------------------------- the work


def _build(
    home: Home, study: Study, mixes: dict[str, Mix], workers: int, say: Callable[[str], None]
) -> dict[tuple[str, int], Manifest]:
    from mixes.build import build_mix

    built: dict[tuple[str, int], Manifest] = {}
    for arm, mix in mixes.items():
        for seed in study.seeds:
            if mix.recipe is None:
                built[arm, seed] = home.find("mixes", mix.ref, f"seed-{seed}")
            else:
                say(f"mix {mix.ref}, seed {seed}")
                built[arm, seed] = build_mix(mix.recipe, home, seed=seed, workers=workers)
    hashes = {m.extra["tokenizer"] for m in built.values()}
    if len(hashes) > 1:
        raise UserError("the arms' mixes were cut with different tokenizers", where=study.recipe.where("arms"),
                        numbers=[f"{a}: {m.extra['tokenizer'][:12]}" for (a, _), m in built.items()])  # fmt: skip
    return built


def _meaning(study: Study, mixes: dict[str, Mix], trunk: Mix | None, steps: int, heldout: dict[str, Manifest]) -> dict:
    settings = {k: v for k, v in study.recipe["trainer"].items() if k not in UNCOUNTED}
    return {
        "arms": {a: {"mix": str(m.ref), "scratch": study.arms[a].scratch} for a, m in mixes.items()},
        "trunk": str(trunk.ref) if trunk else None, "seeds": study.seeds, "trainer": {**settings, "steps": steps},
        "heldout": {c: m.ref for c, m in heldout.items()}, "primary": study.recipe["primary"],
        "contrasts": [str(c) for c in study.contrasts],
        "controls": study.controls,
    }  # fmt: skip


def _once(inputs: list[dict]) -> list[dict]:
    return list({(i["kind"], i["ref"]): i for i in inputs}.values())


def _apart(paths: list[Path]) -> dict[Path, str]:
    """Each file by its name; those of one name by as many folders above as tell all of them apart."""
    found: dict[Path, str] = {}
    for path in paths:
        same = [p for p in set(paths) if p.name == path.name]
        parts = next(n for n in range(1, len(path.parts) + 1) if len({p.parts[-n:] for p in same}) == len(same))
        found[path] = "/".join(path.parts[-parts:])
    return found


def _measured(study: Study, heldout: dict[str, Manifest], questions: pa.Table) -> Contrast | None:
    """The primary contrast with the set that it counts in: the one that it names, else the recipe's first that fits.

    Raises UserError, before anything is built, where the primary contrast or one of the others asks for a set or group
    that no question or held-out pool gives.
    """
    asked = list(dict.fromkeys(zip(questions["set"].to_pylist(), questions["group"].to_pylist())))
    listed = set(questions.filter(pc.equal(questions["order"], 1))["set"].to_pylist())
    held = [("heldout", component) for component in heldout]
    have: dict[str | None, tuple[str, list[tuple[str, str]]]] = {
        "bits_per_byte": ("held-out pools", held), None: ("questions or held-out pools", asked + held),
        "first_listed": ("questions that list their options", [pair for pair in asked if pair[0] in listed]),
    }  # fmt: skip
    for key, contrast in [
        *(("contrasts", c) for c in study.contrasts),
        *([("primary", study.primary)] if study.primary else []),
    ]:
        what, pairs = have.get(contrast.measure, ("questions", asked))
        in_set = [pair for pair in pairs if contrast.set in (None, pair[0])]
        fitting = [pair for pair in in_set if contrast.group in (None, pair[1])]
        if not fitting and (contrast is study.primary or contrast.set or contrast.group):
            lacking = f"set '{contrast.set}'" if contrast.set and not in_set else f"group '{contrast.group}'"
            raise UserError(
                f"the study's {what} have no {lacking}" if pairs else f"the study has no {what}",
                where=study.recipe.where(key),
                numbers=[f"asked for: {contrast}", "sets: " + (", ".join(sorted({s for s, _ in pairs})) or "none"),
                         "groups: " + (", ".join(sorted({g for _, g in in_set})) or "none")],
            )  # fmt: skip
    return replace(study.primary, set=fitting[0][0]) if study.primary else None


def _jobs(
    home: Home, study: Study, built: dict[tuple[str, int], Manifest], heldout: dict[str, Manifest], steps: int,
    branch_at: float | None, asked: dict[str, int], folder: Path,
) -> list[Path]:  # fmt: skip
    """One job file a seed, outside the study's folder because it names this machine's paths."""
    scratch = home.scratch / "jobs" / folder.name
    scratch.mkdir(parents=True, exist_ok=True)
    train = {**study.train, "steps": steps} | ({"branch_at": branch_at} if branch_at is not None else {})
    paths = []
    for seed in study.seeds:
        arms = {
            arm: {"mix": str(built[arm, seed].folder)} | ({"scratch": True} if spec.scratch else {})
            for arm, spec in study.arms.items()
        }
        job = {
            "study": study.name, "version": study.version, "seed": seed, **study.job, "model": study.model,
            "train": train, "trunk": {"mix": str(built["trunk", seed].folder)} if study.trunk else None, "arms": arms,
            "questions": [str(folder / "questions.parquet")] if asked["rows"] else [],
            "heldout": {c: str(m.folder) for c, m in heldout.items()},
            "token_bytes": str(folder / "token_bytes.npy"), "out": str(folder),
        }  # fmt: skip
        path = scratch / f"seed-{seed}.json"
        path.write_text(json.dumps(job, indent=1) + "\n", "utf-8")
        paths.append(path)
    return paths


def _contrasts(study: Study, primary: Contrast | None, folder: Path) -> pa.Table:
    import duckdb

    from leaven.catalog import escape, parquet

    files = [escape(folder / arm / f"seed-{s}" / "evals.parquet") for arm in study.arms for s in study.seeds]
    with duckdb.connect() as con:
        con.execute("set threads = 1")  # sums of floats then come in one order, and a rerun gives the same bytes
        con.execute(f"create view evals as select * from {parquet(files, ', hive_partitioning = false')}")
        return compare.contrasts(con, study.name, study.version, study.contrasts, primary, list(study.arms))
