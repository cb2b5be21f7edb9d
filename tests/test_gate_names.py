"""Which capitals are names: units, plurals, numbered clauses, shared surnames, and names at a sentence's beginning."""

from __future__ import annotations

import pytest

from rewriters.check_names import invented, missing
from rewriters.checks import side


@pytest.mark.parametrize("source, rewrite", [
    ("It made 9.1 gigawatt-hours in a year.", "It made 9.1 GWh in a year."),
    ("The line carries 40 megabits a second.", "The line carries 40 Mbps or 5 MB/s."),
    ("No CVs, please, and no calls.", "Please send no CV and do not call."),
    ("Send a CV to the inn.", "The inn wants CVs."),
    ("7.1 The tenant keeps no animal save one cat.", "7.1 Apart from one cat the tenant keeps no animal."),
    ("(2) The tenant keeps one cat.", "(2) Apart from one cat the tenant has none."),
    ("Cousins Ursula and Bram Teasdale turn each cheese.", "Bram and Ursula Teasdale turn each cheese."),
    ("Cousins Ursula and Bram Teasdale turn each cheese.", "Each cheese is turned by Ursula Teasdale and Bram."),
    ("The Duke of Sarn is dead.", "Dead is the Duke of Sarn."),
    ("Port State Control held her. She is of Port Sarn.", "She is of Port Sarn and was held by Port State Control."),
    ("My MIL says no. The yard faces SW.", "My mother-in-law says no. The yard faces south-west."),
    ("The water is not fluoridated.", "Fluoride is not put into the water."),
    ("CWS is shut.", "The Co-operative Wholesale Society is shut."),
    ("We shut after Xmas.", "After Christmas we shut."),
])  # fmt: skip
def test_these_name_nobody_new(source, rewrite):
    assert invented(side(source), side(rewrite)) == [] and missing(side(source), side(rewrite)) == []


@pytest.mark.parametrize("source, rewrite", [
    ("It made 9.1 gigawatt-hours in a year.", "GWh made 9.1 in a year."),
    ("No CVs, please, and no calls.", "Please send no VC and do not call."),
    ("Prudence Holm left. It rained constantly.", "Constance Holm left. It rained constantly."),
    ("7.1 Mister Biscuit stays.", "7.1 Mister Pudding stays."),
    ("Ursula and Bram Teasdale met Odile Rask.", "Ursula and Bram Rask met Odile Teasdale."),
    ("Ambrose Kettley tells of the Duke of Sarn.", "Ambrose Kettley tells of the Duke of Kettley."),
    ("Their help line (Kolby, very polite) wants 140 dollars.", "Darnell on the help line wants 140 dollars."),
])  # fmt: skip
def test_these_do(source, rewrite):
    assert invented(side(source), side(rewrite))
