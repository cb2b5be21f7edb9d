"""The flows `curate`, `rewrite`, `mix` and `ablate` for Prefect: a task is a stage, its tables are artifacts.

A task passes names and paths, never data: what it made lies in the home, and its result is its counts. Whether a stage
has work to do is decided by manifests (leaven/manifest.py), so Prefect's caches are off, and running a flow again is
how one resumes it. A mistake of a person ends a run as Failed with the message that the command line would print.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from leaven.cli import checkout
from leaven.errors import AnswerIsNo, LeavenError
from leaven.home import Home

checkout()  # a worker loads this file by its path: the other folders must be found, by child processes too
EVERY = 5.0  # seconds between lines of progress in a run's log
OFF: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, "retries": 0}


# ------------------------------------------------------------------------------------------------------------- stages


def stage(name: str) -> Callable[[Callable], Any]:
    """A task whose LeavenError makes its state Failed, with the error's text and no traceback, and is raised again."""

    def wrap(function: Callable) -> Any:
        @wraps(function)
        def run(*positional: Any, **arguments: Any) -> Any:
            try:
                return function(*positional, **arguments)
            except LeavenError as error:
                return Failed(message=str(error), data=error)

        staged = task(name=name, **OFF)(run)

        def call(**arguments: Any) -> Any:
            return staged(return_state=True, **arguments).result()  # raises what the state holds

        return call

    return wrap


@stage("curate")
def curate_stage(recipe: str | list[str], home: str, **options: Any) -> Any:
    """Documents, failures, scores and hits."""
    from flows.curation import curate as run

    return run(recipe, Home(home or None), progress=Told(), **options)


@stage("rewrite")
def rewrite_stage(recipe: str, home: str, workers: int, fresh: bool) -> Any:
    """Segments, rewrites and checks."""
    from flows.rewrite import rewrite as run

    return run(recipe, Home(home or None), workers=workers, fresh=fresh, progress=Told())


@stage("pool")
def pool_stage(recipe: str, home: str, workers: int) -> Any:
    """A pool and its held-out share."""
    from mixes.pools import build_pool

    return build_pool(recipe, Home(home or None), workers=workers, progress=Told())


@stage("mix")
def mix_stage(recipe: str, home: str, seed: int | None, workers: int, fresh: bool = False) -> Any:
    """The shards of a mix with one seed."""
    from mixes.build import build_mix

    return build_mix(recipe, Home(home or None), seed=seed, workers=workers, fresh=fresh, progress=Told())


@stage("mixes of an arm")
def arm_stage(recipe: str, home: str, seeds: list[int], workers: int) -> Any:
    """The shards of an arm's mix with each seed of the study."""
    from mixes.build import build_mix

    return [build_mix(recipe, Home(home or None), seed=s, workers=workers, progress=Told()).address for s in seeds]


@stage("check")
def check_stage(ref: str, home: str, seed: int, digest: str) -> Any:
    """Whether a built mix is what its recipe says."""
    from mixes.check import check_mix

    return check_mix(Home(home or None), ref, seed=seed, digest=digest)


@stage("train and compare")
def ablate_stage(study: str, home: str, workers: int, fresh: bool) -> Any:
    """The runs of a study and their contrasts."""
    from flows.ablate import ablate as run

    return run(study, Home(home or None), workers=workers, fresh=fresh, progress=Told())


@stage("report")
def report_stage(home: str, study: str) -> Any:
    """The page of a study."""
    from flows.report import report

    return str(report(Home(home or None), study=study))


@stage("catalog")
def catalog_stage(home: str) -> None:
    """The catalog, made anew over what now stands in the home."""
    from schemas.views import refresh

    refresh(Home(home or None))


# -------------------------------------------------------------------------------------------------------------- flows


def whole(name: str) -> Callable[[Callable], Any]:
    """A flow that ends as Failed, not crashed, where a stage met a person's mistake."""

    def wrap(function: Callable) -> Any:
        @wraps(function)
        def run(*positional: Any, **arguments: Any) -> Any:
            try:
                return function(*positional, **arguments)
            except LeavenError as error:
                return Failed(message=str(error), data=error)

        return flow(name=name, persist_result=False, retries=0)(run)

    return wrap


@whole("curate")
def curate(
    recipe: str | list[str],
    home: str = "",
    name: str | None = None,
    version: str | None = None,
    workers: int = 1,
    fresh: bool = False,
    failed_share: str | None = None,
) -> Any:
    """Curate a recipe or paths: artifacts hold where every record went, and what was built.

    A file that cannot be read costs its own records; the run fails only above `failed_share`, or else the recipe's.
    """
    made = curate_stage(recipe=recipe, home=home, name=name, version=version, workers=workers, fresh=fresh,
                        failed_share=failed_share)  # fmt: skip
    catalog_stage(home=home)
    documents = made.manifests[0]
    rows: list[dict[str, Any]] = [{"outcome": "documents", "reason": "", "records": made.documents}]
    for outcome in ("dropped", "failed"):
        rows += [{"outcome": outcome, "reason": r, "records": n} for r, n in getattr(made, outcome).items()]
    _table(f"curate-{documents.name}", rows, f"{made.records_in:,} records came into {documents.ref}; where they went")
    built = [{"output": m.address, "fingerprint": m.fingerprint, "seconds": m.seconds} for m in made.manifests]
    _table(f"curate-{documents.name}-outputs", built, f"What the curation of {documents.ref} built")
    return made


