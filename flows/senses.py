"""With what does the gate see? Embeddings, marks, places, language, stance, items, a judge: all as functions.

    filters/embedding.py, language.py, stance.py, contamination.py, judge.py --> Senses --> Gate(**senses.functions)

Each is optional. A sense that is left open is taken where its package is installed and else missing; the gate then does
not run the checks that need it and says so in its meaning. One that is asked for by name and not there is a UserError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filters.embedding import Embedder, available
from filters.judge import Rubric
from filters.language import CHARACTERS, LETTERS, lid_model, load_model, one_line
from filters.relevance import classifier_line, text_chunks
from filters.stance import Classes
from flows.entailing import entails
from leaven.errors import UserError
from leaven.generate import Store
from leaven.home import Home
from leaven.manifest import file_sha256, fingerprint, read_manifest
from rewriters.gate import Contaminated, Embed, Gate, Language, Stance
from rewriters.order_tags import OrderTags
from rewriters.place_model import PlaceModel

RUBRIC = Path(__file__).resolve().parents[1] / "rewriters" / "rubrics" / "entailment.toml"
SURE = 0.5  # probability from which a text has a stance at all; below, no change of it is spoken of


@dataclass
class Senses:
    """The functions that a Gate takes, what stands behind each, and what a manifest should list as inputs."""

    functions: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    inputs: list[dict] = field(default_factory=list)

    def add(self, name: str, function: Any, source: str, inputs: Sequence[dict] = ()) -> None:
        self.functions[name], self.sources[name] = function, source
        self.inputs += inputs

    def gate(self) -> Gate:
        return Gate(**self.functions, sources=self.sources)


def find_senses(
    home: Home,
    *,
    embedding: bool | None = None,
    language: bool | None = None,
    stance: str = "",
    benchmarks: str = "",
    judge: str | Path = "",
) -> Senses:
    """The senses that are asked for; `embedding` and `language` None: where their package is installed.

    `stance` is a classifier name@version that knows several classes, `benchmarks` an index of evaluation items, `judge`
    a rubric with the answer `follows`. Raises UserError for what is asked for and not there.
    """
    found = Senses()
    if embedding or (embedding is None and available()):
        embedder = Embedder()
        found.add("embed", embed(embedder), embedder.version)
        found.add("marks", OrderTags(embedder.folder).marks, f"{embedder.version}+orders-{OrderTags.version()}")
        found.add("places", PlaceModel(embedder.folder).affinities, f"{embedder.version}+places-{PlaceModel.version()}")
    if language or (language is None and _has_language()):
        path = lid_model()
        found.add("language", languages(path), path.name,
                  [{"kind": "model", "ref": path.name, "fingerprint": file_sha256(path)}])  # fmt: skip
    if stance:
        manifest = home.find("classifiers", stance)
        classes = manifest.meaning.get("classes") or {}
        if not classes:
            raise UserError(f"classifier {stance} knows yes and no, and a stance is one of several classes",
                            do="leaven classify train LABELS --class ...")  # fmt: skip
        found.add("stance", stances(Classes(manifest.folder, tuple(classes))), manifest.ref, [manifest.as_input()])
    if benchmarks:
        folder = home.folder("benchmarks", benchmarks)
        function = contaminated(folder)
        manifest = read_manifest(folder)
        found.add("contamination", function, manifest.ref, [manifest.as_input()])
    if judge:
        rubric = Rubric(judge)
        judged = entails(rubric, Store(home.path / "completions" / "answers.sqlite"))
        source = fingerprint([rubric.hash, rubric.model.name, rubric.model.revision])
        found.add("entails", judged, source,
                  [{"kind": "rubric", "ref": rubric.path.name, "fingerprint": rubric.hash}])  # fmt: skip
    return found


def embed(embedder: Embedder) -> Embed:
    """Unit vectors of texts."""
    return lambda texts: embedder.embed(texts)[0]


def _has_language() -> bool:
    try:
        return lid_model().is_file()
    except UserError:
        return False


def languages(path: Path) -> Language:
    """(likeliest language, its probability) of each text; (None, 0) for a text without letters."""
    loaded: list[Any] = []

    def asked(texts: list[str]) -> list[tuple[str | None, float]]:
        if not loaded:
            loaded.append(load_model(path))
        lines = [one_line(text, CHARACTERS) for text in texts]
        labels, chances = loaded[0].f.multilinePredict([line + "\n" for line in lines], 1, 0.0, "strict")
        return [
            (label[0].removeprefix("__label__"), min(float(p[0]), 1.0))
            if label and LETTERS.search(line)
            else (None, 0.0)
            for line, label, p in zip(lines, labels, chances)
        ]

    return asked


def stances(classes: Classes) -> Stance:
    """The likeliest class of each text over its equal chunks, or None where none reaches SURE."""

    def asked(texts: list[str]) -> list[str | None]:
        labels: list[str | None] = []
        for text in texts:
            chances = classes.probabilities([classifier_line(chunk) for chunk in text_chunks(text)]).mean(axis=0)
            best = int(np.argmax(chances))
            labels.append(classes.classes[best] if chances[best] >= SURE else None)
        return labels

    return asked


def contaminated(folder: Path) -> Contaminated:
    """How many evaluation items of an index stand in each text, by its two rules of overlap."""
    from filters.contamination import Contamination

    scorer = Contamination(folder, embedding=False)

    def asked(texts: list[str]) -> list[int]:
        found, _, _ = scorer.find(texts)
        return [len(set(found.item[found.text == i].tolist())) for i in range(len(texts))]

    return asked
