"""How is the pocket teacher rebuilt? MicroWorld pairs through curate, pool, mix, trainer and export, to one folder.

    python -m flows.teach OUT --home HOME

    pairs, drills -> documents -> two pools -> mix -> checkpoint -> Qwen3, float32 -> OUT: bfloat16, template, card

OUT must not exist; microworld/teacher/ is such a folder, with its recipes added. Run again after a stop, every step
takes up where it was; one thread on one machine gives the same weights again. docs/teacher.md says what is taught.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.home import Home

RECIPES = Path(__file__).resolve().parent.parent / "microworld" / "teacher" / "recipes"
NO_SCORERS: list[Any] = []  # nothing is decided about the texts: all of them are taught
PAIRS, HELDOUT, SEED = 64_000, 512, 0
SAMPLE = 64  # held-out pairs that the card counts apart, for whoever wants to count again soon

Say = Callable[[str], None]


def teach(out: Path, home: Home, say: Say, *, pairs: int = PAIRS, heldout: int = HELDOUT) -> dict[str, Any]:
    """Everything from the pairs to the folder `out`; returns its card. Raises UserError where `out` exists."""
    if out.exists():
        raise UserError("this folder exists", where=str(out), do=f"rm -r {out}")
    checkpoint = trained(home, say, pairs=pairs, heldout=heldout)
    finish(checkpoint, out)
    made = card(out, checkpoint, home, say, pairs=pairs, heldout=heldout)
    (out / "card.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    return made


def trained(home: Home, say: Say, *, pairs: int = PAIRS, heldout: int = HELDOUT) -> Path:
    """Train on the recipes of microworld/teacher/recipes; returns the run's folder, which holds its checkpoint."""
    from flows.curation import curate
    from microworld.teaching import HERE, write_pairs
    from mixes.build import build_mix
    from mixes.pools import build_pool
    from trainer.job import read_job
    from trainer.run import keep_memory, run_seed

    folder = home.path / "teaching"
    mark, wanted = folder / "made.json", {"pairs": pairs, "heldout": heldout, "seed": SEED}
    if not mark.is_file() or json.loads(mark.read_text("utf-8")) != wanted:
        write_pairs(folder, pairs, heldout, SEED)
        mark.write_text(json.dumps(wanted) + "\n", "utf-8")
    for path in RECIPES.iterdir():
        text = path.read_text("utf-8").replace('"teaching/', f'"{folder.absolute().as_posix()}/')
        (folder / path.name).write_text(text, "utf-8")
    (folder / "tokenizer.json").write_bytes((HERE / "tokenizer.json").read_bytes())
    curate(folder / "teaching.toml", home, scorers="flows.teach:NO_SCORERS", progress=say)
    for pool in ("pairs", "drills"):
        build_pool(folder / f"{pool}.toml", home, progress=say)
    mix = build_mix(folder / "mix.toml", home, progress=say)
    job = json.loads((folder / "train.json").read_text("utf-8"))
    job["arms"] = {"pairs": {"mix": str(home.path / "mixes" / mix.ref / f"seed-{mix.extra['seed']}")}}
    job["out"] = str(home.path / "studies" / f"{job['study']}@{job['version']}")
    (folder / "job.json").write_text(json.dumps(job, indent=1) + "\n", "utf-8")
    read = read_job(folder / "job.json")
    keep_memory()
    run_seed(read, lambda event: say(json.dumps(event)))
    return read.folder("pairs")


def finish(run: Path, out: Path) -> None:
    """Export a run's newest checkpoint to `out`: weights stored as bfloat16, the chat template in its place.

    config.json asks for float32, which bfloat16 numbers are without loss, so that every machine computes alike.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from microworld.scribe import lessons
    from microworld.teaching import HERE
    from trainer.export import export

    partial = out.parent / f".partial-{out.name}"
    shutil.rmtree(partial, ignore_errors=True)
    export(run / "checkpoint", partial, HERE / "tokenizer.json")
    weights = {name: weight.to(torch.bfloat16) for name, weight in load_file(partial / "model.safetensors").items()}
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    asked = json.loads((partial / "tokenizer_config.json").read_text("utf-8"))
    asked |= {"chat_template": lessons()["chat"]["template"], "padding_side": "left"}
    (partial / "tokenizer_config.json").write_text(json.dumps(asked, indent=1, sort_keys=True) + "\n", "utf-8")
    partial.rename(out)


def card(out: Path, run: Path, home: Home, say: Say, *, pairs: int = PAIRS, heldout: int = HELDOUT) -> dict[str, Any]:
    """What the folder `out` is: command, data, training, what it does with held-out pairs, versions."""
    from importlib.metadata import version

    from flows.taught import counted, held_out, rewritten
    from leaven.manifest import file_sha256

    found = json.loads((run / "run.json").read_text("utf-8"))
    asked = held_out(home.path / "teaching" / "heldout.jsonl")[:heldout]
    say(f"rewriting {len(asked):,} held-out pairs")
    answers = rewritten(out, asked)
    return {
        "about": "The pocket teacher: rewrites segments of MicroWorld pages in the styles of microworld/styles.",
        "command": "python -m flows.teach OUT --home HOME",
        "data": {"pairs": pairs, "drills": "one for 16 pairs", "seed": SEED, "heldout": len(asked),
                 "tokens_read": found["tokens"]},
        "training": {k: found[k] for k in ("parameters", "shape", "steps", "tokens", "loss", "tokens_per_second")},
        "heldout": {style: counted(asked, answers, style) for style in sorted({p.style for p in asked})},
        "sample": {"pairs": SAMPLE} | counted(asked[:SAMPLE], answers[:SAMPLE]),
        "weights": {"bytes": (out / "model.safetensors").stat().st_size, "stored": "bfloat16",
                    "sha256": file_sha256(out / "model.safetensors")},
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "safetensors")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.teach", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    args = parser.parse_args()
    made = teach(args.out, Home(args.home), lambda line: print(line, flush=True))
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
