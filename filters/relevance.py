"""How likely is a text to be about what a classifier was trained for? One fastText model, trained by flows/classify.py.

The model sees `classifier_line` of the text and nothing else; training and scoring share it. Only the first CHARACTERS
count: a page that turns to the subject later is scored by its beginning.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.language import load_model
from filters.scoring import score_rows
from leaven.errors import UserError
from leaven.manifest import read_manifest

VERSION = "1"  # of classifier_line and the reading of the model's answer
CHARACTERS = 4000
TOKENS = re.compile(r"\w+|[^\w\s]")


def classifier_line(text: str) -> str:
    """What fastText reads of a text: lower case, words and marks parted by spaces, one line, without its own marks."""
    line = " ".join(TOKENS.findall(text[:CHARACTERS].lower()))
    return line.replace("__label__", "label").encode("utf-8", "replace").decode()


def positive(model: Any, texts: list[str]) -> np.ndarray:
    """Probability of the label 1 for each text; a text without words gets the model's answer to an empty line."""
    lines = [classifier_line(text) + "\n" for text in texts]
    labels, probabilities = model.f.multilinePredict(lines, 2, 0.0, "strict") if lines else ([], [])
    found = [dict(zip(names, values)).get("__label__1", 0.0) for names, values in zip(labels, probabilities)]
    return np.clip(np.array(found, np.float64), 0.0, 1.0)


class Relevance:
    """Scores `relevance` with the classifier in a folder classifiers/NAME@VERSION; raises UserError without one.

    `measure` is the classifier's name, so that several may score one corpus; the classifier `relevance` gives the
    measure `relevance`.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "manifest.json").is_file() or not (self.folder / "model.bin").is_file():
            raise UserError(f"there is no classifier in {self.folder}", do="leaven classify train LABELS --name NAME")
        self.manifest = read_manifest(self.folder)
        self.name, self.version = self.manifest.name, f"{VERSION}-{self.manifest.version}"
        self.measures = (self.name,)
        self.about = {
            self.name: f"Probability that the text is what the classifier {self.manifest.ref} was trained for."
        }

    def inputs(self) -> list[dict]:
        return [self.manifest.as_input()]

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_model"}

    @property
    def card(self) -> dict:
        return json.loads((self.folder / "card.json").read_text("utf-8"))

    @cached_property
    def _model(self) -> Any:
        return load_model(self.folder / "model.bin")

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return score_rows(self, batch, {self.name: (positive(self._model, batch.column("text").to_pylist()), None)})
