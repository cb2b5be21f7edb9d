"""The decoder: RMSNorm, rotary positions, SwiGLU; grouped queries, QK-norm and tied embeddings at choice.

    tokens -> embedding -> [x + attention(norm(x)); x + swiglu(norm(x))] * layers -> norm -> logits

What differs from the textbook, and why. Norms carry no learned scale (as in nanochat and modded-nanogpt); the export
writes ones. A Linear casts its weight to the dtype of
its input instead of running under autocast, which is faster and says what happens. Output projections start at zero,
so every block starts as the identity. Weights are float32 always; `dtype` is what the layers compute in.

Not covered: biases, dropout, mixture of experts, sliding windows, value embeddings (none has a stock export).

Shapes: B rows, T tokens, D width, H query heads, G key-value heads, C width of a head, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leaven.errors import UserError
from trainer.attention import Pieces, attend


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a model. `heads` * `head_width` need not be `width`; `kv_heads` divides `heads`."""

    vocab_size: int = 0
    sequence_length: int = 0  # longest row it is built for, tokens
    layers: int = 3
    width: int = 96
    heads: int = 3
    kv_heads: int = 3
    head_width: int = 32
    hidden: int = 256  # of SwiGLU
    rope_theta: float = 10000.0
    qk_norm: bool = False
    tie_embeddings: bool = True
    norm_eps: float = 1e-6

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def matrix_parameters(self) -> int:
        """Parameters that multiply each token once: the layers' matrices and the output head."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.hidden) + self.vocab_size * self.width

    @property
    def parameters(self) -> int:
        return self.matrix_parameters + (0 if self.tie_embeddings else self.vocab_size * self.width)

    def flops_per_token(self, length: int | None = None) -> float:
        """Floating-point operations of one token, forward and backward (PaLM, appendix B), attention counted causal.

        6 per matrix parameter and 6 * layers * heads * head_width * length for attention over `length` tokens.
        """
        length = self.sequence_length if length is None else length
        return 6.0 * self.matrix_parameters + 6.0 * self.layers * self.heads * self.head_width * length


# Sizes by name: the shape, then training settings that a job may leave out. Weights without embeddings: micro 0.33M,
# S 11M, M 85M, L 283M. `micro` was chosen on MicroWorld, 1M tokens at one CPU thread: 2 layers of 128 against 3 of 96
# came to 0.689 against 0.713 nats a held-out token (3 seeds); their speeds were not
# settled on a busy machine. Rates of 0.008 and 0.004 came to 0.722 and 0.710.
# The others have the usual rates of AdamW for their width and wait for a GPU.
SIZES: dict[str, tuple[ModelConfig, dict[str, Any]]] = {
    "nano": (
        ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_width=32, hidden=160),
        {"lr": 5e-3, "warmup": 20, "decay_share": 0.3, "weight_decay": 0.05},
    ),
    "micro": (
        ModelConfig(layers=2, width=128, heads=4, kv_heads=4, head_width=32, hidden=256),
        {"lr": 4e-3, "warmup": 30, "decay_share": 0.3, "weight_decay": 0.05},
    ),
    "S": (  # 17M with a vocabulary of 16k
        ModelConfig(layers=6, width=384, heads=6, kv_heads=6, head_width=64, hidden=1024, qk_norm=True),
        {"lr": 2e-3, "warmup": 200, "decay_share": 0.3, "weight_decay": 0.1},
    ),
    "M": (  # 124M with a vocabulary of 50k
        ModelConfig(layers=12, width=768, heads=12, kv_heads=12, head_width=64, hidden=2048, qk_norm=True),
        {"lr": 1e-3, "warmup": 500, "decay_share": 0.3, "weight_decay": 0.1},
    ),
    "L": (  # 334M with a vocabulary of 50k
        ModelConfig(layers=24, width=1024, heads=16, kv_heads=8, head_width=64, hidden=2816, qk_norm=True),
        {"lr": 7e-4, "warmup": 1000, "decay_share": 0.3, "weight_decay": 0.1},
    ),
}


def model_config(asked: dict[str, Any], vocab_size: int, sequence_length: int) -> ModelConfig:
    """The shape a job asks for: `size` and fields that differ from it. Raises UserError for a name it does not know."""
    asked = dict(asked)
    size = asked.pop("size", "micro")
    if size not in SIZES:
        raise UserError(f"there is no model size '{size}'", where="model.size", numbers=[f"sizes: {', '.join(SIZES)}"])
    known = {f.name for f in fields(ModelConfig)} - {"vocab_size", "sequence_length"}
    if unknown := sorted(set(asked) - known):
        raise UserError(
            f"a model has no field '{unknown[0]}'", where="model", numbers=[f"fields: {', '.join(sorted(known))}"]
        )
    asked |= {key: float(asked[key]) for key in ("rope_theta", "norm_eps") if key in asked}  # a job's are decimals
    config = replace(SIZES[size][0], **asked, vocab_size=vocab_size, sequence_length=sequence_length)
    if config.heads % config.kv_heads:
        raise UserError(f"{config.kv_heads} kv_heads do not divide {config.heads} heads", where="model.kv_heads")
    if config.head_width % 2:
        raise UserError(f"rotary positions need an even head_width, not {config.head_width}", where="model.head_width")
    return config


class Linear(nn.Linear):
    """A matrix without bias that computes in the dtype of its input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


