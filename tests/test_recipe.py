"""Recipes are read exactly, and each mistake is told with its place."""

from decimal import Decimal

import pytest

from leaven.errors import UserError
from leaven.recipe import REQUIRED, read_recipe

KEYS = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "ratio": (dict, {}),
    "steps": (int, 1),
    "share": (Decimal, Decimal(0)),
}


def recipe(tmp_path, text):
    path = tmp_path / "mix.toml"
    path.write_text(text)
    return read_recipe(path, KEYS)


def test_decimals_are_exact_and_defaults_are_filled(tmp_path):
    read = recipe(tmp_path, 'name = "a"\nversion = "1"\nshare = 0.1\n')
    assert read["share"] == Decimal("0.1") and read["steps"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nversion = "1"\nstesp = 3\n', r"unknown key 'stesp'[\s\S]*mix.toml:3[\s\S]*did you mean 'steps'"),
        ('name = "a"\n', "lacks 'version'"),
        ('name = "A b"\nversion = "1"\n', r"'A b' cannot be a name[\s\S]*mix.toml:1"),
        ('name = "a"\nversion = "1"\nsteps = "3"\n', r"'steps' must be an integer[\s\S]*mix.toml:3"),
        ('name = "a"\nversion = "1"\nsteps = true\n', "must be an integer"),
        ('name = "a\n', "this is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        recipe(tmp_path, text)


def test_a_missing_recipe_suggests_its_neighbour(tmp_path):
    (tmp_path / "aligned.toml").write_text("")
    with pytest.raises(UserError, match="did you mean .*aligned.toml"):
        read_recipe(tmp_path / "alinged.toml", KEYS)


def test_date_becomes_a_version(tmp_path):
    version = recipe(tmp_path, 'name = "a"\nversion = "{date}"\n')["version"]
    assert len(version) == 10 and version.count(".") == 2
