"""Imports point one way, the command line starts light, and the wheel carries the engine alone."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ABOVE = {  # folder -> folders of ours that its files may import
    "leaven": {"leaven"},
    "schemas": {"leaven", "schemas"},
    **{f: {"leaven", "schemas", f} for f in ("filters", "rewriters", "mixes", "trainer", "microworld")},
    "flows": {"leaven", "schemas", "filters", "rewriters", "mixes", "trainer", "microworld", "flows"},
}
ENGINE_OF_TRAINER = {"leaven.loader", "leaven.shards", "leaven.errors", "leaven.manifest"}
HEAVY = ("torch", "prefect", "datatrove", "duckdb", "pyarrow", "numpy", "transformers", "fasttext")


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether it stands inside a function) of every import."""
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            whole = node.module in ABOVE  # from leaven import catalog
            names = [f"{node.module}.{a.name}" for a in node.names] if whole else [str(node.module)]
            yield from ((name, node.lineno, node in inside) for name in names)


@pytest.mark.parametrize("folder", [f for f in ABOVE if (ROOT / f).is_dir()])
def test_imports_point_one_way(folder):
    for path in sorted((ROOT / folder).glob("**/*.py")):
        for module, line, inside in imports(ast.parse(path.read_text("utf-8"))):
            top, place = module.partition(".")[0], f"{path.relative_to(ROOT)}:{line} imports {module}"
            if top not in ABOVE or (path == ROOT / "leaven" / "cli.py" and inside):
                continue
            assert top in ABOVE[folder], place
            assert folder != "trainer" or top != "leaven" or module in ENGINE_OF_TRAINER, place


def test_the_command_line_starts_without_anything_heavy():
    code = f"import sys, leaven.cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_wheel_carries_the_engine_alone_and_says_so(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "leaven", source / "leaven", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "schemas").mkdir()
    (source / "schemas" / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", source)
    (source / "README.md").touch()
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path)]
    subprocess.run([sys.executable, *build, str(source)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert {n.partition("/")[0] for n in packed.namelist() if ".dist-info/" not in n} == {"leaven"}
        packed.extractall(tmp_path / "installed")
    env = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    for arguments, code in ((["--help"], 0), (["curate", "x.warc.gz", "--name", "web"], 2)):
        done = subprocess.run([sys.executable, "-m", "leaven.cli", *arguments], cwd=tmp_path, env=env,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == code, done.stderr
    assert "needs a checkout" in done.stderr and "Traceback" not in done.stderr