@whole("rewrite")
def rewrite(recipe: str, home: str = "", workers: int = 1, fresh: bool = False) -> Any:
    """Send segments to a teacher and its answers through the gate: artifacts hold what came of all, and the cost."""
    made = rewrite_stage(recipe=recipe, home=home, workers=workers, fresh=fresh)
    catalog_stage(home=home)
    manifest = made.rewrites
    rows: list[dict[str, Any]] = [{"status": "accepted", "reason": "", "rewrites": manifest.counts["accepted"]}]
    for status, reasons in (("rejected", "rejections"), ("failed", "failures")):
        rows += [{"status": status, "reason": r, "rewrites": n} for r, n in manifest.counts[reasons].items()]
    _table(f"rewrite-{manifest.name}", rows, f"{manifest.counts['asked']:,} rewrites were asked for: {manifest.ref}")
    _table(f"rewrite-{manifest.name}-ledger", manifest.cost["ledger"], f"What the answers of {manifest.ref} took")
    return made


@whole("mix")
def mix(
    recipe: str,
    home: str = "",
    seed: int | None = None,
    pools: Sequence[str] = (),
    workers: int = 1,
    fresh: bool = False,
) -> Any:
    """Build pools (recipes, in order), then a mix, and check it; the artifact has planned beside written."""
    for pool in pools:
        built = pool_stage(recipe=pool, home=home, workers=workers)
        catalog_stage(home=home)
        removed = [{"condition": c, "removed": n} for c, n in built[0].counts["removed"].items()]
        kept = built[0].counts["documents_kept"]
        _table(f"pool-{built[0].name}", [*removed, {"condition": "(kept)", "removed": kept}],
               f"{built[0].counts['documents_considered']:,} documents were considered for {built[0].ref}")  # fmt: skip
    manifest = mix_stage(recipe=recipe, home=home, seed=seed, workers=workers, fresh=fresh)
    seed, digest = manifest.extra["seed"], manifest.extra["digest"]
    checked = check_stage(ref=manifest.ref, home=home, seed=seed, digest=digest)
    catalog_stage(home=home)
    said = "as planned" if checked.ok else "NOT as planned: " + "; ".join(checked.findings[:3])
    _table(f"mix-{manifest.name}-seed-{seed}", checked.rows, f"{manifest.ref}, seed {seed}: {said}. Digest {digest}")
    if not checked.ok:
        raise AnswerIsNo(f"the mix {manifest.ref}, seed {seed}, is not as planned", numbers=checked.findings[:8],
                         do=f"leaven check {manifest.ref} --seed {seed} --deep")  # fmt: skip
    return manifest


@whole("ablate")
def ablate(study: str, home: str = "", workers: int = 2, fresh: bool = False) -> Any:
    """Build each arm's mixes, train and compare; artifacts hold the arms, the contrasts and where the report lies."""
    from flows.studies import read_study
    from flows.tables import markdown

    read = read_study(study)
    for arm in read.arms.values():
        if isinstance(arm.mix, Path):
            arm_stage(recipe=str(arm.mix), home=home, seeds=read.seeds, workers=workers)
    made = ablate_stage(study=study, home=home, workers=workers, fresh=fresh)
    catalog_stage(home=home)
    page = report_stage(home=home, study=made.ref)
    for what, (columns, rows) in zip(("arms", "contrasts"), made.tables()):
        text = f"{markdown(columns, rows)}\n\nReport: `{page}`\n"
        create_markdown_artifact(text, key=_key(f"study-{made.ref.split('@')[0]}-{what}"), description=made.ref)
    return made


FLOWS = {"curate": curate, "rewrite": rewrite, "mix": mix, "ablate": ablate}


def run_flow(name: str, arguments: dict[str, Any]) -> Any:
    """Run a flow here and now with a function's arguments; returns what the function would."""
    asked = {k: v for k, v in arguments.items() if k not in ("progress", "dry_run")}
    asked["home"] = str(asked["home"].path)
    first = "study" if name == "ablate" else "recipe"
    recipe = asked.pop("recipe")
    asked[first] = [str(p) for p in recipe] if isinstance(recipe, list) else str(recipe)
    return FLOWS[name](**asked)


# -------------------------------------------------------------------------------------------------------------- small


class Told:
    """Progress as lines of the run's log, one in EVERY seconds."""

    def __init__(self) -> None:
        self.log, self.last = get_run_logger(), 0.0

    def __call__(self, line: str) -> None:
        if time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.log.info(line)


def _key(text: str) -> str:
    """An artifact's key: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _table(key: str, rows: list[dict[str, Any]], about: str) -> None:
    create_table_artifact(table=rows, key=_key(key), description=about)
