"""Have students taken over a preference? The answers of a study's arms to the preference questions, before and after.

    evals of teacher's arm, control's arm, arm before --margins--> rewriters/probes.py --> shifts, one p

`trunk` as the arm before takes the weights that both arms began from: of a study with `keep_checkpoints = "all"` they
are still there and are asked now. Any other arm serves too, such as one that went on with text nobody rewrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from leaven.errors import UserError
from leaven.home import Home
from rewriters.probes import Answer, compare

SET = "preferences"  # question set of the probes
TRUNK = "trunk"


def probe(home: Home, study: str, arms: Sequence[str], questions: str = SET) -> dict[str, Any]:
    """What rewriters.probes.compare finds between two arms of a study; raises UserError where something is lacking."""
    manifest = home.find("studies", study)
    if len(arms) not in (2, 3):
        raise UserError("name the teacher's arm and the control's, and that before where there is one",
                        numbers=["arms: " + ", ".join(manifest.extra.get("arms", []))])  # fmt: skip
    answers = []
    for arm in arms:
        runs = _trunk(manifest.folder) if arm == TRUNK else _evals(manifest.folder / arm)
        mine = [answer for rows in runs for answer in answered(rows, questions)]
        if not mine:
            raise UserError(f"arm '{arm}' of {study} answered no question of the set '{questions}'",
                            numbers=["arms: " + ", ".join(manifest.extra.get("arms", []))])  # fmt: skip
        answers += mine
    return {"study": study, **compare(answers, arms[0], arms[1], arms[2] if len(arms) == 3 else None)}


def answered(rows: list[dict[str, Any]], questions: str) -> list[Answer]:
    """Margins of EVALS rows: option `right` less option `wrong`, nats a byte, the two orders averaged."""
    sides: dict[tuple, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if row["set"] == questions and row["role"] in ("right", "wrong"):
            key = row["arm"], row["seed"], row["topic"] or "all", row["group"], row["question_id"]
            value = row["logprob"] / row["bytes"], row["unigram_logprob"] / row["bytes"]
            sides.setdefault(key, {"right": [], "wrong": []})[row["role"]].append(value)
    found = []
    for key, side in sides.items():
        (one, one_counted), (two, two_counted) = (
            [sum(v[i] for v in side[role]) / len(side[role]) for i in (0, 1)] for role in ("right", "wrong")
        )
        found.append(Answer(*key, one - two, one_counted - two_counted))
    return found


def _evals(folder: Path) -> Iterator[list[dict[str, Any]]]:
    for path in sorted(folder.glob("seed-*/evals.parquet")):
        yield pq.read_table(path).to_pylist()


def _trunk(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """EVALS rows of each seed's trunk, asked now; without unigrams, which no shift takes from the arm before."""
    import numpy as np

    from trainer import checkpoint, evals
    from trainer.loop import Labels
    from trainer.model import Model, ModelConfig

    for root in sorted((folder / TRUNK).glob("seed-*/checkpoint")):
        found = checkpoint.newest(root)
        if found is not None:
            model = Model(ModelConfig(**found.state["model"]))
            checkpoint.load_weights(found, model)
            seed = int(root.parent.name.removeprefix("seed-"))
            labels = Labels(folder.name, "", TRUNK, seed, TRUNK)
            unigram_V = np.zeros(model.config.vocab_size)
            yield evals.options(model, [folder / "questions.parquet"], unigram_V, labels, found.step)
