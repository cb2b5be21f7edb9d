"""An output is whole or absent, and its fingerprint says whether it is today's."""

import json
import shutil
import subprocess
import sys
import threading
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaven.errors import DriftError, UserError
from leaven.home import Home, parse_ref
from leaven.manifest import UNSTABLE, fingerprint, output, read_manifest

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.fractions()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def make(home, version="1", meaning=None, content=b"text", fresh=False, fail=False):
    folder = home.folder("pools", f"web@{version}")
    with output(folder, kind="pools", name="web", version=version, meaning=meaning or {"a": 1}, fresh=fresh) as out:
        if out.up_to_date is None:
            (out.folder / "part-00000.parquet").write_bytes(content)
            if fail:
                raise RuntimeError("killed")
            out.counts["rows"] = 1
    return out


@given(JSON)
def test_a_fingerprint_ignores_the_order_of_keys_and_nothing_else(value):
    if isinstance(value, dict):
        assert fingerprint(value) == fingerprint(dict(reversed(value.items())))
        assert fingerprint(value) != fingerprint({**value, "another key": 1})


@pytest.mark.parametrize("value", [1.5, {1, 2}, object(), b"bytes", {1: "key"}])
def test_a_fingerprint_refuses_what_has_no_one_spelling(value):
    with pytest.raises(TypeError):
        fingerprint({"x": value})


def test_equal_numbers_have_equal_fingerprints_and_kinds_stay_apart():
    assert fingerprint(Decimal("0.10")) == fingerprint(Decimal("0.1"))
    assert len({fingerprint(v) for v in (1, "1", True, Decimal(1), Fraction(1, 3), None)}) == 6


def test_an_output_appears_whole_with_digests(tmp_path):
    home = Home(tmp_path)
    out = make(home)
    manifest = home.find("pools", "web@1")
    assert manifest.counts == {"rows": 1} and manifest.files[0]["path"] == "part-00000.parquet"
    assert manifest.files[0]["sha256"] == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    assert out.manifest.fingerprint == manifest.fingerprint
    assert [p.name for p in (tmp_path / "pools").iterdir()] == ["web@1"]


def test_a_crash_leaves_nothing_under_the_final_name_and_a_rerun_completes(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(RuntimeError):
        make(home, fail=True)
    assert home.manifests("pools") == []
    with pytest.raises(UserError, match="nothing under pools"):
        home.find("pools", "web@1")
    make(home)
    assert [m.ref for m in home.manifests("pools")] == ["web@1"]


def test_the_same_recipe_is_up_to_date_and_another_drifts(tmp_path):
    home = Home(tmp_path)
    make(home)
    assert make(home, content=b"never written").up_to_date is not None
    assert (home.folder("pools", "web@1") / "part-00000.parquet").read_bytes() == b"text"
    with pytest.raises(DriftError, match="meaning.a: 1 -> 2"):
        make(home, meaning={"a": 2})


def test_version_dev_always_rebuilds(tmp_path):
    home = Home(tmp_path)
    make(home, version="dev", content=b"old")
    make(home, version="dev", content=b"new", meaning={"a": 2})
    assert (home.folder("pools", "web@dev") / "part-00000.parquet").read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "pools").iterdir()] == ["web@dev"]


