"""How many tokens a second does the trainer learn, and what part of the device is that, beside plain PyTorch?

    python -m bench.gpu [--sizes S,M,L] [--length 1024] [--tokens 131072] [--steps 20] [--write]
    OMP_NUM_THREADS=1 python -m bench.gpu --device cpu --sizes micro --length 128 --tokens 2048

Peer: nn.TransformerEncoderLayer of the same width, depth, heads and number of weights (its two-matrix feed-forward gets
1.5 times our hidden width), bf16 autocast, causal attention over whole rows, fused AdamW, compiled like ours. It does
less: no rotary positions, no document mask. Both learn from random tokens on the device, turn about. MFU counts 6 FLOPs
a matrix parameter and causal attention, over the maker's dense bf16 peak, and over what a large matrix product reaches
here. `--write` puts the result into bench/results/. Without CUDA it says so and ends with 2, unless `--device cpu`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leaven.loader import pieces
from trainer.loop import TrainConfig, Trainer, peak_flops, split_batch
from trainer.model import SIZES, Model, ModelConfig, model_config

VOCABULARY = {"nano": 1216, "micro": 1216, "S": 16016, "M": 50304, "L": 50304}
PIECE = 300  # tokens of a document, on average


class Peer(nn.Module):
    """A decoder from torch's own layers."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.tokens = nn.Embedding(c.vocab_size, c.width)
        self.positions = nn.Embedding(c.sequence_length, c.width)
        layer = nn.TransformerEncoderLayer(
            c.width, c.heads, 3 * c.hidden // 2, 0.0, "gelu", batch_first=True, norm_first=True, bias=False
        )
        self.layers = nn.TransformerEncoder(layer, c.layers, enable_nested_tensor=False)
        self.head = nn.Linear(c.width, c.vocab_size, bias=False)
        if c.tie_embeddings:
            self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        length = tokens_BT.shape[1]
        x_BTD = self.tokens(tokens_BT) + self.positions.weight[:length]
        mask_TT = nn.Transformer.generate_square_subsequent_mask(length, device=x_BTD.device, dtype=x_BTD.dtype)
        logits_BTV = self.head(self.layers(x_BTD, mask=mask_TT, is_causal=True))
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=-100)


def batches(config: ModelConfig, rows: int, count: int) -> list[dict[str, Any]]:
    """Random batches as the loader gives them."""
    rng = np.random.default_rng(0)
    length, found = config.sequence_length, []
    for _ in range(count):
        cuts = [np.flatnonzero(rng.random(length - 1) < 1 / PIECE) + 1 for _ in range(rows)]
        segments_BT, bears_BT = pieces([np.concatenate([[0], c]) for c in cuts], length)
        tokens_BT = rng.integers(config.vocab_size - 16, size=(rows, length), dtype=np.int32)
        found.append({"tokens_BT": tokens_BT, "segments_BT": segments_BT, "loss_mask_BT": bears_BT})
    return found


def ours(config: ModelConfig, rows: int, device: torch.device, data: list[dict]) -> tuple[Callable[[int], Tensor], int]:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = Model(config)
    settings = TrainConfig(steps=10**9, batch=rows, lr=1e-3)
    trainer = Trainer(model, settings, device, dtype, {}, compiled=device.type == "cuda")
    return lambda step: trainer.learn(data[step % len(data)])[0], sum(p.numel() for p in model.parameters())


def theirs(
    config: ModelConfig, rows: int, device: torch.device, data: list[dict]
) -> tuple[Callable[[int], Tensor], int]:
    model = Peer(config).to(device)
    count = sum(p.numel() for p in model.parameters())
    micro = TrainConfig(steps=1, batch=rows)
    size = split_batch(micro, config, device).micro_batch
    forward = torch.compile(model, dynamic=False) if device.type == "cuda" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(number: int) -> Tensor:
        tokens_BT = torch.from_numpy(data[number % len(data)]["tokens_BT"].astype(np.int64)).to(device)
        targets_BT = torch.cat((tokens_BT[:, 1:], torch.full_like(tokens_BT[:, :1], -100)), 1)
        total = torch.zeros((), device=device)
        for at in range(0, rows, size):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = forward(tokens_BT[at : at + size], targets_BT[at : at + size]) * (size / rows)
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total

    return step, count


def measure(step: Callable[[int], Tensor], steps: int, device: torch.device) -> float:
    """Seconds a step, after what compiling takes."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for number in range(3):
        step(number)
    wait()
    started = time.perf_counter()
    for number in range(steps):
        step(number)
    wait()
    return (time.perf_counter() - started) / steps


def matrix_rate(device: torch.device) -> float:
    """FLOP/s of a large matrix product in the dtype that training uses."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / measure(lambda _: a @ b, 20, device)


def run(size: str, length: int, tokens: int, steps: int, device: torch.device, reached: float) -> list[dict[str, Any]]:
    config = model_config({"size": size}, VOCABULARY[size], length)
    rows = max(1, tokens // length)
    data = batches(config, rows, 4)
    found = []
    for name, make in (("leaven", ours), ("torch layers", theirs)):
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        step, count = make(config, rows, device, data)
        speed = rows * length / measure(step, steps, device)
        flops, peak = speed * config.flops_per_token(), peak_flops(device)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
        found.append({
            "size": size, "trainer": name, "parameters": count, "length": length, "tokens_a_step": rows * length,
            "tokens_per_second": round(speed), "tflops": round(flops / 1e12, 4), "mfu": peak and round(flops / peak, 3),
            "share_of_matrix_product": round(flops / reached, 3), "memory_gib": memory and round(memory, 2),
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
        del step
        torch.compiler.reset()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="S,M,L", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=131072, help="of one optimizer step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("this bench needs a CUDA device, and torch sees none", file=sys.stderr)
        print("  next  python -m bench.gpu --device cpu --sizes micro --length 128 --tokens 2048", file=sys.stderr)
        return 2
    device = torch.device(asked.device)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    reached = matrix_rate(device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    head = {"device": name, "torch": torch.__version__, "matrix_product_tflops": round(reached / 1e12, 3)}
    print(json.dumps(head), flush=True)
    rows = [r for s in asked.sizes.split(",") for r in run(s, asked.length, asked.tokens, asked.steps, device, reached)]
    if asked.write:
        path = Path(__file__).parent / "results" / f"trainer-{device.type}.json"
        path.write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
