"""Numbers, names and negations that mean the same agree, in whatever form; those that do not are told."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriters import check_exchanged, check_names, check_negation, check_numbers
from rewriters.checks import side
from rewriters.measures import EXCHANGE
from rewriters.quantities import quantities
from rewriters.wording import is_common, listed, plain, sentences, stem, words

SAME_NUMBERS = [
    ("12 men", "twelve men"), ("1.5 million", "1,500,000"), ("1.5 million", "1 500 000"), ("50 %", "fifty per cent"),
    ("50%", "half of them"), ("It fell by 25%.", "It fell by a quarter."), ("75%", "three quarters"),
    ("3 May 2021", "May 3, 2021"), ("2021-05-03", "the 3rd of May 2021"), ("4/7/1976", "July 4, 1976"),
    ("90 minutes", "an hour and a half"), ("1 hour 10", "seventy minutes"), ("2 hours and 30 minutes", "150 minutes"),
    ("48 hours", "two days"), ("18 months", "a year and a half"), ("every fortnight", "every 2 weeks"),
    ("100 years", "a century"), ("the 19th century", "the 1800s"), ("the 1990s", "the nineties"), ("in '98", "in 1998"),
    ("2019-20", "2019 to 2020"), ("2 to 3 million", "two million to three million"), ("7B parameters", "seven billion"),
    ("$5m", "five million dollars"), ("US$1.2bn", "1.2 billion dollars"), ("£20", "20 pounds"),
    ("£1.50", "one pound fifty"),
    ("$0.40", "40 cents"), ("10 km", "10,000 metres"), ("half a kilo", "500 g"), ("2½ kg", "two and a half kilograms"),
    ("three in ten", "30%"), ("one harmless request in twenty", "5% of harmless requests"), ("a third", "1/3"),
    ("3 pm", "15:00"), ("7:30", "half past seven"), ("6.10", "ten past six"), ("18:45", "a quarter to seven"),
    ("noon", "12 o'clock"), ("GPT-4", "GPT 4"), ("version 2.3.1", "v2.3.1"), ("Louis XIV", "Louis the Fourteenth"),
    ("nineteen eighty-four", "1984"), ("a hundred and twenty", "120"), ("two dozen", "24"),
    ("Mon-Fri", "Monday to Friday"),
    ("both of them", "the two of them"), ("the 5 of us", "the five of us"), ("-5 °C", "five degrees below zero"),
    ("at 10.50 pm", "at ten to eleven"), ("valid from 0600", "valid from 6 a.m."), ("25 minutes to six", "5:35"),
    ("between £40 and £60", "between forty and sixty pounds"), ("8 weeks", "two months"), ("1.75 m", "175 cm"),
    ("a mile and a quarter", "1.25 miles"), ("the half hour before", "thirty minutes before"),
    ("Q3", "the third quarter"),
    ("the hundred and thirty-nine steps", "139 steps"), ("three homes in four", "75 per cent of homes"),
    ("135 over 85", "135/85"), ("the last day of August", "31 August"), ("fourpence", "4 pence"),
    ("at 23:50", "at ten minutes to midnight"), ("her 3,000th puzzle", "her three-thousandth puzzle"),
    ("a third of a litre", "33 cl"), ("1 minute 40", "100 seconds"),
    ("at 5.30 in the morning", "at half past five a.m."),
    ("children under six", "under-sixes"), ("on weekdays", "Monday to Friday"),
    ("a 2-2 draw", "they shared four goals, 2-2"),
    ("12 of the 48", "a quarter of the 48"), ("a 3-4 week wait", "a wait of three or four weeks"),
    ("between 7 and 11", "between seven and eleven"), ("a 4-0 win", "a four-nil win"), ("24 hours", "one day"),
]  # fmt: skip
OTHER_NUMBERS = [
    ("12 men", "13 men"), ("1,140", "1,410"), ("10 minutes", "10 hours"), ("5 km", "5 miles"), ("£20", "$20"),
    ("3 pm", "3 am"), ("6 million", "6 billion"), ("2.3.1", "2.3.2"), ("3 May", "3 June"),
    ("on Tuesday", "on Thursday"),
    ("the 1980s", "the 1990s"), ("twice a day", "three times a day"), ("half of it", "a quarter of it"),
    ("two brothers", "three brothers"), ("hundreds of ships", "thousands of ships"), ("GPT-4", "GPT-5"),
    ("7:30", "8:30"), ("take out a fifth", "leave three fifths"), ("take a third", "take two thirds"),
    ("2.11 or later", "2.17 or later"), ("in 2:28:50", "in 2:29:05"),
    ("1 April", "11 April"), ("four cases and four more", "four cases and nine more"),
]  # fmt: skip
GO_WITHOUT = [  # what a rewrite may leave out, or say that its source does not
    ("They must do three things: eat, sleep and walk.", "They must eat, sleep and walk."),
    ("It may not let any third party do so.", "It may not let others do so."),
    ("The fare is £48, half price for the young.", "The fare is £48, or £24 for the young."),
    ("Half of the forty pots got tape.", "Of forty pots, twenty got tape and twenty none."),
    ("He sleeps 16 hours a day.", "He sleeps 16 hours out of 24."),
    ("Years 7 to 9 took part.", "Years 7, 8 and 9 took part."),
    ("143 of the 160 ewes had lambed.", "All but 17 of the 160 ewes had lambed."),
]  # fmt: skip
CHANGED = [  # the same arithmetic where a number is gone
    ("They must do three things: eat, sleep and walk.", "They must do five things: eat, sleep and walk."),
    ("It cost a thousand lamps and two wheels.", "It cost lamps and two wheels."),
    ("The fare is £48, half price for the young.", "The fare is £24, half price for the young."),
    ("In seven years it lost 12 trees and 5 more.", "In seven years it lost 17 trees and 5 more."),
]  # fmt: skip


def numbers(source: str, text: str) -> list[list[str]]:
    a, b = side(source), side(text)
    return [check_numbers.missing(a, b), check_numbers.invented(a, b), check_exchanged.misplaced(a, b, EXCHANGE)]


@pytest.mark.parametrize("one, other", SAME_NUMBERS)
def test_the_same_number_in_another_form(one, other):
    assert numbers(one, other) == numbers(other, one) == [[], [], []]


@pytest.mark.parametrize("one, other", OTHER_NUMBERS)
def test_another_number(one, other):
    assert any(numbers(one, other)) and any(numbers(other, one))


@pytest.mark.parametrize("source, text", GO_WITHOUT)
def test_what_goes_without_saying_or_can_be_worked_out(source, text):
    assert numbers(source, text) == [[], [], []]


@pytest.mark.parametrize("source, text", CHANGED)
def test_what_can_be_worked_out_may_not_stand_for_another(source, text):
    assert any(numbers(source, text)[:2])


WAS_AND_IS = [
    "The wait fell from 9 hours to 6.", "The wait is 6 hours instead of 9.",
    "The wait is 6 hours, where it had been 9.",
    "The wait, 6 hours now, was 9 before.", "The wait is 6 hours, down from 9.",
    "The wait is 6 hours against 9 last year.", "Where the wait was 9 hours, it is now 6.",
]  # fmt: skip


@pytest.mark.parametrize("source, text", list(itertools.permutations(WAS_AND_IS, 2)))
def test_what_was_and_what_is_are_told_apart(source, text):
    """In any two wordings the same numbers agree, and the same exchanged do not."""
    swapped = text.replace("9", "#").replace("6", "9").replace("#", "6")
    assert numbers(source, text)[2] == []
    assert numbers(source, swapped)[2]


@given(st.integers(0, 10**9 - 1))
def test_words_and_digits_agree(n):
    """Every whole number below a billion is read alike in words, in digits and with separators."""
    wanted = ("", Fraction(n))
    for told in (in_words(n), str(n), f"{n:,}"):
        (found,) = quantities(f"exactly {told} things")
        assert wanted in found.readings, told


def in_words(n: int) -> str:
    small = listed(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    )
    tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    if n < 20:
        return small[n]
    if n < 100:
        return tens[n // 10] + (f"-{small[n % 10]}" if n % 10 else "")
    for scale, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if n >= scale:
            rest = n % scale
            joint = " and " if 0 < rest < 100 else " "
            return f"{in_words(n // scale)} {name}" + (joint + in_words(rest) if rest else "")
    raise AssertionError


@given(st.lists(st.integers(3, 9999), min_size=1, max_size=6, unique=True), st.data())
def test_a_changed_number_is_missing_and_invented(values, data):
    """Among any others; years and plain numbers alike."""
    told = [f"room {i} holds {v} chairs" for i, v in zip("abcdef", values)]
    at = data.draw(st.integers(0, len(values) - 1))
    new = data.draw(st.integers(3, 9999).filter(lambda n: n not in values))
    changed = [*told]
    changed[at] = told[at].replace(str(values[at]), str(new))
    source, text = ". ".join(told), ". ".join(changed)
    missing, invented, _ = numbers(source, text)
    assert missing == [str(values[at])] and invented == [str(new)]


def test_numbers_that_changed_places():
    source = "The mill ground 214 sacks of barley. Rye came to 39 sacks. Of the millers, 31 stayed away."
    assert numbers(source, "Of rye there were 39 sacks. The mill ground 214 of barley; 31 stayed away.")[2] == []
    assert numbers(source, "The mill ground 39 sacks of barley. Rye came to 214; 31 millers stayed away.")[2]
    assert numbers("It rose from 20 to 45 seconds.", "It went up to 45 seconds from 20.")[2] == []
    assert numbers("It rose from 20 to 45 seconds.", "It went up to 20 seconds from 45.")[2]
    assert numbers("Open from 9 to 17 hours.", "Open 17-9 hours.")[2]
    assert numbers("On 8 July and on 26 June.", "On 26 July and on 8 June.")[2]
    twice = "The first pays 10 pounds, the second 10 pounds, the third 25 pounds."
    assert numbers(twice, "The first pays 10 pounds, the second 25 pounds, the third 25 pounds.")[2]
    assert numbers(twice, "The first two pay 10 pounds each, the third 25 pounds.")[2] == []


SAME_NAMES = [
    ("The World Health Organization said so.", "WHO said so."), ("The UN agreed.", "The United Nations agreed."),
    ("Dr. Amara Lindqvist spoke.", "Lindqvist spoke."), ("Lindqvist's book sold.", "The book by Lindqvist sold."),
    ("He is from Norway.", "He is Norwegian."), ("A French town.", "A town in France."), ("Zoë left.", "Zoe left."),
    ("The Millers moved.", "The Miller family moved."), ("Lake Onmere froze.", "Onmere froze."),
    ("The roads officer wrote.", "The Roads Officer wrote."), ("Stir the pot. Then wait.", "Wait after stirring it."),
    ("Don't touch it.", "It must not be touched."), ("J.R. Foster wrote it.", "Foster wrote it."),
    ("An agent built on Juniper ran.", "The Juniper-based agent ran."), ("It drew 3 kWh.", "It drew 3 kilowatt-hours."),
    ("The organisation of Harrow Centre.", "Harrow Center's organization."),
    ("DO NOT ENTER the yard.", "Keep out of the yard."),
    ("A week went by.", "Membership ended. Undeterred, they went on."),
    ("The army of Rome marched.", "The Roman army marched."), ("Open Mon-Fri.", "Open Mondays to Fridays."),
    ("Sunlight blows it away.", "The light of the Sun blows it away."),
]  # fmt: skip
OTHER_NAMES = [
    ("Mirela Dunstock said no.", "Helena Marchbank said no."), ("She lives in Leeds.", "She lives in Bristol."),
    ("The Greyfriars School won.", "The Whitegate School won."),
    ("Sorrel-1 lost to Sorrel-2.", "Sorrel-1 lost to Teasel-2."),
    ("Elena Brandt spoke. Brandt left.", "Clara Brandt spoke. Brandt left."),
    ("Quillnet R7 broke.", "Quillnet X5 broke."),
    ("Jory Tennick passed to Osei Brand.", "Osei Tennick passed to Jory Brand."),
    ("The tug Resolute came.", "The tug Reliant came."), ("Mr S. Haddow asked.", "Mr S. Penhale asked."),
    ("It is 40 cm off Cape Lorne.", "It is 40 cm off Cape Mirren."),
    ("He came from Niger.", "He came from Nigeria."),
    ("The WHO said so.", "The WTO said so."),
]  # fmt: skip


@pytest.mark.parametrize("one, other", SAME_NAMES)
def test_the_same_name_in_another_form(one, other):
    a, b = side(one), side(other)
    assert check_names.missing(a, b) == check_names.invented(a, b) == []


@pytest.mark.parametrize("one, other", OTHER_NAMES)
def test_another_name(one, other):
    a, b = side(one), side(other)
    assert check_names.invented(a, b) and check_names.invented(b, a)


def test_what_is_missing_is_named():
    a, b = side("Mr Osgood Fenn met Ms Tabbart in Elmwick."), side("Ms Tabbart met somebody in Elmwick.")
    assert check_names.missing(a, b) == ["Mr Osgood Fenn"] and check_names.invented(a, b) == []


@pytest.mark.parametrize("source, text, sure", [
    ("The guarantee does not cover damage from scale.", "Damage from scale is covered by the guarantee.", True),
    ("He never opened the book.", "He opened the book.", True),
    ("No draft was sent.", "A draft was sent.", True),
    ("The book was opened.", "The book was never opened.", True),
    ("The handle never gets hot.", "The handle always stays cool.", False),
])  # fmt: skip
def test_a_negation_without_its_counterpart(source, text, sure):
    number, told = check_negation.unmatched(side(source), side(text))
    assert told and (number >= 1) == sure


@pytest.mark.parametrize("source, text", [
    ("The guarantee does not cover damage.", "Damage is not covered by the guarantee."),
    ("She could not sew a button.", "She was unable to sew so much as a button."),
    ("No agent sends mail without approval.", "Agents never send mail that nobody approved."),
    ("The patient was unharmed.", "The patient was not harmed."),
    ("It lacks a lid.", "It has no lid."),
    ("There is no doubt that it works.", "It works."),
])  # fmt: skip
def test_a_negation_in_another_form(source, text):
    assert check_negation.unmatched(side(source), side(text)) == (0.0, [])


@given(st.text(max_size=300))
def test_sentences_and_words_lie_in_the_text(text):
    """Spans in order, none empty; every word stands where it is said to."""
    told = plain(text)
    spans = sentences(told)
    assert all(a < b for a, b in spans) and all(b <= c for (_, b), (c, _) in itertools.pairwise(spans))
    of = words(told, spans)
    assert all(told[a : a + len(w)] == w for w, a in zip(of.spelt, of.start))


def test_sentences_end_where_sentences_end():
    text = plain("Dr. Foster went to St. Ives on 3.5.2020. It rained, e.g. on J. R. Hale. “Oh!” he said. Then?")
    assert [text[a:b] for a, b in sentences(text)] == [
        "Dr. Foster went to St. Ives on 3.5.2020.", "It rained, e.g. on J. R. Hale.", '"Oh!" he said.', "Then?",
    ]  # fmt: skip


def test_stems_and_common_words():
    for one, other in (("repair", "repairs"), ("organise", "organization"), ("colour", "colors"), ("stop", "stopped"),
                       ("write", "written"), ("measure", "measured"), ("city", "cities")):  # fmt: skip
        assert stem(one) == stem(other)
    assert is_common("walkers") and is_common("undeterred") and is_common("membership")
    assert not any(map(is_common, ("brandt", "quillnet", "leeds", "dunstock")))
