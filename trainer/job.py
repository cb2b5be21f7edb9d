"""Reading a job file: every mistake in it is found here, before any work. docs/training.md describes the keys.

Numbers with a point are read as decimals, so shares are what the file says.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from leaven.errors import UserError
from leaven.loader import Loader
from leaven.shards import TokenFile
from trainer.loop import TrainConfig, split_batch
from trainer.model import SIZES, ModelConfig, model_config


@dataclass(frozen=True)
class Arm:
    """One mix to train on; `scratch` ignores the trunk."""

    name: str
    mix: Path
    scratch: bool = False


@dataclass(frozen=True)
class Job:
    """One seed of a study. `trunk` is a mix of its own, or None: then it is the arms' common prefix, if anything."""

    study: str
    version: str
    seed: int
    model: ModelConfig
    train: TrainConfig
    trunk: Path | None
    arms: tuple[Arm, ...]
    questions: tuple[Path, ...]
    heldout: dict[str, Path]
    heldout_rows: int
    token_bytes: Path | None
    out: Path
    device: torch.device
    dtype: torch.dtype
    compiled: bool
    threads: int
    data: dict[str, Any]  # of the tokens: vocab_size, eot, tokenizer, sequence_length

    def folder(self, arm: str) -> Path:
        return self.out / arm / f"seed-{self.seed}"

    @property
    def branching(self) -> bool:
        return self.train.trunk_steps > 0 and any(not a.scratch for a in self.arms)

    @property
    def trunk_mix(self) -> Path:
        return self.trunk or next(a.mix for a in self.arms if not a.scratch)

    def first_step(self, arm: Arm) -> int:
        """The step that takes seat 0 of the arm's mix."""
        return self.train.trunk_steps if self.trunk and not arm.scratch else 0


