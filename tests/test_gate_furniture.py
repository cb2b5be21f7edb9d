"""Menus, trails, calls to click and counters may be told or left out; prose, headlines, lists and tables may not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_gate import failed

from rewriters.furniture import furniture
from rewriters.gate import Gate
from rewriters.wording import plain

PROSE = "The mill at Orrin was rebuilt in 1874. Nobody has mended its wheel since the war."
MORE = "Visitors can see the stones on Sundays, and tea is served in the yard."
BEFORE = [  # stands before a text, on a line of its own or joined to its first
    "Home | News | Obituaries",
    "Home > Mills & Weirs > Orrin",
    "Home » Archive » Spring",
    "Menu Login Search",
    "Menu – Search – Log in.",
    "Skip to main content",
    "Menu",
    "3 comments",
    "Accept all cookies",
    "Log in to comment",
    "View all 23 photos",
    "Rate this recipe",
    "[Subscribe for full access]",
    "Next: Ten ways to mend a weir",
    "Share (12) | Print | 4 min read",
]
BEHIND = [  # stands behind it, without a full stop of its own in most
    "Report | Share",
    "Tap to see 23 photos >>",
    "Read more",
    "Read more »",
    "Sign up for our newsletter",
    "Subscribe!",
    "BOOK NOW!",
    "BUY TICKETS NOW | SHOP",
    ">>> CLICK HERE for a FREE tour <<<",
    "Feedback? Tap the star!",
    "Liked this? Subscribe here.",
    "Click here to book 2 places.",
    "Share on Chatterbox",
    "Follow us on Pixbook",
    "Advertisement",
    "Cookie settings",
    "We use cookies to improve your visit.",
    "17 comments",
    "12 people found this helpful.",
    "Add to basket",
    "Next article >",
    "Join 12,000 subscribers",
    "Only 3 left in stock!",
    "Get 20% off with code MILL20!",
    "Love mills? Join Millbook today!",
    "Related: 7 Mill Myths.",
    "This episode is brought to you by Zorbo mattresses.",
    "Image 1 of 7",
    "Show 4 more replies",
    "Back to top",
    "© 2026 Orrin Herald. All rights reserved.",
]
LINES = [  # furniture only as a line of its own
    "Menu Login Term dates",
    "Related: Weir at Tolsk fails for the 3rd time",
    "Read also: Tolsk loses its ferry",
    "Tags: mills, Orrin, Dunmore",
    "Facebook Twitter Email Print",
    "Home Shop Our Story Contact",
    "You may also like",
    "Filed under: Mills",
    "Page 1 of 3",
]
CONTENT = [
    "Shares in Orrin Mills fell 4% on Monday.",
    "The menu lists 14 dishes, and the home page of the inn lists 3.",
    "Nobody in Orrin could read more than a page of it.",
    "Click beetles live in the beams.",
    "Share prices rose; report after report said so.",
    "Press coverage in Orrin was kind, and Tolsk sent 3 reporters.",
    "New home for 12 donkeys at Orrin",
    "Orrin mill shut until March",
    "Related illnesses killed 40 people in Orrin.",
    "Follow the path to Tolsk for 3 miles.",
    "Present: Mrs Dunmore | Mr Pell | Mr Tolsk",
    "Orrin 3 | Tolsk 1",
    "Dunmore > Pell > Tolsk in the final table.",
    "2 eggs, 300 g flour, a spoon of Tolsk honey",
    "Search parties from Orrin and Tolsk went out at 6.",
    "Contact was lost at 14:20 near Tolsk.",
    "Next year Orrin will have 2 mills.",
    "Add to the pot 3 spoons of Tolsk honey.",
    "Register of births, Orrin, 1874",
    "Copyright law protects Dunmore for 70 years.",
    "The baker uses cookies from Tolsk, 40 a day.",
    "Stones > wheels, said Dunmore.",
    "Sign on the door: closed until 4 May.",
    "We sign up for nothing, said Dunmore.",
]  # fmt: skip


def _told(text: str) -> str:
    for a, b in reversed(furniture(text)):
        text = text[:a] + text[b:]
    return text


@pytest.mark.parametrize("added", BEFORE)
@pytest.mark.parametrize("joined", ["\n", "\n\n", " "])
def test_furniture_before_a_text_is_found_and_nothing_of_the_text(added, joined):
    told = _told(plain(f"{added}{joined}{PROSE} {MORE}"))
    assert f"{PROSE} {MORE}" in told
    assert not set(told.replace(PROSE, "").replace(MORE, "").split()) & {"Home", "News", "Archive", "Print"}


@pytest.mark.parametrize("added", BEHIND)
@pytest.mark.parametrize("joined", ["\n", "\n\n", " "])
def test_furniture_behind_a_text_is_found_and_nothing_of_the_text(added, joined):
    told = _told(plain(f"{PROSE} {MORE}{joined}{added}"))
    assert f"{PROSE} {MORE}" in told
    assert not any(c.isalnum() for c in told.replace(PROSE, "").replace(MORE, ""))


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_menus_or_labels_is_found(line):
    for text in (f"{line}\n{PROSE} {MORE}", f"{PROSE}\n{line}\n{MORE}", f"{PROSE} {MORE}\n\n{line}"):
        told = _told(plain(text))
        assert PROSE in told and MORE in told
        assert not any(c.isalnum() for c in told.replace(PROSE, "").replace(MORE, ""))


@pytest.mark.parametrize("said", [*CONTENT, PROSE, MORE])
def test_what_tells_something_is_no_furniture(said):
    for before, behind in (("", f"\n{PROSE}"), ("", f" {PROSE}"), (f"{PROSE}\n", f"\n{MORE}"), (f"{PROSE} ", ""),
                           (f"{PROSE} {MORE}\n\n", "")):  # fmt: skip
        assert furniture(plain(f"{before}{said}{behind}")) == []


@pytest.mark.parametrize("text", [
    "Name | Role | Contact\nDunmore | chair | Orrin 12\nPell | clerk | Tolsk 40",
    "- Search the cellar\n- Home for tea\n- Register at Orrin by 4",
    "Tap the screen twice. Scroll to Pump 3. Press the button for 10 seconds. Tap Tolsk to end.",
    "He told me that 3 of them would\nlog in at Orrin and\nshare the stones with Tolsk.",
])  # fmt: skip
def test_tables_lists_manuals_and_broken_lines_are_content(text):
    assert furniture(plain(text)) == []


def test_furniture_may_be_told_and_may_be_left_out_and_prose_may_not():
    source = f"Home | News | Tolsk Herald\n{PROSE} Tickets cost 6 crowns. {MORE} Tap to see 23 photos >>"
    clean = f"{PROSE} Tickets cost 6 crowns. {MORE}"
    assert failed(source, clean, Gate()) == {}
    assert failed(source, f"{clean} The Tolsk Herald has 23 photos.", Gate()) == {}
    assert "numbers_missing" in failed(source, f"{PROSE} Tickets are sold. {MORE}", Gate())
    assert "names_missing" in failed(source, clean.replace("Orrin", "the village"), Gate())
    assert "numbers_invented" in failed(source, f"{clean} The page has 24 photos.", Gate())
    assert "names_invented" in failed(source, clean.replace("Orrin", "Dunmore"), Gate())


@given(st.text(alphabet="Home |>»News\n.!3 abTap\0▼<", max_size=60))
def test_spans_are_in_order_and_apart(text):
    spans = furniture(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(spans))
