"""The command line: each command reads its arguments, calls one flow, prints what came of it.

Flows are imported inside the commands, so that `leaven --help` answers at once. Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import os
import sys
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
