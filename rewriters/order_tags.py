"""Which tokens of a page are an order to a machine? MiniLM with adapters that learnt to mark them.

    text --windows of WINDOW tokens, STEP apart--> 6 layers --> log odds of each token (mean of its windows)
         --tokens of a piece--> mean and largest log odds of the piece

The adapters (rewriters/adapters.py) and the last row are in order_tags.safetensors. bench/order_tags.py trains them on
planted orders, of which every letter is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewriters.adapters import Adapted

WEIGHTS = Path(__file__).with_name("order_tags.safetensors")
WINDOW, STEP = 256, 192  # tokens
NONE = -10.0  # log odds where no token is
Span = tuple[int, int]
Marks = tuple[np.ndarray, np.ndarray]  # spans of tokens (T, 2), log odds (T)
Marker = Callable[[str], Marks]


class OrderTags(Adapted):
    """Log odds of tokens; the model is loaded at first use, and what it says of a text depends on that text alone."""

    weights = WEIGHTS

    def marks(self, text: str) -> Marks:
        """Spans of a text's tokens (T, 2), in characters, and their log odds (T)."""
        import torch

        tokenizer, model, learnt = self._model
        ids, spans_T2 = tokens(tokenizer, text)
        odds_T, seen_T = np.zeros(len(ids)), np.zeros(len(ids))
        for at in range(0, max(len(ids) - (WINDOW - STEP), 1), STEP):
            own = ids[at : at + WINDOW]
            if not own:
                break
            with torch.inference_mode():
                asked = torch.tensor([[tokenizer.cls_token_id, *own, tokenizer.sep_token_id]])
                states_TD = model(input_ids=asked).last_hidden_state[0, 1:-1]
                odds_T[at : at + WINDOW] += (states_TD @ learnt["weight"] + learnt["bias"]).numpy()
            seen_T[at : at + WINDOW] += 1
        return spans_T2, odds_T / np.maximum(seen_T, 1)


def of_spans(marks: Marks, spans: Sequence[Span]) -> np.ndarray:
    """Mean and largest log odds of the tokens within each span of a text (N, 2)."""
    at_T2, odds_T = marks
    rows = np.full((len(spans), 2), NONE)
    for i, (a, b) in enumerate(spans):
        own = odds_T[(at_T2[:, 0] >= a) & (at_T2[:, 1] <= b)]
        if len(own):
            rows[i] = own.mean(), own.max()
    return rows


def tokens(tokenizer: Any, text: str) -> tuple[list[int], np.ndarray]:
    """Token ids of a text, without the special ones, and their spans in characters (T, 2)."""
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return told["input_ids"], np.array(told["offset_mapping"], int).reshape(-1, 2)
