"""Are documents cut into segments that fit, cover everything, and fall on borders that a reader would choose?"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaven.tokens import Tokenizer
from rewriters.cutting import cut

TOKENIZER = Path(__file__).parents[1] / "microworld" / "tokenizer.json"


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.load(TOKENIZER)


def alone(text: str) -> int:
    return len(tokenizer().encode_batch([text])[0])


PROSE = st.text(st.sampled_from("ab .!?\n\n\u00e9\u4f60\U0001f600,'\"")) | st.text() | st.lists(
    st.sampled_from(["The mill stood still.", "Who knew?", "\n\n", "\n", " ", "x" * 40, "It was told twice! "])
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(PROSE, max_size=4), most=st.integers(8, 60), least=st.none() | st.integers(0, 60))
def test_segments_fit_cover_and_are_in_order(texts, most, least):
    for text, segments in zip(texts, cut(texts, tokenizer(), most, least), strict=True):
        covered = np.zeros(len(text), int)
        for number, s in enumerate(segments):
            assert (s.number, s.text) == (number, text[s.start : s.end])
            assert s.text and s.text == s.text.strip()
            assert s.tokens == alone(s.text) <= most
            covered[s.start : s.end] += 1
        assert covered.max(initial=0) <= 1
        assert all(n == 1 for n, c in zip(covered, text) if not c.isspace())
        assert [s.start for s in segments] == sorted(s.start for s in segments)


def test_borders_are_paragraphs_then_sentences():
    first = "The mill stood still. Nobody knew why. The owner wrote a letter to the council."
    text = f"{first}\n\nThe bridge was closed."
    whole = alone(first)
    assert [s.text for s in cut([text], tokenizer(), whole, 0)[0]] == [first, "The bridge was closed."]
    parts = [s.text for s in cut([text], tokenizer(), whole - 1, 0)[0]]
    assert parts == [first[: first.index(" The owner")], first[first.index("The owner") :], "The bridge was closed."]
    assert len(cut([text], tokenizer(), 2 * whole + 10)[0]) == 1  # short neighbours are joined


def test_a_budget_that_cannot_hold_a_character_is_refused():
    with pytest.raises(ValueError, match="too small"):
        cut(["x"], tokenizer(), 7)
    assert cut([], tokenizer(), 8) == [] and cut(["", " \n"], tokenizer(), 8) == [[], []]
