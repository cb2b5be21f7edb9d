"""How text becomes token ids, and back: one tokenizer file, pinned by its hash, with 16 ids reserved above its own.

A tokenizer is a Hugging Face `tokenizer.json` (`.gz` too). gigatoken encodes (tens of MB/s a core); it is compared
with `tokenizers` on a probe set when a tokenizer is loaded, and `tokenizers` takes over where any id differs; `verify`
compares them on whatever text a caller has. Text never turns into special tokens: a page that spells `<|endoftext|>` is
encoded as those characters. Nothing is fetched: a name of the Hub serves only where it lies in the local cache.

Not covered: vocabularies that cannot give the text back (WordPiece), and tokenizers that add a space before a text give
it back with that space.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from leaven.errors import UserError

RESERVED = 16  # ids above the tokenizer's own, for tags and control tokens (decision 11)
END_OF_TEXT = ("<|endoftext|>", "</s>", "<|end_of_text|>")
TOKENS_VERSION = "1"

# Where fast tokenizers have differed: runs of spaces, contractions, composed and decomposed accents, digits, scripts,
# emoji with joiners, control characters, case folding, long runs, and text that spells special tokens.
PROBES = (
    *("", " ", "\n", "a", "Hello world", "  two  spaces   three\t\ttabs\r\n\r\nlines\n\n\n"),
    "don't we'll I'D you'RE O'Neill's ''quotes''",
    "caf\u00e9 cafe\u0301 \ufb01ne \u212b \u01c4 \u00bd \u2460",
    "1234567890 3.14159 1,000,000 0x1F 12:30 2026-11-21",
    "def f(x):\n    return {'a': [1, 2], \"b\": x ** 2}  # comment\n\n\nclass A:\n\tpass\n",
    '<p class="x">&amp;&nbsp;</p> _snake_case camelCase SCREAMING kebab-case a.b.c @user #tag $5 50% e-mail@x.org',
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f \ud55c\uad6d\uc5b4",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f\u0928\u094d",
    "\u0e44\u0e17\u0e22",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001d54f",
    "\x00\x01\x1f\x7f\x80\u00a0\u2003\u200b\u2028\ufeff\ufffd\ufffe",
    "\u0130stanbul \u00df \u1e9e \u03a3\u03c3\u03c2 \u0100\u0304",
    *("x" * 300, "ab" * 200, "=" * 99 + "\n" + " " * 99 + "z"),
    "<|endoftext|> a<|padding|>b <|im_start|> </s><s> [CLS] <unk> <|end_of_text|>",
)


class Tokenizer:
    """A loaded tokenizer file.

    `data` is the uncompressed file and `sha256` its hash; `vocab_size` counts the reserved ids, which are the last 16;
    `eot` is the id of end-of-text (the tokenizer's own where it has one of END_OF_TEXT, else the first reserved id);
    `token_bytes[id]` is the number of UTF-8 bytes of text that an id stands for (0 for special and reserved ids);
    `backend` says which library encodes.
    """

    def __init__(self, data: bytes, path: str = ""):
        import tokenizers  # here because the engine may be imported where there is none

        self.path, self.data, self.sha256 = path, data, hashlib.sha256(data).hexdigest()
        try:
            spec = json.loads(data)
            model, added = spec["model"], spec.get("added_tokens") or []
            vocab = model["vocab"]
            self._entries = dict(vocab) if isinstance(vocab, dict) else {t: i for i, (t, _) in enumerate(vocab)}
        except (ValueError, TypeError, KeyError):
            raise UserError(
                "this is not a tokenizer: a Hugging Face tokenizer.json has a `model` with a `vocab`", where=path
            ) from None
        if model.get("type") not in ("BPE", "Unigram"):
            raise UserError(
                f"a {model.get('type')} tokenizer cannot give text back exactly; take a BPE one", where=path
            )
        self._specials = {t["content"]: t["id"] for t in added if t.get("special")}
        self._added = {t["id"]: t["content"] for t in added}
        # Without special tokens, templates, truncation and padding, text is only ever text.
        plain = spec | {"added_tokens": [t for t in added if not t.get("special")], "post_processor": None}
        plain |= {"truncation": None, "padding": None}
        text = json.dumps(plain, ensure_ascii=False)
        try:
            self._slow = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"this tokenizer cannot be loaded: {error}", where=path) from None
        ids = [*self._entries.values(), *self._added]
        self.base_size = max(ids) + 1
        self.vocab_size = self.base_size + RESERVED
        self.reserved = range(self.base_size, self.vocab_size)
        known = self._entries | {content: id_ for id_, content in self._added.items()}
        self.eot: int = next((known[name] for name in END_OF_TEXT if name in known), self.base_size)
        self._byte_level = _mentions(spec.get("decoder"), "ByteLevel")
        self._bytes = self._token_table()
        silent = {*self._specials.values(), self.eot, *self.reserved}
        self.token_bytes = np.array([0 if i in silent else len(b) for i, b in enumerate(self._bytes)], np.int32)
        self._special_ids = np.zeros(self.vocab_size, bool)
        self._special_ids[sorted(silent)] = True
        self._fast = _load_gigatoken(text)
        if not self.verify(PROBES):
            self._fast = None
        self.backend = "gigatoken" if self._fast is not None else "tokenizers"

    @classmethod
    def load(cls, path_or_name: str | Path, where: str | None = None) -> Tokenizer:
        """Load a file, or a Hub name in the local cache; raises UserError (`where` names the recipe's key)."""
        path = Path(path_or_name)
        if not path.is_file():
            path = _cached(str(path_or_name)) or path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"there is no tokenizer '{path_or_name}': {error.strerror}",
                where=where,
                numbers=["a path to a tokenizer.json (or .json.gz), or a Hub name that was downloaded before"],
            ) from None
        if data[:2] == b"\x1f\x8b":
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError) as error:
                raise UserError(f"this tokenizer cannot be unpacked: {error}", where=str(path)) from None
        return cls(data, str(path))

    def encode_batch(self, texts: Sequence[str], reference: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts in a row (int32) and n + 1 offsets (int64); no end-of-text, never a special id.

        `reference` encodes with `tokenizers` whatever the backend.
        """
        slow = reference or self._fast is None
        flat, offsets = self._encode_slow(texts) if slow else self._encode_fast(texts)
        if len(flat) and self._special_ids[flat].any():
            raise RuntimeError(f"{self.path}: text became special tokens")  # would be our bug, and a grave one
        return flat, offsets

    def _encode_fast(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if not len(texts):
            return np.empty(0, np.int32), np.zeros(1, np.int64)
        layout = self._fast.encode_batch(list(texts), parallel=False).layout
        offsets = np.asarray(layout.offsets.data).astype(np.int64)
        flat = np.asarray(layout.content.data)[offsets[0] : offsets[-1]]
        return flat.astype(np.int32), offsets - offsets[0]

    def _encode_slow(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        lists = [e.ids for e in self._slow.encode_batch_fast(list(texts), add_special_tokens=False)]
        offsets = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        return np.fromiter((i for ids in lists for i in ids), np.int32, int(offsets[-1])), offsets

    def verify(self, texts: Sequence[str]) -> bool:
        """Whether the backend gives the ids that `tokenizers` gives; a warning where it does not."""
        if self._fast is None:
            return True
        try:
            same = all(np.array_equal(a, b) for a, b in zip(self._encode_fast(texts), self._encode_slow(texts)))
        except Exception:  # a Rust panic counts as a difference
            same = False
        if not same:
            warnings.warn(f"{self.path}: gigatoken's ids differ; `tokenizers` encodes instead, slower", stacklevel=2)
        return same

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The UTF-8 bytes that the ids stand for; special and reserved ids show as their names."""
        return b"".join([self._bytes[i] for i in np.asarray(ids).tolist()])

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of the ids; a character that is cut at either end shows as U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def _token_table(self) -> list[bytes]:
        """Bytes of every id."""
        table = [b""] * self.vocab_size
        alphabet = _byte_alphabet()
        for token, id_ in self._entries.items():
            if self._byte_level:
                with suppress(UnicodeEncodeError):  # a character that spells no byte
                    table[id_] = token.translate(alphabet).encode("latin-1")
                    continue
            if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                table[id_] = bytes([int(token[3:5], 16)])
            else:
                table[id_] = token.replace("\u2581", " ").encode()
        for id_, content in self._added.items():
            table[id_] = content.encode()
        for id_ in self.reserved:
            table[id_] = f"<|reserved_{id_ - self.base_size}|>".encode()
        if self.eot == self.base_size:
            table[self.eot] = END_OF_TEXT[0].encode()
        return table


def _load_gigatoken(text: str) -> Any:
    """A gigatoken tokenizer, or None where it is not installed or cannot take this file."""
    try:
        import gigatoken

        return gigatoken.Tokenizer.from_json(text)
    except BaseException as error:  # Rust panics are not Exceptions
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return None


def _mentions(part: Any, kind: str) -> bool:
    if isinstance(part, dict):
        return part.get("type") == kind or any(_mentions(v, kind) for v in part.values())
    return isinstance(part, list) and any(_mentions(v, kind) for v in part)


def _byte_alphabet() -> dict[int, int]:
    """For str.translate: the characters by which byte-level vocabularies spell bytes (GPT-2's table) to those bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return dict.fromkeys(hidden, 0xFFFF) | {256 + i: b for i, b in enumerate(hidden)}  # hidden ones spell nothing


def _cached(name: str) -> Path | None:
    """tokenizer.json of a Hub name in the local cache."""
    if name.count("/") > 1 or name.startswith((".", "/")):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "tokenizer.json")
    except Exception:
        return None
    return Path(found) if isinstance(found, str) else None
