"""How does a small model learn something more? MiniLM with a low-rank addition to each of its matrices.

    folder of the model + what was learnt (safetensors) --> tokenizer, model with the additions put in, other weights

Additions after Hu et al. 2021 (low-rank adaptation); order_tags.py and place_model.py say what they are for. The folder
is handed in (filters/embedding.py, which names the model). bench/adapting.py trains them.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

MATRICES = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            "intermediate.dense", "output.dense")  # fmt: skip


class Adapted:
    """A model of a folder with what was learnt; loaded at first use, by each process for itself."""

    weights: Path

    def __init__(self, folder: Path):
        self.folder = folder

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_model"}

    @classmethod
    def version(cls) -> str:
        """The first digits of the hash of what was learnt."""
        return hashlib.sha256(cls.weights.read_bytes()).hexdigest()[:12]

    @cached_property
    def _model(self) -> tuple[Any, Any, dict[str, Any]]:
        """Tokenizer, model, and what was learnt by name."""
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        torch.set_num_threads(1)
        logging.disable_progress_bar()
        learnt = {name: w.float() for name, w in load_file(self.weights).items()}
        model = AutoModel.from_pretrained(self.folder, local_files_only=True).eval()
        with torch.inference_mode(False), torch.no_grad():
            for at, layer in enumerate(model.encoder.layer):
                for name in MATRICES:
                    up_OR, down_RI = (learnt[f"{at}.{name}.{end}"] for end in ("up", "down"))
                    layer.get_submodule(name).weight += up_OR @ down_RI
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True), model, learnt
