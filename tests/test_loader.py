"""Is a loader's stream the mix itself, whatever the ranks, restarts and batches, with its position in one integer?"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sequences import make_columns, make_mix

from leaven.errors import UserError
from leaven.home import Home
from leaven.loader import Loader

ROWS, LENGTH = 60, 24
COLUMNS = make_columns(ROWS, LENGTH)


@pytest.fixture(scope="module")
def mix(tmp_path_factory) -> Path:
    return make_mix(Home(tmp_path_factory.mktemp("home")), COLUMNS, rows_per_shard=22).folder


def test_the_stream_is_the_mix(mix):
    batches = list(Loader(mix, 7))
    assert len(batches) == len(Loader(mix, 7)) == 8
    assert np.array_equal(np.concatenate([b["seats_B"] for b in batches]), np.arange(56))
    assert np.array_equal(np.concatenate([b["tokens_BT"] for b in batches]), COLUMNS["tokens"][:56])
    assert all(b["tokens_BT"].flags.writeable and b["tokens_BT"].dtype == np.int32 for b in batches)


def test_masks_say_where_pieces_end(mix):
    for batch in Loader(mix, 6):
        for row, seat in enumerate(batch["seats_B"]):
            starts = COLUMNS["doc_starts"][seat]
            segment = np.searchsorted(starts, np.arange(LENGTH), side="right") - 1
            assert np.array_equal(batch["segments_BT"][row], segment)
            bears = [t + 1 < LENGTH and segment[t] == segment[t + 1] for t in range(LENGTH)]
            assert batch["loss_mask_BT"][row].tolist() == bears
            assert batch["loss_mask_BT"][row].sum() == COLUMNS["loss_tokens"][seat]
            assert batch["doc_starts"][row].tolist() == starts


@settings(max_examples=40, deadline=None)
@given(
    world=st.integers(1, 6), share=st.integers(1, 5), stops=st.lists(st.integers(1, 5), max_size=4),
    prefetch=st.booleans(),
)  # fmt: skip
def test_ranks_and_restarts_do_not_change_the_stream(mix, world, share, stops, prefetch):
    batch = world * share
    whole = [b["tokens_BT"] for b in Loader(mix, batch)]
    for rank in range(world):
        seen, state = [], 0
        for stop in [*stops, ROWS]:  # read some batches, forget the loader, go on from its state
            loader = Loader(mix, batch, rank=rank, world=world, state=state, prefetch=prefetch)
            for n, got in enumerate(loader, 1):
                seen.append(got["tokens_BT"])
                state = loader.state
                if n == stop:
                    break
        assert state == ROWS // batch * batch
        assert len(seen) == len(whole)
        assert all(np.array_equal(a, b[rank * share : (rank + 1) * share]) for a, b in zip(seen, whole))


def test_the_batch_may_change_at_a_restart(mix):
    first = Loader(mix, 10)
    next(iter(first))
    assert next(iter(Loader(mix, 4, state=first.state)))["seats_B"].tolist() == [10, 11, 12, 13]


def test_moving_the_state_moves_the_stream(mix):
    loader = Loader(mix, 5)
    stream = iter(loader)
    next(stream)
    loader.state = 40
    assert next(stream)["seats_B"].tolist() == [40, 41, 42, 43, 44]
    assert loader.state == 45


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_a_mix_may_have_more_shards_than_a_process_may_open_files(tmp_path):
    folder = make_mix(Home(tmp_path), COLUMNS, rows_per_shard=1).folder
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 45, hard))
    try:
        batches = list(Loader(folder, 5))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert np.array_equal(np.concatenate([b["tokens_BT"] for b in batches]), COLUMNS["tokens"])


def test_what_cannot_be_loaded_is_refused(mix, tmp_path):
    with pytest.raises(UserError, match="no manifest"):
        Loader(tmp_path, 4)
    with pytest.raises(UserError, match="cannot be cut evenly"):
        Loader(mix, 10, rank=0, world=3)
    with pytest.raises(UserError, match="cannot be cut evenly"):
        Loader(mix, 10, rank=2, world=2)
    with pytest.raises(UserError, match="state 61"):
        Loader(mix, 10, state=61)


def test_missing_exchanged_and_damaged_shards_are_found(tmp_path):
    folder = make_mix(Home(tmp_path), COLUMNS, rows_per_shard=22).folder
    shards = sorted(folder.glob("*.parquet"))
    shards[1].rename(tmp_path / "aside")
    with pytest.raises(UserError, match="there is no file"):
        Loader(folder, 4)
    shards[0].rename(shards[1])
    (tmp_path / "aside").rename(shards[0])
    with pytest.raises(UserError, match="begins at seat 22, not 0"):
        Loader(folder, 4)
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace('"mixes"', '"pools"'))
    with pytest.raises(UserError, match="not a mix"):
        Loader(folder, 4)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Loader(folder, 4)
