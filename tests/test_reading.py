"""Every record of every format is read, or lost with a reason; damage costs the records it touches and no more."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import json
import os
import random
import threading
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from archives import PAGE, PROSE, arc, chunked, deflated, gz, page, warc
from archives import http as response

from filters.inputs import InputFile, expand_inputs
from filters.reading import read_file
from filters.records import DROPPED, FAILED, Lost, Page

SHARED = Path(__file__).parents[2] / "shared" / "data"


def read(tmp_path: Path, data: bytes, name: str = "x.warc.gz", **more) -> list[Page | Lost]:
    (tmp_path / name).write_bytes(data)
    items = list(read_file(InputFile(name, str(tmp_path / name), name), **more))
    assert [i.record for i in items if i.record is not None] == list(range(len(items)))
    assert all(i.reason in DROPPED + FAILED for i in items if isinstance(i, Lost))
    return items


def said(items: list[Page | Lost]) -> list[str]:
    """What became of each record: the page's last path segment, or the reason it was lost."""
    return [i.reason if isinstance(i, Lost) else (i.url or i.text).rpartition("/")[2] for i in items]


def test_records_of_a_whole_archive_and_their_places(tmp_path):
    records = [warc(b"software: x\r\n", "warcinfo"), page(1), warc(b"GET /", "request"), page(2)]
    for data, name in (
        (gz(*records), "x.warc.gz"),
        (b"".join(records), "x.warc"),
        (gzip.compress(b"".join(records)), "y.warc.gz"),
    ):
        items = read(tmp_path, data, name)
        assert said(items) == ["metadata_format", "1", "metadata_format", "2"]
        assert items[1].fetched == "2026-11-21T00:00:00Z" and items[1].charset == "utf-8"
        if name == "x.warc":
            assert [data[i.offset :][:8] for i in items] == [b"WARC/1.0"] * 4
        if name == "x.warc.gz":
            assert [gzip.GzipFile(fileobj=io.BytesIO(data[i.offset :])).read(8) for i in items] == [b"WARC/1.0"] * 4


def test_wet_wat_and_other_record_types(tmp_path):
    items = read(tmp_path, gz(
        warc("Grüße aus dem Archiv".encode(), "conversion", mime="text/plain"),
        warc(b'{"Container": {}}', "metadata", mime="application/json"),
        warc(b"", "revisit"),
        warc(b"  \n", "conversion", mime="text/plain"),
        warc(b"\xff\xfe\xfd bytes"[2:], "conversion", mime="text/plain"),
        warc(b"<html><p>resource</p>", "resource", mime="text/html", url="http://x.test/resource"),
    ), "x.warc.wet.gz")  # fmt: skip
    assert said(items)[1:] == ["metadata_format", "revisit", "empty_text", "bad_encoding", "resource"]
    assert items[0].media == "wet" and items[0].text == "Grüße aus dem Archiv"


def test_arc_versions_1_and_2(tmp_path):
    entries = [("http://x.test/1", "text/html", response(PAGE.format(PROSE).encode())),
               ("http://x.test/a b", "text/html", response(PAGE.format(PROSE).encode())),
               ("http://x.test/img", "image/png", response(b"\x89PNG", kind="image/png"))]  # fmt: skip
    for version in (1, 2):
        items = read(tmp_path, arc(*entries, version=version), "x.arc")
        assert said(items) == ["metadata_format", "1", "a b", "media_type"]
        assert items[1].fetched == "2026-01-01T00:00:00Z"
    broken = arc(*entries).replace(b"text/html " + str(len(entries[0][2])).encode(), b"text/html -1", 1)
    assert said(read(tmp_path, broken, "y.arc")) == ["metadata_format", "bad_header", "a b", "media_type"]


