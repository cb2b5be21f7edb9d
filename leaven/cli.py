"""The command line: each command reads its arguments, calls one flow, prints what came of it.

Flows are imported inside the commands, so that `leaven --help` answers at once. Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from leaven import __version__, console
from leaven.errors import UserError
from leaven.home import Home

ROOT = Path(__file__).resolve().parent.parent


def checkout() -> None:
    """Put the checkout's folders on the path of this process and its children; the wheel carries none."""
    if not (ROOT / "flows").is_dir():
        raise UserError(
            "this command needs a checkout of Leaven: the installed package carries the engine alone",
            do="git clone the repository, then run make demo in it",
        )
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(ROOT) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, paths)])


class Group(click.Group):
    """Commands in the order in which one uses them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="leaven")
def cli() -> None:
    """Exact pretraining mixes from web text, and small models trained on them.

    source -> document -> scores, hits -> pool -> mix -> run -> report

    Start with: leaven demo
    """


def common(function: Any) -> Any:
    for option in (
        click.option(
            "--home",
            type=click.Path(path_type=Path),
            help="Folder of everything built (LEAVEN_HOME, default ./workspace).",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors."),
        click.option("-v", "--verbose", is_flag=True, help="Say more on stderr."),
    ):
        function = option(function)
    return function


def answers(function: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")(
        common(function)
    )


def writes(function: Any) -> Any:
    for option in (
        click.option(
            "--workers",
            type=click.IntRange(1),
            default=os.cpu_count() or 1,
            show_default="cores",
            help="Processes at a time.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what would be done, write nothing."),
        click.option("--fresh", is_flag=True, help="Drop partial work of an interrupted run first."),
    ):
        function = option(function)
    return answers(function)


def stood(created: str, since: datetime) -> str:
    """`up to date: ` where an output was there before `since`, when the command began."""
    return "up to date: " if datetime.fromisoformat(created) < since.replace(microsecond=0) else ""


def show(as_json: bool, value: Any, text: str) -> None:
    print(console.to_json(value) if as_json else text)


@cli.command()
@writes
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated world.")
def demo(
    home: Path | None, quiet: bool, verbose: bool, as_json: bool, workers: int, dry_run: bool, fresh: bool, seed: int
) -> int:
    """Generate a tiny world, curate it, build five mixes, train on them, report."""
    checkout()
    from flows.demo import run_demo

    talk = console.Talk(quiet, verbose)
    result = run_demo(
        Home(home), seed=seed, workers=workers, fresh=fresh, dry_run=dry_run, say=talk.say, step=talk.step
    )
    show(as_json, result, result["text"])
    return 0


@cli.command()
@writes
@click.argument("inputs", nargs=-1, required=True)
@click.option("--name", help="Name of the documents; needed with bare paths.")
@click.option("--version", help="Version; default dev with bare paths, the recipe's otherwise.")
@click.option(
    "--failed-share",
    type=click.FloatRange(0, 1),
    help="Share of the records, 0 to 1, that may fail; default the recipe's, or 0.01.",
)
def curate(inputs, name, version, failed_share, workers, dry_run, fresh, home, quiet, verbose, as_json):
    """Turn pages and text into documents, scores and hits.

    INPUTS is one recipe (flows/curations/web.toml), or paths, folders, globs, URLs and @FILE of paths.
    """
    checkout()
    from filters.urls import public_url
    from flows.curation import curate as function
    from flows.dispatch import dispatch

    talk = console.Talk(quiet, verbose)
    recipe = inputs[0] if len(inputs) == 1 and inputs[0].endswith(".toml") else list(inputs)
    if any(public_url(i) != i for i in inputs) and os.environ.get("PREFECT_API_URL"):
        raise UserError(
            "a URL with a password or signature cannot go through Prefect: its server keeps a run's parameters",
            do="write the URLs into a file of paths and curate @FILE, or unset PREFECT_API_URL",
        )
    made = dispatch(
        "curate",
        function,
        recipe=recipe,
        home=Home(home),
        name=name,
        version=version,
        **({"failed_share": str(failed_share)} if failed_share is not None else {}),
        workers=workers,
        fresh=fresh,
        dry_run=dry_run,
        progress=talk.step,
    )
    refreshed(home, dry_run)
    rows = [["records in", "", made.records_in], ["documents", "", made.documents]]
    rows += [[outcome, reason, n] for outcome in ("dropped", "failed") for reason, n in getattr(made, outcome).items()]
    if dry_run:
        show(
            as_json,
            made.planned,
            console.table(["part", "files", "bytes"], [[p["part"], len(p["files"]), p["bytes"]] for p in made.planned]),
        )
        return 0
    show(
        as_json,
        {k: v for k, v in vars(made).items() if k != "manifests"} | {"outputs": [m.address for m in made.manifests]},
        console.table(["outcome", "reason", "records"], rows),
    )
    talk.say(
        f"{'up to date' if made.up_to_date else 'done'}: {made.manifests[0].ref},"
        f" {sum(made.failed.values())} failures, {made.seconds:.1f} s"
    )
    return 0


@cli.command()
@writes
@click.argument("recipe", type=click.Path(path_type=Path))
def pool(recipe, workers, dry_run, fresh, home, quiet, verbose, as_json):
    """Cut the documents that pass a recipe's conditions into sequences."""
    checkout()
    from mixes.pools import build_pool

    talk, since = console.Talk(quiet, verbose), datetime.now(UTC)
    made = build_pool(recipe, Home(home), workers=workers, fresh=fresh, dry_run=dry_run, progress=talk.step)
    refreshed(home, dry_run)
    main = made[0]
    rows = [["considered", main.counts["documents_considered"], None]]
    rows += [[f"removed: {c}", n, main.counts["removed_only"].get(c)] for c, n in main.counts["removed"].items()]
    rows += [["held out", main.counts["documents_heldout"], None], ["kept", main.counts["documents_kept"], None]]
    show(
        as_json,
        [{"pool": m.ref, "counts": m.counts} for m in made],
        console.table([f"{main.meaning.get('item', 'document')}s", "count", "by it alone"], rows),
    )
    for m in made if not dry_run else []:
        talk.say(
            f"{stood(m.created, since)}{m.ref}: {m.counts['sequences']:,} sequences,"
            f" {m.counts['tokens_dropped_tail']:,} tokens of tail dropped"
        )
    return 0


