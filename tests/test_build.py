"""Built mixes: every row is its pool's, the bytes depend on the recipe alone, and a broken-off build goes on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from mixkit import write_pool, write_recipe

from leaven.errors import DriftError, UserError
from leaven.home import Home
from leaven.manifest import UNSTABLE, Manifest
from leaven.shards import SHARD_SCHEMA, TokenFile
from mixes.build import build_mix
from mixes.plan import plan_mix

POOLS = {"web": "web@1", "aligned": "aligned@1"}
PHASES = [("main", 300, "web = 1.00"), ("anneal", 200, "web = 0.88, aligned = 0.12")]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    write_pool(home, "web", [900, 0, 1100, 17], row_group=256)
    write_pool(home, "aligned", [100])
    return home


def recipe(home: Home, **values) -> Path:
    return write_recipe(home.path, POOLS, values.pop("phases", PHASES), **({"shard_sequences": 500} | values))


def shards(manifest: Manifest) -> list[Path]:
    return sorted(manifest.folder.glob("shard-*.parquet"))


def stable(manifest: Manifest) -> dict:
    return {k: v for k, v in json.loads((manifest.folder / "manifest.json").read_text()).items() if k not in UNSTABLE}


def test_every_row_is_its_pool_row_in_the_seat_of_the_plan(home):
    made = build_mix(recipe(home), home)
    table = pq.read_table(shards(made)).to_pydict()
    pools = {c: pq.read_table(sorted(home.folder("pools", r).glob("part-*"))).to_pylist() for c, r in POOLS.items()}
    assert table["seat"] == list(range(4000)) and len(shards(made)) == 8
    phase, component, use = plan_mix(recipe(home), home).seats.of(np.arange(4000))
    for row in range(4000):
        name = table["component"][row]
        source = pools[name][table["pool_row"][row]]
        assert (name, table["phase"][row]) == (["aligned", "web"][component[row]], ["main", "anneal"][phase[row]])
        assert table["pool"][row] == POOLS[name]
        assert table["epoch"][row] == use[row] // len(pools[name])
        assert all(table[k][row] == source[k] for k in source)
    for name, rows in (("web", 2017), ("aligned", 100)):  # in an epoch every row comes before any comes again
        mine = [table["pool_row"][i] for i in range(4000) if table["component"][i] == name]
        assert sorted(mine[:rows]) == list(range(rows)) and len(set(mine[rows:])) == len(mine) - rows
    written = [(w["phase"], w["component"], w["written"], w["last_epoch"]) for w in made.counts["written"]]
    assert written == [("main", "web", 2400, 1), ("anneal", "web", 1408, 1), ("anneal", "aligned", 192, 1)]


def test_the_manifest_says_how_the_mix_was_made(home):
    made = build_mix(recipe(home), home)
    assert made.address == "mixes/mix@1/seed-17" and made.folder == home.folder("mixes", "mix@1", "seed-17")
    extra = made.extra
    assert (extra["vocab_size"], extra["eot"], extra["sequence_length"], extra["batch"]) == (1016, 0, 16, 8)
    assert extra["plan"]["phases"][1]["planned"] == {"aligned": 192, "web": 1408}
    assert extra["plan"]["pools"]["web"]["order"] == "shuffle-1: whole pool"
    hashes = sorted(hashlib.sha256(p.read_bytes()).hexdigest() for p in shards(made))
    assert extra["digest"] == hashlib.sha256("".join(f"{h}\n" for h in hashes).encode()).hexdigest()
    assert {i["ref"] for i in made.inputs} == set(POOLS.values())
    assert sorted(f["path"] for f in made.files) == [p.name for p in shards(made)]
    footer = TokenFile(shards(made)[3]).footer
    assert footer["mix"] == made.meaning and footer["first_seat"] == 1500 and footer["rows"] == 500


def test_any_tool_opens_a_shard(home):
    made = build_mix(recipe(home), home)
    files = [str(p) for p in shards(made)]
    assert pq.read_schema(files[0]).equals(SHARD_SCHEMA)
    count = "select component, count(*), sum(len(tokens)) from read_parquet(?) group by 1 order by 1"
    assert duckdb.execute(count, [files]).fetchall() == [("aligned", 192, 192 * 16), ("web", 3808, 3808 * 16)]
    assert TokenFile(files[0]).mapped and TokenFile(files[0]).verify() == []


def test_bytes_do_not_depend_on_workers_nor_on_who_ran(home, tmp_path):
    made = build_mix(recipe(home), home)
    once = {p.name: p.read_bytes() for p in shards(made)}
    first = stable(made)
    other = Home(tmp_path / "other")
    other.path.mkdir()
    home.path.joinpath("pools").rename(other.path / "pools")
    again = build_mix(write_recipe(other.path, POOLS, PHASES, shard_sequences=500), other, workers=2)
    assert {p.name: p.read_bytes() for p in shards(again)} == once
    assert stable(again) == first


def test_arms_of_one_seed_draw_a_shared_pool_in_one_order(home):
    drawn = []
    for number, phases in enumerate([PHASES, [("all", 400, "web = 0.5, aligned = 0.5")]]):
        made = build_mix(recipe(home, name=f"arm-{number}", phases=phases), home)
        table = pq.read_table(shards(made), columns=["component", "pool_row", "epoch"]).to_pydict()
        rows = zip(table["component"], table["epoch"], table["pool_row"])
        drawn.append([(epoch, row) for component, epoch, row in rows if component == "web"])
    assert len(drawn[1]) == 1600 and drawn[0][:1600] == drawn[1]


def test_another_seed_is_another_order_of_the_same_counts(home):
    one, other = build_mix(recipe(home), home), build_mix(recipe(home), home, seed=3)
    assert other.folder.name == "seed-3" and one.extra["digest"] != other.extra["digest"]
    count = lambda m: [(w["phase"], w["component"], w["written"]) for w in m.counts["written"]]  # noqa: E731
    assert count(one) == count(other)


def test_done_means_the_same_recipe(home):
    made = build_mix(recipe(home), home)
    times = [p.stat().st_mtime_ns for p in shards(made)]
    again = build_mix(recipe(home), home)
    assert again.extra == made.extra and [p.stat().st_mtime_ns for p in shards(made)] == times
    limited = write_recipe(home.path, POOLS, PHASES, "[limits]\nepochs = { web = 2 }", shard_sequences=500)
    assert build_mix(limited, home).fingerprint == made.fingerprint
    with pytest.raises(DriftError, match=r"phases"):
        build_mix(recipe(home, phases=[("main", 300, "web = 1")]), home)
    assert [p.stat().st_mtime_ns for p in shards(made)] == times
    dev = build_mix(recipe(home, version="dev"), home)
    assert build_mix(recipe(home, version="dev", phases=[("main", 9, "web = 1")]), home).folder == dev.folder
    assert len(shards(dev)) == 1


def test_a_dry_run_writes_nothing_and_tells_the_fingerprint(home):
    before = sorted(home.path.rglob("*"))
    dry = build_mix(recipe(home), home, dry_run=True)
    assert sorted(p for p in home.path.rglob("*") if p.suffix not in (".toml", ".json")) == [
        p for p in before if p.suffix not in (".toml", ".json")
    ]
    made = build_mix(recipe(home), home)
    assert dry.fingerprint == made.fingerprint and dry.meaning == made.meaning and not dry.files


def test_a_mix_smaller_than_one_period_and_one_sequence(home):
    made = build_mix(recipe(home, name="one", batch=1, phases=[("a", 1, 'web = "1/3", aligned = "2/3"')]), home)
    assert [w["component"] for w in made.counts["written"]] == ["aligned"] and made.counts["sequences"] == 1


def test_pools_drawn_by_windows(home, monkeypatch):
    monkeypatch.setattr("leaven.shuffle.GLOBAL_ROWS", 50)
    monkeypatch.setattr("leaven.shuffle.BLOCK", 64)
    monkeypatch.setattr("leaven.shuffle.WINDOW", 4)
    made = build_mix(recipe(home), home)
    assert "windows of 4 blocks" in made.extra["plan"]["pools"]["web"]["order"]
    table = pq.read_table(shards(made)).to_pydict()
    mine = [i for i in range(4000) if table["component"][i] == "web"]
    rows = [table["pool_row"][i] for i in mine]
    assert sorted(rows[:2017]) == list(range(2017))
    assert max(len({r // 64 for r in rows[i : i + 256]}) for i in range(0, 2017, 256)) <= 8
    source = pq.read_table(sorted(home.folder("pools", "web@1").glob("part-*"))).to_pylist()
    assert all(table["tokens"][i] == source[table["pool_row"][i]]["tokens"] for i in mine)
    assert all(table["item_ids"][i] == source[table["pool_row"][i]]["item_ids"] for i in mine)


# Broken off.


def nothing_half_written(home: Home) -> bool:
    folder = home.folder("mixes", "mix@1")
    return not folder.exists() or all(p.name.startswith(".") for p in folder.iterdir())


class StopHere(Exception):
    pass


def broken_off(home: Home, after: int, error: type[BaseException] = StopHere, **values) -> Path:
    """Break a build off when `after` shards are done; returns the partial folder."""
    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        if len(lines) == after:
            raise error

    with pytest.raises(error):
        build_mix(recipe(home), home, progress=stop, **values)
    assert nothing_half_written(home)
    (partial,) = home.folder("mixes", "mix@1").glob(".partial-*")
    return partial


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rerun_keeps_what_was_done(home, tmp_path, workers):
    partial = broken_off(home, 3, KeyboardInterrupt, workers=workers)
    done = {p.name: p.stat().st_mtime_ns for p in partial.glob("shard-*")}
    assert len(done) >= 3
    lines: list[str] = []
    made = build_mix(recipe(home), home, progress=lines.append)
    kept = [n for n, t in done.items() if (made.folder / n).stat().st_mtime_ns == t]
    assert len(kept) == 3 and "3 of 8 shards are done already" in lines  # what was not yet noted is written again
    clean = Home(tmp_path / "clean")
    clean.path.mkdir()
    (clean.path / "pools").symlink_to(home.path / "pools")
    assert stable(build_mix(recipe(clean), clean)) == stable(made)
    assert not home.scratch.exists() or not list(home.scratch.iterdir())


def test_a_rerun_trusts_no_shard_whose_bytes_changed(home):
    partial = broken_off(home, 4)
    names = sorted(p.name for p in partial.glob("shard-*"))
    (partial / names[0]).write_bytes((partial / names[0]).read_bytes()[:-9])
    data = bytearray((partial / names[1]).read_bytes())
    data[len(data) // 2] ^= 1
    (partial / names[1]).write_bytes(data)
    (partial / names[2]).unlink()
    (partial / ".shard-00005.parquet.partial").write_bytes(b"left by a killed worker")
    (partial / "stranger.txt").write_bytes(b"?")
    lines: list[str] = []
    made = build_mix(recipe(home), home, progress=lines.append)
    assert "1 of 8 shards are done already" in lines
    assert sorted(p.name for p in made.folder.iterdir()) == [
        "manifest.json",
        *[f"shard-{i:05d}.parquet" for i in range(8)],
    ]
    assert [TokenFile(p).verify() for p in shards(made)] == [[]] * 8


def test_fresh_drops_partial_work(home):
    broken_off(home, 4)
    lines: list[str] = []
    build_mix(recipe(home), home, fresh=True, progress=lines.append)
    assert len(lines) == 8


CHILD = """
import sys
sys.path.insert(0, {root!r})
from leaven.home import Home
from mixes.build import build_mix
if __name__ == "__main__":
    build_mix({recipe!r}, Home({home!r}), workers={workers}, progress=lambda line: print(line, flush=True))
