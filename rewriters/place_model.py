"""What does a model say of the places of two texts? MiniLM with adapters that learnt which place is which.

    [CLS] source, numbers hidden [SEP] rewrite, numbers hidden [SEP] --6 layers, both texts see each other--> vectors
    affinity of two hidden places = how well their vectors fit, each asked by the other

The adapters (rewriters/adapters.py) and the last projections are in place_weights.safetensors. bench/places.py trains
them on clean rewrites alone: what is hidden is known, so every clean rewrite says which place belongs to which, and an
exchange is the same text with two things turned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewriters.adapters import Adapted
from rewriters.places import Places

WEIGHTS = Path(__file__).with_name("place_weights.safetensors")
TOKENS = 200  # of each text; what stands after is not seen


class PlaceModel(Adapted):
    """Affinities of hidden places; the model is loaded at first use, and no answer depends on the other cases."""

    weights = WEIGHTS

    def affinities(self, asked: Sequence[Places]) -> list[np.ndarray]:
        """(hidden places of the source, of the rewrite), log scale; nan where a place is beyond TOKENS."""
        import torch

        tokenizer, model, learnt = self._model
        told = []
        for case in asked:
            ids, types, rows, columns = tokens(tokenizer, case)
            with torch.inference_mode():
                states_TD = model(
                    input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])
                ).last_hidden_state[0]
                asks_TE = states_TD @ learnt["asks.weight"].T + learnt["asks.bias"]
                answers_TE = states_TD @ learnt["answers.weight"].T + learnt["answers.bias"]
                affinity_TT = asks_TE @ answers_TE.T
                affinity_TT = (affinity_TT + affinity_TT.T) / (2 * math.sqrt(asks_TE.shape[1])) * learnt["scale"].exp()
            told.append(_cells(affinity_TT.numpy(), rows, columns))
        return told


def _cells(affinity_TT: np.ndarray, rows: list[int | None], columns: list[int | None]) -> np.ndarray:
    cells = np.full((len(rows), len(columns)), np.nan)
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            if a is not None and b is not None:
                cells[i, j] = affinity_TT[a, b]
    return cells


def tokens(tokenizer: Any, case: Places) -> tuple[list[int], list[int], list[int | None], list[int | None]]:
    """Token ids and types of both texts, [MASK] for each hidden span, and the token of each span (None: cut off)."""
    ids, types, spots = [tokenizer.cls_token_id], [0], []
    for of, text in enumerate((case.source, case.rewrite)):
        own: list[int] = []
        at, found = 0, list[int | None]()
        for (start, end), _ in case.hidden[of]:
            own += tokenizer(text[at:start], add_special_tokens=False, verbose=False)["input_ids"]
            found.append(len(ids) + len(own) if len(own) < TOKENS else None)
            own.append(tokenizer.mask_token_id)
            at = max(at, end)
        own += tokenizer(text[at:], add_special_tokens=False, verbose=False)["input_ids"]
        spots.append(found)
        own = [*own[:TOKENS], tokenizer.sep_token_id]
        ids += own
        types += [of] * len(own)
    return ids, types, spots[0], spots[1]
