"""Does a text come back as it is without edits, and with them hold every rewrite where it belongs?"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaven.edits import Edit, Span, apply_edits, choose

TEXTS = st.text(st.sampled_from("ab. \n\tx。é"), min_size=1, max_size=80)
WRITTEN = st.text(st.sampled_from("WRITE né\n"), min_size=1, max_size=9)


@st.composite
def edited(draw) -> tuple[str, list[Edit]]:
    """A text and rewrites of spans of it, that may overlap and be appended at one place."""
    text = draw(TEXTS)
    edits = []
    for n in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        edits.append(Edit(start, end, draw(WRITTEN), f"r{n}", draw(st.booleans())))
    return text, edits


@given(text=TEXTS)
def test_without_edits_a_text_is_itself(text):
    assert apply_edits(text, []) == (text, [])
    assert choose([]) == ([], [])


@settings(max_examples=500, deadline=None)
@given(edited())
def test_of_rewrites_that_overlap_the_first_is_used_and_every_appended_one(made):
    _, edits = made
    used, left = choose(edits)
    assert sorted((*used, *left), key=lambda e: e.rewrite) == edits
    assert [e for e in edits if e in used] == used and not any(e.append for e in left)
    taken: list[Edit] = []
    for edit in edits:  # the rule, said slowly
        free = edit.append or all(edit.end <= t.start or t.end <= edit.start for t in taken if not t.append)
        assert (edit in used) == free
        taken += [edit] * free


@settings(max_examples=500, deadline=None)
@given(edited())
def test_what_is_not_a_rewrites_is_the_text_less_what_was_replaced(made):
    text, edits = made
    used, _ = choose(edits)
    new, spans = apply_edits(text, used)
    assert len(spans) == len(used) and all(a.end <= b.start for a, b in itertools.pairwise(spans))
    by_id = {s.rewrite: s for s in spans}
    rest, at = "", 0
    for span in spans:
        rest, at = rest + new[at : span.start], span.end
    rest += new[at:]
    gone = {i for e in used if not e.append for i in range(e.start, e.end)}
    assert rest == "".join(c for i, c in enumerate(text) if i not in gone)
    for edit in used:
        span = by_id[edit.rewrite]
        own = new[span.start : span.end]
        if edit.append:  # blank lines around it belong to it
            assert edit.text in own and own.replace(edit.text, "", 1).strip("\n") == ""
        else:
            assert own == edit.text
    order = [e.rewrite for e in used if e.append]
    for a, b in itertools.pairwise(order):
        one, two = (next(e for e in used if e.rewrite == r) for r in (a, b))
        if one.end == two.end:
            assert by_id[a].end <= by_id[b].start


def test_what_is_appended_stands_between_blank_lines():
    put = lambda text, end, *more: apply_edits(text, [Edit(0, end, "NEW", "r", True), *more])  # noqa: E731
    assert put("one. two", 4)[0] == "one.\n\nNEW\n\n two"
    assert put("one.\n\ntwo", 4)[0] == "one.\n\nNEW\n\ntwo"
    assert put("one.\n \ntwo", 7)[0] == "one.\n \nNEW\n\ntwo"
    assert put("one.\ntwo", 4)[0] == "one.\n\nNEW\n\n\ntwo"
    assert put("one.", 4)[0] == "one.\n\nNEW"
    assert put("one.\n", 4)[0] == "one.\n\nNEW\n"
    two, spans = put("one.\n\ntwo", 4, Edit(0, 4, "MORE", "s", True))
    assert two == "one.\n\nNEW\n\nMORE\n\ntwo"
    assert spans == [Span(4, 9, "r"), Span(9, 15, "s")]
    both, spans = put("one.\n\ntwo", 4, Edit(0, 4, "1.", "s"))
    assert both == "1.\n\nNEW\n\ntwo" and [s.rewrite for s in spans] == ["s", "r"]
    inside, _ = put("one two three", 3, Edit(0, 7, "1 2", "s"))
    assert inside == "1 2\n\nNEW\n\n three"


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([Edit(0, 3, "x", "r"), Edit(2, 4, "y", "s")], "two rewrites replace"),
        ([Edit(2, 2, "x", "r")], "no span"),
        ([Edit(2, 99, "x", "r", True)], "no span of a text of 4 characters"),
    ],
)
def test_what_cannot_be_put_in_is_refused(edits, said):
    with pytest.raises(ValueError, match=said):
        apply_edits("abcd", edits)
