"""Do imports point one way, and does importing stay light?

    flows -> {filters, rewriters, mixes, trainer, microworld} -> schemas -> leaven

Siblings never import each other. leaven/cli.py reaches up, inside its commands and nowhere else.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIBLINGS = ("filters", "rewriters", "mixes", "trainer", "microworld")
MAY_IMPORT = {
    "leaven": {"leaven"},
    "schemas": {"schemas", "leaven"},
    **{name: {name, "schemas", "leaven"} for name in SIBLINGS},
    "flows": {"flows", *SIBLINGS, "schemas", "leaven"},
}
MODULES = sorted(p for name in MAY_IMPORT for p in (ROOT / name).rglob("*.py"))
TRAINER_NEEDS = {"torch", "numpy", "pyarrow", "safetensors"}
HEAVY = ("torch", "prefect", "datatrove", "duckdb", "transformers", "tokenizers", "pandas", "polars", "scipy")


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether inside a function) of every import, those for type checking included."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: a relative import hides where it points"
                yield child.module or "", child.lineno, inside
            deeper = inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from walk(child, deeper)

    yield from walk(ast.parse(path.read_text("utf-8")), False)


def run(program: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, timeout=120)


def test_every_folder_is_walked():
    assert {p.relative_to(ROOT).parts[0] for p in MODULES} >= set(MAY_IMPORT)
    assert len(MODULES) > 50


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    own = path.relative_to(ROOT).parts[0]
    for module, line, inside in imports(path):
        top = module.partition(".")[0]
        if top not in MAY_IMPORT and top not in ("tests", "bench", "small_home"):
            continue
        if path == ROOT / "leaven" / "cli.py" and top in MAY_IMPORT and (inside or top == "leaven"):
            continue
        assert top in MAY_IMPORT[own], f"{path.relative_to(ROOT)}:{line} imports {module}"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.relative_to(ROOT).parts[0] == "trainer"], ids=lambda p: p.name
)
def test_the_trainer_travels_light(path):
    """Of what is not the standard library a trainer's module names four packages, and transformers only to export."""
    for module, line, inside in imports(path):
        top = module.partition(".")[0]
        light = top in sys.stdlib_module_names or top in TRAINER_NEEDS | {"trainer", "schemas", "leaven"}
        assert light or (inside and path.name == "export.py"), f"{path.name}:{line} imports {module}"


def test_the_trainer_imports_where_nothing_else_is_installed():
    """Blocks every package that is no part of torch, numpy, pyarrow and safetensors, and imports all of it."""
    names = sorted(p.stem for p in (ROOT / "trainer").glob("*.py") if p.stem != "__init__")
    blocked = sorted({*HEAVY, "sqlglot", "click", "rich", "datasets", "fsspec", "jinja2", "warcio"} - {"torch"})
    program = f"""
import sys
blocked = {blocked!r}
import torch  # it looks for some of them itself
for name in blocked:
    for loaded in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[loaded]
    sys.modules[name] = None
import importlib
for name in {names!r}:
    importlib.import_module("trainer." + name)
import leaven.loader, leaven.shards
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_the_engine_stands_alone(tmp_path):
    """The wheel carries leaven and nothing else; a stranger's training code needs loader and shards."""
    shutil.copytree(ROOT / "leaven", tmp_path / "leaven", ignore=shutil.ignore_patterns("__pycache__"))
    others = [name for name in MAY_IMPORT if name != "leaven"]
    program = f"""
import sys, importlib, pathlib
sys.path.insert(0, {str(tmp_path)!r})
for name in {others!r}:
    sys.modules[name] = None
for path in sorted(pathlib.Path({str(tmp_path)!r}, "leaven").glob("*.py")):
    module = importlib.import_module("leaven." + path.stem if path.stem != "__init__" else "leaven")
    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__
"""
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["leaven.cli", "schemas.tables", "schemas.views", "schemas.built", "leaven.loader"])
def test_importing_it_loads_nothing_heavy(module):
    done = run(f"import sys, {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}} & set({HEAVY!r})))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


ENTRANCES = {"leaven/cli.py", "flows/prefect_flows.py"}  # a click group; what Prefect's workers load by its path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_importing_does_nothing(path):
    """A module's top level defines and never acts: it has no bare calls."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            assert name in ENTRANCES, f"{name}:{node.lineno} acts when imported: {ast.unparse(node.value)}"