KEYS = (
    "study", "version", "seed", "device", "threads", "dtype", "compile", "model", "train", "trunk", "arms", "questions",
    "heldout", "heldout_rows", "token_bytes", "out",
)  # fmt: skip
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def read_job(path: Path) -> Job:
    """The job in a JSON file; raises UserError for whatever is wrong in it or in the mixes it names."""
    try:
        asked = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise UserError(f"cannot read the job: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise UserError(f"this is not JSON: {error}", where=str(path)) from None
    try:
        return parse_job(asked)
    except UserError as error:
        where = f"{path} ({error.where})" if error.where else str(path)
        raise UserError(error.what, where=where, numbers=error.numbers, do=error.do) from None


def parse_job(asked: dict[str, Any]) -> Job:
    _known(asked, KEYS, "the job")
    for key in ("study", "version", "seed", "train", "arms", "out"):
        if key not in asked:
            raise UserError(f"the job lacks '{key}'", where=key)
    if not asked["arms"] or "trunk" in asked["arms"]:
        raise UserError("a job needs at least one arm, and none called 'trunk'", where="arms")
    arms = []
    for name, arm in asked["arms"].items():
        _known(arm, ("mix", "scratch"), f"arms.{name}")
        arms.append(Arm(name, Path(_need(arm, "mix", f"arms.{name}")), bool(arm.get("scratch", False))))
    trunk = None
    if asked.get("trunk"):
        _known(asked["trunk"], ("mix",), "trunk")
        trunk = Path(_need(asked["trunk"], "mix", "trunk"))
    device, dtype, compiled = _machine(asked)
    loaders = {arm.mix: Loader(arm.mix, 1) for arm in arms} | ({trunk: Loader(trunk, 1)} if trunk else {})
    data = _tokens(loaders)
    model = model_config(asked.get("model", {}), data["vocab_size"], data["sequence_length"])
    train = _train(asked["train"], asked.get("model", {}).get("size", "micro"), next(iter(loaders.values())).manifest)
    split_batch(train, model, device)
    job = Job(
        study=asked["study"], version=asked["version"], seed=int(asked["seed"]), model=model, train=train, trunk=trunk,
        arms=tuple(arms), questions=tuple(map(Path, asked.get("questions", []))),
        heldout={c: Path(p) for c, p in asked.get("heldout", {}).items()},
        heldout_rows=int(asked.get("heldout_rows", 64)),
        token_bytes=Path(asked["token_bytes"]) if asked.get("token_bytes") else None, out=Path(asked["out"]),
        device=device, dtype=dtype, compiled=compiled, threads=int(asked.get("threads", 1)), data=data,
    )  # fmt: skip
    for path in (*job.questions, *job.heldout.values(), *([job.token_bytes] if job.token_bytes else [])):
        if not path.exists():
            raise UserError(f"{path} is not there", where="questions, heldout or token_bytes")
    _seats(job, loaders)
    return job


def _known(asked: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(asked, dict):
        raise UserError(f"{where} must be an object", where=where)
    for key in asked:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UserError(
                f"{where} has an unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""),
                where=where,
                numbers=[f"keys: {', '.join(known)}"],
            )


def _need(asked: dict[str, Any], key: str, where: str) -> Any:
    if key not in asked:
        raise UserError(f"{where} lacks '{key}'", where=where)
    return asked[key]


def _machine(asked: dict[str, Any]) -> tuple[torch.device, torch.dtype, bool]:
    name, kind, compiled = asked.get("device", "auto"), asked.get("dtype", "auto"), asked.get("compile", "auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"there is no device '{name}'", where="device", numbers=["devices: auto, cpu, cuda"])
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no CUDA device here", where="device", do='"device": "cpu"')
    if kind == "auto":
        kind = "bfloat16" if name == "cuda" else "float32"
    if kind not in DTYPES:
        raise UserError(f"there is no dtype '{kind}'", where="dtype", numbers=[f"dtypes: auto, {', '.join(DTYPES)}"])
    return torch.device(name), DTYPES[kind], name == "cuda" if compiled == "auto" else bool(compiled)


def _train(asked: dict[str, Any], size: str, manifest: dict[str, Any]) -> TrainConfig:
    """Settings of the job over those of the size; batch is the mix's own where the job names none."""
    _known(asked, tuple(f.name for f in fields(TrainConfig)), "train")
    settings = {"batch": manifest["extra"].get("batch")} | SIZES[size][1] | asked
    if not settings.get("steps") or not settings["batch"]:
        raise UserError("train needs 'steps' (and 'batch', where the mix states none)", where="train.steps")
    for key in ("lr", "weight_decay", "clip"):
        if key in settings:
            settings[key] = float(settings[key])
    if "betas" in settings:
        settings["betas"] = (float(settings["betas"][0]), float(settings["betas"][1]))
    for key in ("decay_share", "branch_at"):
        if not 0 <= Decimal(str(settings.get(key, 0))) <= 1:
            raise UserError(f"{key} is a share from 0 to 1, not {settings[key]}", where=f"train.{key}")
        settings[key] = str(settings.get(key, 0))
    for key in ("steps", "batch", "log_every"):
        if int(settings.get(key, 1)) < 1:
            raise UserError(f"{key} must be at least 1, not {settings[key]}", where=f"train.{key}")
    return TrainConfig(**settings)


def _tokens(loaders: dict[Path, Loader]) -> dict[str, Any]:
    """What all mixes must agree on."""
    found: dict[str, Any] = {}
    for path, loader in loaders.items():
        extra = loader.manifest["extra"]
        here = {key: extra.get(key) for key in ("vocab_size", "eot", "tokenizer")}
        here["sequence_length"] = loader.sequence_length
        if here["vocab_size"] is None:
            raise UserError("the manifest of this mix does not state its vocab_size", where=str(path))
        if differing := [f"{key}: {found[key]} and {here[key]}" for key in found if found[key] != here[key]]:
            raise UserError("the mixes of this job are cut differently", where=str(path), numbers=differing)
        found = here
    return found


def _seats(job: Job, loaders: dict[Path, Loader]) -> None:
    """Every mix must hold the seats it is asked for, and a common prefix must be common."""
    steps, trunk_steps, batch = job.train.steps, job.train.trunk_steps, job.train.batch
    wanted = [(arm.mix, (steps - job.first_step(arm)) * batch) for arm in job.arms]
    if job.branching:
        wanted.append((job.trunk_mix, trunk_steps * batch))
    for path, seats in wanted:
        if loaders[path].seats < seats:
            raise UserError(
                f"this mix has {loaders[path].seats} sequences and the job reads {seats}",
                where=str(path),
                numbers=[f"steps {steps}, of the trunk {trunk_steps}, {batch} sequences each"],
                do=f"give its recipe {-(-seats // batch)} steps of {batch}, or the job fewer steps",
            )
    branching = [arm for arm in job.arms if not arm.scratch]
    if job.trunk or not job.branching or len(branching) < 2:
        return
    first = branching[0]
    mine = drawn(loaders[first.mix], trunk_steps * batch)
    for arm in branching[1:]:
        other = drawn(loaders[arm.mix], trunk_steps * batch)
        if not mine.equals(other):
            differing = [i for i in range(mine.num_rows) if mine.slice(i, 1) != other.slice(i, 1)]
            raise UserError(
                f"arms '{first.name}' and '{arm.name}' have no common prefix of {trunk_steps} steps for the trunk",
                where="train.branch_at",
                numbers=[
                    f"seat {differing[0]}: {mine.slice(differing[0], 1).to_pylist()[0]}",
                    f"{' ' * len(f'seat {differing[0]}')}  {other.slice(differing[0], 1).to_pylist()[0]}",
                    f"{len(differing)} of {mine.num_rows} seats differ",
                ],
                do='give all arms one first phase of that many steps, or "branch_at": 0',
            )


def drawn(loader: Loader, seats: int) -> pa.Table:
    """What the first `seats` seats of a mix were drawn from: pool, pool_row, epoch."""
    tables: list[pa.Table] = []
    for entry in sorted(f["path"] for f in loader.manifest["files"] if f["path"].endswith(".parquet")):
        file = TokenFile(loader.folder / entry)
        rows = np.arange(min(file.rows, seats - sum(t.num_rows for t in tables)))
        tables.append(pa.table({name: file.column(name, rows) for name in ("pool", "pool_row", "epoch")}))
    return pa.concat_tables(tables).combine_chunks()
