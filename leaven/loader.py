"""How a trainer reads a mix: batches in seat order, whose position is one integer.

    loader = Loader("workspace/mixes/aligned-1pct@2026.11.21/seed-17", batch=64, rank=0, world=8)
    for batch in loader:            # step t takes seats [t * batch, (t + 1) * batch) of the mix; a rank takes its slice
        ...                         # batch["tokens_BT"], batch["segments_BT"], batch["loss_mask_BT"], batch["seats_B"]
        save(loader.state)          # seats consumed over all ranks; Loader(..., state=that) goes on from there

The stream is the mix: number of ranks, prefetching and restarts never change it, and neither does anything random.
Needs numpy and pyarrow. Not covered: shuffling (the mix is shuffled already) and a last batch that is not full.

Legend: B sequences of one rank's batch, T tokens of a sequence.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from leaven.errors import UserError
from leaven.shards import TokenFile

OPEN_FILES = 16  # shards; a batch lies in one or two of them


class Loader:
    """Iterates over one built mix; restartable, and the same on any number of ranks.

    `batch` counts sequences over all ranks and must divide by `world`. Yields dicts: `tokens_BT` int32; `segments_BT`
    int32, the number of the piece within its sequence that a token belongs to, from 0 (attend only within one);
    `loss_mask_BT` bool, true where the next token of the same sequence belongs to the same piece, so that predicting
    it bears loss (T less the pieces, a row); `doc_starts`, a list of B int32 arrays; `seats_B` int64. Raises UserError
    where the folder is not a whole mix, where a shard is missing or damaged, or where `state` lies past the end.
    """

    def __init__(
        self, mix_seed_dir: str | Path, batch: int, rank: int = 0, world: int = 1, state: int = 0, prefetch: bool = True
    ):
        self.folder, self.batch, self.rank, self.world = Path(mix_seed_dir), batch, rank, world
        self.prefetch = prefetch
        if batch < 1 or batch % world or not 0 <= rank < world:
            raise UserError(f"a batch of {batch} sequences cannot be cut evenly for rank {rank} of {world} ranks")
        self.manifest = _read_manifest(self.folder)
        names = sorted(f["path"] for f in self.manifest["files"] if f["path"].endswith(".parquet"))
        self._paths, self._open = [self.folder / name for name in names], OrderedDict[int, TokenFile]()
        firsts, lengths = [0], set[int]()  # seat of each file's first row, then the end
        for number, path in enumerate(self._paths):
            file = self._file(number)
            if file.rows and (found := file.column("seat", [0])[0].as_py()) != firsts[-1]:
                raise UserError(f"this shard begins at seat {found}, not {firsts[-1]}", where=str(path))
            firsts.append(firsts[-1] + file.rows)
            lengths |= {file.sequence_length} if file.rows else set()
        if len(lengths) != 1:
            raise UserError(f"the shards hold sequences of {sorted(lengths)} tokens", where=str(self.folder))
        self.sequence_length, self.seats, self._first = lengths.pop(), firsts[-1], np.array(firsts)
        if not 0 <= state <= self.seats:
            raise UserError(f"state {state} lies outside the mix's {self.seats} seats", where=str(self.folder))
        self.state = state

    def _file(self, number: int) -> TokenFile:
        """A shard, among the few that stay open: a mix may have more shards than a process may open files."""
        if number not in self._open:
            self._open[number] = TokenFile(self._paths[number])
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def __len__(self) -> int:
        """Batches still to come."""
        return (self.seats - self.state) // self.batch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.prefetch:
            while len(self):
                self.state += self.batch
                yield self.read(self.state - self.batch)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="leaven-loader") as pool:
            at, coming = self.state, None
            while len(self):
                if coming is None or at != self.state:  # the caller moved `state`
                    coming = pool.submit(self.read, self.state)
                ready = coming.result()
                self.state = at = self.state + self.batch
                coming = pool.submit(self.read, at) if len(self) else None
                yield ready

    def read(self, state: int) -> dict[str, Any]:
        """This rank's part of the batch that begins at seat `state`."""
        share = self.batch // self.world
        seats_B = np.arange(state + self.rank * share, state + (self.rank + 1) * share, dtype=np.int64)
        tokens, starts = [], []
        which_B = np.searchsorted(self._first, seats_B, side="right") - 1
        for number in np.unique(which_B):
            file, rows = self._file(int(number)), seats_B[which_B == number] - self._first[number]
            tokens.append(file.tokens_block(rows))
            starts += [s.values.to_numpy() for s in file.column("doc_starts", rows)]
        tokens_BT = tokens[0] if len(tokens) == 1 else np.concatenate(tokens)
        segments_BT, loss_mask_BT = pieces(starts, self.sequence_length)
        return {
            "tokens_BT": tokens_BT,
            "segments_BT": segments_BT,
            "loss_mask_BT": loss_mask_BT,
            "doc_starts": starts,
            "seats_B": seats_B,
        }


def pieces(doc_starts: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """`segments_BT` (int32) and `loss_mask_BT` (bool) of B sequences whose pieces begin at `doc_starts`."""
    begins_BT = np.zeros((len(doc_starts), length), bool)
    rows = np.repeat(np.arange(len(doc_starts)), [len(s) for s in doc_starts])
    begins_BT[rows, np.concatenate(doc_starts)] = True
    segments_BT = np.cumsum(begins_BT, axis=1, dtype=np.int32) - 1
    loss_mask_BT = np.zeros_like(begins_BT)
    loss_mask_BT[:, :-1] = ~begins_BT[:, 1:]
    return segments_BT, loss_mask_BT


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not a built mix: it has no manifest.json",
            numbers=["a mix lies at mixes/NAME@VERSION/seed-S; one without a manifest was never finished"],
            do="leaven build RECIPE.toml",
        ) from None
    except ValueError as error:
        raise UserError(f"this manifest cannot be read: {error}", where=str(folder / "manifest.json")) from None
    if manifest.get("kind") != "mixes":
        raise UserError(f"this is a folder of {manifest.get('kind')}, not a mix", where=str(folder))
    return manifest