def test_http_status_and_media_type(tmp_path):
    html = PAGE.format(PROSE).encode()
    items = read(tmp_path, gz(
        warc(response(html, "404 Not Found")),
        warc(response(html, "301 Moved")),
        warc(response(b"%PDF-1.4", kind="application/pdf")),
        warc(response(html, kind="TEXT/HTML;Charset='ISO-8859-1'"), url="http://x.test/latin"),
        warc(response(html, kind="application/xhtml+xml"), url="http://x.test/xhtml"),
        warc(b"HTTP/1.1 200 OK\r\n\r\n" + html, url="http://x.test/sniffed"),
        warc(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG"),
        warc(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG", WARC_Identified_Payload_Type="text/html", url="http://x.test/told"),
    ))  # fmt: skip
    assert said(items) == ["http_status"] * 2 + ["media_type", "latin", "xhtml", "sniffed", "media_type", "told"]
    assert items[3].charset == "ISO-8859-1"


def test_http_codings_and_their_damage(tmp_path):
    html = PAGE.format(PROSE * 20).encode()
    packed = gzip.compress(html)
    te, ce = "Transfer-Encoding: chunked\r\n", "Content-Encoding: {}\r\n"
    whole = [
        response(chunked(html[:50], html[50:]), extra=te),
        response(packed, extra=ce.format("gzip")),
        response(deflated(html), extra=ce.format("deflate")),
        response(chunked(packed), extra=te + ce.format("x-gzip")),
        response(html, extra=te),  # announced and not there
        response(html, extra=ce.format("gzip")),
        response(html, extra=ce.format("br")),
    ]
    items = read(tmp_path, gz(*map(warc, whole)))
    assert [i.html for i in items] == [html] * len(whole)
    assert items[0].metadata == {} and items[4].metadata["http"] == "damaged chunks"
    damaged = [
        response(chunked(html[:500], html[500:]).replace(b"\r\n", b"??", 2)[:-20], extra=te),
        response(b"1f4\r\n" + html[:500] + b"\r\nzz\r\n" + html[500:], extra=te),
        response(b"ffff\r\n" + html, extra=te),
        response(packed[:-30], extra=ce.format("gzip")),
    ]
    for item in read(tmp_path, gz(*map(warc, damaged))):
        assert html[:400] in item.html and "damaged" in item.metadata["http"]


def test_a_truncated_file_loses_its_last_record(tmp_path):
    data = gz(page(1), page(2), page(3))
    for cut in (1, 9, 40):
        assert said(read(tmp_path, data[:-cut])) == ["1", "2", "truncated"]
    plain = page(1) + page(2)
    assert said(read(tmp_path, plain[:-100], "x.warc")) == ["1", "truncated"]
    assert said(read(tmp_path, plain[: len(page(1)) + 30], "y.warc")) == ["1", "truncated"]


def test_garbage_and_bad_members_cost_one_record(tmp_path):
    one, two, three = (gz(page(i)) for i in (1, 2, 3))
    noise = random.Random(0).randbytes(3000)
    middle = bytearray(two)
    middle[len(two) // 2] ^= 0xFF
    checksum = bytearray(two)
    checksum[-6] ^= 1
    for between in (noise, bytes(middle), bytes(checksum), two[: len(two) // 2], gz(b"no record at all")):
        items = read(tmp_path, one + between + three)
        assert said(items)[0] == "1" and said(items)[-1] == "3" and len(items) == 3, said(items)
        assert items[1].outcome == "failed" and items[1].offset == len(one)
    assert said(read(tmp_path, one + b"\0" * 700 + three + b"\0" * 10)) == ["1", "3"]


def test_two_damages_are_two_rows(tmp_path):
    one, two, three = (gz(page(i)) for i in (1, 2, 3))
    bad = bytearray(two)
    bad[30] ^= 0xFF
    assert said(read(tmp_path, one + bytes(bad) + three[:-50] + bytes(bad) + one)).count("1") == 2


def test_a_wrong_length_does_not_swallow_the_next_record(tmp_path):
    for short_by in (-4000, -1, 7):
        block = response(PAGE.format(PROSE).encode())
        wrong = warc(block, length=len(block) - short_by, url="http://x.test/2")
        for data, name in ((gz(page(1), wrong, page(3)), "x.warc.gz"), (page(1) + wrong + page(3), "x.warc")):
            items = read(tmp_path, data, name)
            assert said(items)[0] == "1" and said(items)[-1] == "3" and len(items) == 3, (short_by, name, said(items))
    for bad in (b"Content-Length: x\r\n", b""):
        headless = page(2).replace(page(2)[page(2).index(b"Content-Length") :].split(b"\n")[0] + b"\n", bad, 1)
        assert said(read(tmp_path, page(1) + headless + page(3), "x.warc")) == ["1", "bad_header", "3"]


def test_every_single_damaged_byte_is_survived(tmp_path):
    """Flip one byte anywhere: nothing raises, the untouched first or last record is there, all rows are numbered."""
    data = gz(page(1), page(2), page(3))
    plain = page(1) + page(2) + page(3)
    draw = random.Random(1)
    for at in draw.sample(range(len(data)), 60):
        broken = bytearray(data)
        broken[at] ^= 1 << draw.randrange(8)
        got = said(read(tmp_path, bytes(broken)))
        assert len({"1", "2", "3"} & set(got)) >= 2, (at, got)
    for at in draw.sample(range(len(plain)), 60):
        broken = bytearray(plain)
        broken[at] ^= 1 << draw.randrange(8)
        got = said(read(tmp_path, bytes(broken), "x.warc"))
        assert len({"1", "2", "3"} & set(got)) >= 1 and len(got) <= 4, (at, got)


def test_jsonl(tmp_path):
    rows = [{"text": f"Text {i}", "url": f"http://x.test/{i}", "n": i, "title": "T"} for i in range(3)]
    lines = [json.dumps(r) for r in rows]
    odd = [b"{not json}", b'{"other": 1}', b'{"text": 5}', b'{"text": " "}', b"[1]", b"", b'{"text": "\xff"}']
    data = b"\n".join([lines[0].encode(), *odd, lines[1].encode(), lines[2].encode()[:-4]])
    expected = [
        "0",
        "bad_json",
        "missing_text",
        "missing_text",
        "empty_text",
        "missing_text",
        "bad_encoding",
        "1",
        "truncated",
    ]
    for packed, name in (
        (data, "x.jsonl"), (gzip.compress(data), "x.jsonl.gz"), (zstandard.compress(data), "x.json.zst"),
        (gz(data[:200], data[200:]), "y.jsonl.gz"),
    ):  # fmt: skip
        items = read(tmp_path, packed, name)
        assert said(items) == expected
        assert items[0].metadata == {"n": 0} and items[0].title == "T" and items[0].text == "Text 0"
    assert [data[i.offset :][:1] for i in read(tmp_path, data, "x.jsonl")][:3] == [b"{"] * 3
    assert said(read(tmp_path, b'{"body": "b"}', "z.jsonl", text_key="body")) == ["b"]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_damaged_jsonl_gives_what_comes_before_and_after(tmp_path, ending):
    pack = gzip.compress if ending == "gz" else zstandard.ZstdCompressor(write_checksum=True).compress
    lines = [json.dumps({"text": f"{i} " + random.Random(i).randbytes(40).hex()}).encode() + b"\n" for i in range(3000)]
    whole = pack(b"".join(lines))
    items = read(tmp_path, whole[: len(whole) * 2 // 3], f"x.jsonl.{ending}")
    assert len(items) > 1000 and items[-1].reason == "truncated"
    assert all(isinstance(i, Page) for i in items[:-1])
    members = [pack(b"".join(lines[i : i + 1000])) for i in (0, 1000, 2000)]
    middle = bytearray(members[1])
    middle[len(middle) // 2] ^= 0xFF
    items = read(tmp_path, members[0] + bytes(middle) + members[2], f"y.jsonl.{ending}")
    texts = [i.text for i in items if isinstance(i, Page)]
    assert all(json.loads(line)["text"] in texts for line in lines[:1000] + lines[2000:])
    assert sum(isinstance(i, Lost) for i in items) == 1


def test_parquet(tmp_path):
    table = pa.table(
        {"text": ["a", None, " ", "d"], "url": ["u/a", None, None, "u/d"], "tags": [["x"], [], None, ["y"]]}
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    data = (tmp_path / "t.parquet").read_bytes()
    items = read(tmp_path, data, "x.parquet")
    assert said(items) == ["a", "missing_text", "empty_text", "d"]
    assert items[3].metadata == {"tags": ["y"]}
    assert said(read(tmp_path, data[:-10], "cut.parquet")) == ["bad_parquet"]
    raw = pa.table({"text": pa.array([b"ok", b"\xff\xfe", b"fine"]).cast(pa.binary())})
    raw = raw.set_column(0, "text", pa.Array.from_buffers(pa.string(), 3, raw["text"].chunk(0).buffers()))
    pq.write_table(raw, tmp_path / "t.parquet")
    assert said(read(tmp_path, (tmp_path / "t.parquet").read_bytes(), "y.parquet")) == ["ok", "bad_encoding", "fine"]


def test_a_damaged_row_group_costs_its_rows(tmp_path):
    rows = [random.Random(i).randbytes(50).hex() for i in range(300)]
    pq.write_table(
        pa.table({"text": rows}), tmp_path / "t.parquet", row_group_size=100, compression="zstd", use_dictionary=False
    )
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    start = pq.read_metadata(tmp_path / "t.parquet").row_group(1).column(0).data_page_offset
    data[start : start + 60] = bytes(60)
    items = read(tmp_path, bytes(data), "x.parquet")
    assert Counter(type(i).__name__ for i in items) == {"Page": 200, "Lost": 100}
    assert {i.reason for i in items if isinstance(i, Lost)} == {"bad_parquet"}


def test_texts_and_pages_in_a_folder(tmp_path):
    files = {"a.txt": "Käse".encode(), "b.md": "\ufeffmarked".encode(), "c.html": b"<!DOCTYPE html><p>hello",
             "d.txt": "breit".encode("utf-16"), "e.txt": b"\xe4\xf6", "f.txt": b"", "g.bin": b"\x7fELF\0\0\0",
             "h.txt.gz": gzip.compress(b"packed")}  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    got = {f.file: next(iter(read_file(f))) for f in expand_inputs([str(tmp_path)])}
    short = {Path(k).name: v.reason if isinstance(v, Lost) else v.text or v.html for k, v in got.items()}
    assert short == {"a.txt": "Käse", "b.md": "marked", "c.html": files["c.html"], "d.txt": "breit",
                     "e.txt": "bad_encoding", "f.txt": "empty_text", "g.bin": "unknown_format",
                     "h.txt.gz": "packed"}  # fmt: skip


def test_a_file_that_cannot_be_opened_is_one_row(tmp_path):
    (lost,) = read_file(InputFile("gone.warc.gz", str(tmp_path / "gone.warc.gz"), ""))
    assert isinstance(lost, Lost) and lost.reason == "unreadable_file" and lost.outcome == "failed"
    (tmp_path / "shut").write_bytes(b"x")
    (tmp_path / "shut").chmod(0)
    if os.geteuid() != 0:
        (lost,) = read_file(InputFile("shut", str(tmp_path / "shut"), ""))
        assert lost.reason == "unreadable_file"


def test_a_record_too_large_is_skipped(tmp_path, monkeypatch):
    for module in ("archives", "reading"):
        monkeypatch.setattr(f"filters.{module}.MAX_RECORD", 5000)
    big = warc(response(b"x" * 9000))
    assert said(read(tmp_path, gz(page(1), big, page(3)))) == ["1", "too_large", "3"]
    assert said(read(tmp_path, page(1) + big + page(3), "x.warc")) == ["1", "too_large", "3"]
    lines = b'{"text": "a"}\n{"text": "%b"}\n{"text": "c"}\n' % (b"b" * 9000)
    assert said(read(tmp_path, lines, "x.jsonl")) == ["a", "too_large", "c"]


def test_memory_and_http_urls_read_the_same(tmp_path):
    data = gz(page(1), page(2))[:-20]
    (tmp_path / "x.warc.gz").write_bytes(data)
    fsspec.filesystem("memory").pipe("/reading/x.warc.gz", data)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        urls = ["memory://reading/x.warc.gz", f"{base}/x.warc.gz"]
        for file in expand_inputs(urls):
            assert said(list(read_file(file))) == ["1", "truncated"]
        (lost,) = read_file(expand_inputs([f"{base}/gone.warc.gz"])[0])
        assert lost.reason == "unreadable_file"
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_that_only_streams_and_a_file_system_with_errors_of_its_own(tmp_path):
    data = gz(page(1), page(2))

    class Streams(Quiet):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()  # no length, no ranges: the end of the connection ends the file
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streams)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/x.warc.gz"
        assert said(list(read_file(InputFile(url, url, url)))) == ["1", "2"]
    finally:
        server.shutdown()
        server.server_close()

    class Torn(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise KeyError("the connection is gone")
            return super().read(min(size, 2000))

    class Tears(fsspec.AbstractFileSystem):
        protocol = "tears"

        def _open(self, path, mode="rb", **_):
            return Torn(b'{"text": "a"}\n' * 1000)

    fsspec.register_implementation("tears", Tears, clobber=True)
    items = said(list(read_file(InputFile("t.jsonl", "tears://x/t.jsonl", "t"))))
    assert items == ["a"] * (len(items) - 1) + ["unreadable_file"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the checkout")
def test_real_archives():
    files = expand_inputs([str(SHARED / "web" / "warc-samples")])
    got = {
        f.file.partition("/")[2]: Counter(i.reason if isinstance(i, Lost) else i.media for i in read_file(f))
        for f in files
    }
    assert got["webrecorder+warcio/example.arc.gz"] == {"metadata_format": 1, "html": 1}
    assert got["webrecorder+warcio/example-wrong-chunks.warc.gz"] == {"metadata_format": 1, "html": 1}
    assert got["webrecorder+warcio/bad.arc"] == {"bad_header": 3}
    assert got["commoncrawl+whirlwind-python/whirlwind.warc.wat.gz"] == {"metadata_format": 2}
    assert got["commoncrawl+whirlwind-python/whirlwind.warc.wet.gz"] == {"metadata_format": 1, "wet": 1}
    assert sum(c["html"] for c in got.values()) == 49
