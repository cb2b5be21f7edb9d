"""Which files are read, what they are called, how they fall into parts."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from filters.inputs import PART_BYTES, InputFile, expand_inputs, group_files, identify
from leaven.errors import UserError


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def names(files: list[InputFile]) -> list[str]:
    return [f.file for f in files]


def test_names_do_not_depend_on_where_the_data_lies(tmp_path, monkeypatch):
    for place in ("here", "elsewhere/deeper"):
        put(tmp_path / place, "data/a.txt", "data/sub/b.txt", "data/.hidden/c.txt", "data/.d.txt", "one.txt")
    found = []
    for place in (tmp_path / "here", tmp_path / "elsewhere/deeper"):
        monkeypatch.chdir(place)
        relative = expand_inputs(["data", "one.txt"])
        absolute = expand_inputs([str(place / "data"), str(place / "one.txt")])
        assert names(relative) == names(absolute) == ["data/a.txt", "data/sub/b.txt", "one.txt"]
        assert names(expand_inputs(["data/"])) == ["data/a.txt", "data/sub/b.txt"]
        assert names(expand_inputs([str(place / "data/*.txt")])) == ["a.txt"]
        assert names(expand_inputs(["data/**/*.txt"])) == ["a.txt", "sub/b.txt"]
        (place / "paths.txt").write_text("# ours\ndata/sub/b.txt\n\none.txt\n./data/a.txt\n")
        assert names(expand_inputs(["@paths.txt"])) == ["data/a.txt", "data/sub/b.txt", "one.txt"]
        found.append([f.bytes for f in relative])
    assert found[0] == found[1]


def test_the_order_of_inputs_does_not_matter(tmp_path):
    put(tmp_path, "x/1.txt", "x/2.txt", "y/3.txt")
    inputs = [str(tmp_path / "x"), str(tmp_path / "y")]
    assert expand_inputs(inputs) == expand_inputs(inputs[::-1])


@pytest.mark.parametrize("inputs", [["a/same.txt", "b/same.txt"], ["a", "a/*.txt"]])
def test_one_name_for_two_files_and_two_for_one_are_refused(tmp_path, monkeypatch, inputs):
    put(tmp_path, "a/same.txt", "b/same.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        expand_inputs(inputs)
    assert all(i.partition("*")[0] in str(error.value) for i in inputs)


@pytest.mark.parametrize("inputs", [["nothing.warc.gz"], ["none*.gz", "folder-that-is-not"], []])
def test_no_file_at_all_is_refused(tmp_path, monkeypatch, inputs):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no file|no inputs"):
        expand_inputs(inputs)


def test_a_missing_path_among_others_stays_in_the_list(tmp_path, monkeypatch):
    put(tmp_path, "there.txt")
    monkeypatch.chdir(tmp_path)
    assert names(expand_inputs(["there.txt", "not-there.warc.gz", "none*.gz"])) == [
        "none*.gz", "not-there.warc.gz", "there.txt",
    ]  # fmt: skip


def test_urls_keep_their_whole_name():
    store = fsspec.filesystem("memory")
    for name in ("bucket/a.txt", "bucket/sub/b.txt", "bucket/.c.txt"):
        store.pipe(name, b"text")
    assert names(expand_inputs(["memory://bucket/a.txt"])) == ["memory://bucket/a.txt"]
    assert names(expand_inputs(["memory://bucket"])) == ["memory://bucket/a.txt", "memory://bucket/sub/b.txt"]
    assert names(expand_inputs(["memory://bucket/*.txt"]))[-1] == "memory://bucket/a.txt"
    (file,) = expand_inputs(["memory://bucket/a.txt"])
    assert file.bytes == 4
    with file.open() as handle:
        assert handle.read() == b"text"


def test_a_password_stays_out_of_names():
    (file,) = expand_inputs(["ftp://user:secret@127.0.0.1:9/x.warc.gz"])
    assert "secret" not in file.file and "secret" in file.path


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UserError, match="cannot be opened"):
        expand_inputs(["nosuch://bucket/x.txt"])


def sized(*sizes: int | None) -> list[InputFile]:
    return [InputFile(f"{i}", f"/{i}", "", s) for i, s in enumerate(sizes)]


def test_parts_hold_every_file_once_in_order():
    files = sized(*([PART_BYTES // 3] * 7), None, None, 3 * PART_BYTES, 1)
    groups = group_files(files)
    assert [f for g in groups for f in g] == files
    assert [len(g) for g in groups] == [3, 3, 1, 1, 1, 1, 1]
    assert group_files(sized(*([1] * 5000)))[0][-1].file == "4095"
    assert len(group_files(sized(*([PART_BYTES] * 3000)))) <= 1000


def test_files_are_known_by_their_bytes(tmp_path):
    put(tmp_path, "a.txt")
    cache = tmp_path / "cache" / "inputs.json"
    files = expand_inputs([str(tmp_path / "a.txt")])
    first = identify(files, cache)
    os.utime(tmp_path / "a.txt", (1, 1))
    assert identify(files, cache) == first == identify(files, tmp_path / "other.json")
    (tmp_path / "a.txt").write_text("changed")
    assert identify(files, cache) != first
    (tmp_path / "a.txt").unlink()
    assert identify(files, cache)[0]["fingerprint"] == "unreadable"
