"""Numbers as web pages write them agree with their rewrites, and the change that lies nearest to each is told."""

from __future__ import annotations

import pytest

from rewriters import check_numbers
from rewriters.calendar_words import is_month
from rewriters.checks import side
from rewriters.quantities import quantities

MONTHS_AND_DAYS = [
    ("got it in june for 129 quid", "She bought it in June for £129."),
    ("since march, no reply", "Since March nobody has replied."),
    ("on may 5 it rained", "It rained on 5 May."),
    ("posted 14 sep 2023", "It was posted on 14 September 2023."),
    ("by the 3rd of august", "by August 3rd"),
    ("born on 5 may 1970, married in june", "Married in June, born on 5 May 1970."),
    ("you may march in march", "In March you are allowed to march."),
    ("Thanks to Jan Peters for the 40 chairs.", "Peters is thanked for 40 chairs."),
    ("June Okafor opened the shop in 1998.", "Okafor opened the shop in 1998."),
    ("In June Marlow Foods shut two plants.", "Marlow Foods shut two plants in June."),
    ("In June 2 people asked.", "Two people asked in June."),
    ("open mon-fri 9-5, sat 10-4", "It opens Monday to Friday from 9 to 5, on Saturday from 10 to 4."),
    ("Open Tues-Sun. Closed Mon.", "It opens from Tuesday to Sunday, and is closed on Mondays."),
    ("She sat in the sun for 3 hours.", "For 3 hours she was in the sun."),
    ("5/6 June", "the 5th and 6th of June"),
    ("We meet at 12 noon.", "We meet at noon."),
    ("Lunch is from 12 to 2.", "Lunch is from noon to 2."),
]
SIGNS_AND_UNITS = [
    ("★★★★☆ Good value.", "The reviewer gave it four stars out of five for value."),
    ("★★★☆☆ Nice room", "Three stars: a nice room."),
    ("Rated ★★★★½ by us", "We rate it at four and a half stars."),
    ("★ NEW ★ 30 pages", "It is new and has 30 pages."),
    ("1 1/2 cups of flour", "one and a half cups of flour"),
    ("a 4 1/2-inch blade", "a blade of four and a half inches"),
    ("a 20x30 cm tin", "a tin of 20 by 30 cm"),
    ("1hr30 by bus", "90 minutes by bus"),
    ("at 1700 hrs", "at 5 p.m."),
    ("1,50 euros", "1.50 euros"),
    ("10/10 would recommend", "ten out of ten"),
    ("on a scale of 1:80", "one to eighty"),
    ("the nineteen-sixties", "the 1960s"),
    ("a million and a half dollars", "$1.5m"),
    ("half a per cent of parcels", "0.5 per cent of parcels"),
    ("a fiver each", "five pounds each"),
    ("see p.14 and pp.20-22", "see page 14 and pages 20 to 22"),
    ("Levels 1/2/3", "Levels 1, 2 and 3"),
    ("1 May-30 June", "from May 1 to June 30"),
    ("a bed 4ft6 wide", "a bed 4 feet 6 wide"),
    ("100% wool, 30° wash", "pure wool, to be washed at 30°"),
]
LEFT_TO_THE_READER = [
    ("Waits fell from 22 minutes to two.", "It takes two minutes and not 22."),
    ("It cost 3 million and looks like thirty.", "It looks like thirty million, but it was 3."),
    ("We spent $2.2m of our $3m budget.", "We spent 2.2 of the three million dollars."),
    ("between $140 million and $150 million", "$140-150 million"),
    ("Backed by Orrin Capital and two others.", "Three firms back it, Orrin Capital and two others."),
    ("They offer yoga, pilates and boxing.", "Three classes are offered: yoga, pilates and boxing."),
    ("It made nine times its estimate.", "The estimate was one ninth of what it made."),
    ("Check the filter every six months.", "Check the filter twice a year."),
    ("Only 15 per cent has been opened so far.", "Some 85 per cent has still to be opened."),
    ("Of the 40 rooms 31 are let.", "Of the 40 rooms, nine are not let."),
    ("All but four of the 17 came back.", "Of the 17, thirteen came back."),
    ("Five judges sat; only Orme dissented.", "Of five judges only Orme dissented; the other four did not."),
    ("Lot 212 failed, lot 213 sold.", "Lot 212 failed, the following lot sold."),
    ("It must do three things: wash, dry and fold.", "It must wash, dry and fold."),
    ("It took thirteen months, two fewer than planned.", "It took thirteen months for the planned fifteen."),
]
CHANGED = [
    ("got it in june", "She bought it in July."),
    ("on may 5", "on 15 May"),
    ("open mon-fri", "It opens from Monday to Thursday."),
    ("We meet at 12 noon.", "We meet at midnight."),
    ("★★★★☆ Good value.", "The reviewer gave it five stars out of five."),
    ("★★★☆☆ Nice room", "Four stars: a nice room."),
    ("1 1/2 cups of flour", "1 1/4 cups of flour"),
    ("on a scale of 1:80", "on a scale of 1:18"),
    ("half a per cent of parcels", "5 per cent of parcels"),
    ("see p.14 and pp.20-22", "see page 14 and pages 20 to 25"),
    ("1 May-30 June", "from May 1 to June 20"),
    ("100% wool, 30° wash", "90% wool, to be washed at 30°"),
    ("Waits fell from 22 minutes to two.", "Waits fell from 22 minutes to three."),
    ("It cost 3 million and looks like thirty.", "It cost 3 million and looks like forty."),
    ("Backed by Orrin Capital and two others.", "Four firms back it, Orrin Capital and two others."),
    ("They offer yoga, pilates and boxing.", "Four classes are offered: yoga, pilates and boxing."),
    ("It made nine times its estimate.", "The estimate was one seventh of what it made."),
    ("Check the filter every six months.", "Check the filter every four months."),
    ("Only 15 per cent has been opened so far.", "Some 75 per cent has still to be opened."),
    ("Only 15 per cent has been opened so far.", "Some 85 per cent has been opened."),
    ("Two of nine tests failed.", "Seven of nine tests failed."),
    ("Of the 40 rooms 31 are let.", "Of the 40 rooms, nine are let."),
    ("Five judges sat; only Orme dissented.", "Of five judges only Orme dissented; the other three did not."),
    ("Lot 212 failed, lot 213 sold.", "Lot 212 failed, lot 231 sold."),
    ("It starts on 1 April; a seat costs $11.", "It starts on April 11; a seat costs $11."),
    ("It began on 1 May with eleven others.", "It began on May 11th with eleven others."),
    ("That leaves four cases in ten.", "That leaves 4 per cent of cases."),
    ("Her brother was seventh on the list.", "Her brother was second on the list."),
    ("It costs less than a third of the old card.", "It costs less than half of the old card."),
    ("Ten patients and nine nurses fell ill.", "Nurses fell ill, and patients too."),
    ("E. coli stood in two of nine samples.", "E. coli stood in nine of nine samples."),
    (
        "There is no water after the second gate; allow four hours.",
        "After gate four there is no water; allow four hours.",
    ),
    ("We were four on two ropes by five.", "We were four on seven ropes by five."),
    ("Bleeding was twice as common.", "Bleeding was three times as common."),
    ("She was a pawn down from move 20. Play ends at noon.", "She was a pawn down from move 12. Play ends at noon."),
]


