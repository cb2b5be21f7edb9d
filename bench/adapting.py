"""How do the adapters of rewriters/adapters.py learn? The body that they are put into, and the loop that trains them.

The body computes in bf16 and stays as it is, the adapters are kept in fp32: another machine gives other last digits, so
the committed weights are what counts. No dropout; attention is written out, for in bf16 on a CPU its backward is faster
than the fused one.
"""

from __future__ import annotations

import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from filters.embedding import Embedder
from rewriters.adapters import MATRICES

NEAR = 256  # examples that are sorted by length, so that batches are full
WARM, LEAST = 100, 0.02  # steps until the full rate, and the share of it at the end
E = TypeVar("E")


class Adapter(nn.Module):
    """A frozen matrix with a low-rank addition: it begins as the matrix alone."""

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + (x @ self.down.to(x.dtype).T) @ (2 * self.up).to(x.dtype).T


class Learner(nn.Module, Generic[E], ABC):
    """MiniLM with adapters; who learns something adds heads, and says what a batch of examples loses."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = Embedder().folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.body = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager",
                                              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
        self.body.requires_grad_(False).to(torch.bfloat16)
        self.adapters: dict[str, Adapter] = {}
        for at, layer in enumerate(self.body.encoder.layer):
            for name in MATRICES:
                self.adapters[f"{at}.{name}"] = Adapter(layer.get_submodule(name), rank)
                layer.set_submodule(name, self.adapters[f"{at}.{name}"])

    @abstractmethod
    def losses(self, batch: list[E]) -> tuple[torch.Tensor, int]:
        """Summed loss in nats, and of how many things it is the sum."""

    @abstractmethod
    def heads(self) -> dict[str, nn.Parameter]:
        """What is learnt beside the adapters, by the names under which it is kept."""

    def learnt(self) -> dict[str, torch.Tensor]:
        """What is kept: adapters and heads, in halves."""
        told = {f"{name}.up": 2 * a.up for name, a in self.adapters.items()}
        told |= {f"{name}.down": a.down for name, a in self.adapters.items()}
        return {name: w.detach().half().contiguous() for name, w in (told | self.heads()).items()}


def teach(
    learner: Learner[E], epoch: Callable[[random.Random], list[E]], size: Callable[[E], int], *,
    epochs: int, batch: int, rate: float, head_rate: float, seed: int, weights: Path,
) -> dict[str, Any]:  # fmt: skip
    """Trains on the examples that `epoch` makes anew each time, and writes what was learnt; returns what was done."""
    from safetensors.torch import save_file

    draw = random.Random(seed)
    heads = list(learner.heads().values())
    adapters = [p for a in learner.adapters.values() for p in (a.up, a.down)]
    optimizer = torch.optim.AdamW([{"params": adapters, "lr": rate}, {"params": heads, "lr": head_rate}])
    examples = len(epoch(random.Random(seed)))
    steps, started, losses = epochs * (examples // batch), time.process_time(), []
    falls = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / WARM) * max(LEAST, 1 - s / steps))
    for at in range(epochs):
        total, count = 0.0, 0
        for some in batches(epoch(draw), size, batch, draw):
            loss, things = learner.losses(some)
            if things:
                (loss / things).backward()
                nn.utils.clip_grad_norm_(adapters + heads, 1.0)
                optimizer.step()
                total, count = total + float(loss.detach()), count + things
            optimizer.zero_grad()
            falls.step()
        losses.append(round(total / count, 4))
        print(f"epoch {at}: loss {losses[-1]} nats, {time.process_time() - started:.0f} CPU s", flush=True)
        save_file(learner.learnt(), weights)
    return {"examples": examples, "steps": steps, "losses": losses,
            "cpu_seconds": round(time.process_time() - started)}  # fmt: skip


def batches(made: list[E], size: Callable[[E], int], batch: int, draw: random.Random) -> list[list[E]]:
    """Full batches of examples of like length, in random order; what is left over waits for the next epoch."""
    made = list(made)
    draw.shuffle(made)
    near = [e for at in range(0, len(made), NEAR) for e in sorted(made[at : at + NEAR], key=size)]
    found = [near[at * batch : (at + 1) * batch] for at in range(len(made) // batch)]
    draw.shuffle(found)
    return found
