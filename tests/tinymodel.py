"""A tiny random causal model in a folder, with MicroWorld's tokenizer: real code, real files, words without sense."""

from __future__ import annotations

import json
from pathlib import Path

TOKENIZER = Path(__file__).resolve().parents[1] / "microworld" / "tokenizer.json"
CHAT = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)


def tiny_model(
    folder: Path, kind: str = "llama", *, chat: bool = True, context: int = 256, seed: int = 0, habits: bool = True
) -> Path:
    """Write config, weights (fp32, a 64-wide `llama`, `qwen3` or `gpt2`), tokenizer and, with `chat`, a template.

    With `habits` its generation_config brings a temperature and a penalty, as those of real models do.
    """
    import torch
    from transformers import GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config
    from transformers.models.auto import AutoModelForCausalLM

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), eos_token="<|endoftext|>")
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    same = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0}
    wide = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": context, "initializer_range": 0.3}  # fmt: skip
    config = {
        "llama": lambda: LlamaConfig(**same, **wide),
        "qwen3": lambda: Qwen3Config(**same, **wide, head_dim=16),
        "gpt2": lambda: GPT2Config(**same, n_embd=64, n_layer=2, n_head=4, n_positions=context, initializer_range=0.3),
    }[kind]()
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    if habits:
        path = folder / "generation_config.json"
        brought = {"do_sample": True, "temperature": 0.3, "repetition_penalty": 1.7, "max_new_tokens": 3}
        path.write_text(json.dumps(json.loads(path.read_text()) | brought))
    return folder
