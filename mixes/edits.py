"""Which tokens of a pool did which rewrite write, and do all tokens and rewrites add up?

    a pool of rewrites           each item is one rewrite: its tokens and end-of-text are the teacher's
    documents with rewrites in   tokens that begin in a rewrite's text are its teacher's, all others the document's

A token belongs to the text in which its first byte stands, so every token has one author and the sum over authors is
the pool's tokens. Taking a rewrite in moves the borders of tokens beside it: an original stretch may take a token more
or less than it took, which is why tokens_in and tokens_out of the originals are both counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaven.edits import Edit, Span, apply_edits, choose
from leaven.tags import byte_positions, token_starts
from leaven.tokens import Tokenizer

AUTHOR = ("operation", "teacher", "teacher_revision", "teacher_family")
ORIGINAL = ("original", "", "", "")  # the row of what no teacher wrote
SAID = ("document_id", "style", *AUTHOR)  # columns that a row of EDITS takes over from its rewrite
COUNTED = ("rewrites", "tokens_in", "tokens_out")
LEFT = ("rejected", "of_removed", "unused")  # rewrites of documents that a pool does not hold, by why
Columns = dict[str, Any]


def own_edits(
    path: Path, ref: str, kept: np.ndarray, held: np.ndarray, tokens: np.ndarray
) -> tuple[Columns, dict[str, Any]]:
    """Columns of EDITS, without the pool's name, and counts of a part whose items are rewrites."""
    table = pq.read_table(path, columns=["id", *SAID]).filter(pa.array(kept))
    ids, n = table["id"].to_pylist(), int(kept.sum())
    columns: Columns = {
        "item_id": ids, "rewrite": ids, "rewrites": [ref] * n, "heldout": held[kept].tolist(),
        "first_token": [0] * n, "tokens": (tokens[kept] + 1).tolist(), "tokens_in": [0] * n,
    }  # fmt: skip
    columns |= {name: table[name].to_pylist() for name in SAID}
    return columns, {"rewrites": {side: _tally(columns, held) for side, held in (("kept", False), ("heldout", True))}}