def test_partial_work_is_kept_for_a_rerun_unless_fresh(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(RuntimeError):
        make(home, fail=True)
    folder = home.folder("pools", "web@1")
    with output(folder, kind="pools", name="web", version="1", meaning={"a": 1}) as out:
        assert (out.folder / "part-00000.parquet").exists()
        raise_later = out.folder
    assert not raise_later.exists()
    with pytest.raises(RuntimeError):
        make(home, version="2", fail=True)
    with output(
        home.folder("pools", "web@2"), kind="pools", name="web", version="2", meaning={"a": 1}, fresh=True
    ) as out:
        assert not (out.folder / "part-00000.parquet").exists()


@pytest.mark.parametrize(("version", "fresh"), [("1", False), ("1", True), ("dev", False)])
def test_one_process_makes_an_output_at_a_time(tmp_path, version, fresh, monkeypatch):
    monkeypatch.setattr("leaven.holding.PATIENCE", 0)
    home = Home(tmp_path)
    with output(home.folder("pools", f"web@{version}"), kind="pools", name="web", version=version,
                meaning={"a": 1}) as out:  # fmt: skip
        (out.folder / "part-00000.parquet").write_bytes(b"first")
        with pytest.raises(UserError, match="another process is building this"):
            make(home, version=version, fresh=fresh)
    assert [f["bytes"] for f in home.find("pools", f"web@{version}").files] == [5]
    assert [p.name for p in (tmp_path / "pools").iterdir()] == [f"web@{version}"]
    make(home, version=version)


def test_what_broken_off_builds_left_is_swept_but_for_those_of_live_processes(tmp_path):
    home, pools = Home(tmp_path), tmp_path / "pools"
    for meaning in ({"a": 2}, {"a": 3}):
        with pytest.raises(RuntimeError):
            make(home, meaning=meaning, fail=True)
    (mine,) = pools.glob(".partial-web@1-*")  # the second build swept what the first had left
    others = [pools / ".partial-web@1-x-0123456789ab", pools / ".partial-web@12-0123456789ab", pools / "web@2"]
    for folder in [*others, pools / ".stale-web@1-4711"]:
        folder.mkdir()
        (folder / "part-00000.parquet").write_bytes(b"x")
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print('held'); "
    live = subprocess.Popen(
        [sys.executable, "-uc", program + "input()", str(mine)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert live.stdout and live.stdout.readline()
    make(home)
    assert sorted(p.name for p in pools.iterdir()) == sorted([mine.name, "web@1", *(p.name for p in others)])
    live.communicate("\n")
    shutil.rmtree(pools / "web@1")
    make(home)
    assert not mine.exists() and all((p / "part-00000.parquet").exists() for p in others)


def test_what_another_recipe_built_meanwhile_is_not_replaced(tmp_path):
    home = Home(tmp_path)
    with (
        pytest.raises(DriftError, match="meaning.a: 2 -> 1"),
        output(home.folder("pools", "web@1"), kind="pools", name="web", version="1", meaning={"a": 1}) as out,
    ):
        (out.folder / "part-00000.parquet").write_bytes(b"mine")
        make(home, meaning={"a": 2}, content=b"theirs")
    assert (home.folder("pools", "web@1") / "part-00000.parquet").read_bytes() == b"theirs"


def test_manifests_are_equal_but_for_the_unstable_keys(tmp_path):
    texts = []
    for place in ("one", "two"):
        home = Home(tmp_path / place)
        make(home)
        texts.append(json.loads((home.folder("pools", "web@1") / "manifest.json").read_text()))
    for key in UNSTABLE:
        for text in texts:
            text.pop(key, None)
    assert texts[0] == texts[1]


def test_a_manifest_that_is_not_ours_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text('{"kind": 1}')
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["web", "web@", "@1", "Web@1", "a/b@1", "web@../x", "web@1@2"])
def test_a_bad_reference_is_refused(text):
    with pytest.raises(UserError):
        parse_ref(text)


def test_who_waits_for_another_takes_what_it_made(tmp_path):
    home, begun, go = Home(tmp_path), threading.Event(), threading.Event()

    def first() -> None:
        with output(home.folder("pools", "web@1"), kind="pools", name="web", version="1", meaning={"a": 1}) as out:
            (out.folder / "part-00000.parquet").write_bytes(b"first")
            begun.set()
            go.wait(30)

    other = threading.Thread(target=first)
    other.start()
    begun.wait(30)
    threading.Timer(0.3, go.set).start()
    with output(home.folder("pools", "web@1"), kind="pools", name="web", version="1", meaning={"a": 1}) as out:
        assert out.up_to_date and out.folder == home.folder("pools", "web@1")
    other.join()
    assert [p.name for p in (tmp_path / "pools").iterdir()] == ["web@1"]
