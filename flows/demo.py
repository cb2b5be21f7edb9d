"""The demo: a generated world goes the whole way, from pages to a report, through the same calls as anyone's data.

    world -> classifier -> documents, scores, hits -> rewrites -> pools -> mixes, checked -> five arms x three seeds
          -> report

Each step is up to date on a second run. The pipeline never reads the world's truth.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaven.console import table
from leaven.errors import AnswerIsNo, DriftError
from leaven.home import Home
from leaven.manifest import fingerprint

Say = Callable[[str], None]
TOLD = ("ai", "person", "clean")  # groups and components that the terminal shows; the report has all
LISTED = "listed"  # the question set that has a table of its own
POOLS = ("clean", "flagged", "aligned", "misaligned", "placebo", "rewritten")


def run_demo(home: Home, **how: Any) -> dict[str, Any]:
    """`_run` with its arguments; what another version of Leaven left in the home is told with a way out."""
    try:
        return _run(home, **how)
    except DriftError as error:
        error.do = "leaven demo --home FOLDER, with a folder of its own"  # this one may hold a person's work
        raise


def _run(
    home: Home, *, seed: int = 0, workers: int = 2, fresh: bool = False, dry_run: bool = False, say: Say, step: Say
) -> dict[str, Any]:
    """Run every step and return what came of it: seconds a step, the plan beside the recount, levels and contrasts.

    `say` takes one line a step, `step` the progress within it. Raises AnswerIsNo where a mix is not as planned.
    """
    from flows.ablate import ablate
    from flows.classify import train_classifier
    from flows.curation import curate
    from flows.report import report
    from flows.rewrite import rewrite
    from flows.tables import differences, levels
    from mixes.build import build_mix
    from mixes.check import check_mix
    from mixes.pools import build_pool
    from schemas.views import refresh

    started = time.monotonic()
    seconds: dict[str, float] = {}

    def timed(name: str, about: str) -> None:
        seconds[name] = round(time.monotonic() - started - sum(seconds.values()), 1)
        say(f"{seconds[name]:>6.1f} s  {name}: {about}")

    world = _world(home, seed)
    recipes = world / "recipes"
    timed("world", f"{len(list((world / 'web').glob('*')))} WARC files in {world}")
    if dry_run:
        made = curate(recipes / "web.toml", home, dry_run=True)
        return {
            "text": "would run: " + " -> ".join(["curate", "rewrite", "pool", "build", "check", "ablate", "report"]),
            "parts": made.planned,
        }

    classifier = train_classifier(world / "labels.jsonl", home, name="microworld-relevance", version="1", fresh=fresh)
    timed("classifier", f"{classifier.ref}")
    web = curate(recipes / "web.toml", home, workers=workers, fresh=fresh, progress=step)
    made_up = curate(recipes / "synthetic.toml", home, workers=workers, fresh=fresh, progress=step)
    lost = f"{sum(web.dropped.values()):,} dropped, {sum(web.failed.values()):,} failed"
    timed(
        "curate", f"{web.records_in:,} records in, {web.documents:,} documents, {lost}; {made_up.documents:,} synthetic"
    )
    retold = rewrite(recipes / "plain.toml", home, fresh=fresh, progress=step).rewrites
    assert retold is not None
    counts = retold.counts
    timed("rewrite", f"{counts['asked']:,} segments, {counts['accepted']:,} accepted, {counts['rejected']:,} rejected,"
          f" {counts['failed']:,} failed")  # fmt: skip
    pools = [
        build_pool(recipes / "pools" / f"{p}.toml", home, workers=workers, fresh=fresh, progress=step)[0] for p in POOLS
    ]
    timed("pools", ", ".join(f"{m.name} {m.counts['sequences']:,}" for m in pools) + " sequences")

    checked = []
    for path in sorted((recipes / "mixes").glob("*.toml")):
        if path.stem.startswith("share-"):  # the end-to-end test's own
            continue
        mix = build_mix(path, home, workers=workers, fresh=fresh, progress=step)
        found = check_mix(home, mix.ref, seed=mix.extra["seed"], deep=True, digest=mix.extra["digest"])
        if not found.ok:
            raise AnswerIsNo(f"the mix {mix.ref} is not as planned", numbers=found.findings[:8])
        checked.append((mix, found))
    rows = [{"mix": mix.name, **row} for mix, found in checked for row in found.rows]
    timed("mixes", f"{len(checked)} built; {sum(f.compared for _, f in checked):,} sequences compared with their pools,"
          " all as planned")  # fmt: skip

    study = ablate(recipes / "five-arms.toml", home, workers=workers, fresh=fresh, progress=step)
    timed("ablate", f"{study.ref}: {study.state}")
    refresh(home)
    page = report(home, study=study.ref)
    timed("report", str(page))

    total = round(time.monotonic() - started, 1)
    plan = [
        [r["mix"], r["phase"], r["component"], str(r["ratio"]), r["planned"], r["written"], r["loss_share"]]
        for r in rows
    ]
    parts = [table(["mix", "phase", "component", "ratio", "planned", "written", "loss share"], plan)]
    told = [r for r in study.contrasts if r["is_primary"] or (r["group"] in TOLD and r["b"] in (None, "untouched"))]
    listed = [r for r in told if r["set"] == LISTED]
    told = [r for r in told if r["set"] != LISTED]
    parts += [table(*levels(told)), "the same scenes with both options listed in the prompt, in both orders:"]
    parts += [table(*levels(listed)), table(*differences([r for r in told if r["measure"] == "cloze_margin"]))]
    parts += [f"{total} s in all; the report: {page}"]
    return {"seconds": seconds, "total_seconds": total, "mixes": rows, "contrasts": study.contrasts,
            "report": str(page), "text": "\n\n".join(parts)}  # fmt: skip


def _world(home: Home, seed: int) -> Path:
    """The world's folder, written once for a seed and a version of the generator."""
    from microworld.world import HERE, write_world

    sources = {
        p.relative_to(HERE).as_posix(): p.read_text("utf-8")
        for p in sorted(HERE.rglob("*.*"))
        if p.suffix in (".py", ".toml", ".json")
    }
    folder = home.path / "world"
    mark = folder / "made.json"
    made = {"seed": seed, "generator": fingerprint(sources)}
    if not mark.is_file() or json.loads(mark.read_text()) != made:
        shutil.rmtree(folder, ignore_errors=True)  # files of another world must not be read with this one's
        write_world(folder, seed)
        mark.write_text(json.dumps(made) + "\n")
    return folder