class Editing:
    """Puts one part's accepted rewrites into its documents; counts tokens by author as they are encoded.

    `rewrites` are (reference, file of the part) in the recipe's order. Where rewrites replace the same characters, the
    one is used whose reference stands first, then the one of the lowest sample number.
    """

    def __init__(self, rewrites: Sequence[tuple[str, Path]], tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.left = dict.fromkeys(LEFT, 0)
        self.columns: Columns = {name: [] for name in _NAMES}
        self.originals = {False: [0, 0], True: [0, 0]}  # held out -> tokens in, tokens out
        self._said: dict[str, dict[str, Any]] = {}
        self._edits: dict[str, tuple[list[Edit], int]] = {}  # of a document: those to put in, how many are left over
        self._rows = 0
        self._batch: list[tuple[int, str, bool, str, list[Edit], list[Span]]] = []
        found: dict[str, list[tuple[int, int, int, Edit]]] = {}
        columns = ["id", "start", "end", "sample", "accepted", "text", *SAID]
        for order, (ref, path) in enumerate(rewrites):
            for row, r in enumerate(pq.read_table(path, columns=columns).to_pylist()):
                self._rows += 1
                if not r["accepted"]:
                    self.left["rejected"] += 1
                    continue
                edit = Edit(r["start"], r["end"], r["text"], r["id"], r["operation"] == "append")
                found.setdefault(r["document_id"], []).append((order, r["sample"], row, edit))
                self._said[r["id"]] = {name: r[name] for name in SAID} | {"rewrites": ref}
        for document, edits in found.items():
            used, unused = choose(e for *_, e in sorted(edits, key=lambda e: e[:3]))
            self._edits[document] = used, len(unused)

    def edit(self, ids: list[str], texts: list[str], kept: np.ndarray, held: np.ndarray) -> list[str]:
        """The texts of a batch, those that are kept with their rewrites in them."""
        self._batch, texts = [], list(texts)
        for i, (document, original) in enumerate(zip(ids, texts)):
            edits, unused = self._edits.pop(document, ([], 0))
            if not kept[i]:
                self.left["of_removed"] += len(edits) + unused
                continue
            self.left["unused"] += unused
            texts[i], spans = apply_edits(original, edits) if edits else (original, [])
            self._batch.append((i, document, bool(held[i]), original, edits, spans))
        return texts

    def count(self, texts: list[str], flat: np.ndarray, offsets: np.ndarray, reference: bool) -> None:
        """Count the batch that was edited last by the ids that its texts became."""
        edited = [b for b in self._batch if b[4]]
        before, at = self.tokenizer.encode_batch([original for *_, original, _, _ in edited], reference)
        was = {b[0]: before[at[n] : at[n + 1]] for n, b in enumerate(edited)}
        for i, document, held, original, edits, spans in self._batch:
            ids_N = flat[offsets[i] : offsets[i + 1]]
            old_N = was.get(i, ids_N)
            replacing = [e for e in edits if not e.append]
            places = self._places(original, [(e.start, e.end) for e in replacing], old_N)
            taken = {e.rewrite: end - first for e, (first, end) in zip(replacing, places)}
            written = self._places(texts[i], [(s.start, s.end) for s in spans], ids_N)
            for span, (first, end) in zip(spans, written):
                row = self._said[span.rewrite] | {
                    "item_id": document, "rewrite": span.rewrite, "heldout": held, "first_token": first,
                    "tokens": end - first, "tokens_in": taken.get(span.rewrite, 0),
                }  # fmt: skip
                for name in _NAMES:
                    self.columns[name].append(row[name])
            self.originals[held][0] += len(old_N) + 1 - sum(taken.values())
            self.originals[held][1] += len(ids_N) + 1 - sum(end - first for first, end in written)

    def finish(self) -> tuple[Columns, dict[str, Any]]:
        """Columns of EDITS, without the pool's name, and counts; raises RuntimeError for a document that never came."""
        if self._edits:
            raise RuntimeError(f"rewrites of {next(iter(self._edits))}, which is not in their part of the documents")
        if self._rows != sum(self.left.values()) + len(self.columns["rewrite"]):
            raise AssertionError(f"{self._rows} rewrites do not add up: {self.left}")
        rows = {
            side: [*_tally(self.columns, held), [*ORIGINAL, 0, *self.originals[held]]]
            for side, held in (("kept", False), ("heldout", True))
        }
        return self.columns, {"rewrites": rows, "rewrites_left": self.left}

    def _places(self, text: str, spans: list[tuple[int, int]], ids_N: np.ndarray) -> list[tuple[int, int]]:
        """First and past-last token that begins in each span of characters.

        Where the ids do not spell the text byte for byte (a tokenizer that normalizes), a border lies behind as many
        bytes as the tokenizer makes of the text before it.
        """
        if not spans:
            return []
        borders = [border for span in spans for border in span]
        if self.tokenizer.decode_bytes(ids_N) == text.encode():
            at = byte_positions(text, borders)
        else:
            cuts = sorted({0, *borders})
            flat, offsets = self.tokenizer.encode_batch([text[a:b] for a, b in itertools.pairwise(cuts)])
            ends = np.concatenate([[0], np.cumsum(self.tokenizer.token_bytes[flat], dtype=np.int64)])[offsets]
            place = dict(zip(cuts, ends.tolist()))
            at = np.array([place[b] for b in borders])
        tokens = np.searchsorted(token_starts(ids_N, self.tokenizer.token_bytes)[:-1], at).tolist()
        return list(zip(tokens[::2], tokens[1::2]))


_NAMES = ("item_id", "rewrite", "rewrites", "heldout", "first_token", "tokens", "tokens_in", *SAID)


def _tally(columns: Columns, held: bool) -> list[list]:
    """[operation, teacher, revision, family, rewrites, tokens in, tokens out], one list for each author."""
    found: dict[tuple, list[int]] = {}
    rows = zip(*(columns[a] for a in AUTHOR), columns["heldout"], columns["tokens_in"], columns["tokens"])
    for *author, heldout, taken, written in rows:
        if heldout == held:
            total = found.setdefault(tuple(author), [0, 0, 0])
            total[0], total[1], total[2] = total[0] + 1, total[1] + taken, total[2] + written
    return [[*author, *total] for author, total in sorted(found.items())]


def add_authors(parts: Iterable[dict[str, Any]], tokens: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """By side, the parts' rows of authors added up; raises AssertionError where they are not the pool's `tokens`."""
    sums: dict[str, dict[tuple, np.ndarray]] = {}
    for counts in parts:
        for side, rows in counts["rewrites"].items():
            for row in rows:
                author = tuple(row[: len(AUTHOR)])
                mine = sums.setdefault(side, {})
                mine[author] = mine.get(author, np.zeros(len(COUNTED), np.int64)) + row[len(AUTHOR) :]
    made: dict[str, list[dict[str, Any]]] = {}
    for side, total in tokens.items():
        mine = sums.get(side, {})
        made[side] = [dict(zip((*AUTHOR, *COUNTED), (*a, *map(int, mine[a])))) for a in sorted(mine)]
        if sum(row["tokens_out"] for row in made[side]) != total:
            raise AssertionError(f"tokens by author do not add up to {total}: {made[side]}")
    return made
