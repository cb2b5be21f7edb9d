"""The public term list keeps its promises: size, categories, reasons, versions."""

from __future__ import annotations

import re
from collections import Counter

from filters.blocklist import CATEGORIES, PUBLIC, fold_key, read_terms

LIST = read_terms()


def changelog() -> list[str]:
    """Versions of the changelog, newest first."""
    return re.findall(r"^## (\S+)$", (PUBLIC.parent / "CHANGELOG.md").read_text("utf-8"), re.M)


def test_five_hundred_terms_and_more_after_folding_case_hyphens_and_plurals():
    assert len({fold_key(t.term) for t in LIST.terms}) == len(LIST.terms) >= 500


def test_every_category_is_there_with_its_role():
    counted = Counter(t.category for t in LIST.terms)
    assert set(counted) == set(CATEGORIES) and min(counted.values()) >= 40, counted
    assert all(t.role == CATEGORIES[t.category] for t in LIST.terms)


def test_every_term_has_a_reason_of_its_own_in_one_line():
    for term in LIST.terms:
        assert 15 <= len(term.reason) <= 140 and "\n" not in term.reason and term.reason.endswith("."), term
        assert fold_key(term.term) != fold_key(term.reason.rstrip(".")), term
    assert len({t.reason for t in LIST.terms}) == len(LIST.terms)


def test_versions_are_those_of_the_changelog():
    versions = changelog()
    assert LIST.version == versions[0]
    assert len(set(versions)) == len(versions)
    assert {t.since for t in LIST.terms} <= set(versions)
    assert any(t.since == LIST.version for t in LIST.terms)


def test_the_first_version_counts_its_terms():
    text = (PUBLIC.parent / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"First version: (\d+) terms", text)
    assert first and sum(t.since == changelog()[-1] for t in LIST.terms) <= int(first.group(1))
    if LIST.version == changelog()[-1]:
        assert len(LIST.terms) == int(first.group(1))


def test_words_of_ordinary_prose_and_names_of_people_are_not_terms():
    listed = {s.casefold() for t in LIST.terms for s in (t.term, *t.also)}
    ordinary = {
        "claude", "gemini", "llama", "bard", "siri", "alexa", "cortana", "data", "cohere", "imbue", "ought", "runway",
        "lie", "plot", "assistant", "machine", "system", "model", "agent", "program", "mind", "intelligence", "network",
        "anthropic", "mistral", "grok", "terminator", "bert", "geth", "miri", "metr", "cais",
    }  # fmt: skip
    assert not listed & ordinary


def test_instant_terms_are_not_single_common_words():
    """An instant term decides alone, so a single word must be one that has no other use."""
    for term in LIST.terms:
        if term.role == "instant" and re.fullmatch(r"[a-z]+", term.term):
            assert len(term.term) >= 9, term.term


def test_terms_stand_in_alphabetical_order():
    for category in CATEGORIES:
        names = [t.term.casefold() for t in LIST.terms if t.category == category]
        assert names == sorted(names), category