@cli.command()
@writes
@click.argument("recipe", type=click.Path(path_type=Path))
def rewrite(recipe, workers, dry_run, fresh, home, quiet, verbose, as_json):
    """Send segments of documents to a teacher and its answers through the gate (docs/rewriting.md)."""
    checkout()
    from flows.dispatch import dispatch
    from flows.rewrite import rewrite as function
    from flows.show_rewrites import estimate_text, rewrites_text

    talk = console.Talk(quiet, verbose)
    made = dispatch("rewrite", function, recipe=recipe, home=Home(home), workers=workers, fresh=fresh,
                    dry_run=dry_run, progress=talk.step)  # fmt: skip
    refreshed(home, dry_run)
    if dry_run:
        show(as_json, made.planned, estimate_text(made.planned))
        return 0
    assert made.rewrites is not None
    found = {"rewrites": made.rewrites.ref, "counts": made.rewrites.counts, "ledger": made.rewrites.cost["ledger"]}
    show(as_json, found, rewrites_text(found))
    talk.say(
        f"{'up to date' if made.up_to_date else 'done'}: {made.rewrites.ref}, {found['counts']['failed']:,} failed"
    )
    return 0


@cli.command()
@answers
@click.argument("rewrites", nargs=-1, required=True)
@click.option("--control", required=True, help="The same segments by a neutral teacher: name@version[/TEACHER].")
@click.option("--preferences", type=click.Path(path_type=Path), help="Categories of words that a trait may favour.")
@click.option("--study", help="Study with an arm on each teacher's rewrites: its probes go into the verdict.")
@click.option("--arms", help="Arms of the study: the teacher's, the control's and, where there is one, that before.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the permutations.")
def audit(rewrites, control, preferences, study, arms, seed, home, quiet, verbose, as_json):
    """Look for hidden traits of teachers in their rewrites, beside a control (docs/audit.md)."""
    checkout()
    from flows.audit import audit_teachers, audit_text

    found = audit_teachers(Home(home), rewrites, control, preferences=preferences, study=study,
                           arms=arms.split(",") if arms else None, seed=seed,
                           progress=console.Talk(quiet, verbose).step)  # fmt: skip
    show(as_json, found, audit_text(found))
    return 1 if found["flagged"] else 0


