"""Do texts become the ids that the tokenizer's own library gives, never special ones, and come back whole?"""

from __future__ import annotations

import gzip
import hashlib
import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sequences import write_tokenizer

from leaven.errors import UserError
from leaven.tokens import PROBES, RESERVED, Tokenizer

SHARED = Path(__file__).parents[2] / "shared" / "data"
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(PROBES), max_size=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def tokenizer(path) -> Tokenizer:
    return Tokenizer.load(path)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_ids_are_those_of_tokenizers_and_come_back(path, tokenizer, texts):
    import tokenizers

    theirs = tokenizers.Tokenizer.from_file(str(path))
    theirs.encode_special_tokens = True  # text is text
    flat, offsets = tokenizer.encode_batch(texts)
    assert (flat.dtype, offsets.dtype) == (np.int32, np.int64)
    for n, text in enumerate(texts):
        ids = flat[offsets[n] : offsets[n + 1]]
        assert ids.tolist() == theirs.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == text
        assert tokenizer.token_bytes[ids].sum() == len(text.encode())
        if len(ids):  # cut anywhere, the bytes still add up
            assert tokenizer.decode_bytes(ids[:1]) + tokenizer.decode_bytes(ids[1:]) == text.encode()


def test_a_page_cannot_inject_special_tokens(tokenizer):
    names = ["<|endoftext|>", "<|padding|>", "<|reserved_0|>", "</s>"]
    flat, offsets = tokenizer.encode_batch([f"before {name} after" for name in names] + names)
    special = {tokenizer.eot, *tokenizer.reserved, 0, 1}
    assert not special & set(flat.tolist())
    assert [tokenizer.decode(flat[a:b]) for a, b in pairwise(offsets[4:])] == names


