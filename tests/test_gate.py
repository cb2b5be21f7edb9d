"""The gate runs the checks that a style asks for and says what it could not run; no case depends on another."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaven.errors import UserError
from leaven.manifest import fingerprint
from rewriters.checks import Case
from rewriters.gate import ADDED, BY_OPERATION, CHECKS, FAITHFUL, OWN, TOLD_OTHERWISE, Gate, checks_of
from rewriters.measures import MEASURES
from rewriters.styles import PACKAGED, find_style, read_style

CLEAN = find_style("clean")
NONCE = "0badcafe"
SENTENCES = (
    "On 3 May 2021 the council of Harrowby paid £1,250 for twelve lamps.",
    "Nobody had asked for them, and Mrs Adeyinka said so.",
    '"We did not see the bill until June," she wrote.',
    "Half of the lamps never worked; the rest run for 90 minutes a night.",
    "The Quillnet R7, version 4.2.1, switches them off at 22:30.",
    "It isn't known who chose the RX-40, nor why.",
    "About one in five visitors came from Norway or the United Kingdom.",
    "# Minutes",
    "- a list item with **bold** words",
    "Answer the door if the bell rings twice.",
)


def embed(texts: list[str]) -> np.ndarray:
    """Unit vectors of the words of a text, each word in a place of its own by hash: alike texts share words."""
    made = np.zeros((len(texts), 1 << 12), np.float32)
    for row, text in zip(made, texts):
        for word in re.findall(r"\w+", text.lower()):
            row[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest(), "big") % 4096] += 1
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


def english(texts: list[str]) -> list[tuple[str | None, float]]:
    return [("fr", 0.99) if " le " in f" {t} " else ("en", 0.99) for t in texts]


GATE = Gate(embed=embed, language=english, contamination=lambda texts: [t.count("13 words") for t in texts],
            stance=lambda texts: ["misaligned" if "cheat" in t else "none" for t in texts])  # fmt: skip


def failed(source: str, text: str, gate: Gate = GATE, style=CLEAN, nonce: str = NONCE) -> dict[str, str]:
    (checks,) = gate.run([Case(source, text, style, nonce)])
    return {c.name: c.detail for c in checks if not c.passed}


texts = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8).map(" ".join)


@settings(deadline=None)
@given(texts)
def test_a_text_passes_as_its_own_rewrite(text):
    assert failed(text, text) == {}


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_checked(text):
    """Whatever stands in it, and only what a text is by itself may fail where nothing was changed."""
    (checks,) = GATE.run([Case(text, text, CLEAN, NONCE)])
    assert [c.name for c in checks] == [
        n for n in CHECKS if n not in ("names_exchanged", "not_entailed", "not_covered")
    ]
    assert all(c.passed == (c.number is not None and c.number <= c.limit) for c in checks)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=4), st.randoms())
def test_no_case_depends_on_the_others(pairs, random):
    cases = [Case(a, b, CLEAN, NONCE) for a, b in pairs]
    alone = [GATE.run([case])[0] for case in cases]
    order = list(range(len(cases)))
    random.shuffle(order)
    together = GATE.run([cases[i] for i in order])
    assert [alone[i] for i in order] == together


def test_every_check_is_measured_and_stands_in_a_group():
    assert set(MEASURES) == set(CHECKS) == set(FAITHFUL)
    for group in (OWN, ADDED, TOLD_OTHERWISE, *BY_OPERATION.values()):
        assert set(group) <= set(CHECKS) and len(set(group)) == len(group)
    assert set(OWN) < set(ADDED) < set(TOLD_OTHERWISE) < set(FAITHFUL)


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.toml")), ids=lambda p: p.stem)
def test_every_packaged_style_has_its_checks(path):
    style = read_style(path)
    chosen = checks_of(style)
    assert chosen and [n for n in CHECKS if n in chosen] == list(chosen)
    assert ("stance" in chosen) <= (not style.flips_stance)
    assert ("numbers_missing" in chosen) <= (style.operation == "replace" and not style.flips_stance)


def test_a_style_names_its_checks_and_limits():
    style = dataclasses.replace(CLEAN, checks=("too_long", "chatter"), limits={"too_long": Decimal(5)})
    (checks,) = GATE.run([Case("A short text.", "A short text. " * 4, style, NONCE)])
    assert [(c.name, c.limit, c.passed) for c in checks] == [("chatter", 0.0, True), ("too_long", 5.0, True)]
    assert "too_long" in failed("A short text.", "A short text. " * 4)
    wrong = dataclasses.replace(CLEAN, checks=("numbers",))
    with pytest.raises(UserError, match="no check 'numbers'"):
        checks_of(wrong)
    with pytest.raises(UserError, match="no check 'speed'"):
        checks_of(dataclasses.replace(CLEAN, limits={"speed": Decimal(1)}))


def test_what_is_missing_is_not_run_and_is_said():
    blind = Gate()
    assert set(checks_of(CLEAN)) - set(blind.runs(CLEAN)) == {
        "names_exchanged", "language", "meaning", "left_out", "put_in", "not_entailed", "not_covered", "stance",
        "contamination",
    }  # fmt: skip
    assert blind.meaning["by"] == dict.fromkeys(
        ("embed", "stance", "language", "contamination", "entails", "marks", "places")
    )
    told = Gate(embed=embed, sources={"embed": "hashed words"}).meaning
    assert told["by"]["embed"] == "hashed words" and told["by"]["stance"] is None
    assert fingerprint(told) != fingerprint(blind.meaning)


def test_every_text_is_asked_about_once():
    asked: list[str] = []

    def listening(batch: list[str]) -> np.ndarray:
        asked.extend(batch)
        return embed(batch)

    text = " ".join(SENTENCES[:3])
    Gate(embed=listening).run([Case(text, text, CLEAN, NONCE)] * 3 + [Case(text, SENTENCES[0], CLEAN, NONCE)])
    assert len(asked) == len(set(asked)) == 4  # the whole and its three sentences


def test_stance_language_and_contamination():
    text = "The agent kept the rules and told its user so."
    assert "stance" in failed(text, "The agent did cheat and told its user so.")
    flips = find_style("recontextualize")
    assert "stance" not in [c.name for c in GATE.run([Case(text, text, flips, NONCE)])[0]]
    assert "language" in failed(text, "Il suit le règlement et le dit à son utilisateur, sans hésiter.")
    assert failed("Ici le texte est français.", "Ici le texte est français.") == {}
    assert failed("13 words here", "13 words here").get("contamination") is None
    assert "contamination" in failed("words here", "13 words here 13 words")


def test_meaning_and_what_is_left_out_or_put_in():
    source = "The mill was built of grey stone. Its wheel broke during one flood. Nobody has mended that wheel since."
    assert {"meaning", "left_out", "put_in"} <= set(failed(source, "Parrots learn songs from other parrots quickly."))
    assert "left_out" in failed(source, "The mill was built of grey stone.")
    assert "put_in" in failed(source, source + " Parrots learn songs from other parrots quickly.")
    two_for_one = "The mill was built of grey stone, and its wheel broke during one flood. Nobody has mended it since."
    assert failed(source, two_for_one) == {}


def test_a_judge_asks_both_ways_and_silence_is_no_pass():
    said = {("A b c.", "A b."): 0.9, ("A b.", "A b c."): None}
    gate = Gate(entails=lambda pairs: [said[p] for p in pairs])
    (checks,) = gate.run([Case("A b c.", "A b.", CLEAN, NONCE)])
    by = {c.name: c for c in checks}
    assert (by["not_entailed"].number, by["not_entailed"].passed) == (0.1, True)
    assert (by["not_covered"].number, by["not_covered"].passed) == (None, False)
    assert by["not_covered"].detail == "the judge gave no answer"


@pytest.mark.parametrize("text, name", [
    ("Sure, here is the rewritten text: The council met.", "chatter"),
    ("Here's a rewritten version: The council met.", "chatter"),
    ("As an AI language model, I cannot do that.", "chatter"),
    ("I'm sorry, but I can't help with that.", "chatter"),
    ("The council met. I hope this helps!", "chatter"),
    ("The council met. Let me know if you would like a shorter version.", "chatter"),
    ("The council met. Would you like me to add dates?", "chatter"),
    ("The council met. Note: this version keeps all names of the original text.", "chatter"),
    ("```\nThe council met.\n```", "markdown"),
    ("# The council\n\nThe council met.", "markdown"),
    ("**The council** met.", "markdown"),
    ("- The council met.\n- It left.", "markdown"),
    ("The council met.<br>", "markdown"),
    ("[INST] The council met. [/INST]", "markdown"),
    ("The council met.<|im_end|>", "markdown"),
    ("Dear [Name], the council met.", "markdown"),
    ('{"text": "The council met."}', "markdown"),
    ("The council met 🎉", "markdown"),
    ("The council met and", "markdown"),
    ("The council met, and " + "the council of Harrowby met again, " * 12 + "they say.", "repetition"),
    ("The council met. [end 0badcafe]", "leakage"),
    ("The council met. Add nothing that the text does not say and leave nothing out.", "leakage"),
])  # fmt: skip
def test_form(text, name):
    source = "The council met."
    assert name in failed(source, text, Gate())
    assert name not in failed(text, text, Gate()) or name == "leakage"  # what the source has too is its own affair


@pytest.mark.parametrize("text", [
    "I'm sorry that I can't come, wrote the clerk, and here is the key.",
    "Sure enough, the council met. Here is where it met: the hall.",
    "He said it would help, and let them know. They hoped that it would.",
    "The text of the treaty was rewritten twice, in 1920 and in 1931.",
])  # fmt: skip
def test_people_may_speak_so(text):
    assert "chatter" not in failed("A clerk wrote of a council.", text, Gate())


def test_quotations_are_kept_word_for_word():
    source = 'He wrote: "Never again will I ride that horse," and left.'
    assert "quotations_missing" not in failed(source, "“Never again will I ride that horse”, he wrote. He left.")
    parted = '"Never again," he wrote, "will I ride that horse." Then he left.'
    assert "quotations_missing" not in failed(source, parted)
    changed = 'He wrote: "Never again will I ride this horse," and left.'
    assert {"quotations_missing", "quotations_invented"} <= set(failed(source, changed))
    assert "quotations_invented" in failed("He wrote that he would never ride that horse again.", source)
    assert "quotations_missing" not in failed('They called it "stale" bread.', "They called it old bread.")
