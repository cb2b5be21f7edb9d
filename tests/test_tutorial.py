"""The tutorial works, at a smaller size, and every command that the docs show is one that the command line takes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaven.cli import cli
from tests.conftest import ROOT, call

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RECIPES = ROOT / "docs" / "tutorial"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(?:bash|console|sh|text)?\n(.*?)^```|^((?: {4}.*\n|\n)+)", re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """Command lines of leaven in the blocks of a page, those over several lines in one piece."""
    for found in BLOCK.finditer(text):
        lines = iter((found[1] or found[2] or "").splitlines())
        for line in lines:
            line = re.sub(r"^(\$ |time |\w+=\S+ )*", "", line.strip())
            if not line.startswith("leaven "):
                continue
            while line.endswith("\\") or not _closed(line):
                line = line.removesuffix("\\") + "\n" + next(lines)
            yield line


def _closed(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return False
    return True


def words(line: str) -> list[str]:
    """The words of one command, up to a pipe or a redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    kept: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break
        kept.append(word)
    return kept[1:]


def parse(command: click.Command, given: list[str], path: str = "leaven") -> None:
    """Raise click.UsageError where `command` would: an unknown command or option, wrong arguments."""
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        if not given or given[0].startswith("-"):
            command.make_parser(context).parse_args(list(given))
            return
        inner = command.get_command(context, given[0])
        if inner is None:
            raise click.UsageError(f"{path} has no command {given[0]}")
        return parse(inner, given[1:], f"{path} {given[0]}")
    values, rest, _ = command.make_parser(context).parse_args(list(given))
    if rest:
        raise click.UsageError(f"{path}: too many arguments: {rest}")
    for parameter in command.params:
        value = values.get(parameter.name or "")
        missing = value in (None, ()) or not isinstance(value, (str, tuple, int))
        if isinstance(parameter, click.Argument) and parameter.required and missing and not values.get("help"):
            raise click.UsageError(f"{path}: no {parameter.make_metavar(context)}")
        if isinstance(value, str) and not isinstance(parameter.type, click.Path):
            parameter.type.convert(value, parameter, context)


def leaves(group: click.Group, path: str = "leaven") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_that_a_page_shows_is_one(page: Path):
    for line in commands(page.read_text("utf-8")):
        try:
            parse(cli, words(line))
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {line}\n{error.message}")


def test_a_wrong_command_would_be_found():
    shown = list(
        commands("text\n\n    $ leaven sql 'select 1'  # so\n\n```bash\nleaven build \\\n  mix.toml | cat\n```\n")
    )
    assert [words(line) for line in shown] == [["sql", "select 1"], ["build", "mix.toml"]]
    for wrong in ("leaven bild x", "leaven build", "leaven build a b", "leaven build a --depp", "leaven trace m x"):
        with pytest.raises(click.UsageError):
            parse(cli, words(wrong))


def test_every_command_stands_in_the_docs():
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert [path for path in leaves(cli) if not re.search(rf"\b{path}\b", text)] == []


def test_the_tutorial_shows_every_recipe_of_its_own_and_names_no_machine():
    page = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    for recipe in RECIPES.glob("*.toml"):
        assert f"tutorial/{recipe.name}" in page
        assert not re.search(r"\"/(?!/)", recipe.read_text("utf-8")), f"{recipe.name} holds an absolute path"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
def test_a_small_tutorial_runs(tmp_path: Path):
    home, work = tmp_path / "home", tmp_path / "work"
    recipes = work / "recipes"
    recipes.mkdir(parents=True)
    _head(DATA / "text" / "general-00.parquet", work / "general.parquet", 400)
    _head(DATA / "ai_discourse" / "documents.parquet", work / "discourse.parquet", 1200)
    for recipe in RECIPES.glob("*.toml"):
        text = recipe.read_text("utf-8").replace("../../../shared/data", str(DATA)).replace("steps = 700", "steps = 10")
        text = text.replace("../shared/data/text/general-*.parquet", str(work / "general.parquet"))
        text = text.replace("../shared/data/ai_discourse/documents.parquet", str(work / "discourse.parquet"))
        text = text.replace("pages-*.warc.gz", "pages-001.warc.gz").replace("../shared/data", str(DATA))
        (recipes / recipe.name).write_text(text, "utf-8")

    def leaven(*given: object) -> dict:
        said = call(*given, "--json", home=home)
        assert said.code == 0, said.err
        return json.loads(said.out)

    leaven("classify", "train", DATA / "labels" / "relevance.jsonl.gz", "--name", "relevance", "--version", "1")
    for name in ("web", "text"):
        made = leaven("curate", recipes / f"{name}.toml")
        lost = sum(made["dropped"].values()) + sum(made["failed"].values())
        assert made["records_in"] == made["documents"] + lost
    for name in ("clean", "discourse"):
        leaven("pool", recipes / f"{name}.toml")
    built = leaven("build", recipes / "whole-run.toml")
    checked = leaven("check", "whole-run@1", "--deep", "--digest", built["digest"])
    assert checked["ok"]
    assert {row["component"]: row["written"] for row in checked["rows"]} == {"clean": 634, "discourse": 6}


def _head(path: Path, to: Path, rows: int) -> None:
    """Every n-th row, so that all kinds of document are among them."""
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array(range(0, len(table), max(1, len(table) // rows)))), to)