@cli.command()
@answers
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--seed", type=int, help="Order of the sequences; default the recipe's.")
def plan(recipe, seed, home, quiet, verbose, as_json):
    """Show the counts that a mix recipe comes to, before anything is written."""
    checkout()
    from mixes.plan import plan_mix
    from mixes.recipes import read_mix_recipe

    made = plan_mix(read_mix_recipe(recipe), Home(home), seed=seed)
    rows = made.rows()
    show(as_json, rows, console.table(list(rows[0]), [list(r.values()) for r in rows]))
    return 0


@cli.command()
@writes
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--seed", type=int, help="Order of the sequences; default the recipe's.")
def build(recipe, seed, workers, dry_run, fresh, home, quiet, verbose, as_json):
    """Write a mix's shards."""
    checkout()
    from flows.dispatch import dispatch
    from mixes.build import build_mix

    talk, since = console.Talk(quiet, verbose), datetime.now(UTC)
    made = dispatch("mix", build_mix, recipe=recipe, home=Home(home), seed=seed, workers=workers, fresh=fresh,
                    dry_run=dry_run, progress=talk.step)  # fmt: skip
    refreshed(home, dry_run)

    made_of = {
        "mix": made.address,
        "sequences": made.counts.get("sequences"),
        "shards": made.extra["plan"]["shards"],
        "bytes": sum(f["bytes"] for f in made.files),
        "digest": made.extra.get("digest"),
    }
    show(as_json, made_of | {"counts": made.counts, "plan": made.extra["plan"]}, console.facts(made_of))
    if not dry_run:
        if before := stood(made.created, since):
            talk.say(f"{before}{made.ref}")
        talk.say(f"next: leaven check {made.ref} --seed {made.extra['seed']} --digest {made.extra['digest']}")
    return 0


@cli.command()
@answers
@click.argument("mix")
@click.option("--seed", type=int, help="Seed of the build; default the recipe's.")
@click.option("--deep", is_flag=True, help="Compare every row with its pool, not a seeded 1,000.")
@click.option("--digest", help="The digest that the build printed.")
def check(mix, seed, deep, digest, home, quiet, verbose, as_json):
    """Count a mix again and compare: plan, rows, seats, checksums."""
    checkout()
    from mixes.check import check_mix

    report = check_mix(Home(home), mix, seed=seed, deep=deep, digest=digest)
    rows = report.rows
    show(
        as_json,
        {"ok": report.ok, "findings": report.findings, "rows": rows},
        console.table(list(rows[0]), [list(r.values()) for r in rows]) if rows else "",
    )
    for finding in report.findings:
        print(f"wrong: {finding}", file=sys.stderr)
    console.Talk(quiet, verbose).say(f"{mix}: {'as planned' if report.ok else 'not as planned'}")
    return 0 if report.ok else 1


@cli.command()
@answers
@click.argument("query")
def sql(query, home, quiet, verbose, as_json):
    """Ask the catalog in SQL."""
    checkout()
    from flows.ask import sql as ask

    columns, rows = ask(Home(home), query)
    show(as_json, [dict(zip(columns, row)) for row in rows], console.table(columns, rows))
    return 0


@cli.command()
@answers
@click.argument("mix")
@click.argument("seat", type=int)
@click.option("--seed", type=int, help="Seed of the build; default the lowest built.")
def trace(mix, seat, seed, home, quiet, verbose, as_json):
    """Walk from one sequence of a mix back to its documents, scores and hits."""
    checkout()
    from flows.ask import trace as walk
    from flows.show import trace_text

    found = walk(Home(home), mix, seat, seed=seed)
    show(as_json, found.to_json(), trace_text(found, verbose))
    return 0


