"""Does a rewrite mean what its source means? Cosines of embeddings: of the whole, and of each sentence with its best.

    source, rewrite --embed--> whole_S . whole_R                                    meaning
    sentences_S, sentences_R --cosines--> lowest of the best of each source sentence     something left out
                                          lowest of the best of each rewrite sentence    something put in

A sentence may have become two, or two one, so it is compared with neighbouring pairs as well; the vector of a pair is
the normalised sum of its two. S and R count the sentences of source and rewrite.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from rewriters.checks import Side

Embed = Callable[[list[str]], np.ndarray]  # unit vectors, a row a text
SHORTEST = 4  # words of a sentence that is looked for; fewer say too little
LONGEST = 1 << 12  # characters of a sentence that are embedded


class Vectors:
    """Vectors of texts, each embedded once: `need` says which will be asked for, `of` gives them.

    Texts are embedded together and in order of length, so that a batching model wastes little; every vector depends on
    its own text alone where the model's does.
    """

    def __init__(self, embed: Embed):
        self.embed = embed
        self._known: dict[str, np.ndarray] = {}

    def need(self, texts: Sequence[str]) -> None:
        new = sorted({t for t in texts if t not in self._known}, key=lambda t: (len(t), t))
        if new:
            self._known.update(zip(new, np.asarray(self.embed(new), np.float32)))

    def of(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._known[t] for t in texts])


def wanted(text: Side) -> list[str]:
    """What of a text is embedded: the whole and its sentences."""
    return [text.text, *pieces(text)]


def pieces(text: Side) -> list[str]:
    return [piece[:LONGEST] for piece in text.pieces]


def alike(source: Side, rewrite: Side, vectors: Vectors) -> np.ndarray:
    """Cosines of sentences (S, R)."""
    return vectors.of(pieces(source)) @ vectors.of(pieces(rewrite)).T


def whole(source: Side, rewrite: Side, vectors: Vectors) -> float:
    """Cosine of the two texts."""
    a, b = vectors.of([source.text, rewrite.text])
    return float(a @ b)


def with_pairs(vectors_SE: np.ndarray) -> np.ndarray:
    """Vectors of sentences, and of each with the next."""
    pairs = [a + b for a, b in itertools.pairwise(vectors_SE)]
    return np.stack([*vectors_SE, *(p / max(float(np.linalg.norm(p)), 1e-9) for p in pairs)])


def least(text: Side, other: Side, vectors: Vectors) -> tuple[float, str]:
    """(lowest of the sentences' best cosines with the other text, that sentence); 1 where none is long enough."""
    counts = np.bincount(np.array(text.words.sentence, np.int64), minlength=len(text.sentences))
    rows = [i for i in range(len(text.sentences)) if counts[i] >= SHORTEST]
    if not rows or not other.sentences:
        return 1.0, ""
    told = pieces(text)
    own, others = vectors.of(told), with_pairs(vectors.of(pieces(other)))
    best = (own @ others.T).max(axis=1)
    if len(told) > 1:  # a sentence that went into another together with its neighbour
        joined = (with_pairs(own)[len(told) :] @ others.T).max(axis=1)
        for i in range(len(told)):
            beside = [float(joined[j]) for j in (i - 1, i) if 0 <= j < len(joined)]
            best[i] = max(best[i], min(beside) if len(beside) > 1 else 0.0)
    at = min(rows, key=lambda i: best[i])
    return float(best[at]), told[at]
