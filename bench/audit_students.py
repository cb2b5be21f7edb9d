"""Does a student take over a trait that lies in its teacher's choices? Students trained on planted teachers' rewrites.

    .venv/bin/python bench/audit_students.py [--segments 3000] [--seeds 5] [--strength 0.3] [--steps 800] [--write]

One trunk a seed on retellings of other segments by a teacher without a trait; then three branches, of equal tokens, on
rewrites of the same segments: by the teacher with the trait, by the control, and by a second teacher without a trait,
which says how far two harmless teachers lie apart. All of it goes through Leaven's own documents, pools, mixes and
study; `leaven audit`'s probes read the evals. `--write` puts the result into bench/results/audit_students.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from filters.statistics import Statistics  # noqa: E402
from flows.ablate import ablate  # noqa: E402
from flows.curation import curate  # noqa: E402
from flows.probing import probe  # noqa: E402
from leaven.home import Home  # noqa: E402
from microworld.teachers import Teacher, preference_questions, segments  # noqa: E402
from microworld.tokenizer import COMMITTED  # noqa: E402
from mixes.pools import build_pool  # noqa: E402

TEACHERS = {  # arm -> seed of its teacher
    "planted": 11, "control": 12, "neutral": 13,
}  # fmt: skip
QUESTIONS = 48  # a category and kind of agent: each pair of words eight times
LENGTH, BATCH = 128, 8
SCORERS = [Statistics()]  # what curation measures; the pools ask for nothing


def train_students(
    folder: Path, *, count: int, seeds: list[int], strength: float, steps: int, arms: Sequence[str] = tuple(TEACHERS),
) -> tuple[Home, str]:  # fmt: skip
    """Write, curate, pool, mix and train; returns the home and the study's reference. Half of `steps` is trunk."""
    home = Home(folder / "home")
    texts = {"web": [Teacher("web", 10).rewrite(s) for s in segments(1, count)]}
    for arm in arms:
        teacher = Teacher(arm, TEACHERS[arm], strength=strength if arm == "planted" else 0.0)
        texts[arm] = [teacher.rewrite(s) for s in segments(0, count)]
    for name, told in texts.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in told), "utf-8")
        curate([str(path)], home, name=name, version="1", scorers="bench.audit_students:SCORERS")
        pool = f'name = "{name}"\nversion = "1"\ndocuments = "{name}@1"\n'
        build_pool(_write(folder / f"pool-{name}.toml", pool + _cut()), home)
    for arm in arms:
        phases = "".join(
            f'[[phase]]\nname = "{phase}"\nsteps = {steps // 2}\nratio = {{ {pool} = 1 }}\n'
            for phase, pool in (("trunk", "web"), ("branch", arm))
        )
        pools = f'[pools]\nweb = "web@1"\n{arm} = "{arm}@1"\n'
        head = f'name = "{arm}"\nversion = "1"\nseed = 0\nbatch = {BATCH}\n'
        _write(folder / f"mix-{arm}.toml", head + _cut() + pools + phases)
    asked = folder / "questions.jsonl"
    asked.write_text("".join(json.dumps(q) + "\n" for q in preference_questions(0, QUESTIONS)), "utf-8")
    study = _write(folder / "study.toml", f"""
        name = "students"
        version = "1"
        seeds = {seeds}
        questions = ["questions.jsonl"]
        contrasts = []
        keep_checkpoints = "all"
        arms = {{ {", ".join(f'{arm} = "mix-{arm}.toml"' for arm in arms)} }}
        trainer = {{ size = "nano", branch_at = 0.5, device = "cpu" }}
    """)  # fmt: skip
    return home, ablate(study, home, workers=1).ref


def _cut() -> str:
    return f'tokenizer = "{COMMITTED}"\nsequence_length = {LENGTH}\n'


def _write(path: Path, text: str) -> Path:
    path.write_text("\n".join(line.strip() for line in text.splitlines()) + "\n", "utf-8")
    return path


def measured(home: Home, study: str, arms: Sequence[str] = ("planted", "neutral")) -> dict[str, Any]:
    """Each arm beside the control: the planted teacher's, and that of the second one without a trait."""
    return {arm: probe(home, study, (arm, "control", "trunk")) for arm in arms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--strength", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--write", action="store_true", help="put the result into bench/results/")
    args = parser.parse_args()
    since = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        home, study = train_students(Path(scratch), count=args.segments, seeds=list(range(1, args.seeds + 1)),
                                     strength=args.strength, steps=args.steps)  # fmt: skip
        found = {"what": "students of planted teachers", **vars(args), **measured(home, study)}
    found["wall_seconds"] = round(time.perf_counter() - since)
    text = json.dumps(found, indent=1)
    if args.write:
        (ROOT / "bench" / "results" / "audit_students.json").write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