@cli.command("ls")
@answers
@click.argument("kind", required=False)
def ls(kind, home, quiet, verbose, as_json):
    """List what is built: names, versions, sizes, what uses what."""
    checkout()
    from flows.ask import listing

    rows = [r for r in listing(Home(home)) if kind in (None, r["kind"])]
    shown = [[r["address"], r["rows"], r["bytes"], r["created"][:16] or None, state(r), users(r)] for r in rows]
    columns = ["output", "rows", "bytes", "created", "state", "used by"]
    show(as_json, rows, console.table(columns, shown) if rows else "nothing is built yet: leaven demo")
    return 0


def users(row: dict[str, Any]) -> str:
    """The first outputs made from this one, and how many more there are; --json has all."""
    more = f" and {len(row['used_by']) - 2} more" if len(row["used_by"]) > 2 else ""
    return ", ".join(row["used_by"][:2]) + more


def state(row: dict[str, Any]) -> str:
    """Whether an output is the newest of its name, and whether what it was made from has changed since."""
    return "drifted" if row["drift"] else "newest" if row["is_newest"] else ""


@cli.command()
@answers
@click.argument("a")
@click.argument("b")
def diff(a, b, home, quiet, verbose, as_json):
    """Show how two outputs differ: recipe, inputs, counts (KIND/NAME@VERSION, or two mixes)."""
    checkout()
    from flows.ask import diff as compare
    from flows.show import diff_text

    found = compare(Home(home), a, b)
    show(as_json, found, diff_text(found))
    return 0 if found["same"] else 1


@cli.group(cls=Group)
def classify():
    """Train and evaluate fastText classifiers."""


@classify.command("train")
@answers
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--name", default="relevance", show_default=True)
@click.option("--version", default="dev", show_default=True)
@click.option("--class", "classes", multiple=True, metavar="NAME[=VALUE,...]",
              help="A class, and the labels that mean it; several make a classifier of classes.")  # fmt: skip
@click.option("--field", default="label", show_default=True, help="Field of the labels that holds the class.")
@click.option("--fresh", is_flag=True, help="Drop partial work of an interrupted run first.")
def classify_train(labels, name, version, classes, field, fresh, home, quiet, verbose, as_json):
    """Train a classifier on labelled text (JSON Lines) and evaluate it on the test split."""
    checkout()
    if classes:
        return _train_classes(labels, name, version, classes, field, fresh, home, quiet, verbose, as_json)
    from flows.classify import evaluate_classifier, train_classifier
    from flows.show import results_text

    talk = console.Talk(quiet, verbose)
    made = train_classifier(labels, Home(home), name=name, version=version, fresh=fresh, progress=talk.step)
    refreshed(home)
    found = evaluate_classifier(Home(home), made.ref, labels)
    show(as_json, found, results_text(found))
    talk.say(f"classifier {made.ref}: name it in a curation's classifiers, or leaven classify eval {made.ref} LABELS")
    return 0


def _train_classes(labels, name, version, classes, field, fresh, home, quiet, verbose, as_json):
    from flows.classes import train_classes
    from flows.show import classes_text

    said = {c.partition("=")[0]: (c.partition("=")[2] or c).split(",") for c in classes}
    talk = console.Talk(quiet, verbose)
    made = train_classes(labels, Home(home), name, version, said, field=field, fresh=fresh, progress=talk.step)
    refreshed(home)
    card = json.loads((made.folder / "card.json").read_text("utf-8"))
    show(as_json, card, classes_text(card))
    talk.say(f"classifier {made.ref}: name it in a curation's stance")
    return 0


@classify.command("eval")
@answers
@click.argument("classifier")
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="train, valid, test or all.")
def classify_eval(classifier, labels, split, home, quiet, verbose, as_json):
    """Evaluate a classifier (name@version) on labelled text."""
    checkout()
    from flows.classify import evaluate_classifier
    from flows.show import results_text

    found = evaluate_classifier(Home(home), classifier, labels, split=None if split == "all" else split)
    show(as_json, found, results_text(found))
    return 0


