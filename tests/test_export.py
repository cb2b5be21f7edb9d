"""Export: transformers loads what we trained and says the same, to 1e-4 in float32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from leaven.errors import UserError
from trainer import checkpoint
from trainer.attention import Pieces
from trainer.export import export, main
from trainer.model import Model, ModelConfig

torch.set_num_threads(1)
transformers = pytest.importorskip("transformers")


def saved(folder: Path, **changes: object) -> tuple[Model, Path]:
    shape = {"layers": 3, "width": 48, "heads": 4, "kv_heads": 2, "head_width": 16, "hidden": 80, "rope_theta": 500.0}
    model = Model(ModelConfig(vocab_size=200, sequence_length=64, **(shape | changes)), 0)  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    optimizer = torch.optim.AdamW(model.parameters())
    data = {"eot": 183, "vocab_size": 200, "tokenizer": "none", "sequence_length": 64}
    return model, checkpoint.save(folder, model, optimizer, {"step": 5, "model": model.config.to_dict(), "data": data})


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize(("qk_norm", "kind"), [(False, "LlamaForCausalLM"), (True, "Qwen3ForCausalLM")])
def test_transformers_loads_it_with_the_same_logits(tmp_path: Path, qk_norm: bool, kind: str, tie: bool) -> None:
    model, _ = saved(tmp_path / "checkpoint", qk_norm=qk_norm, tie_embeddings=tie)
    out = export(tmp_path / "checkpoint", tmp_path / "hf")
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, output_loading_info=True
    )
    assert type(loaded).__name__ == kind
    assert not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens_BT = torch.from_numpy(np.random.default_rng(0).integers(200, size=(3, 64)))
    with torch.inference_mode():
        ours = model.logits(model.hidden(tokens_BT, Pieces("causal")))
        theirs = loaded(tokens_BT, attention_mask=torch.ones_like(tokens_BT)).logits
    assert ours.std() > 0.3
    assert (ours - theirs).abs().max() < 1e-4
    config = loaded.config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (183, 183, 183)
    assert json.loads((out / "config.json").read_text())["rope_theta"] == 500.0
    assert config.rope_parameters["rope_theta"] == 500.0


def test_a_tokenizer_goes_with_it(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "<eot>": 183}, []))
    made.add_special_tokens(["<eot>"])
    made.save(str(tmp_path / "tokenizer.json"))
    saved(tmp_path / "checkpoint")
    out = export(tmp_path / "checkpoint", tmp_path / "hf", tmp_path / "tokenizer.json")
    loaded = transformers.AutoTokenizer.from_pretrained(out)
    assert loaded.eos_token == "<eot>" and loaded("ab")["input_ids"] == [0, 1]


def test_what_is_there_is_not_overwritten_and_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoint")
    (tmp_path / "hf").mkdir()
    with pytest.raises(UserError, match="exists"):
        export(tmp_path / "checkpoint", tmp_path / "hf")
    assert main([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
