"""What made an output: a manifest beside it, a fingerprint of its meaning, and the folder put in place when whole.

The fingerprint covers the recipe's meaning, the fingerprints of its inputs and the version constant of each stage.
Same fingerprint: up to date. Another: DriftError, which shows the fields that differ. Version `dev` always rebuilds.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaven import __version__
from leaven.errors import DriftError, UserError
from leaven.holding import holding, sweep

MANIFEST = "manifest.json"
UNSTABLE = ("created", "seconds", "commit", "host", "cost")  # the keys that may differ between equal builds


def canonical(value: Any) -> Any:
    """A JSON value with one spelling; raises TypeError for what has none (floats, paths, objects, sets)."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        return {"decimal": str(value.normalize())}
    if isinstance(value, Fraction):
        return {"fraction": f"{value.numerator}/{value.denominator}"}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: canonical(v) for k, v in value.items()}
    raise TypeError(f"a fingerprint cannot take a {type(value).__name__}: {value!r}")


def fingerprint(value: Any) -> str:
    """BLAKE2b-128 of the canonical JSON of `value` (keys sorted), 32 hex digits."""
    text = json.dumps(canonical(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass
class Manifest:
    """One output's record.

    `meaning` is the canonical recipe, `inputs` the outputs and files it was made from (each a dict with at least
    `kind`, `ref` and `fingerprint`), `stages` the version constants, `counts` whatever was counted, `files` one dict
    (path, bytes, sha256) per file, relative to `folder`.
    """

    kind: str
    name: str
    version: str
    parts: list[str]
    fingerprint: str
    meaning: dict
    inputs: list[dict]
    stages: dict
    counts: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)
    files: list[dict] = field(default_factory=list)
    created: str = ""
    seconds: float = 0.0
    commit: str = ""
    host: dict = field(default_factory=dict)
    cost: dict = field(default_factory=dict)  # what it took, as counted: cpu_seconds, documents, bytes, flops
    leaven: str = __version__
    folder: Path = Path()

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def address(self) -> str:
        """`kind/name@version[/part]`, unique in a home."""
        return "/".join([self.kind, self.ref, *self.parts])

    def as_input(self) -> dict:
        """The entry that a dependent output puts among its `inputs`."""
        return {"kind": self.kind, "ref": "/".join([self.ref, *self.parts]), "fingerprint": self.fingerprint}

    def to_json(self) -> str:
        return json.dumps(
            {k: v for k, v in self.__dict__.items() if k != "folder"}, indent=1, sort_keys=True, ensure_ascii=False
        )


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/manifest.json`; raises UserError where it is not one of ours."""
    path = folder / MANIFEST
    try:
        return Manifest(**json.loads(path.read_text("utf-8")), folder=folder)
    except (ValueError, TypeError) as error:
        raise UserError(f"this manifest cannot be read: {error}", where=str(path), do=f"rm -r {folder}") from None


def file_sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Output:
    """An output in the making: write under `folder`, count into `counts`, note into `extra`, what it took into `cost`.

    `known_sha256` may hold digests that a writer computed while writing (relative path -> hex), to spare a reading.
    """

    def __init__(self, folder: Path, up_to_date: Manifest | None):
        self.folder, self.up_to_date = folder, up_to_date
        self.counts: dict = {}
        self.extra: dict = {}
        self.cost: dict = {}
        self.known_sha256: dict[str, str] = {}
        self.manifest: Manifest | None = up_to_date


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Lines `key: old -> new` for each leaf at which two canonical values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{path}.{k}" if path else k)]
    if old == new:
        return []
    show = lambda v: json.dumps(v, ensure_ascii=False)[:80]  # noqa: E731
    return [f"{path}: {show(old)} -> {show(new)}"]


@contextmanager
def output(
    folder: Path,
    *,
    kind: str,
    name: str,
    version: str,
    meaning: dict,
    parts: list[str] | None = None,
    inputs: list[dict] | None = None,
    stages: dict | None = None,
    fresh: bool = False,
) -> Iterator[Output]:
    """Make one output whole or not at all.

    Yields an Output. Where `output.up_to_date` is a Manifest the body must do nothing. Otherwise the body writes files
    under `output.folder` (a hidden sibling of `folder` that carries the fingerprint, kept after a crash so that a
    stage may resume in it; `fresh` empties it first). When the body ends, files are hashed, the manifest is written
    and the folder takes its final name. What broken-off builds of other recipes left beside it is removed. Raises
    DriftError where another recipe was built under this name, also while the body ran, and UserError where another
    process is making the same output.
    """
    meaning, inputs, stages = canonical(meaning), canonical(inputs or []), canonical(stages or {})
    print_ = fingerprint({"kind": kind, "meaning": meaning, "inputs": inputs, "stages": stages})

    def standing() -> Manifest | None:
        """What was built from this recipe under this name; raises DriftError for what was built from another."""
        old = read_manifest(folder) if version != "dev" and (folder / MANIFEST).is_file() else None
        if old is None or old.fingerprint == print_:
            return old
        was = {"meaning": old.meaning, "inputs": {i["ref"]: i["fingerprint"] for i in old.inputs}, "stages": old.stages}
        now = {"meaning": meaning, "inputs": {i["ref"]: i["fingerprint"] for i in inputs}, "stages": stages}
        raise DriftError(
            f"{kind} {name}@{version} is built already, from another recipe",
            where=str(folder),
            numbers=differences(was, now)[:12],
            do='give the recipe a new version, or use version = "dev", which always rebuilds',
        )

    if old := standing():
        yield Output(folder, old)
        return
    partial = folder.parent / f".partial-{folder.name}-{print_[:12]}"
    with holding(partial, folder):
        if old := standing():  # another process finished it while this one waited
            shutil.rmtree(partial)
            yield Output(folder, old)
            return
        sweep(folder, partial)
        for stale in list(partial.iterdir()) if fresh or version == "dev" else []:
            shutil.rmtree(stale) if stale.is_dir() and not stale.is_symlink() else stale.unlink()
        started = time.monotonic()
        out = Output(partial, None)
        yield out  # an exception leaves the partial folder for a rerun and nothing under the final name
        manifest = Manifest(
            kind=kind, name=name, version=version, parts=parts or [], fingerprint=print_, meaning=meaning,
            inputs=inputs, stages=stages, counts=out.counts, extra=out.extra, files=_files(partial, out.known_sha256),
            created=datetime.now(UTC).isoformat(timespec="seconds"), seconds=round(time.monotonic() - started, 3),
            commit=_commit(), host={"python": platform.python_version(), "machine": platform.machine()}, cost=out.cost,
            folder=folder,
        )  # fmt: skip
        (partial / MANIFEST).write_text(manifest.to_json() + "\n", "utf-8")
        if old := standing():  # another process was quicker
            shutil.rmtree(partial)
            manifest = old
        elif folder.exists():  # version dev, or a folder that never became whole
            aside = folder.parent / f".stale-{folder.name}-{os.getpid()}"
            folder.rename(aside)
            partial.rename(folder)
            shutil.rmtree(aside)
        else:
            partial.rename(folder)
        out.manifest = manifest


def _files(folder: Path, known_sha256: dict[str, str]) -> list[dict]:
    """Path, bytes and SHA-256 of every file of an output."""
    files = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        relative = path.relative_to(folder).as_posix()
        digest = known_sha256.get(relative) or file_sha256(path)
        files.append({"path": relative, "bytes": path.stat().st_size, "sha256": digest})
    return files


def _commit() -> str:
    """Short hash of the checkout that ran, or '' outside one."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