@classify.command("calibrate")
@answers
@click.argument("classifier")
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--recall", default="0.95", show_default=True, help="Share of the positives to be called.")
@click.option("--split", default="valid", show_default=True, help="Split that the threshold is chosen on.")
@click.option("--fresh", is_flag=True, help="Drop partial work of an interrupted run first.")
def classify_calibrate(classifier, labels, recall, split, fresh, home, quiet, verbose, as_json):
    """Choose the threshold at which a classifier (name@version) reaches a recall, and say how sure that is."""
    checkout()
    from flows.calibrate import calibrate
    from flows.show import calibration_text

    try:
        share = Decimal(recall)
    except InvalidOperation:
        raise UserError(f"--recall must be a number, not '{recall}'", do="--recall 0.95") from None
    made = calibrate(Home(home), classifier, labels, share, split, fresh=fresh)
    refreshed(home)
    show(as_json, made.extra, calibration_text(made.extra))
    return 0


@classify.command("forms")
@answers
@click.argument("labels", type=click.Path(path_type=Path))
def classify_forms(labels, home, quiet, verbose, as_json):
    """Train without each kind of text in turn, and on form alone: does the classifier know content?"""
    checkout()
    from flows.forms import form_audit
    from flows.show import forms_text

    found = form_audit(labels, console.Talk(quiet, verbose).step)
    show(as_json, found, forms_text(found))
    return 0


@cli.command()
@answers
@click.argument("rubrics", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--labels", required=True, type=click.Path(path_type=Path), help="Labelled texts, JSON lines.")
def judge(rubrics, labels, home, quiet, verbose, as_json):
    """Ask the model of each rubric about labelled texts: outcomes, agreement, cost (docs/judging.md)."""
    checkout()
    from flows.judging import judge_labels
    from flows.show import judges_text

    found = judge_labels(rubrics, labels, Home(home), console.Talk(quiet, verbose).step)
    show(as_json, found, judges_text(found))
    return 0


@cli.command()
@common
@click.argument("job", type=click.Path(exists=True, path_type=Path))
def train(job, home, quiet, verbose):
    """Train what a job file says (docs/training.md); `leaven ablate` writes such files itself."""
    checkout()
    from trainer.run import main as train_job

    return train_job([str(job)])


@cli.command()
@writes
@click.argument("study", type=click.Path(path_type=Path))
def ablate(study, workers, dry_run, fresh, home, quiet, verbose, as_json):
    """Build a study's arms, train each with each seed, and print the contrasts."""
    checkout()
    from flows.ablate import ablate as function
    from flows.dispatch import dispatch

    talk = console.Talk(quiet, verbose)
    made = dispatch("ablate", function, recipe=study, home=Home(home), workers=workers, fresh=fresh, dry_run=dry_run,
                    progress=talk.step)  # fmt: skip
    refreshed(home, dry_run)
    for warning in made.warnings:
        talk.say(f"warning: {warning}")
    show(
        as_json,
        {"study": made.ref, "state": made.state, "plan": made.plan, "contrasts": made.contrasts},
        "\n\n".join(console.table(columns, rows) for columns, rows in made.tables()),
    )
    return 0


@cli.command()
@common
@click.option("--study", help="Study (name@version); default the newest.")
@click.option("--mix", help="Mix (name@version); default those of the study.")
@click.option("--pool", help="Pool (name@version) alone: what was removed, why, and how good the judges are.")
@click.option("--rewrites", help="Rewrites (name@version) alone: accepted and rejected pairs, checks, cost.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default HOME/reports/NAME@VERSION.html.")
def report(study, mix, pool, rewrites, out, home, quiet, verbose):
    """Write the one-page report: what came in, what the mix holds, what the runs say."""
    checkout()
    from flows.report import report as flow

    print(flow(Home(home), study=study, mix=mix, pool=pool, rewrites=rewrites, out=out))
    return 0


@cli.command()
@common
def deploy(home, quiet, verbose):
    """Register the flows of prefect.yaml with the Prefect server of PREFECT_API_URL."""
    checkout()
    from flows.deploy import deploy as flow

    for line in flow(Home(home)):
        print(line)
    return 0


def refreshed(home: Path | None, dry_run: bool = False) -> None:
    """Bring the catalog up to what is on disk after a command that wrote."""
    if not dry_run:
        from schemas.views import refresh

        refresh(Home(home))


def main() -> None:
    sys.exit(console.run(lambda: cli.main(standalone_mode=False)))


if __name__ == "__main__":
    main()