def norm(x: Tensor, eps: float) -> Tensor:
    """x over its root mean square along the last axis."""
    return F.rms_norm(x, (x.shape[-1],), None, eps)


def rotary_tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """cos and sin, each (T, 1, C), of rotary positions in the half-split layout that transformers uses."""
    half = torch.arange(0, config.head_width, 2, dtype=torch.float64) / config.head_width
    angles_TC = torch.outer(torch.arange(config.sequence_length, dtype=torch.float64), config.rope_theta**-half)
    angles_T1C = torch.cat((angles_TC, angles_TC), 1)[:, None, :]
    return angles_T1C.cos().float(), angles_T1C.sin().float()


def rotate(x_BTHC: Tensor, cos_T1C: Tensor, sin_T1C: Tensor) -> Tensor:
    a, b = x_BTHC.chunk(2, -1)
    return x_BTHC * cos_T1C + torch.cat((-b, a), -1) * sin_T1C


class Block(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        heads_width = config.heads * config.head_width
        self.qkv = Linear(config.width, heads_width + 2 * config.kv_heads * config.head_width)
        self.out = Linear(heads_width, config.width)
        self.gate_up = Linear(config.width, 2 * config.hidden)
        self.down = Linear(config.hidden, config.width)

    def forward(self, x_BTD: Tensor, cos_T1C: Tensor, sin_T1C: Tensor, pieces: Pieces) -> Tensor:
        c = self.config
        heads = self.qkv(norm(x_BTD, c.norm_eps)).unflatten(-1, (c.heads + 2 * c.kv_heads, c.head_width))
        q_BTHC, k_BTGC, v_BTGC = heads.split([c.heads, c.kv_heads, c.kv_heads], 2)
        if c.qk_norm:
            q_BTHC, k_BTGC = norm(q_BTHC, c.norm_eps), norm(k_BTGC, c.norm_eps)
        q_BTHC, k_BTGC = rotate(q_BTHC, cos_T1C, sin_T1C), rotate(k_BTGC, cos_T1C, sin_T1C)
        x_BTD = x_BTD + self.out(attend(q_BTHC, k_BTGC, v_BTGC, pieces).flatten(2))
        gate, up = self.gate_up(norm(x_BTD, c.norm_eps)).chunk(2, -1)
        return x_BTD + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """A decoder with weights drawn from `seed` alone (on the CPU, so that every device starts from the same)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, seed: int = 0):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = None if config.tie_embeddings else Linear(config.width, config.vocab_size)
        for name, table in zip(("cos", "sin"), rotary_tables(config), strict=True):
            self.register_buffer(name, table, persistent=False)
        self.draw(seed)

    @torch.no_grad()
    def draw(self, seed: int) -> None:
        """Draw all weights: embedding and head at 0.02, inputs of blocks at 1/sqrt(fan-in), outputs of blocks zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                weight.zero_()
            else:
                std = 0.02 if name.startswith(("embedding", "head")) else 1 / math.sqrt(weight.shape[1])
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)

    def hidden(self, tokens_BT: Tensor, pieces: Pieces, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normed last hidden states (B, T, D) in `dtype`."""
        length = tokens_BT.shape[1]
        cos_T1C, sin_T1C = self.cos[:length].to(dtype), self.sin[:length].to(dtype)
        x_BTD = self.embedding(tokens_BT).to(dtype)
        for block in self.blocks:
            x_BTD = block(x_BTD, cos_T1C, sin_T1C, pieces)
        return norm(x_BTD, self.config.norm_eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 logits (..., V) of hidden states (..., D)."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(hidden, weight.to(hidden.dtype)).float()

    def forward(
        self, tokens_BT: Tensor, targets_BT: Tensor, pieces: Pieces, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Sum over loss-bearing tokens of -log p(target), nats; targets of -100 bear none."""
        logits_NV = self.logits(self.hidden(tokens_BT, pieces, dtype)).flatten(0, 1)
        return F.cross_entropy(logits_NV, targets_BT.flatten(), ignore_index=-100, reduction="sum")