def test_a_template_adds_nothing(tmp_path, path):
    spec = json.loads(path.read_text("utf-8"))
    spec["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }  # fmt: skip
    spec["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "t.json").write_text(json.dumps(spec), "utf-8")
    tokenizer = Tokenizer.load(tmp_path / "t.json")
    assert tokenizer.decode(tokenizer.encode_batch(["the cat sat"])[0]) == "the cat sat"


def test_identity(path, tokenizer):
    own = json.loads(path.read_text("utf-8"))
    assert tokenizer.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert tokenizer.base_size == len(own["model"]["vocab"])
    assert tokenizer.vocab_size == tokenizer.base_size + RESERVED
    assert tokenizer.eot == own["model"]["vocab"]["<|endoftext|>"]
    assert len(tokenizer.token_bytes) == tokenizer.vocab_size
    assert tokenizer.token_bytes[[tokenizer.eot, *tokenizer.reserved]].tolist() == [0] * 17
    assert tokenizer.decode([tokenizer.eot, tokenizer.base_size + 3]) == "<|endoftext|><|reserved_3|>"
    assert tokenizer.backend == "gigatoken"


def test_packed_and_plain_files_are_one_tokenizer(tmp_path, path, tokenizer):
    (tmp_path / "t.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    packed = Tokenizer.load(tmp_path / "t.json.gz")
    assert packed.sha256 == tokenizer.sha256 and packed.data == path.read_bytes()


def test_end_of_text_is_the_first_reserved_id_where_there_is_none(tmp_path):
    bare = Tokenizer.load(write_tokenizer(tmp_path / "bare.json", specials=()))
    assert bare.eot == bare.base_size == bare.vocab_size - RESERVED
    assert bare.decode([bare.eot]) == "<|endoftext|>"
    other = Tokenizer.load(write_tokenizer(tmp_path / "other.json", specials=("<pad>", "</s>")))
    assert other.eot == 1


def test_half_a_character_shows_as_a_replacement(tokenizer):
    flat, _ = tokenizer.encode_batch(["\u4e16"])
    assert len(flat) == 3  # this vocabulary has no merges for it
    assert tokenizer.decode(flat[:2]) == "\ufffd" and tokenizer.decode(flat) == "\u4e16"


def test_where_ids_differ_the_reference_takes_over(path, monkeypatch):
    import gigatoken

    text = "the cat sat on a mat"
    other = write_tokenizer(path.parent / "other.json", merges=5)
    wrong = gigatoken.Tokenizer.from_json(other.read_text("utf-8"))  # a fast library that disagrees
    monkeypatch.setattr("leaven.tokens._load_gigatoken", lambda spec: wrong)
    with pytest.warns(UserWarning, match="differ"):
        tokenizer = Tokenizer.load(path)
    assert tokenizer.backend == "tokenizers" and tokenizer.verify([text])
    monkeypatch.undo()
    right = Tokenizer.load(path)
    assert tokenizer.encode_batch([text])[0].tolist() == right.encode_batch([text])[0].tolist()
    assert right.encode_batch([text])[0].tolist() == right.encode_batch([text], reference=True)[0].tolist()
    assert tokenizer.encode_batch([])[1].tolist() == right.encode_batch([])[1].tolist() == [0]
    right._fast = wrong
    with pytest.warns(UserWarning, match="differ"):
        assert not right.verify([text])


def test_what_is_no_tokenizer_is_refused(tmp_path):
    def refused(name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            Tokenizer.load(tmp_path / name, where="recipe.toml:4 (tokenizer)")
        assert name in str(error.value)

    refused("a.json", b"{}", "not a tokenizer")
    refused("b.json", b"[1, 2]", "not a tokenizer")
    refused("c.json", b"\x00\xff", "not a tokenizer")
    refused("d.json.gz", b"\x1f\x8b123", "cannot be unpacked")
    refused("e.json", b'{"model": {"type": "WordPiece", "vocab": {"a": 0}}}', "WordPiece")
    refused("f.json", b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}}', "cannot be loaded")
    for missing in ("no/such/file.json", "nobody/nothing", str(tmp_path)):
        with pytest.raises(UserError, match="there is no tokenizer") as error:
            Tokenizer.load(missing, where="recipe.toml:4 (tokenizer)")
        assert "recipe.toml:4 (tokenizer)" in str(error.value)


def test_a_metaspace_vocabulary_counts_bytes(tmp_path):
    from tokenizers import Tokenizer as Theirs
    from tokenizers import decoders, models, pre_tokenizers, trainers

    made = Theirs(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    specials = ["<unk>", "</s>"]
    names = [*specials, *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=names, show_progress=False)
    made.train_from_iterator(["the cat sat on the mat"] * 5, trainer)
    spec = json.loads(made.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] in specials]
    (tmp_path / "m.json").write_text(json.dumps(spec), "utf-8")
    tokenizer = Tokenizer.load(tmp_path / "m.json")
    for text in ("the cat sat", "the \u4e16 cat"):
        ids, _ = tokenizer.encode_batch([text])
        assert tokenizer.decode(ids) == text and tokenizer.token_bytes[ids].sum() == len(text.encode())


@pytest.mark.skipif(not (SHARED / "tokenizer").is_dir(), reason="the shared data is not here")
def test_a_real_tokenizer_on_real_text():
    import pyarrow.parquet as pq

    (path,) = (SHARED / "tokenizer").glob("*.json.gz")
    tokenizer = Tokenizer.load(path)
    assert (tokenizer.eot, tokenizer.vocab_size, tokenizer.backend) == (50279, 50296, "gigatoken")
    source = sorted((SHARED / "text").glob("general-*.parquet"))[0]
    pages = pq.read_table(source, columns=["text"]).column(0).slice(0, 150).to_pylist()
    flat, offsets = tokenizer.encode_batch(pages)
    assert tokenizer.verify(pages)
    for n, page in enumerate(pages):
        ids = flat[offsets[n] : offsets[n + 1]]
        composed = unicodedata.normalize("NFC", page)  # what this tokenizer does first
        assert tokenizer.decode(ids) == composed and tokenizer.token_bytes[ids].sum() == len(composed.encode())
