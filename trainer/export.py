"""A checkpoint in the form that the rest of the world loads: LlamaForCausalLM, or Qwen3ForCausalLM with QK-norm.

    python -m trainer.export CHECKPOINT OUT [--tokenizer tokenizer.json]

CHECKPOINT is a folder step-NNNNNNN, or one that holds some (the newest is taken). Weights are float32 safetensors.
Fused matrices are cut up, and norms, which have no learned scale here, get a scale of one. Both `rope_theta` and
`rope_parameters` are written, because a version of transformers that misses its own silently takes 10,000. The
end-of-text token is bos, eos and pad. Needs torch and safetensors alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from leaven.errors import UserError
from trainer import checkpoint
from trainer.model import Block, Model, ModelConfig


def export(source: Path, out: Path, tokenizer: Path | None = None) -> Path:
    """Write the folder `out`, whole or not at all; raises UserError where `source` is no checkpoint or `out` exists."""
    found = checkpoint.newest(source) or checkpoint.read(source)
    if out.exists():
        raise UserError("this folder exists", where=str(out), do=f"rm -r {out}")
    config = ModelConfig(**found.state["model"])
    model = Model(config)
    checkpoint.load_weights(found, model)
    partial = out.parent / f".partial-{out.name}-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(state_dict(model), partial / "model.safetensors", metadata={"format": "pt"})
    data = found.state["data"]
    _write(partial / "config.json", hf_config(config, data.get("eot")))
    special = {f"{name}_token_id": data.get("eot") for name in ("bos", "eos", "pad")}
    _write(partial / "generation_config.json", special | {"do_sample": False})
    if tokenizer:
        shutil.copyfile(tokenizer, partial / "tokenizer.json")
        _write(partial / "tokenizer_config.json", tokenizer_config(tokenizer, data.get("eot"), config.sequence_length))
    partial.rename(out)
    return out


def state_dict(model: Model) -> dict[str, Tensor]:
    """The weights under the names and in the shapes of Llama or Qwen3."""
    c = model.config
    one = torch.ones
    found: dict[str, Tensor] = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": one(c.width)}
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        at = f"model.layers.{number}"
        heads, groups = c.heads * c.head_width, c.kv_heads * c.head_width
        parts = block.qkv.weight.split([heads, groups, groups])
        gate, up = block.gate_up.weight.split([c.hidden, c.hidden])
        found |= {f"{at}.self_attn.{n}_proj.weight": w for n, w in zip("qkv", parts, strict=True)}
        found |= {
            f"{at}.self_attn.o_proj.weight": block.out.weight,
            f"{at}.mlp.gate_proj.weight": gate,
            f"{at}.mlp.up_proj.weight": up,
            f"{at}.mlp.down_proj.weight": block.down.weight,
            f"{at}.input_layernorm.weight": one(c.width),
            f"{at}.post_attention_layernorm.weight": one(c.width),
        }
        if c.qk_norm:
            found |= {f"{at}.self_attn.{n}_norm.weight": one(c.head_width) for n in "qk"}
    if model.head is not None:
        found["lm_head.weight"] = model.head.weight
    return {name: weight.detach().clone().contiguous() for name, weight in found.items()}


def hf_config(c: ModelConfig, eot: int | None) -> dict[str, Any]:
    kind = ("Qwen3ForCausalLM", "qwen3") if c.qk_norm else ("LlamaForCausalLM", "llama")
    return {
        "architectures": [kind[0]],
        "model_type": kind[1],
        "vocab_size": c.vocab_size,
        "hidden_size": c.width,
        "intermediate_size": c.hidden,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": c.sequence_length,
        "rms_norm_eps": c.norm_eps,
        "rope_theta": c.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
        "tie_word_embeddings": c.tie_embeddings,
        "attention_bias": False,
        "mlp_bias": False,
        "use_cache": True,
        "dtype": "float32",
        "torch_dtype": "float32",
        "bos_token_id": eot,
        "eos_token_id": eot,
        "pad_token_id": eot,
    }


def tokenizer_config(tokenizer: Path, eot: int | None, length: int) -> dict[str, Any]:
    """What PreTrainedTokenizerFast needs beside tokenizer.json: its end-of-text token by name."""
    known = json.loads(tokenizer.read_text("utf-8"))
    names = {t["id"]: t["content"] for t in known.get("added_tokens", [])}
    names |= {i: t for t, i in known.get("model", {}).get("vocab", {}).items()} if eot not in names else {}
    name = names.get(eot)
    special = {f"{n}_token": name for n in ("bos", "eos", "pad")} if name else {}
    return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length} | special


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.export", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    asked = parser.parse_args(arguments)
    try:
        export(asked.checkpoint, asked.out, asked.tokenizer)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