def faults(source: str, text: str) -> list[str]:
    return check_numbers.missing(side(source), side(text)) + check_numbers.invented(side(source), side(text))


@pytest.mark.parametrize("source, text", [*MONTHS_AND_DAYS, *SIGNS_AND_UNITS, *LEFT_TO_THE_READER])
def test_what_a_page_says_in_its_own_way(source, text):
    assert not faults(source, text)


@pytest.mark.parametrize("source, text", CHANGED)
def test_the_nearest_change_is_told(source, text):
    assert faults(source, text)


@pytest.mark.parametrize("text, word, meant", [
    ("we met in may.", "may", True), ("we may 5 times over", "may", False), ("it may rain", "may", False),
    ("on an august day", "august", False), ("end of august", "august", True), ("TUESDAY 5 MAY", "MAY", True),
    ("those under 18 may not enter", "may", False), ("from 18 may to 2 june", "may", True),
    ("on 18 may the mill closed", "may", True),
    ("YOU MAY NOT ENTER", "MAY", False), ("Jun Varga said", "Jun", False), ("5 Jun", "Jun", True),
    ("by April Hsu", "April", False), ("in April Hsu left", "April", True),
])  # fmt: skip
def test_a_month_is_known_by_its_place(text, word, meant):
    start = text.index(word)
    assert is_month(text, start, start + len(word)) is meant


def test_numbers_that_head_the_items_of_a_list_may_be_left_out():
    told = side("Results: 1. Dora Bligh 48.31; 2. Una Craigie 48.90; 3. Mags Rask 55.02. It rained for 2 hours.")
    assert [q.surface for q in told.quantities if q.soft] == ["1.", "2.", "3."]
    assert not any(q.soft for q in side("Killed: 12. The mill burned for hours.").quantities)


def test_stars_are_counted():
    (stars,) = quantities("★★★☆☆")
    assert stars.bare == 3 and ("share", 3 / 5) in {(d, float(v)) for d, v in stars.readings}
    assert not quantities("★ Subscribe ★")


@pytest.mark.parametrize("text, soft", [
    ("★★★☆☆", False), ("★★★★★", False), ("★★★ SALE ★★★", True), ("★★★★★ 4.8 (210)", True), ("4.2 ★★★★☆", True),
])  # fmt: skip
def test_stars_may_be_left_out_where_they_adorn_or_repeat(text, soft):
    stars = [q for q in quantities(text) if q.kind == "stars"]
    assert stars and all(q.soft is soft for q in stars)


def test_a_time_of_day_stays_one():
    (leaves,) = quantities("The bus leaves at ten minutes to eight.")
    assert leaves.unit == "clock"
    assert [q.surface for q in quantities("Waits fell from 22 minutes to two.")] == ["22 minutes", "two"]


@pytest.mark.parametrize("text, wanted", [
    ("It comes on Fri morning.", ["weekday"]), ("It should arrive Wed hopefully.", ["weekday"]),
    ("The engineer was Thu, who built it.", []), ("She left in April and May Hsu stayed.", ["month"]),
    ("From January to May Fairweather was audited.", ["month", "month"]),
])  # fmt: skip
def test_short_days_and_months_before_a_name(text, wanted):
    assert [q.kind for q in side(text).quantities if q.kind in ("weekday", "month")] == wanted