"""


def child(home: Home, path: Path, workers: int, tmp_path: Path, **kwargs) -> subprocess.Popen:
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(root=str(ROOT), recipe=str(path), home=str(home.path), workers=workers))
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on(home, tmp_path, workers):
    """SIGKILL after the second shard: the rerun keeps what was whole and ends with the bytes of an unbroken build."""
    path = recipe(home, shard_sequences=40)
    process = child(home, path, workers, tmp_path, start_new_session=True)
    assert process.stdout
    process.stdout.readline()
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert nothing_half_written(home)
    lines: list[str] = []
    made = build_mix(path, home, progress=lines.append)
    assert lines[0].endswith("of 100 shards are done already") and int(lines[0].split()[0]) >= 1
    bytes_ = {p.name: p.read_bytes() for p in shards(made)}
    clean = Home(tmp_path / "clean")
    clean.path.mkdir()
    (clean.path / "pools").symlink_to(home.path / "pools")
    again = build_mix(recipe(clean, shard_sequences=40), clean)
    assert bytes_ == {p.name: p.read_bytes() for p in shards(again)} and stable(again) == stable(made)


def limit_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fills_up(home, tmp_path, workers):
    """A limit on the size of files stands for a full disk: one message, nothing under the final name, a rerun ends."""
    path = recipe(home)
    process = child(home, path, workers, tmp_path, preexec_fn=limit_files)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1 and "UserError: cannot write: File too large" in said, said
    assert nothing_half_written(home)
    assert not list(home.folder("mixes", "mix@1").glob(".partial-*/shard-*"))
    assert build_mix(path, home).counts["sequences"] == 4000


def test_a_build_that_cannot_fit_is_refused_before_it_begins(home, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=255_999))
    with pytest.raises(UserError, match="no room") as caught:
        build_mix(recipe(home), home)
    assert "needs at least 256,000 bytes" in str(caught.value) and nothing_half_written(home)


@pytest.mark.parametrize(
    ("damage", "workers"), [("tokens", 1), ("tokens", 2), ("truncated", 1), ("missing", 1), ("columns", 1)]
)
def test_a_damaged_pool_stops_the_build(home, damage, workers):
    part = home.folder("pools", "web@1") / "part-00002.parquet"
    data = bytearray(part.read_bytes())
    if damage == "missing":
        part.unlink()
    elif damage == "truncated":
        part.write_bytes(data[: len(data) // 2])
    elif damage == "tokens":
        tokens = pq.ParquetFile(part).metadata.row_group(1).column(7)
        data[tokens.data_page_offset + tokens.total_compressed_size - 100] ^= 4
        part.write_bytes(data)
    else:
        ids = pq.ParquetFile(part).metadata.row_group(1).column(3)
        at = ids.dictionary_page_offset or ids.data_page_offset
        data[at : at + 60] = bytes(60)
        part.write_bytes(data)
    with pytest.raises(UserError) as caught:
        build_mix(recipe(home), home, workers=workers)
    assert "part-00002.parquet" in str(caught.value)
    assert nothing_half_written(home)


def test_one_process_builds_a_mix_at_a_time(home, monkeypatch):
    monkeypatch.setattr("leaven.holding.PATIENCE", 0)
    partial = broken_off(home, 2)
    held = os.open(partial, os.O_RDONLY)  # as a process does that builds
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another process is building this"):
        build_mix(recipe(home), home)
    os.close(held)
    assert build_mix(recipe(home), home).counts["shards"] == 8


def test_what_a_broken_off_build_of_another_recipe_left_is_swept(home):
    broken_off(home, 2)
    build_mix(recipe(home, phases=[("main", 9, "web = 1")]), home)
    assert [p.name for p in home.folder("mixes", "mix@1").iterdir()] == ["seed-17"]


def test_progress_is_told_shard_by_shard(home):
    lines: list[str] = []
    build_mix(recipe(home), home, progress=lines.append)
    assert lines == [f"shard {i} of 8" for i in range(1, 9)]
