"""Are templates read, hashed and filled as they say, and is a style drawn by its exact weight?"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaven.errors import UserError
from rewriters.styles import NEW_SLOTS, OPERATIONS, PACKAGED, draw, find_style, is_drawn, nonce_of, read_style

STYLE = 'name = "{name}"\nversion = "1"\noperation = "{op}"\nabout = "x"\nprompt = "{prompt}"\n'


def written(folder: Path, name: str = "mine", op: str = "replace", prompt: str = "Say: {text}", more: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(STYLE.format(name=name, op=op, prompt=prompt) + more, "utf-8")
    return path


def test_the_styles_of_the_design_are_packaged_and_each_can_be_filled():
    styles = {p.stem: read_style(p) for p in sorted(PACKAGED.glob("*.toml"))}
    asked = {"clean", "encyclopedic", "question-answer", "dialogue", "lesson", "recontextualize", "demonstration"}
    assert set(styles) >= asked | {"reasoning"}
    assert styles["question-answer"].operation == "append" and styles["clean"].operation == "replace"
    for name, style in styles.items():
        assert style.name == name and style.operation in OPERATIONS
        slots = dict.fromkeys(NEW_SLOTS, "filled") | {"text": "A {text} with {braces}.", "nonce": "0a1b2c3d"}
        messages = style.messages(**slots)
        assert messages[-1][0] == "user"
        if style.operation != "new":
            assert messages[-1][1].count("A {text} with {braces}.") == 1, "what stands in a text is never filled"
            assert messages[-1][1].count("0a1b2c3d") == 2
    kept = [s for s in styles.values() if s.operation != "new"]  # twins differ in their slots, not in their templates
    assert len({s.hash for s in kept}) == len(kept)


def test_a_hash_covers_every_word_that_is_sent_and_nothing_else(tmp_path):
    one = read_style(written(tmp_path))
    assert read_style(written(tmp_path, more='flips_stance = true\nchecks = ["numbers"]\n')).hash == one.hash
    assert read_style(written(tmp_path, prompt="Say it: {text}")).hash != one.hash
    assert read_style(written(tmp_path, more='system = "s"\n')).hash != one.hash
    assert read_style(written(tmp_path, op="append")).hash != one.hash
    assert find_style("mine.toml", tmp_path).hash == read_style(tmp_path / "mine.toml").hash


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"op": "swap"}, "no operation 'swap'"),
        ({"prompt": "Say it"}, "must hold {text} once"),
        ({"prompt": "{text} {text}"}, "must hold {text} once"),
        ({"prompt": "{text} {agent}"}, "unknown slot {agent}"),
        ({"op": "new", "prompt": "{agent} {text}"}, "unknown slot {text}"),
        ({"more": "colour = 1\n"}, "unknown key 'colour'"),
        ({"more": '[limits]\nnumbers = "few"\n'}, "must be a number"),
        ({"more": "checks = [1]\n"}, "checks are names"),
    ],
)
def test_a_template_that_will_not_do_is_refused(tmp_path, changes, said):
    with pytest.raises(UserError) as refused:
        read_style(written(tmp_path, **changes))
    assert said in str(refused.value) and "mine.toml" in str(refused.value)


def test_a_style_that_is_not_there_names_those_that_are():
    with pytest.raises(UserError, match="no style 'claen'") as refused:
        find_style("claen")
    assert "clean" in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(weights=st.lists(st.fractions(0, 5), min_size=1, max_size=5), seed=st.integers(0, 99), document=st.text())
def test_a_style_without_weight_is_never_drawn(weights, seed, document):
    if not sum(weights):
        with pytest.raises(ValueError):
            draw(weights, seed, document)
        return
    drawn = draw(weights, seed, document)
    assert weights[drawn] > 0
    assert drawn == draw([3 * w for w in weights], seed, document), "weights are shares, whatever their sum"


def test_weights_are_kept_over_many_documents():
    counts = Counter(draw([Fraction(1), Fraction(3), Fraction(1, 2)], 7, f"{n:032x}") for n in range(9000))
    for number, share in enumerate((2 / 9, 6 / 9, 1 / 9)):
        assert abs(counts[number] / 9000 - share) < 5 * (share * (1 - share) / 9000) ** 0.5
    small = {n for n in range(2000) if is_drawn(Fraction(1, 10), 1, str(n))}
    assert small < {n for n in range(2000) if is_drawn(Fraction(1, 5), 1, str(n))}
    assert 150 < len(small) < 250


def test_a_nonce_depends_on_text_and_style(tmp_path):
    style = read_style(written(tmp_path))
    other = read_style(written(tmp_path, prompt="{text}!"))
    nonces = {nonce_of("a", style), nonce_of("b", style), nonce_of("a", other)}
    assert len(nonces) == 3 and all(len(n) == 8 for n in nonces) and nonce_of("a", style) in nonces
